"""Of which trials pictures are drawn."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from search import pictures


@pytest.mark.parametrize(("confirmed", "drawn"), [(0, 1), (1, 1), (2, 2), (9, 3)])
def test_the_best_are_drawn_even_where_none_is_confirmed(
    confirmed: int, drawn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [tmp_path / f"trial-{number}" for number in range(3)]
    for path in trials:
        path.mkdir()
    monkeypatch.setattr(
        pictures,
        "RunFile",
        lambda path, uri: SimpleNamespace(read=lambda: SimpleNamespace(id=f"run of {path.name}")),
    )
    monkeypatch.setattr(pictures, "_draw", lambda trial, data, results: iter([results / "0.png"]))
    record = SimpleNamespace(spec={"confirmation": {"best": confirmed}}, data=None)
    folder = SimpleNamespace(read=lambda: record, trials=tmp_path)
    ranked = [f"run of trial-{number}" for number in (2, 0, 1)]
    files = pictures.draw_best(folder, pd.DataFrame({"run_id": ranked}), "", tmp_path)  # type: ignore[arg-type]
    assert list(files) == ranked[:drawn]
    assert files[ranked[0]] == [tmp_path / "trial-2" / "0.png"]


def test_a_picture_that_fails_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "trial-000").mkdir()
    run = SimpleNamespace(read=lambda: SimpleNamespace(id="run"))
    monkeypatch.setattr(pictures, "RunFile", lambda path, uri: run)
    monkeypatch.setattr(pictures, "_draw", lambda trial, data, results: iter(1 / 0))
    record = SimpleNamespace(spec={"confirmation": {"best": 1}}, data=None)
    folder = SimpleNamespace(read=lambda: record, trials=tmp_path)
    board = pd.DataFrame({"run_id": ["run"]})
    assert pictures.draw_best(folder, board, "", tmp_path) == {}  # type: ignore[arg-type]
    assert "no pictures of trial-000" in caplog.text
    assert "ZeroDivisionError" in caplog.text

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures, "_draw", full)
    with pytest.raises(OSError, match="No space"):
        pictures.draw_best(folder, board, "", tmp_path)  # type: ignore[arg-type]
