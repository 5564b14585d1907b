"""The tasks that can be named in a specification."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from episodes.arrays.options import OPTIONS as ARRAYS_OPTIONS
from episodes.options import Option
from episodes.task import Task
from episodes.translation.options import OPTIONS as TRANSLATION_OPTIONS
from episodes.translation.options import TATOEBA_OPTIONS, TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from episodes.archives import Archive
    from episodes.arrays.distribution import Arrays
    from episodes.class_images import ImageEpisodes
    from episodes.harmonic import Harmonic
    from episodes.omniglot import Omniglot
    from episodes.sinusoid import Sinusoid
    from episodes.sinusoid_line import SinusoidLine
AUGMENTATION = (
    Option("flip", "switch", "mirror half of the images of meta-train", False),
    Option("crop_padding", "whole number", "move them by up to so many pixels", 0, least=0),
    Option(
        "jitter",
        "number",
        "multiply brightness, contrast and saturation by 1 - jitter to 1 + jitter",
        0.0,
        least=0,
        most=1,
    ),
    Option("rotations", "switch", "images turned by 90, 180, 270 degrees are other classes", False),
)

IMAGE_FOLDER = (
    Option("folder", "path", "holds a folder of images for each class", required=True),
    Option("size", "whole number", "height and width, in pixels, of all", 84, least=1, most=1024),
    Option("channels", "whole number", "1 for grey, 3 for colour", 3, least=1, most=3),
    Option(
        "splits",
        "path",
        "a JSON file of the classes of train, validation and test; left out, by share",
    ),
    Option("validation_share", "number", "of the classes, for meta-validation", 0.2, least=0),
    Option("test_share", "number", "of the classes, for meta-test", 0.2, least=0),
    Option("split_seed", "whole number", "draws which class is in which split", 0, least=0),
    Option("skip_corrupt", "switch", "pass over images that cannot be decoded", False),
    *AUGMENTATION,
)

FLIP = Option("flip", "switch", "mirror half of the images of meta-train, masks too", False)


def _size(default: int, description: str) -> Option:
    return Option("size", "whole number", description, default, least=8, most=1024)


def _noise(default: float) -> Option:
    what = "standard deviation of the normal noise on all targets, query included"
    return Option("noise", "number", what, default, least=0)


def _load_sinusoid(
    *, shots: int, query_shots: int, options: Mapping[str, Any], **_: object
) -> Sinusoid:
    from episodes.sinusoid import Sinusoid

    return Sinusoid(shots, query_shots, options["noise"])


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


def _load_image_folder(
    *, ways: int, shots: int, query_shots: int, options: Mapping[str, Any], **_: object
) -> ImageEpisodes:
    from episodes.augmentation import Augmentation
    from episodes.image_folder import load_image_folder, ratios_of

    # A file of the splits leaves nothing to share out.
    by_share = "splits" not in options
    shares = options["validation_share"], options["test_share"]
    return load_image_folder(
        options["folder"],
        ways=ways,
        shots=shots,
        query_shots=query_shots,
        size=options["size"],
        channels=options["channels"],
        split_file=options.get("splits"),
        split_seed=options["split_seed"],
        skip_corrupt=options["skip_corrupt"],
        augmentation=Augmentation.of(options),
        **({"ratios": ratios_of(*shares)} if by_share else {}),
    )


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


def _tatoeba_archives() -> Sequence[Archive]:
    from episodes.translation.sentence_files import tatoeba_archive

    return [tatoeba_archive(language) for language in (*TRAIN, *VALIDATION, *TEST)]


def _images(name: str, description: str, module: str, function: str) -> Task:
    """Return a task of images whose module has a loader and a function `archives`."""
    load, archives = _later(module, function), _later(module, "archives")
    return Task(
        name,
        description,
        "classification",
        load,
        archives=archives,
        images=True,
        options=AUGMENTATION,
    )


def _masks(name: str, description: str, module: str, function: str, *options: Option) -> Task:
    """Return a task of segmentation, of a module like those of `_images`."""
    load, archives = _later(module, function), _later(module, "archives")
    return Task(
        name,
        description,
        "segmentation",
        load,
        archives=archives,
        images=True,
        options=(*options, FLIP),
    )


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "sinusoid",
            "regression of sine curves with random amplitude and phase (Finn et al. 2017)",
            "regression",
            _load_sinusoid,
            options=(_noise(0.0),),
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
            "image-folder",
            "classification of your own images: a folder of them for each class",
            "classification",
            _load_image_folder,
            images=True,
            options=IMAGE_FOLDER,
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
        _masks(
            "pascal-5i",
            "masks of 20 classes of photographs, in four folds (Shaban et al. 2017)",
            "pascal",
            "load_pascal",
            Option("fold", "whole number", "whose classes are meta-test's", 0, least=0, most=3),
            _size(96, "height and width, in pixels"),
        ),
        _masks(
            "fss-1000",
            "masks of 1,000 classes of objects (Li et al. 2020)",
            "fss1000",
            "load_fss1000",
            _size(96, "height and width, in pixels"),
        ),
        _masks(
            "camvid-subset",
            "masks of 11 classes in street scenes; every second frame of CamVid",
            "camvid",
            "load_camvid",
            _size(48, "height, in pixels; images are 4/3 as wide"),
        ),
        Task(
            "translation",
            "translation of your own sentence pairs into English: a file for each language",
            "translation",
            _later("translation.distribution", "load_translation"),
            options=TRANSLATION_OPTIONS,
        ),
        Task(
            "translation-tatoeba",
            "translation of short sentences into English (after Gu et al. 2018)",
            "translation",
            _later("translation.distribution", "load_tatoeba"),
            archives=_tatoeba_archives,
            options=TATOEBA_OPTIONS,
        ),
    )
}
