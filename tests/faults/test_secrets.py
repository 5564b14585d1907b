"""No token and no password is written anywhere by a real search, or told by an error."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from search.errors import UserError
from search.study_database import StudyDatabase
from tests.cli import SMALL, Done, free_port, page, run, session_members, started, wait_until
from tests.servers import mlflow_server, postgres

HTTP = "http-c4n@ry/1:%x"
DATABASE = "pg-c4n@ry/2:%y"
WRONG = "wr0ng-c4n@ry/3"
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "t0ken-c4nary-" + "4" * 32,
    "AWS_SECRET_ACCESS_KEY": "aws-c4nary-5",
    "AWS_SESSION_TOKEN": "aws-c4nary-6",
    "MLFLOW_TRACKING_USERNAME": "user",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-c4nary-7",
    "PGPASSWORD": DATABASE,
}
SEARCH = ("search", "sinusoid", "--trials=2", "--episodes=50", "--set=confirmation.best=1", *SMALL)


def forms(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), quote(secret)}


CANARIES = {
    form
    for secret in (HTTP, DATABASE, WRONG, *ENVIRONMENT.values())
    if "c4n" in secret
    for form in forms(secret)
}


def leaks(folder: Path) -> list[str]:
    """Return every file below a folder that holds a secret, with the secret."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [
        f"{file}: {canary}"
        for file in files
        for canary in CANARIES
        if canary.encode() in file.read_bytes()
    ]


def told(done: Done) -> list[str]:
    return [canary for canary in CANARIES if canary in done.output]


@dataclass
class Place:
    """A folder to search from, one for what Ray writes of it, and all that was said."""

    folder: Path
    ray: Path
    environment: Mapping[str, str]
    said: list[Done] = field(default_factory=list)

    def run(self, *arguments: str, **environment: str) -> Done:
        done = run(*arguments, folder=self.folder, environment={**self.environment, **environment})
        self.said.append(done)
        return done


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    # Ray's sockets lie in it: their paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, ray_folder: Path) -> Iterator[Place]:
    """A finished search whose MLflow server is reached with a password in its address."""
    root = tmp_path_factory.mktemp("secrets")
    (root / "search").mkdir()
    database = f"sqlite:///{root / 'mlflow.db'}"
    with mlflow_server(root / "server", database, root / "artifacts") as server:
        address = f"http://user:{quote(HTTP, safe='')}@127.0.0.1:{server.port}"
        environment = {**ENVIRONMENT, "MLFLOW_TRACKING_URI": address, "RAY_TMPDIR": str(ray_folder)}
        place = Place(root / "search", ray_folder, environment)
        done = place.run(*SEARCH, "--name=first")
        assert done.code == 0, done.output
        for command in (["leaderboard", "first"], ["export", "first"], ["ui"], ["doctor"]):
            place.run(*command)
        place.run("resume", "first")
        yield place


def test_a_search_writes_none_down_and_tells_none(searched: Place) -> None:
    root = searched.folder.parent
    assert leaks(root) == []
    assert [canary for done in searched.said for canary in told(done)] == []
    # What was looked through is what there should be.
    search = searched.folder / "metasweep-store" / "first"
    assert "http://user:***@127.0.0.1" in (search / "search.json").read_text()
    written = {path.name for path in root.rglob("*")}
    assert written >= {"mlflow.db", "spec.yaml", "config.json", "best.yaml", "study.db"}


def test_ray_is_given_none_to_write_down(searched: Place) -> None:
    assert leaks(searched.ray) == []


def test_a_server_that_is_down_is_named_without(searched: Place) -> None:
    uri = f"http://user:{quote(WRONG, safe='')}@127.0.0.1:{free_port()}"
    done = searched.run(*SEARCH, "--name=down", f"--tracking-uri={uri}")
    assert done.code == 1
    assert "error tracking URI http://user:***@127.0.0.1:" in done.output
    assert told(done) == []


@pytest.mark.parametrize(
    "value",
    [
        "[postgresql://u:{}@h/x]",
        "{{a: postgresql://u:{}@h/x}}",
        "postgresql://u:{}@h/x: y",
        "!!str [postgresql://u:{}@h/x]",
        "nosuch://u:{}@h/x",
    ],
)
def test_a_study_address_that_is_wrong_is_told_without(searched: Place, value: str) -> None:
    given = "--set=study_url=" + value.format(quote(WRONG, safe=""))
    done = searched.run("search", "sinusoid", "--dry-run", given)
    assert done.code == (0 if value.startswith("nosuch") else 2)
    assert told(done) == []


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_databases_with_passwords_leave_none_behind(tmp_path: Path, ray_folder: Path) -> None:
    with postgres(tmp_path / "server", password=DATABASE) as server:
        study, tracking = server.create_database("study"), server.create_database("tracking")
        (tmp_path / "search").mkdir()
        environment = {**ENVIRONMENT, "RAY_TMPDIR": str(ray_folder)}
        place = Place(tmp_path / "search", ray_folder, environment)
        tracked, studied = f"--tracking-uri={tracking}", f"--set=study_url={study}"
        alone = ("--trials=1", "--set=confirmation.best=0")
        done = place.run(*SEARCH, *alone, tracked, studied)
        assert done.code == 0, done.output
        right, wrong = quote(DATABASE, safe=""), quote(WRONG, safe="")
        refused = [
            place.run(*SEARCH, tracked.replace(right, wrong)),
            place.run(*SEARCH, tracked.replace(str(server.port), str(free_port()))),
        ]
        assert [done.code for done in refused] == [1, 1]
        for url in (
            study.replace(right, wrong),
            study.replace(str(server.port), str(free_port())),
            f"no-such://user:{wrong}@host/study",
            f"user:{wrong}@host/study",
        ):
            with pytest.raises(UserError, match="cannot open the Optuna database") as error:
                StudyDatabase("study", url, "minimize")
            place.said.append(Done(2, str(error.value)))
        lines = command_lines(place, tracking)
        assert [canary for canary in CANARIES if canary in lines] == []
        written = tmp_path / "rows"
        written.write_text("\n".join([*rows(study), *rows(tracking)]))
    assert "metasweep.search" in written.read_text()
    assert leaks(written.parent) == []
    assert [canary for done in place.said for canary in told(done)] == []


def command_lines(place: Place, tracking: str) -> str:
    """Return the command lines, which all users can read, of `metasweep ui` on a database."""
    port = free_port()
    arguments = ("ui", f"--port={port}")
    environment = {**place.environment, "MLFLOW_TRACKING_URI": tracking}
    with started(*arguments, folder=place.folder, environment=environment) as ui:
        address = f"http://127.0.0.1:{port}/health"
        wait_until(lambda: page(address) is not None, 100, "the UI answers")
        lines = []
        for pid in session_members(ui):
            with contextlib.suppress(OSError):  # It may have ended.
                lines.append(Path(f"/proc/{pid}/cmdline").read_text())
    assert any("mlflow" in line for line in lines)
    return "\n".join(lines)


def rows(url: str) -> Iterator[str]:
    """Yield every row of every table of a database."""
    import psycopg
    from psycopg.sql import SQL, Identifier

    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        for (table,) in connection.execute(tables).fetchall():
            query = SQL("SELECT * FROM {}").format(Identifier(table))
            for row in connection.execute(query).fetchall():
                yield f"{table}: {row!r}"
