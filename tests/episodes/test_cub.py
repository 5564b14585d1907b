from __future__ import annotations

import numpy as np
import pytest

from episodes import cub, load
from episodes.class_splits import read_name_split
from episodes.errors import DataError
from tests.episodes.made_up import encode, image_of, write_tar
from tests.ready_made import assert_runs_dry

SPECIES = sorted(name for names in read_name_split("cub").classes.values() for name in names)


@pytest.fixture
def few(monkeypatch, empty_cache) -> dict[str, bytes]:
    """Two or three images a species, and the other files of the archive."""
    files = {"attributes.txt": b"", "CUB_200_2011/README": b"", "CUB_200_2011/images.txt": b""}
    total = 0
    for number, name in enumerate(SPECIES):
        for i in range(2 + number % 2):
            pixels = image_of(number, i, 90 + 10 * i, 150)
            # Only the middle is kept.
            pixels[:, :3] = pixels[:, -3:] = 255
            files[f"CUB_200_2011/images/{name}/{name[4:]}_{i:04}.jpg"] = encode(pixels)
            total += 1
    monkeypatch.setattr(cub, "IMAGES", total)
    return files


def load_cub(data, query_shots: int = 1):
    return load("cub", ways=5, shots=1, query_shots=query_shots, data=data)


def test_classes_are_the_published_ones(few, tmp_path):
    write_tar(tmp_path / "CUB_200_2011.tgz", few, "w:gz")
    birds = load_cub(tmp_path)
    assert birds.class_counts == {"train": 100, "validation": 50, "test": 50}
    assert len(SPECIES) == len(set(SPECIES)) == 200
    assert [name[:3] for name in SPECIES] == [f"{number:03}" for number in range(1, 201)]
    assert birds.input_shape == (3, 84, 84)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_episodes_show_their_classes(few, tmp_path, split):
    write_tar(tmp_path / "CUB_200_2011.tgz", dict(reversed(few.items())), "w:gz")
    birds = load_cub(tmp_path)
    episodes = birds.sample(split, 0, range(20))
    shown = (episodes.support.inputs * 255).round()[:, :, 0, 42, 42].long().numpy()
    for t in range(20):
        for label, number in enumerate(episodes.classes[t].tolist()):
            assert SPECIES[shown[t, label]] == birds.class_names(split)[number]
    assert (episodes.support.inputs[:, :, 2] == 0).all()


def test_a_packing_does_not_change_the_data(few, tmp_path):
    write_tar(tmp_path / "CUB_200_2011.tgz", few, "w:gz")
    first = load_cub(tmp_path).digest
    write_tar(tmp_path / "CUB_200_2011.tgz", dict(reversed(few.items())), "w:xz")
    assert load_cub(tmp_path).digest == first


def test_an_incomplete_archive_is_refused(few, tmp_path, monkeypatch):
    write_tar(tmp_path / "CUB_200_2011.tgz", few, "w:gz")
    monkeypatch.setattr(cub, "IMAGES", 11_788)
    with pytest.raises(DataError, match="500 images of birds in it, 11788 expected") as raised:
        load_cub(tmp_path)
    assert "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz" in str(
        raised.value
    )


def test_a_damaged_image_is_named(few, tmp_path, caplog):
    name = next(name for name in few if "Albatross" in name)
    few[name] = few[name][:50]
    write_tar(tmp_path / "CUB_200_2011.tgz", few, "w:gz")
    with pytest.raises(DataError, match="is not an image") as raised:
        load_cub(tmp_path)
    assert name in str(raised.value)
    assert "its content is complete" not in caplog.text


def test_the_rarest_class_bounds_an_episode(few, tmp_path):
    write_tar(tmp_path / "CUB_200_2011.tgz", few, "w:gz")
    with pytest.raises(DataError, match=r"cub has 2 images of class '001\.Black_footed_Albatross'"):
        load_cub(tmp_path, query_shots=2)
    with pytest.raises(DataError, match="cub has 41 images of its rarest class; shots 1"):
        load_cub(tmp_path / "nowhere", query_shots=41)


def test_a_missing_archive_is_named_with_its_address(tmp_path):
    with pytest.raises(DataError, match=r"cub/CUB_200_2011\.tgz is missing") as raised:
        load_cub(tmp_path)
    assert "Get it from https://data.caltech.edu" in str(raised.value)


def test_the_middle_is_what_is_kept(few, tmp_path):
    write_tar(tmp_path / "CUB_200_2011.tgz", few, "w:gz")
    inputs = load_cub(tmp_path).sample("train", 0, range(30)).query.inputs
    assert np.isclose(inputs[:, :, 2].max(), 0)


def test_its_ready_made_search_runs_dry(few, tmp_path):
    write_tar(tmp_path / "CUB_200_2011.tgz", few, "w:gz")
    assert_runs_dry("cub-5way-1shot", tmp_path, query_shots="1")
