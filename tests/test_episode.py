"""`metasweep episode` and the pictures that it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from episodes import load
from episodes.episode import IGNORED, Episodes, Examples
from search.drawing import draw_episode
from search.sentence_drawing import draw_sentences
from tests.cli import call, run


def test_the_picture_of_an_episode_of_images(data_folder: Path, tmp_path: Path) -> None:
    data = f"--data={data_folder}"
    done = call("episode", "omniglot", "--index=3", data, "-o", "a/3.png", folder=tmp_path)
    assert done.code == 0, done.output
    assert done.output == (
        "a/3.png: omniglot-5way-1shot, meta-train, seed 0, episode 3; 5 support and 25 query "
        "examples\n"
    )
    with Image.open(tmp_path / "a" / "3.png") as image:
        assert image.format == "PNG"
        drawn = np.asarray(image.convert("L"))
    # Six black images with white strokes in each of five rows.
    assert (drawn < 10).mean() > 0.2
    assert (drawn > 245).mean() > 0.2
    same = call("episode", "omniglot", "--index=3", data, "-o", "b.png", folder=tmp_path)
    other = call("episode", "omniglot", "--index=4", data, "-o", "c.png", folder=tmp_path)
    assert same.code == other.code == 0
    contents = [(tmp_path / name).read_bytes() for name in ("a/3.png", "b.png", "c.png")]
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize(
    ("task", "archive", "noted"),
    [
        ("tiny-imagenet-subset", "tiny_imagenet_subset/tiny-imagenet-subset.zip", True),
        ("cifar-fs-subset", "cifar100/cifar-fs.zip", False),  # It holds a sixth of the images.
    ],
)
def test_a_repacked_archive_is_noted_once_where_it_is_complete(
    task: str, archive: str, noted: bool, data_folder: Path, tmp_path: Path
) -> None:
    path = data_folder / archive
    if not path.is_file():
        pytest.skip(f"no {path}")
    environment = {"METASWEEP_CACHE": str(tmp_path / "cache")}
    first, second = (
        run("episode", task, f"--data={data_folder}", folder=tmp_path, environment=environment)
        for _ in range(2)
    )
    assert first.code == second.code == 0, first.output
    note = f"{path} is not the published file"
    assert (note in first.output) is noted
    assert ("its content is complete" in first.output) is noted
    assert note not in second.output


def test_a_search_names_its_problem(tmp_path: Path) -> None:
    done = call("episode", "sinusoid", "--split=test", "--shots=7", "-o", "s.png", folder=tmp_path)
    assert "s.png: sinusoid-7shot, meta-test, seed 0, episode 0; 7 support and 10 query" in (
        done.output
    )
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, problem: {task: sinusoid, shots: 3, query_shots: 4}, algorithms: [maml], "
        "networks: [mlp], budget: {trials: 1, episodes: 10}}"
    )
    done = call("episode", "mine.yaml", folder=tmp_path)
    assert "episode.png: sinusoid-3shot, meta-train" in done.output


def test_options_of_the_task_are_set(tmp_path: Path) -> None:
    rows = [f"{unit},{x},{unit * x}" for unit in range(9) for x in range(12)]
    (tmp_path / "lines.csv").write_text("\n".join(["unit,x,y", *rows]))
    options = ("--option=file=lines.csv", "--option=task=unit", "--option=target=y")
    shots = ("--shots=4", "--query-shots=4")
    done = call("episode", "arrays", *options, *shots, folder=tmp_path)
    assert "episode.png: arrays-4shot, meta-train, seed 0, episode 0; 4 support" in done.output
    done = call("episode", "arrays", *options, "--option=windo=1", folder=tmp_path)
    assert done.code == 2
    assert done.output == "error options.windo: arrays has no such option: did you mean window?\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["omniglott"], "TASK: 'omniglott': unknown task: did you mean omniglot?"),
        (["omniglot", "--ways=1"], "ways: 1: must be a whole number, at least 2"),
        (["sinusoid", "--ways=5"], "ways: 5 has no meaning for the regression task sinusoid"),
        (["omniglot", "--class-split=lakee"], "did you mean lake?"),
        (
            ["harmonic", "--option=noise"],
            "--option: 'noise': must be NAME=VALUE, such as noise=0.1",
        ),
        (["harmonic", "--option=noise=loud"], "options.noise: 'loud': must be a number, at least"),
        (["sinusoid", "-o", "."], "--output: .: is a folder; name a file"),
    ],
)
def test_mistakes_are_named(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    done = call("episode", *arguments, folder=tmp_path)
    assert done.code == 2
    assert complaint in done.errors
    assert list(tmp_path.iterdir()) == []


def axes_of(inputs: torch.Tensor, targets: torch.Tensor, kind: str, classes: int) -> int:
    examples = Examples(inputs, targets)
    ids = torch.arange(classes)[None]
    episode = Episodes(examples, examples, ids, torch.zeros(1, dtype=torch.int64))
    figure = draw_episode(episode, kind, "title")  # type: ignore[arg-type]
    figure.draw_without_rendering()
    return len(figure.axes)


def test_vectors_and_several_targets_are_drawn() -> None:
    labels = torch.tensor([[0, 1, 0, 1]])
    assert axes_of(torch.rand(1, 4, 3), labels, "classification", 2) == 2
    assert axes_of(torch.rand(1, 4, 3), torch.rand(1, 4, 2), "regression", 0) == 2
    assert axes_of(torch.rand(1, 4, 3, 8, 8), labels, "classification", 2) == 2


def test_masks_lie_over_their_images() -> None:
    """Black images with a marked half, and a column that does not count."""
    targets = torch.zeros(1, 3, 8, 12, dtype=torch.int64)
    targets[..., :6] = 1
    targets[..., 11] = IGNORED
    examples = Examples(torch.zeros(1, 3, 3, 8, 12), targets)
    ids = torch.zeros(1, 1, dtype=torch.int64)
    figure = draw_episode(Episodes(examples, examples, ids, ids[0]), "segmentation", "", ["cat"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["image", "cat"]
    shown = np.asarray(figure.axes[0].images[0].get_array())
    plain, marked = shown[:8, :12], shown[10:18, :12]
    assert not plain.any()
    assert (marked[:, :6, 0] > 0.5).all()
    assert (marked[:, :6, 1:] < 0.1).all()
    assert not marked[:, 6:11].any()
    np.testing.assert_allclose(marked[:, 11], 0.6)


def test_sentences_are_drawn_as_text() -> None:
    support, query = [("Labdien & $x^$!", "Hello.")], [("viens " * 60, "one " * 60)] * 50
    figure = draw_sentences(support, query, "lvs")
    figure.draw_without_rendering()
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert {"support: lvs", "query: lvs", "Labdien & $x^$!", "Hello.", "and 10 more"} <= set(shown)
    assert sum(text.startswith("viens") for text in shown) == 40
    assert max(len(line) for text in shown for line in text.splitlines()) <= 56


def test_symbols_without_text_are_drawn_as_numbers() -> None:
    symbols = torch.tensor([[[5, 7, 2, 0]]])
    examples = Examples(symbols, symbols.where(symbols > 0, IGNORED))
    ids = torch.zeros(1, 1, dtype=torch.int64)
    episode = Episodes(examples, examples, ids, torch.zeros(1, dtype=torch.int64))
    figure = draw_episode(episode, "translation", "title", ["lvs"])
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert {"support: lvs", "5 7 2 0", "5 7 2"} <= set(shown)


def test_only_one_episode_is_drawn() -> None:
    episodes = load("sinusoid", shots=2, query_shots=2).sample("train", 0, range(2))
    with pytest.raises(ValueError, match="one episode is drawn, not 2"):
        draw_episode(episodes, "regression", "")
