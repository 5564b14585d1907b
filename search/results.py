"""What a search leaves behind at its end: leaderboard, best configuration, plots and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from search import export
from search.errors import FailedError, UserError
from search.leaderboard import choose_problem, leaderboard, split_name
from search.leaderboard_format import to_csv
from search.pictures import draw_best
from search.plots import write_plots
from search.search_folder import SearchFolder
from search.study import SearchStudy
from search.tracking import Tracker
from search.tracking_reader import Reader


def board_of(reader: Reader, name: str, top: int | None = None) -> pd.DataFrame:
    """Return the leaderboard of a search, or of a problem with all its searches."""
    bare, prefix = split_name(name)
    frame = reader.trials(bare)
    problem_hash = choose_problem(frame, bare, prefix)
    return leaderboard(frame, problem_hash, reader.test_values_of, top)


def exported(reader: Reader, name: str, rank: int) -> dict[str, Any]:
    """Return what `best.yaml` says of the configuration at a rank.

    Raises UserError when the leaderboard is shorter.
    """
    board = board_of(reader, name, rank)
    if rank > len(board):
        raise UserError(f"--rank: {rank}: {name} has {len(board)} finished trials")
    return _document(reader, board.iloc[rank - 1])


def _document(reader: Reader, row: pd.Series) -> dict[str, Any]:
    entry = {str(key): value for key, value in row.items()}
    run_id = entry["run_id"]
    return export.document(reader.config(run_id), entry, reader.provenance(run_id))


def write_results(folder: SearchFolder, run_id: str, study: SearchStudy, tracker: Tracker) -> None:
    """Write the results into the search's folder and close its parent run with them.

    Raises FailedError when no trial has finished; the parent run is then closed as failed.
    """
    reader = Reader(tracker.uri)
    try:
        board = board_of(reader, folder.name)
    except FailedError:
        tracker.finish_search(run_id, "FAIL")
        raise
    results: Path = folder.results
    results.mkdir(parents=True, exist_ok=True)
    (results / "leaderboard.csv").write_text(to_csv(board))
    best = board.iloc[0]
    export.write(results / "best.yaml", _document(reader, best))
    write_plots(results / "plots", study.study, best["metric"], reader.episodes(best["run_id"]))
    drawn = draw_best(folder, board, tracker.uri, results / "pictures")
    for trial_run_id, files in drawn.items():
        tracker.log_files(trial_run_id, files, "pictures")
    tracker.finish_search(run_id, "COMPLETE", results)
