"""Omniglot classification: episodes of handwritten characters, 28 x 28."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from episodes.class_images import draw_classes, episodes_of, support_first
from episodes.class_splits import ClassSplit, read_class_split
from episodes.digest import json_digest
from episodes.episode import SPLITS, Episodes, Kind, Split, episode_key, index_array
from episodes.errors import DataError
from episodes.omniglot_images import DRAWINGS, ROTATIONS, SIZE, OmniglotImages, load_images


class Omniglot:
    """Episodes over characters and their rotations by 90 degrees, each rotation its own class.

    inputs: (T, N, 1, 28, 28) float32, 1 on a stroke and 0 on the paper. N is `ways * shots` for
        support and `ways * query_shots` for query; examples are grouped by class, in label order.
    targets: (T, N) int64. Labels 0..ways-1 follow the random order in which classes were drawn.
    Class ids count (alphabet, character, rotation) in sorted order within a split.

    Rotations as classes follow Santoro et al. 2016, "Meta-learning with memory-augmented neural
    networks".
    """

    name = "omniglot"
    kind: Kind = "classification"
    input_shape: tuple[int, ...] = (1, SIZE, SIZE)

    def __init__(
        self,
        images: OmniglotImages,
        class_split: ClassSplit,
        ways: int,
        shots: int,
        query_shots: int,
    ) -> None:
        """Raise DataError when the split names a character that the images lack."""
        for characters in class_split.characters.values():
            for alphabet, number in characters:
                if (alphabet, number) not in images.characters:
                    raise DataError(
                        f"character {number} of {alphabet} is in split {class_split.name}, but not "
                        "in the archives: their folders were renamed"
                    )
        self.outputs = ways
        self.shots = shots
        self.query_shots = query_shots
        self.class_counts = {
            split: len(characters) * ROTATIONS
            for split, characters in class_split.characters.items()
        }
        self.train_classes: int | None = self.class_counts["train"]
        self.digest = json_digest([images.digest, class_split.digest])
        self._class_split = class_split
        self._pixels = images.pixels
        self._characters = {
            split: np.array([images.characters[c] for c in characters])
            for split, characters in class_split.characters.items()
        }

    def class_names(self, split: Split) -> tuple[str, ...]:
        """Return the names of a split's classes: class id k is the k-th of them."""
        turns = [f", turned {90 * turn}" if turn else "" for turn in range(ROTATIONS)]
        characters = self._class_split.characters[split]
        return tuple(
            f"{alphabet} {number}{turn}" for alphabet, number in characters for turn in turns
        )

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        index = index_array(indices)
        ways, per_class = self.outputs, self.shots + self.query_shots
        key = episode_key(self.name, split, seed)
        counts = np.full(self.class_counts[split], DRAWINGS)
        classes, drawings = draw_classes(key, index, counts, ways, per_class)
        character = self._characters[split][classes // ROTATIONS]
        first_row = (character * ROTATIONS + classes % ROTATIONS) * DRAWINGS
        rows = first_row[:, :, None] + drawings
        pixels = torch.from_numpy(self._pixels.take(support_first(rows, self.shots), axis=0))
        inputs = pixels.to(torch.float32).div_(255).view(-1, *self.input_shape)
        return episodes_of(inputs, classes, index, self.shots, self.query_shots)


def _check_size(class_split: ClassSplit, ways: int, shots: int, query_shots: int) -> None:
    """Raise DataError when an episode asks for more classes or drawings than there are."""
    if shots + query_shots > DRAWINGS:
        raise DataError(
            f"{DRAWINGS} drawings a class; shots {shots} + query_shots {query_shots} = "
            f"{shots + query_shots} asks for more: shots + query_shots may be at most {DRAWINGS}"
        )
    classes = {split: len(class_split.characters[split]) * ROTATIONS for split in SPLITS}
    split = min(SPLITS, key=classes.__getitem__)
    if ways > classes[split]:
        raise DataError(
            f"ways {ways} is more than the {classes[split]} classes of {split} in split "
            f"{class_split.name}: ways may be at most {classes[split]}"
        )


def load_omniglot(
    split: str, ways: int, shots: int, query_shots: int, data: str | Path | None
) -> Omniglot:
    """Open Omniglot with a shipped split, "vinyals" or "lake".

    data: the folder that holds the archives, as for `episodes.archives.obtain`.
    Raises DataError when the data are missing, damaged, or too small for what is asked.
    """
    class_split = read_class_split("omniglot", split)
    _check_size(class_split, ways, shots, query_shots)  # before a download
    return Omniglot(load_images(data), class_split, ways, shots, query_shots)
