from __future__ import annotations

import time
from pathlib import Path

import pytest

from search import tracking_client
from search.errors import FailedError
from search.masking import mask
from search.tracking_client import check, resolve_uri

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


class TestUri:
    def test_the_default_is_in_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert resolve_uri() == f"sqlite:///{tmp_path}/mlflow.db"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
        assert resolve_uri() == "http://host:5000"
        assert resolve_uri("sqlite:///other.db") == f"sqlite:///{tmp_path}/other.db"

    @pytest.mark.parametrize(
        "uri",
        ["http://u:p@host:5000", "sqlite:////abs/mlflow.db", "postgresql+psycopg2://u:p@host/db"],
    )
    def test_absolute_ones_are_left_alone(self, uri: str) -> None:
        assert resolve_uri(uri) == uri

    def test_a_folder_becomes_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert resolve_uri("mlruns") == f"file://{tmp_path}/mlruns"

    def test_mask_hides_the_password_as_written_and_decoded(self) -> None:
        uri = "postgresql://user:pass%2Fword@host/db"
        assert mask(uri, uri) == "postgresql://user:***@host/db"
        assert mask('password "pass/word" is wrong', uri) == 'password "***" is wrong'
        assert mask("http://user:u@host user", "http://user:u@host") == "http://user:***@host user"
        assert mask("no secret here", "http://host") == "no secret here"


class TestUnreachable:
    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("http://user:hunter2@127.0.0.1:9", "http://user:***@127.0.0.1:9: connection refused"),
            ("sqlite:////proc/none/mlflow.db", "/proc/none"),
            ("nosuch://host", "nosuch://host: "),
            ("postgresql+nodriver://user:hunter2@127.0.0.1:1/db", "user:***@127.0.0.1:1/db: "),
        ],
    )
    def test_fails_fast_and_says_what_to_do(self, uri: str, message: str) -> None:
        began = time.monotonic()
        with pytest.raises(FailedError) as caught:
            check(uri)
        assert time.monotonic() - began < 10
        assert message in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 2

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("not a database\n" * 100)
        with pytest.raises(FailedError, match=r"notes\.txt: file is not a database\nGive a"):
            check(f"sqlite:///{tmp_path}/notes.txt")

    def test_retries_are_as_before_after_a_check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
        with pytest.raises(FailedError):
            check("http://127.0.0.1:9")
        assert tracking_client.os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "4"
