"""Faults of stores: the MLflow server is away, slow or broken; PostgreSQL is started again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli import run_ids, wait_until
from tests.faults.audit import Audit, audit
from tests.faults.order import metrics, out_of_order
from tests.faults.setting import NAME, Setting, spec
from tests.http_proxy import LOOPBACK, Proxy, proxy
from tests.servers import Postgres, empty_store, mlflow_server, postgres

TRIALS = 4
LONG = 6_000
"""Episodes of a trial that seals at four rungs on its way."""


@contextmanager
def store(setting: Setting) -> Iterator[Proxy]:
    """Run an MLflow server on SQLite, and a proxy in front of it that the search is told of."""
    folder = setting.folder / "server"
    folder.mkdir(parents=True)
    backend = f"sqlite:///{empty_store(folder / 'backend.db')}"
    with mlflow_server(folder, backend, folder / "artifacts") as server, proxy(server.url) as front:
        setting.environment["MLFLOW_TRACKING_URI"] = front.url
        setting.tracking_uri = server.url
        yield front


def mlflow_down(setting: Setting) -> Audit:
    """The MLflow server refuses connections for a minute."""
    return _away(setting, lambda front: front.down(), 60.0 if setting.full else 0.0)


def mlflow_slow(setting: Setting) -> Audit:
    """The MLflow server takes 2 seconds for every call."""
    return _away(setting, lambda front: front.slow(2.0))


def mlflow_broken(setting: Setting) -> Audit:
    """The MLflow server answers 500 to everything."""
    return _away(setting, lambda front: front.error(500))


def mlflow_in_trouble(setting: Setting) -> Audit:
    """The MLflow server's answers are lost; then come 500s, 2 seconds a call, and no connection."""
    with store(setting) as front:
        setting.write(spec(TRIALS, 2))
        with setting.started(*setting.search()) as driver:
            setting.wait_sealed(0, 1)
            _go_through_troubles(setting, front)
            _wait_complete(setting, 1)
            front.pass_on()
            output, _ = driver.communicate(timeout=240)
        return _audited(setting, driver.returncode, output)


def _go_through_troubles(setting: Setting, front: Proxy) -> None:
    troubles = (front.lose_answers, lambda: front.error(500), lambda: front.slow(2.0), front.down)
    for trouble in troubles:
        trouble()
        _wait_for_more(setting)


def _away(setting: Setting, fail: Callable[[Proxy], None], seconds: float = 0.0) -> Audit:
    """Let trials run to their ends while the store does not work, then let it work again.

    seconds: for which it does not work at the least.
    """
    with store(setting) as front:
        setting.write(spec(TRIALS, 2))
        with setting.started(*setting.search()) as driver:
            setting.wait_sealed(0, 1)
            fail(front)
            failing_since = time.monotonic()
            _wait_complete(setting, 2)
            time.sleep(max(0.0, seconds + failing_since - time.monotonic()))
            front.pass_on()
            output, _ = driver.communicate(timeout=240)
        return _audited(setting, driver.returncode, output)


def _audited(setting: Setting, code: int, output: str) -> Audit:
    found = audit(setting.left, TRIALS, repeat=(0,))
    found.expect(code == 0, output[-2000:])
    found.expect(f"metasweep leaderboard {NAME}" in output, "no leaderboard")
    _audit_order(found, setting)
    return found


def mlflow_never_back(setting: Setting) -> Audit:
    """The MLflow server goes and stays away: the table on disk is whole, and `sync` sends it."""
    with store(setting) as front:
        setting.write(spec(2, 2))
        with setting.started(*setting.search(), METASWEEP_STORE_PATIENCE="1") as driver:
            setting.wait_sealed(0, 1)
            front.down()
            output, _ = driver.communicate(timeout=240)
        return _sent_later(setting, front, 2, driver.returncode, output)


def mlflow_in_trouble_and_gone(setting: Setting) -> Audit:
    """All of the trouble, some calls that come through, and then none any more until `sync`."""
    with store(setting) as front:
        setting.write(spec(TRIALS, 2, budget={"episodes": LONG}))
        with setting.started(*setting.search(), METASWEEP_STORE_PATIENCE="1") as driver:
            setting.wait_sealed(0, 1)
            _go_through_troubles(setting, front)
            before = metrics(_backend(setting))
            front.pass_on()
            wait_until(lambda: metrics(_backend(setting)) > before, 60, "episodes that arrive")
            front.down()
            output, _ = driver.communicate(timeout=240)
        return _sent_later(setting, front, TRIALS, driver.returncode, output)


def _sent_later(setting: Setting, front: Proxy, trials: int, code: int, output: str) -> Audit:
    """Audit a search whose store was away at its end, and that `sync` sends."""
    found = Audit()
    found.expect(code == 1, output[-2000:])
    found.expect(f"metasweep sync {NAME}" in output, output[-2000:])
    found.expect("Traceback" not in output, output[-2000:])
    refused = setting.run("sync", NAME)
    found.expect(refused.code == 1 and "refused" in refused.output, refused.output)
    front.pass_on()
    done = setting.run("sync", NAME)
    found.expect(done.code == 0, done.output)
    again = setting.run("sync", NAME)
    found.expect("nothing was missing" in again.output, again.output)
    board = setting.run("leaderboard", NAME)
    found.expect(board.code == 0, board.output)
    after = audit(setting.left, trials, repeat=(0,))
    after.wrong += found.wrong
    _audit_order(after, setting)
    return after


def postgres_restarted(setting: Setting) -> Audit:
    """PostgreSQL, which holds the study and MLflow's records, crashes in mid-search and is back.

    Trials go on meanwhile: the step that a trial is at may seal once, but not twice.
    """
    restarts = 3 if setting.full else 1
    trials = max(TRIALS, 2 * restarts)
    with cluster_stores(setting) as database:
        setting.write(spec(trials, 2, budget={"episodes": LONG}))
        with setting.started(*setting.search()) as driver:
            for number in range(0, 2 * restarts, 2):
                setting.wait_sealed(number, 1)
                crash(setting, database, number)
            output, _ = driver.communicate(timeout=240)
        found = audit(setting.left, trials, repeat=(0,))
        found.expect(driver.returncode == 0, output[-2000:])
        told_of_crashes(found, database, restarts, output)
    return found


def crash(setting: Setting, database: Postgres, number: int) -> None:
    """Crash PostgreSQL, and start it again once a trial has gone on meanwhile."""
    database.stop(crash=True)
    sealed = setting.shards(number)
    back_at = time.monotonic() + setting.rng.uniform(1.0, 5.0)
    setting.wait_sealed(number, sealed + 2)
    time.sleep(max(0.0, back_at - time.monotonic()))
    database.start()


def told_of_crashes(found: Audit, database: Postgres, crashes: int, output: str) -> None:
    """Expect that a driver told of each, and nothing that is secret."""
    for told in ("is away", "is back after"):
        count = output.count(f" {told}")
        found.expect(count == crashes, f"told {count} times that the study {told}")
    found.expect(database.password not in output, "a password was printed")


@contextmanager
def cluster_stores(setting: Setting, host: str = LOOPBACK) -> Iterator[Postgres]:
    """Run PostgreSQL with a database for the study and one behind an MLflow server."""
    folder = setting.folder / "server"
    with postgres(folder, host=host) as database:
        study, backend = database.create_database("optuna"), database.create_database("mlflow")
        with mlflow_server(folder, backend, folder / "artifacts", host=host) as server:
            setting.environment["MLFLOW_TRACKING_URI"] = setting.tracking_uri = server.url
            setting.environment["METASWEEP_STUDY_URL"] = setting.study_url = study
            yield database


def _wait_for_more(setting: Setting) -> None:
    """Wait until episodes were sealed twice more."""
    before = _sealed(setting)
    wait_until(lambda: _sealed(setting) > before + 1, 120, "trials that go on")


def _sealed(setting: Setting) -> int:
    """Return how often the trials have sealed episodes, all together."""
    return len(list((setting.left.folder / "trials").glob("*/episodes/*.parquet")))


def _wait_complete(setting: Setting, trials: int) -> None:
    """Wait until so many trials are COMPLETE, of which the study is asked: 50 ms of a processor."""

    def are_complete() -> bool:
        states = [trial.state.name for trial in setting.left.trials()]
        return states.count("COMPLETE") >= trials

    wait_until(are_complete, 120, f"{trials} trials that end without the store", every=0.5)


def _audit_order(found: Audit, setting: Setting) -> None:
    """Look into the server's database whether episodes came in order."""
    for run in run_ids(setting.left.folder).values():
        found.wrong += out_of_order(_backend(setting), run)


def _backend(setting: Setting) -> Path:
    return setting.folder / "server" / "backend.db"
