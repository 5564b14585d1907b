"""Two trials compared on the same episodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search.comparison import chosen, compared, gain, over_seeds
from search.config import Config
from search.errors import FailedError, UserError
from search.records import interval
from search.snapshot import Snapshot
from search.tracking import Tracker
from search.tracking_reader import Reader
from search.trial_folder import TrialFolder
from tests.cli import call
from tests.search.conftest import MakeRecords

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

BOARD = pd.DataFrame(
    {
        "algorithm": ["fomaml", "scratch", "fomaml"],
        "run_id": ["abcd1", "abce2", "ffff3"],
        "published": [False, True, True],
    }
)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("1", "abcd1"),
        ("3", "ffff3"),
        ("fomaml", "abcd1"),
        ("scratch", "abce2"),
        ("abce", "abce2"),
        ("published", "abce2"),
    ],
)
def test_a_trial_is_named_by_rank_algorithm_or_run(name: str, run: str) -> None:
    assert chosen(BOARD, name)["run_id"] == run


@pytest.mark.parametrize("name", ["4", "0", "maml", "abc", "zzzz"])
def test_what_names_none_is_told_what_does(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"{name}: names no row of .* from 1 to 3, an .*fomaml, scratch"
    ):
        chosen(BOARD, name)


def test_differences_are_taken_episode_by_episode() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.normal(size=200)
    gap = 0.5 + 0.1 * rng.normal(size=200)
    table = {
        "one": pd.Series(hardness, index=range(200)),
        # In another order, and with an episode that the first lacks.
        "other": pd.Series([*(hardness + gap)[::-1], 9.0], index=[*range(199, -1, -1), 200]),
    }
    [found] = compared("one", "other", ["query_loss"], lambda run, metric: table[run])
    assert vars(found.difference) == pytest.approx(vars(interval(-gap)))
    assert found.one == pytest.approx(hardness.mean())
    assert found.difference.n == 200
    assert (found.only_one, found.only_other) == (0, 1)
    assert found.better == int((gap > 0).sum())
    width = found.difference.ci95_high - found.difference.ci95_low
    alone = interval(hardness)
    assert width < 0.2 * (alone.ci95_high - alone.ci95_low)
    [higher] = compared("one", "other", ["query_bleu"], lambda run, metric: table[run])
    assert higher.better == int((gap < 0).sum())


def test_too_few_common_episodes_are_named() -> None:
    table = {"one": pd.Series([1.0], index=[0]), "other": pd.Series([1.0], index=[1])}
    with pytest.raises(FailedError, match="query_loss: the trials have 0 meta-test episodes in"):
        compared("one", "other", ["query_loss"], lambda run, metric: table[run])


def test_the_command_compares_what_was_recorded(
    config: Config, make_records: MakeRecords, snapshot: Snapshot, tracking_uri: str, tmp_path: Path
) -> None:
    tracker = Tracker(tracking_uri, tmp_path / "artifacts")
    search = tracker.start_search(config.problem, "first", {}, seed=0)
    for number, shift in enumerate((0.0, 0.25)):
        run_id = tracker.start_trial(
            config,
            "trial",
            number,
            search_name="first",
            search_run_id=search,
            published=number == 1,
        )
        folder = TrialFolder(tmp_path / run_id)
        records = make_records("test", range(8), 900)
        records.loss_after[:] += shift
        measured = replace(records, measures={"bleu": 10.0 - 4 * records.loss_after})
        folder.add([measured])
        folder.seal(snapshot, config)
        assert tracker.publish(run_id, folder, config)
        tracker.finish_trial(run_id, "COMPLETE", "", {"validation_mean": shift, "episodes": 900})
    assert Reader(tracking_uri).test_metrics(run_id) == ["query_bleu", "query_loss"]
    done = call("compare", "first", "1", "2", f"--tracking-uri={tracking_uri}", folder=tmp_path)
    assert done.code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    loss, bleu = (words for words in lines if words and words[0].startswith("query_"))
    assert loss[:1] + loss[3:] == ["query_loss", "-0.25", "-0.25", "to", "-0.25", "8/8"]
    assert bleu[:1] + bleu[3:] == ["query_bleu", "1", "1", "to", "1", "8/8"]
    store = f"--tracking-uri={tracking_uri}"
    again = call("compare", "first", "1", "published", store, folder=tmp_path)
    assert again.output == done.output
    told = call("leaderboard", "first", "--top=1", store, folder=tmp_path).output
    assert [line.split()[:2] for line in told.splitlines() if "maml" in line] == [
        ["1", "maml"],
        ["2", "maml°"],
    ]
    assert (
        "Rank 1 has a query_loss lower by 0.25 (95 %: 0.25 to 0.25) than the best published "
        "default, rank 2, on the same 8 meta-test episodes:  metasweep compare first 1 published"
    ) in told
    wrong = call("compare", "first", "1", "7", f"--tracking-uri={tracking_uri}", folder=tmp_path)
    assert wrong.code == 2
    assert "7: names no row of the leaderboard: give a rank from 1 to 2" in wrong.errors


NOISE = np.random.default_rng(0).normal(size=100)
FAR = pd.Series(0.7 + 0.05 * NOISE)


def board(published: int | None, metric: str = "query_loss") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rank": [1, 7],
            "algorithm": ["anil", "maml"],
            "run_id": ["best", "default"],
            "metric": metric,
            "published": [published == 1, published == 7],
            "episodes": [900, 900 if metric == "query_loss" else 100],
        }
    )


@pytest.mark.parametrize(
    ("found", "values", "said"),
    [
        (board(None), {}, ""),
        (board(1), {}, "The best is the published default of anil."),
        (
            board(7),
            {"best": FAR - 0.4, "default": FAR},
            "Rank 1 has a query_loss lower by 0.4 (95 %: 0.4 to 0.4) than the best published "
            "default, rank 7, on the same 100 meta-test episodes:  metasweep compare s 1 published",
        ),
        (
            board(7, "query_accuracy"),
            {"best": pd.Series([0.4, 0.6] * 50), "default": pd.Series([0.3] * 100)},
            # The standard error is 0.01005, and 99 degrees of freedom are as good as normal.
            "Rank 1 has a query_accuracy higher by 20 percentage points (95 %: 18 to 22) than",
        ),
        (
            board(7, "query_accuracy"),
            {"best": pd.Series([0.4, 0.6] * 50), "default": pd.Series([0.51] * 100)},
            "Rank 1 has a query_accuracy lower by 1 percentage points (95 %: -0.97 to 2.97, no "
            "clear difference) than",
        ),
    ],
)
def test_the_gain_over_what_is_published_is_told(
    found: pd.DataFrame, values: dict[str, pd.Series], said: str
) -> None:
    told = gain(found, "s", lambda run, metric: values[run])
    assert told.startswith(said)
    unequal = ", after 900 training episodes against 100:  metasweep"
    assert (unequal in told) == (said.endswith("than"))


def test_the_gain_over_what_does_not_meta_learn_is_told() -> None:
    found = pd.DataFrame(
        {
            "rank": [1, 2, 5, 6],
            "algorithm": ["reptile", "pretrain", "scratch", "scratch"],
            "run_id": ["best", "joint", "alone", "worse"],
            "metric": "query_loss",
            "published": [False, True, False, False],
            "episodes": 900,
        }
    )
    noise = pd.Series(0.01 * NOISE)
    values = {"best": noise, "joint": noise + 0.25 + 0.001 * NOISE, "alone": FAR, "worse": FAR + 1}
    lines = gain(found, "s", lambda run, metric: values[run]).splitlines()
    of = ["the best published default, which is also the best of pretrain, rank 2"]
    of.append("the best of scratch, rank 5")
    assert [line.partition(" than ")[2].partition(", on the")[0] for line in lines] == of
    assert [line.rpartition(" ")[2] for line in lines] == ["published", "scratch"]
    assert lines[0].startswith("Rank 1 has a query_loss lower by 0.25 (95 %: 0.25 to 0.25) than")
    # The best itself is one of them.
    without = found.iloc[1:].assign(rank=[1, 2, 3])
    [published, baseline, alone] = gain(without, "s", lambda run, _: values[run]).splitlines()
    assert published == "The best is the published default of pretrain."
    assert baseline == "The best is pretrain, which does not meta-learn."
    assert "than the best of scratch, rank 2, on" in alone
    # The episodes of one were not sent.
    values["alone"] = pd.Series(dtype=float)
    [only] = gain(found, "s", lambda run, metric: values[run]).splitlines()
    assert only == lines[0]


def test_a_confirmed_trial_is_compared_by_its_fresh_seeds() -> None:
    frame = pd.DataFrame(
        {
            "run_id": ["trial", "other", "first", "second", "broken", "diverged"],
            "kind": ["trial", "trial", *["confirmation"] * 4],
            "state": [*["COMPLETE"] * 4, "FAIL", "COMPLETE"],
            "of_run": ["", "", *["trial"] * 4],
            "test_mean": [0.0, 9.0, 2.0, 4.0, np.nan, np.inf],
        }
    )
    recorded = {
        "other": pd.Series([9.0, 9.0], index=[0, 1]),
        "first": pd.Series([1.0, 3.0], index=[0, 1]),
        "second": pd.Series([3.0, 5.0, 7.0], index=[1, 0, 2]),
    }
    values = over_seeds(frame, lambda runs, metric: [recorded[run] for run in runs])
    assert values("other", "query_loss").to_dict() == {0: 9.0, 1: 9.0}
    # The second seed's third episode has no counterpart.
    assert values("trial", "query_loss").to_dict() == {0: 3.0, 1: 3.0}
