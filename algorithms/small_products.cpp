// C = A B for small matrices: a tile of C stays in registers until it is added up. The rows of B
// are read as registers; where they are not contiguous, or no multiple of a register long, they are
// copied first. A may have any strides.
//
// Part of a program that Inductor writes; see small_products.py.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace small_products {

#if defined(__AVX512F__)
constexpr int REGISTER_BYTES = 64;
constexpr int TILE = 24;  // registers, of the 32 there are
#else
constexpr int REGISTER_BYTES = 32;
constexpr int TILE = 12;  // of 16
#endif
constexpr int MOST_ACROSS = 4;  // registers of a tile in a row

template <typename S>
constexpr int64_t LANES = REGISTER_BYTES / sizeof(S);

template <typename S>
struct Lanes {
  typedef S type __attribute__((vector_size(REGISTER_BYTES), aligned(alignof(S))));
};

// A matrix: element (i, j) is at data[i * down + j * across].
template <typename S>
struct Matrix {
  S* data;
  int64_t down, across;
};

// Computes DOWN rows of C, of `columns` columns in ACROSS registers.
template <typename S, int DOWN, int ACROSS>
inline void tile(Matrix<const S> a, Matrix<const S> b, Matrix<S> c, int64_t inner, int64_t columns) {
  using Register = typename Lanes<S>::type;
  Register sums[DOWN][ACROSS] = {};
  for (int64_t k = 0; k < inner; ++k) {
    Register row[ACROSS];
#pragma GCC unroll 4
    for (int j = 0; j < ACROSS; ++j)
      row[j] = *reinterpret_cast<const Register*>(b.data + k * b.down + j * LANES<S>);
#pragma GCC unroll 24
    for (int i = 0; i < DOWN; ++i) {
      const S factor = a.data[i * a.down + k * a.across];
#pragma GCC unroll 4
      for (int j = 0; j < ACROSS; ++j) sums[i][j] += row[j] * factor;
    }
  }
  const int64_t last = (ACROSS - 1) * LANES<S>;
#pragma GCC unroll 24
  for (int i = 0; i < DOWN; ++i) {
    S* to = c.data + i * c.down;
#pragma GCC unroll 4
    for (int j = 0; j < ACROSS - 1; ++j)
      *reinterpret_cast<Register*>(to + j * LANES<S>) = sums[i][j];
    std::memcpy(to + last, &sums[i][ACROSS - 1], (columns - last) * sizeof(S));
  }
}

// Computes the last `rows` rows of C, at most DOWN, which are fewer than a tile.
template <typename S, int DOWN, int ACROSS>
inline void rest(Matrix<const S> a, Matrix<const S> b, Matrix<S> c, int64_t rows, int64_t inner,
                 int64_t columns) {
  if constexpr (DOWN > 0) {
    if (rows == DOWN)
      tile<S, DOWN, ACROSS>(a, b, c, inner, columns);
    else
      rest<S, DOWN - 1, ACROSS>(a, b, c, rows, inner, columns);
  }
}

// Computes all rows of C, tile below tile.
template <typename S, int ACROSS>
inline void panel(Matrix<const S> a, Matrix<const S> b, Matrix<S> c, int64_t rows, int64_t inner,
                  int64_t columns) {
  constexpr int DOWN = std::min(TILE / ACROSS, 10);
  for (; rows >= DOWN; rows -= DOWN) {
    tile<S, DOWN, ACROSS>(a, b, c, inner, columns);
    a.data += DOWN * a.down;
    c.data += DOWN * c.down;
  }
  rest<S, DOWN - 1, ACROSS>(a, b, c, rows, inner, columns);
}

template <typename S>
inline void copy(Matrix<const S> b, S* to, int64_t inner, int64_t columns, int64_t padded) {
  if (b.across == 1) {
    for (int64_t k = 0; k < inner; ++k)
      std::memcpy(to + k * padded, b.data + k * b.down, columns * sizeof(S));
  } else {
    for (int64_t j = 0; j < columns; ++j)
      for (int64_t k = 0; k < inner; ++k) to[k * padded + j] = b.data[k * b.down + j * b.across];
  }
}

// Multiplies `count` pairs of matrices; a step is from one pair to the next. C is contiguous.
template <typename S>
void multiply(Matrix<const S> a, int64_t step_a, Matrix<const S> b, int64_t step_b, S* result,
              int64_t count, int64_t rows, int64_t inner, int64_t columns) {
  const int64_t padded = (columns + LANES<S> - 1) / LANES<S> * LANES<S>;
  const bool copied = b.across != 1 || columns != padded;
  static thread_local std::vector<S> room;
  if (copied && static_cast<int64_t>(room.size()) < inner * padded) room.resize(inner * padded);
  for (int64_t t = 0; t < count; ++t) {
    Matrix<const S> right = b;
    if (copied) {
      if (t == 0 || step_b != 0) copy(b, room.data(), inner, columns, padded);
      right = {room.data(), padded, 1};
    }
    for (int64_t from = 0; from < columns; from += MOST_ACROSS * LANES<S>) {
      const Matrix<const S> part = {right.data + from, right.down, 1};
      const Matrix<S> to = {result + from, columns, 1};
      const int64_t width = std::min<int64_t>(columns - from, MOST_ACROSS * LANES<S>);
      switch ((width + LANES<S> - 1) / LANES<S>) {
        case 1: panel<S, 1>(a, part, to, rows, inner, width); break;
        case 2: panel<S, 2>(a, part, to, rows, inner, width); break;
        case 3: panel<S, 3>(a, part, to, rows, inner, width); break;
        default: panel<S, 4>(a, part, to, rows, inner, width);
      }
    }
    a.data += step_a;
    b.data += step_b;
    result += rows * columns;
  }
}

template <typename S>
void multiply(AtenTensorHandle left, AtenTensorHandle right, AtenTensorHandle result, int64_t axes) {
  void *from_left, *from_right, *to;
  int64_t *size_left, *size_right, *stride_left, *stride_right;
  aoti_torch_get_data_ptr(left, &from_left);
  aoti_torch_get_data_ptr(right, &from_right);
  aoti_torch_get_data_ptr(result, &to);
  aoti_torch_get_sizes(left, &size_left);
  aoti_torch_get_sizes(right, &size_right);
  aoti_torch_get_strides(left, &stride_left);
  aoti_torch_get_strides(right, &stride_right);
  const int64_t row = axes - 2, column = axes - 1;
  const Matrix<const S> a = {static_cast<const S*>(from_left), stride_left[row], stride_left[column]};
  const Matrix<const S> b = {static_cast<const S*>(from_right), stride_right[row],
                             stride_right[column]};
  const bool several = axes == 3;
  multiply<S>(a, several ? stride_left[0] : 0, b, several ? stride_right[0] : 0,
              static_cast<S*>(to), several ? size_left[0] : 1, size_left[row], size_left[column],
              size_right[column]);
}

}  // namespace small_products

extern "C" AOTITorchError aoti_torch_cpu_small_product(AtenTensorHandle left, AtenTensorHandle right,
                                                       AtenTensorHandle* result) {
  int64_t axes;
  int64_t *size_left, *size_right;
  int32_t dtype;
  aoti_torch_get_dim(left, &axes);
  aoti_torch_get_sizes(left, &size_left);
  aoti_torch_get_sizes(right, &size_right);
  aoti_torch_get_dtype(left, &dtype);
  const int64_t columns = size_right[axes - 1];
  int64_t sizes[3] = {size_left[0], size_left[1], columns};
  int64_t strides[3] = {size_left[axes - 2] * columns, columns, 1};
  if (axes == 2) sizes[1] = columns;
  const AOTITorchError failed =
      aoti_torch_empty_strided(axes, sizes, strides + (3 - axes), dtype,
                               aoti_torch_device_type_cpu(), 0, result);
  if (failed) return failed;
  if (dtype == aoti_torch_dtype_float32())
    small_products::multiply<float>(left, right, *result, axes);
  else
    small_products::multiply<double>(left, right, *result, axes);
  return 0;
}
