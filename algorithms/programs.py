"""Compiled programs of meta-gradients, kept on disk and reused between trials and runs.

The whole of a meta-gradient, inner gradients and their derivatives included, is traced into one
graph of tensor operations, and Inductor makes a shared library of it ahead of time. Loading one
takes milliseconds, so that a structure is compiled once on a machine and not once a trial.
Hyperparameters that are tensors are inputs of a program; counts and structure are part of its key.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from algorithms.algorithm import Algorithm, Hyper
from algorithms.arguments import Arguments
from algorithms.errors import PreparationError
from algorithms.graph_passes import simplified
from algorithms.replicas import Results
from algorithms.small_products import compiler_settings, with_small_products
from episodes.episode import Episodes
from networks.network import Params

FOLDER = "METASWEEP_PROGRAMS"
PACKAGE, RESULTS = "program.pt2", "results.json"
SOURCES = ("algorithms", "networks", "episodes")
Compiled = Callable[[list[Tensor]], list[Tensor]]


def default_folder() -> Path:
    """Return the folder that METASWEEP_PROGRAMS names, or `~/.cache/metasweep/programs`."""
    return Path(os.environ.get(FOLDER) or "~/.cache/metasweep/programs").expanduser()


def can_compile() -> bool:
    """Whether there is a C++ compiler that Inductor finds."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)


class CompileError(PreparationError):
    """A program could not be compiled; the message says why."""


class Programs:
    """The compiled programs of one algorithm on one network and problem.

    identity: JSON text that tells this algorithm, network and problem from every other.
    folder: where programs are kept; they are native code, as trusted as the folder.
    """

    def __init__(self, identity: str, folder: Path | None = None):
        self._identity = identity
        self._folder = folder or default_folder()
        self._loaded: dict[str, tuple[Compiled, list[list[str]]]] = {}
        self._keys: dict[Any, str] = {}

    @property
    def loaded(self) -> int:
        """How many programs are loaded: one for each shape of a batch that was run."""
        return len(self._loaded)

    def run(
        self,
        algorithm: Algorithm,
        meta: Params,
        state: Params,
        hyper: Hyper,
        episodes: Episodes,
        keys: Tensor,
        replicas: int | None = None,
    ) -> Results:
        """Return what `algorithms.replicas.direct` returns, compiling it first if need be.

        Raises CompileError where compilation fails.
        """
        arguments = Arguments(meta, state, hyper, episodes, keys)
        key = self._key(arguments, replicas)
        if key not in self._loaded:
            try:
                self._loaded[key] = self._load(key, algorithm, arguments, replicas)
            except Exception as error:
                # The compiler, Inductor and export each raise errors of their own.
                raise CompileError(f"{type(error).__name__}: {error}") from error
        program, names = self._loaded[key]
        with torch.no_grad():
            flat = iter(program(arguments.tensors()))
        gradients, after, diagnostics = ({name: next(flat) for name in each} for each in names)
        return gradients, after, diagnostics

    def _load(
        self, key: str, algorithm: Algorithm, arguments: Arguments, replicas: int | None
    ) -> tuple[Compiled, list[list[str]]]:
        folder = self._folder / key
        if not (folder / PACKAGE).exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".making-") as made:
                names = _compile(Path(made), algorithm, arguments, replicas)
                (Path(made) / RESULTS).write_text(json.dumps(names))
                try:
                    os.rename(made, folder)
                except OSError:  # another process was faster; its program is the same
                    if not folder.exists():
                        raise
                else:
                    Path(made).mkdir()  # for TemporaryDirectory to remove
        names = json.loads((folder / RESULTS).read_text())
        return _flat_call(torch._inductor.aoti_load_package(str(folder / PACKAGE))), names

    def _key(self, arguments: Arguments, replicas: int | None) -> str:
        """Return the digest of all that a program depends on, remembered by what may vary."""
        quick = (arguments.quick_signature(), replicas)
        if quick not in self._keys:
            self._keys[quick] = self._digest(arguments, replicas)
        return self._keys[quick]

    def _digest(self, arguments: Arguments, replicas: int | None) -> str:
        made_for = [self._identity, arguments.signature(), replicas, torch.get_num_threads()]
        text = json.dumps([*made_for, environment()])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def environment() -> list[str]:
    """Return what a program depends on beside its algorithm: code, versions and processor."""
    here = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for folder in SOURCES:
        for kind in ("*.py", "*.cpp"):
            for source in sorted((here / folder).rglob(kind)):
                digest.update(source.read_bytes())
    return [
        digest.hexdigest(),
        torch.__version__,
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        *_instructions(),
        torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    ]


def _instructions() -> list[str]:
    """Return which instructions this processor has, where the system says so.

    A program is compiled for all of them, and a node that lacks one would end at it.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return next(
        (sorted(line.split()) for line in lines if line.startswith(("flags", "Features"))), []
    )


def _flat_call(model: Any) -> Compiled:
    """Return a loaded package as a function of a list of tensors.

    Called as it is, it would look for tensors in nested arguments first, for which the batches of
    a small network are too short.
    """
    boxed = getattr(getattr(model, "loader", None), "boxed_run", None)
    if boxed is not None:
        return boxed
    return lambda tensors: model(*tensors)


class _Graph(torch.nn.Module):
    """A traced graph as a module, which is what `torch.export` takes."""

    def __init__(self, graph: torch.fx.GraphModule):
        super().__init__()
        self.graph = graph

    def forward(self, *tensors: Tensor) -> Any:
        """Run the graph."""
        return self.graph(*tensors)


def traced(
    algorithm: Algorithm, arguments: Arguments, replicas: int | None
) -> tuple[torch.fx.GraphModule, list[list[str]]]:
    """Return the graph of a meta-gradient, and the names of its results in order."""
    names: list[list[str]] = []

    def flat(*tensors: Tensor) -> list[Tensor]:
        results = arguments.call(algorithm, tensors, replicas)
        names[:] = [list(each) for each in results]
        return [each[name] for each in results for name in each]

    return simplified(make_fx(flat, tracing_mode="real")(*arguments.tensors())), names


def _compile(
    folder: Path, algorithm: Algorithm, arguments: Arguments, replicas: int | None
) -> list[list[str]]:
    graph, names = traced(algorithm, arguments, replicas)
    graph = with_small_products(graph)
    with torch.no_grad():
        exported = torch.export.export(_Graph(graph), tuple(arguments.tensors()))
        torch._inductor.aoti_compile_and_package(
            exported,
            package_path=str(folder / PACKAGE),
            inductor_configs=compiler_settings(),
        )
    return names
