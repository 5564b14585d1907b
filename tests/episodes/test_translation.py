"""Translation: episodes, and what bad files are told."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from episodes import DataError, load
from episodes.episode import IGNORED, SPLITS, Examples, Measures
from episodes.translation.corpus import open_corpus
from episodes.translation.distribution import Translation
from episodes.translation.sentence_files import files_in
from episodes.translation.splits import sentence_key
from episodes.translation.subwords import (
    BEGIN,
    END,
    PADDING,
)

TEXTS = [f"the {noun} {verb} a {noun}" for noun in ("cat", "dog") for verb in ("sees", "likes")]
LANGUAGES = {"train": ["aaa", "bbb"], "validation": ["ccc"], "test": ["ddd"]}
OPTIONS = {f"{split}_languages": names for split, names in LANGUAGES.items()}


def english(number: int) -> str:
    return f"Number {number} is here."


def write(folder: Path, language: str, numbers: range, zipped: bool = True) -> None:
    lines = [f"{english(n)}\t{language} {n} {language}\tby someone\n" for n in numbers]
    content = "".join(lines).encode()
    path = folder / f"{language}.txt"
    if zipped:
        path.with_suffix(".txt.gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path, empty_cache: Path) -> Path:
    """Four languages: `aaa` and `ccc` share sentences with `ddd`."""
    made = tmp_path / "pairs"
    made.mkdir()
    write(made, "aaa", range(0, 40))
    write(made, "bbb", range(40, 60), zipped=False)
    write(made, "ccc", range(20, 50))
    write(made, "ddd", range(10, 30))
    return made


def loaded(folder: Path, shots: int = 2, query_shots: int = 3, **options: Any) -> Translation:
    settings = {"folder": folder, "vocabulary": 320, "longest": 40, **OPTIONS, **options}
    return load("translation", shots=shots, query_shots=query_shots, options=settings)  # type: ignore[return-value]


def test_shapes_and_attributes(folder: Path) -> None:
    task = loaded(folder)
    episodes = task.sample("train", 0, range(4))
    assert episodes.support.inputs.shape == (4, 2, 80)
    assert episodes.support.targets.shape == (4, 2, 40)
    assert episodes.query.inputs.shape == (4, 3, 80)
    assert {episodes.query.inputs.dtype, episodes.query.targets.dtype} == {torch.int64}
    assert episodes.classes.shape == (4, 1)
    assert (task.kind, task.input_shape, task.train_classes) == ("translation", (80,), None)
    assert int(episodes.query.targets.max()) < task.outputs <= 320
    assert task.class_names("train") == ("aaa", "bbb")


def test_inputs_hold_the_source_and_what_each_target_follows_on(folder: Path) -> None:
    task = loaded(folder)
    examples = task.sample("test", 0, range(5)).query
    source, before = examples.inputs.split(40, -1)
    [texts] = task.sentences(examples[:1])
    for row, (text, _) in enumerate(texts):
        assert task.subwords.text(source[0, row].tolist()) == text
    for shifted, target in zip(before.flatten(0, 1), examples.targets.flatten(0, 1), strict=True):
        asked = target[target != IGNORED].tolist()
        length = len(asked)
        assert asked[-1] == END
        assert shifted.tolist() == [BEGIN, *asked[:-1]] + [PADDING] * (40 - length)
        assert target[length:].eq(IGNORED).all()


def sentences_of(task: Translation, split: str, count: int = 60) -> list[set[str]]:
    """Return the keys of the English sentences of some episodes."""
    episodes = task.sample(split, 3, range(count))  # type: ignore[arg-type]
    both = zip(*(task.sentences(part) for part in (episodes.support, episodes.query)), strict=True)
    return [{sentence_key(pair[1]) for part in parts for pair in part} for parts in both]


def test_episodes_share_no_sentence_within_or_across_splits(folder: Path) -> None:
    task = loaded(folder)
    every = {}
    for split in SPLITS:
        found = sentences_of(task, split)
        assert {len(keys) for keys in found} == {5}
        every[split] = set().union(*found)
    assert every["test"] == {sentence_key(english(n)) for n in range(10, 30)}
    assert every["validation"] == {sentence_key(english(n)) for n in range(30, 50)}
    train = [*range(10), *range(50, 60)]
    assert every["train"] == {sentence_key(english(n)) for n in train}


def test_an_episode_is_of_one_language_and_all_are_drawn(folder: Path) -> None:
    task = loaded(folder)
    episodes = task.sample("train", 0, range(100))
    names = [task.class_names("train")[k] for k in episodes.classes[:, 0].tolist()]
    assert 30 < names.count("aaa") < 70
    for name, pairs in zip(names, task.sentences(episodes.support), strict=True):
        assert all(source.startswith(name) for source, _ in pairs)


def test_an_episode_depends_on_split_seed_and_index_alone(folder: Path) -> None:
    task, again = loaded(folder), loaded(folder, beam=4)
    together = task.sample("train", 5, range(8))
    alone = again.sample("train", 5, range(6, 7))
    assert torch.equal(together.query.inputs[6:7], alone.query.inputs)
    assert torch.equal(together.support.targets[6:7], alone.support.targets)
    other = task.sample("train", 6, range(8))
    assert not torch.equal(together.query.inputs, other.query.inputs)
    with pytest.raises(DataError, match="split: 'val': must be one of train, validation, test"):
        task.sample("val", 5, range(1))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"seed: 1\.0: must be a whole number"):
        task.sample("train", 1.0, range(1))  # type: ignore[arg-type]


def test_one_of_several_translations_is_drawn(tmp_path: Path, empty_cache: Path) -> None:
    made = tmp_path / "several"
    made.mkdir()
    for language in ("aaa", "bbb", "ccc", "ddd"):
        lines = [f"{language} {n}.\t{language}{n}{kind}" for n in range(4) for kind in "xyz"]
        (made / f"{language}.txt").write_text("\n".join(lines))
    task = loaded(made, shots=2, query_shots=2)
    texts = [
        pair for part in task.sentences(task.sample("test", 0, range(60)).support) for pair in part
    ]
    assert {source for source, _ in texts} == {f"ddd{n}{kind}" for n in range(4) for kind in "xyz"}
    assert {
        len({source[:4] for source, _ in part})
        for part in task.sentences(task.sample("test", 0, range(20)).support)
    } == {2}


def test_long_sentences_are_left_out(folder: Path) -> None:
    (folder / "ddd.txt.gz").unlink()
    lines = [f"Short {n}.\tddd {n}" for n in range(9)] + ["Long.\t" + "ddd " * 50]
    (folder / "ddd.txt").write_text("\n".join(lines))
    assert set().union(*sentences_of(loaded(folder), "test")) == {f"short{n}" for n in range(9)}


def test_subwords_are_learned_from_meta_train_alone(folder: Path) -> None:
    def pieces() -> list[str]:
        return list(loaded(folder).subwords.pieces)

    before = pieces()
    write(folder, "zqzqzq", range(20, 50))
    (folder / "zqzqzq.txt.gz").replace(folder / "ccc.txt.gz")
    write(folder, "zqzqzq", range(10, 30))
    (folder / "zqzqzq.txt.gz").replace(folder / "ddd.txt.gz")
    assert pieces() == before
    write(folder, "zqzqzq", range(0, 40))
    (folder / "zqzqzq.txt.gz").replace(folder / "aaa.txt.gz")
    assert pieces() != before


def test_what_the_symbols_depend_on_is_in_the_digest(folder: Path, tmp_path: Path) -> None:
    digest = loaded(folder).digest
    assert loaded(folder, shots=1, query_shots=1).digest == digest
    for change in ({"vocabulary": 310}, {"longest": 39}, {"train_languages": ["aaa"]}):
        assert loaded(folder, **change).digest != digest
    repacked = tmp_path / "repacked"
    repacked.mkdir()
    for path in folder.iterdir():
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        (repacked / path.name.removesuffix(".gz")).write_bytes(text)
    assert loaded(repacked).digest == digest
    with (repacked / "ddd.txt").open("a") as file:
        file.write("One more.\tddd\n")
    assert loaded(repacked).digest != digest


def test_another_beam_is_another_problem_as_its_bleu_is_not_to_be_compared(
    folder: Path, empty_cache: Path
) -> None:
    greedy = loaded(folder).digest
    assert loaded(folder, beam=1).digest == greedy
    two, three, again = (loaded(folder, beam=beam).digest for beam in (2, 3, 3))
    assert three == again
    assert len({greedy, two, three}) == 3
    # The sentences are the same, and prepared once.
    assert len(list((empty_cache / "prepared").glob("*-about.npy"))) == 1


def test_what_is_prepared_is_kept_and_mapped(
    folder: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = loaded(folder)
    monkeypatch.setattr("episodes.translation.corpus.read_pairs", None)
    files = files_in(folder, LANGUAGES)
    corpus = open_corpus(files, LANGUAGES, 320, 40)
    assert isinstance(corpus.symbols, np.memmap)
    assert corpus.digest == first.digest
    assert len(list((empty_cache / "prepared").glob("translation-*.npy"))) == 3


def test_two_processes_prepare_the_same(folder: Path, start_python: Callable) -> None:
    code = (
        "import os, sys; os.environ['METASWEEP_CACHE'] = sys.argv[2]\n"
        "from episodes.translation.corpus import open_corpus\n"
        "from episodes.translation.sentence_files import files_in\n"
        f"languages = {LANGUAGES}\n"
        "found = open_corpus(files_in(sys.argv[1], languages), languages, 320, 40)\n"
        "print(found.digest, found.symbols.sum(), found.starts.tolist())"
    )
    processes = [start_python(code, folder, folder.parent / f"cache{n}") for n in range(2)]
    first, second = (process.communicate(timeout=100)[0] for process in processes)
    assert first == second != ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Yes.\tTak.\nNie ma żółwia.\tnic".encode("cp1250"), "line 2: is not UTF-8 (byte 0xbf)"),
        ("Yes.\tTak.".encode("utf-16"), "line 1: is not UTF-8 (byte 0xff)"),
        (b"Yes.\tTak.\n\nNo tab here\n", "line 3: 'No tab here' has no tab"),
        (b"Yes.\t \n", "line 1: 'Yes.\\\\t ' has nothing on one side of its tab"),
        (b"\n \n", "is empty: there should be a pair of sentences in each line"),
        (b"", "is empty"),
    ],
)
def test_a_bad_file_is_named_with_its_line(folder: Path, content: bytes, message: str) -> None:
    (folder / "bbb.txt").write_bytes(content)
    with pytest.raises(DataError) as error:
        loaded(folder)
    assert str(folder / "bbb.txt") in str(error.value)
    assert message.replace("\\\\", "\\") in str(error.value)


def test_a_damaged_archive_is_named(folder: Path) -> None:
    path = folder / "aaa.txt.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"aaa\.txt\.gz is damaged: cut short"):
        loaded(folder)
    path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"aaa\.txt\.gz is damaged"):
        loaded(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_languages": ["dddd"]}, r"test_languages: 'dddd': .* has no dddd\.txt .*mean ddd"),
        ({"test_languages": ["ddd", "aaa"]}, "'aaa' is in both; meta-learning is judged on new"),
        ({"train_languages": ["../aaa"]}, "must be the name of a file without its ending"),
        ({"shots": 20}, r"ddd of test has 20 English sentences .* shots \+ query_shots = 23"),
        ({"longest": 4}, "ddd of test has 0 English sentences that are short enough"),
        ({"folder": "/nowhere"}, "options.folder: /nowhere: there is no such folder"),
        ({"folder": "/tmp/" + "a" * 300}, "options.folder: /tmp/a+ cannot be looked for: File nam"),
        ({"vocabulary": 10}, "vocabulary: 10: must be a whole number, at least 300"),
    ],
)
def test_mistakes_are_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        loaded(**({"folder": folder} | changes))


def test_a_folder_that_may_not_be_read_is_named(folder: Path, monkeypatch) -> None:
    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(DataError, match=f"options.folder: {folder} cannot be read: Permission den"):
        loaded(folder)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file of sentence pairs"):
        loaded(tmp_path)


def test_without_the_files_of_tatoeba_it_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mt/tatoeba/pol\.txt\.gz is missing .*\n.*pol\.txt inst"):
        load("translation-tatoeba", shots=1, query_shots=1, data=tmp_path)


class Oracle:
    """Puts out the right English of every sentence that it knows."""

    def __init__(self, task: Translation, known: Examples):
        self.task = task
        self.english = {
            tuple(row[:40]): target
            for row, target in zip(
                known.inputs.flatten(0, 1).tolist(), known.targets.flatten(0, 1), strict=True
            )
        }

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        targets = torch.stack(
            [self.english[tuple(row[:40])] for row in inputs.flatten(0, 1).tolist()]
        )
        wanted = targets.clamp(min=0).view(*inputs.shape[:2], 40)
        return 9.0 * torch.nn.functional.one_hot(wanted, self.task.outputs)


@pytest.mark.parametrize("beam", [1, 3])
def test_measures_are_of_what_the_network_decodes(folder: Path, beam: int) -> None:
    task = loaded(folder, beam=beam)
    query = task.sample("test", 0, range(3)).query
    found = task.measure(Oracle(task, query), query)
    assert isinstance(task, Measures)
    assert list(found) == list(task.measures) == ["bleu", "chrf"]
    assert found["bleu"].tolist() == pytest.approx([100.0] * 3)
    other = Examples(query.inputs.roll(1, 0), query.targets)
    worse = task.measure(Oracle(task, query), other)
    assert worse["bleu"].shape == (3,)
    assert worse["chrf"].max() < 100


def test_decoding_does_not_look_at_the_english_half(folder: Path) -> None:
    task = loaded(folder)
    query = task.sample("test", 0, range(2)).query
    blank = query.inputs.clone()
    blank[..., 40:] = PADDING
    oracle = Oracle(task, query)
    english = [[pair[1] for pair in part] for part in task.sentences(query)]
    assert task.translate(oracle, blank) == task.translate(oracle, query.inputs) == english


def test_real_sentences(real: Callable[[str], Path], data_folder: Path, shared_cache: Path) -> None:
    real("mt")
    small = {"train_languages": ["lit", "slk"], "validation_languages": ["est"]}
    options = {**small, "test_languages": ["ron", "lvs"], "vocabulary": 600}
    task = load("translation-tatoeba", shots=5, query_shots=15, data=data_folder, options=options)
    every = {split: set().union(*sentences_of(task, split, 150)) for split in SPLITS}
    assert all(len(keys) > 400 for keys in every.values())
    assert not any(one & other for one, other in combinations(every.values(), 2))
    examples = task.sample("test", 0, range(20)).query
    texts = [text for part in task.sentences(examples) for text, _ in part]
    assert any("ț" in text or "ş" in text or "ș" in text for text in texts)
    assert not any("\ufffd" in text for text in texts)


@pytest.mark.parametrize("library", ["tokenizers", "sacrebleu"])
def test_a_missing_library_is_named(
    folder: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DataError, match=f"translation needs the package {library}: pip install"):
        loaded(folder)


def test_choosing_the_task_needs_neither_library(start_python: Callable) -> None:
    code = (
        "import sys\nsys.modules['tokenizers'] = sys.modules['sacrebleu'] = None\n"
        "from episodes import TASKS, load\nimport episodes.translation.distribution\n"
        "print(load('sinusoid', shots=1, query_shots=1).name, 'translation' in TASKS)"
    )
    assert start_python(code).communicate(timeout=60)[0] == "sinusoid True\n"
