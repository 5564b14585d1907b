"""The tasks that can be named in a specification, and how each is loaded."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from episodes.arrays.options import OPTIONS as ARRAYS_OPTIONS
from episodes.errors import DataError
from episodes.options import Option, complete

if TYPE_CHECKING:
    from episodes.archives import Archive, DataFile
    from episodes.arrays.distribution import Arrays
    from episodes.episode import Kind, TaskDistribution
    from episodes.harmonic import Harmonic
    from episodes.omniglot import Omniglot
    from episodes.sinusoid import Sinusoid
    from episodes.sinusoid_line import SinusoidLine

KINDS = ("regression", "classification")


@dataclass(frozen=True)
class Task:
    """One task distribution that `load` knows by name.

    kind: the kind of problem; where there is an option `kind`, that decides, and this its default.
    load: called with the checked keyword arguments of `episodes.load`, task left out; `options` is
        among them where the task declares some, as a complete mapping.
    splits: names of its class splits, the default first; empty where there is only one.
    archives: returns the files it reads; None for a task that is generated.
    images: whether an example has the shape (channels, height, width).
    options: what else may be chosen. What changes the data must change `TaskDistribution.digest`:
        that, and not the options, tells problems apart, so that a file may move.
    """

    name: str
    description: str
    kind: Kind
    load: Callable[..., TaskDistribution]
    splits: tuple[str, ...] = ()
    archives: Callable[[], Sequence[Archive]] | None = None
    images: bool = False
    options: tuple[Option, ...] = ()

    @property
    def needs_data(self) -> bool:
        """Whether it reads files, which are downloaded unless a data folder is named."""
        return self.archives is not None

    def complete(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return options checked and with defaults, as JSON values; see `options.complete`."""
        return complete(self.name, self.options, options or {})

    def kind_of(self, options: Mapping[str, Any]) -> Kind:
        """Return the kind of problem that options, complete or as given, make of it."""
        chosen = [options.get(option.name) for option in self.options if option.name == "kind"]
        return chosen[0] if chosen and chosen[0] in KINDS else self.kind


def load(
    task: str,
    *,
    ways: int | None = None,
    shots: int,
    query_shots: int,
    split: str | None = None,
    data: str | Path | None = None,
    options: Mapping[str, object] | None = None,
) -> TaskDistribution:
    """Load a task distribution by name.

    ways: classes in an episode; only for classification.
    shots, query_shots: examples of each class, or of each function, to adapt on and to judge by.
    split: name of the class split; None for the task's default.
    data: folder that holds the archives; None for METASWEEP_DATA, else they are downloaded.
    options: values of the task's own options, by name (`TASKS[task].options`).
    Raises DataError for a wrong argument, and when data are missing, damaged or too small.
    """
    entry = _find(task)
    _at_least(1, "shots", shots)
    _at_least(1, "query_shots", query_shots)
    values = entry.complete(options)
    kind = entry.kind_of(values)
    if kind == "regression" and ways is not None:
        raise DataError(f"ways: {ways} has no meaning for the regression task {task}; leave it out")
    if kind == "classification":
        if ways is None:
            raise DataError(
                f"ways: missing; {task} needs the number of classes in an episode, such as 5"
            )
        _at_least(2, "ways", ways)
    if split is None and entry.splits:
        split = entry.splits[0]
    if split is not None and split not in entry.splits:
        known = f"one of {', '.join(entry.splits)}" if entry.splits else "left out"
        nearest = _nearest(split, entry.splits)
        raise DataError(f"split: {task} has no split {split!r}; it may be {known}{nearest}")
    arguments = {"ways": ways, "shots": shots, "query_shots": query_shots, "split": split}
    # A task without options need not know of them.
    extra = {"options": values} if entry.options else {}
    return entry.load(**arguments, data=data, **extra)


def data_report(data: str | Path | None = None) -> list[DataFile]:
    """Say for each file that tasks read where it is, reading and downloading nothing."""
    from episodes.archives import report

    return [
        report(task.name, archive, data)
        for task in TASKS.values()
        if task.archives is not None
        for archive in task.archives()
    ]


def _load_sinusoid(*, shots: int, query_shots: int, **_: object) -> Sinusoid:
    from episodes.sinusoid import Sinusoid

    return Sinusoid(shots, query_shots)


def _load_harmonic(
    *, shots: int, query_shots: int, options: Mapping[str, Any], **_: object
) -> Harmonic:
    from episodes.harmonic import Harmonic

    return Harmonic(shots, query_shots, options["noise"])


def _load_sinusoid_line(
    *, shots: int, query_shots: int, options: Mapping[str, Any], **_: object
) -> SinusoidLine:
    from episodes.sinusoid_line import SinusoidLine

    return SinusoidLine(shots, query_shots, options["noise"])


def _noise(default: float) -> Option:
    what = "standard deviation of the normal noise on all targets, query included"
    return Option("noise", "number", what, default, least=0)


def _load_arrays(
    *,
    ways: int | None,
    shots: int,
    query_shots: int,
    options: Mapping[str, Any],
    **_: object,
) -> Arrays:
    from episodes.arrays.distribution import load_arrays

    return load_arrays(ways, shots, query_shots, options)


def _load_omniglot(
    *, ways: int, shots: int, query_shots: int, split: str, data: str | Path | None
) -> Omniglot:
    from episodes.omniglot import load_omniglot

    return load_omniglot(split, ways, shots, query_shots, data)


def _omniglot_archives() -> Sequence[Archive]:
    from episodes.omniglot_images import ARCHIVES

    return ARCHIVES


def _later(module: str, function: str) -> Callable[..., Any]:
    """Return a function that imports the real one when it is first called."""

    def call(**arguments: Any) -> Any:
        return getattr(importlib.import_module(f"episodes.{module}"), function)(**arguments)

    return call


def _images(name: str, description: str, module: str, function: str) -> Task:
    """Return a task of images whose module has a loader and a function `archives`."""
    load, archives = _later(module, function), _later(module, "archives")
    return Task(name, description, "classification", load, archives=archives, images=True)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "sinusoid",
            "regression of sine curves with random amplitude and phase (Finn et al. 2017)",
            "regression",
            _load_sinusoid,
        ),
        Task(
            "harmonic",
            "regression of sums of two sine waves around random places (Lacoste et al. 2018)",
            "regression",
            _load_harmonic,
            options=(_noise(0.0),),
        ),
        Task(
            "sinusoid-line",
            "regression of sine curves and lines, with noise (Finn et al. 2018)",
            "regression",
            _load_sinusoid_line,
            options=(_noise(0.3),),
        ),
        Task(
            "arrays",
            "regression or classification of your own rows: an npz, parquet or CSV file",
            "regression",
            _load_arrays,
            options=ARRAYS_OPTIONS,
        ),
        Task(
            "omniglot",
            "classification of handwritten characters of 50 alphabets (Lake et al. 2015)",
            "classification",
            _load_omniglot,
            splits=("vinyals", "lake"),
            archives=_omniglot_archives,
            images=True,
        ),
        _images(
            "cifar-fs",
            "images of CIFAR-100, its classes split at random (Bertinetto et al. 2018)",
            "cifar100",
            "load_cifar_fs",
        ),
        _images(
            "cifar-fs-subset",
            "CIFAR-FS with 100 images a class; a problem of its own",
            "cifar100",
            "load_cifar_fs_subset",
        ),
        _images(
            "fc100",
            "images of CIFAR-100, its classes split by superclass (Oreshkin et al. 2018)",
            "cifar100",
            "load_fc100",
        ),
        _images(
            "fc100-subset",
            "FC100 with 100 images a class; a problem of its own",
            "cifar100",
            "load_fc100_subset",
        ),
        _images(
            "double-mnist",
            "numbers of two handwritten digits (Sun 2019)",
            "multi_digit",
            "load_double_mnist",
        ),
        _images(
            "triple-mnist",
            "numbers of three handwritten digits (Sun 2019)",
            "multi_digit",
            "load_triple_mnist",
        ),
        _images(
            "mini-imagenet",
            "100 classes of ImageNet in 84 x 84 (Vinyals et al. 2016, Ravi and Larochelle 2017)",
            "mini_imagenet",
            "load_mini_imagenet",
        ),
        _images(
            "tiny-imagenet-subset",
            "25 classes of ImageNet in 64 x 64; a problem of its own",
            "tiny_imagenet",
            "load_tiny_imagenet",
        ),
        _images(
            "tiered-imagenet",
            "608 classes of ImageNet in 84 x 84, split by category (Ren et al. 2018)",
            "tiered_imagenet",
            "load_tiered_imagenet",
        ),
        _images(
            "cub",
            "200 species of birds in 84 x 84 (Wah et al. 2011, Hilliard et al. 2018)",
            "cub",
            "load_cub",
        ),
    )
}


def _find(task: str) -> Task:
    if task not in TASKS:
        nearest = _nearest(task, TASKS)
        raise DataError(f"task: {task!r} is unknown; known are {', '.join(TASKS)}{nearest}")
    return TASKS[task]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _at_least(least: int, name: str, value: int) -> None:
    if not isinstance(value, int) or value < least:
        raise DataError(f"{name}: {value!r} must be a whole number, at least {least}")
