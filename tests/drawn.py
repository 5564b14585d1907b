"""What is made up in the pictures of docs/tasks.md: drawn shapes, and languages of nobody."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from episodes.episode import Episodes, Examples
from search.drawing import draw_episode, png

SIDE = 48
COLORS = {
    "red": (205, 60, 50),
    "green": (60, 150, 80),
    "blue": (60, 100, 200),
    "yellow": (225, 180, 40),
    "purple": (140, 80, 170),
}
CORNERS = {"triangle": (3, 1.0), "square": (4, 1.0), "hexagon": (6, 1.0), "star": (10, 0.45)}
"""How many, and how far from the middle every second one lies, as a share of the others."""

NOUNS = ("cat", "dog", "bird", "house", "tree", "river", "friend", "teacher", "child", "horse")
VERBS = ("sees", "likes", "finds", "knows", "hears")
ADJECTIVES = ("small", "old", "red", "quiet", "happy")
SYLLABLES = ("ka", "lo", "mi", "tu", "re", "sha", "no", "vi", "dor", "pel", "an", "gu")
LANGUAGES = {"cab": "svo", "dab": "sov", "gab": "vso", "hab": "osv"}
"""Names of languages, and in which order each has subject, verb and object."""


def write_shapes(folder: Path, images: int = 6) -> None:
    """Draw shapes of several colours: a folder for each class, such as "red star"."""
    for number, name in enumerate(f"{c} {s}" for c in COLORS for s in ("circle", *CORNERS)):
        (folder / name).mkdir(parents=True)
        for i in range(images):
            shape(name, random.Random(100 * number + i)).save(folder / name / f"{i}.png")


def shape(name: str, rng: random.Random) -> Image.Image:
    """Draw one shape of a class, anywhere, of any size and turned by any angle."""
    color, kind = name.split()
    image = Image.new("RGB", (SIDE, SIDE), (rng.randint(225, 250),) * 3)
    radius = rng.uniform(0.2, 0.35) * SIDE
    x, y = (rng.uniform(radius + 1, SIDE - radius - 1) for _ in range(2))
    draw = ImageDraw.Draw(image)
    if kind == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), COLORS[color])
        return image
    (corners, inner), turned = CORNERS[kind], rng.uniform(0, 2 * math.pi)
    points = []
    for corner in range(corners):
        angle = turned + 2 * math.pi * corner / corners
        length = radius * (inner if corner % 2 else 1.0)
        points.append((x + length * math.cos(angle), y + length * math.sin(angle)))
    draw.polygon(points, COLORS[color])
    return image


def draw_masks(path: Path) -> None:
    """Draw an episode of segmentation: a star among other shapes, with its mask."""
    kinds = ("circle", *CORNERS)
    labels, pictures = [], []
    for i in range(6):
        rng = random.Random(i)
        image = np.full((2 * SIDE, 2 * SIDE, 3), 240, np.uint8)
        mask = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
        others = rng.sample([kind for kind in kinds if kind != "star"], 3)
        for place, kind in enumerate(rng.sample(["star", *others], 4)):
            # Masks are shown in red.
            color = rng.choice([color for color in COLORS if color != "red"])
            drawn = np.asarray(shape(f"{color} {kind}", rng))
            rows = slice(SIDE * (place // 2), SIDE * (place // 2 + 1))
            columns = slice(SIDE * (place % 2), SIDE * (place % 2 + 1))
            image[rows, columns] = drawn
            if kind == "star":
                mask[rows, columns] = (drawn == COLORS[color]).all(axis=-1)
        pictures.append(torch.from_numpy(image).movedim(-1, 0) / 255)
        labels.append(torch.from_numpy(mask).long())
    inputs, targets = torch.stack(pictures), torch.stack(labels)
    one = torch.zeros(1, 1, dtype=torch.int64)
    episode = Episodes(
        Examples(inputs[None, :3], targets[None, :3]),
        Examples(inputs[None, 3:], targets[None, 3:]),
        one,
        one[0],
    )
    path.write_bytes(png(draw_episode(episode, "segmentation", "drawn shapes, 3 shots", ["star"])))


def write_ciphers(folder: Path, pairs: int = 60) -> None:
    """Write a file of sentence pairs for each language, which has words and an order of its own."""
    folder.mkdir(parents=True)
    for number, (language, order) in enumerate(LANGUAGES.items()):
        rng = random.Random(number)
        english_words = (*NOUNS, *VERBS, *ADJECTIVES)
        own_words = rng.sample([a + b for a in SYLLABLES for b in SYLLABLES], len(english_words))
        word = dict(zip(english_words, own_words, strict=True))
        lines = {}
        while len(lines) < pairs:
            subject, object_ = rng.sample(NOUNS, 2)
            adjective, verb = rng.choice(ADJECTIVES), rng.choice(VERBS)
            parts = {
                "s": word[subject],
                "v": word[verb],
                "o": f"{word[adjective]} {word[object_]}",
            }
            own = " ".join(parts[part] for part in order)
            lines[f"The {subject} {verb} the {adjective} {object_}."] = f"{own.capitalize()}."
        text = "".join(f"{english}\t{own}\n" for english, own in lines.items())
        (folder / f"{language}.txt").write_text(text)
