"""Every command: its help, what it prints without running anything, and what it refuses."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest
import yaml

from tests.cli import INSTALLED, PYTHON_M, Done, call, free_port, run

URI = "MLFLOW_TRACKING_URI"
OPTIONS = {
    "search": "--name --trials --episodes --time-limit --concurrency --seed --set --dry-run "
    "--tracking-uri --storage --data",
    "resume": "--time-limit --tracking-uri --storage --data --address --follow --spec",
    "submit": "--address --follow --name --trials --episodes --time-limit --concurrency --seed "
    "--set --tracking-uri --storage --data",
    "status": "--address --follow",
    "stop": "--address",
    "leaderboard": "--top --failed --format --output --tracking-uri",
    "export": "--rank --output --tracking-uri",
    "train": "--seeds --episodes --tracking-uri --storage --data",
    "evaluate": "--episodes --data",
    "ui": "--port --tracking-uri",
    "list": "",
    "doctor": "--tracking-uri --storage --data",
}
SPEC = """
name: mine
problem: {task: sinusoid, shots: 5, query_shots: 5}
algorithms: [maml, anil]
networks: [mlp]
budget: {trials: 4, episodes: 300}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow store with nothing in it; making one takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    assert call("doctor", folder=folder, environment={URI: uri}).code == 0
    return uri


def assert_refused(done: Done, *texts: str, code: int = 2) -> None:
    """Check that a command ended with one message that holds all texts, and how it ended."""
    assert done.code == code, done.output
    assert "Traceback" not in done.output
    assert done.errors.startswith("error ")
    assert len(done.errors.splitlines()) <= 3
    for text in texts:
        assert text in done.errors


class TestHelp:
    @pytest.mark.parametrize("command", [INSTALLED, PYTHON_M])
    def test_of_the_whole_names_every_command(
        self, command: tuple[str, ...], tmp_path: Path
    ) -> None:
        done = run("--help", folder=tmp_path, command=command)
        assert done.code == 0
        for name in OPTIONS:
            assert re.search(rf"^\W*{name} +[A-Z]\w+", done.output, re.MULTILINE), name

    @pytest.mark.parametrize("name", OPTIONS)
    def test_of_a_command_explains_its_options(self, name: str, tmp_path: Path) -> None:
        done = call(name, "--help", folder=tmp_path)
        assert done.code == 0
        assert f" {name} [OPTIONS]" in done.output
        shown = set(re.findall(r"(--[a-z-]+)\b.*\w", done.output))
        assert set(OPTIONS[name].split()) <= shown

    def test_without_a_command_is_shown(self, tmp_path: Path) -> None:
        done = call(folder=tmp_path)
        assert done.code == 2
        assert "COMMAND [ARGS]" in done.output

    def test_is_pointed_to_after_a_wrong_command_or_option(self, tmp_path: Path) -> None:
        for arguments in (["serach"], ["list", "--al"], ["export"], ["train", "x", "--seeds=0"]):
            done = call(*arguments, folder=tmp_path)
            assert done.code == 2
            assert re.search(r"Try '.* -h' for help", done.output)


class TestDryRun:
    def test_prints_a_specification_and_three_samples_and_leaves_nothing(
        self, tmp_path: Path
    ) -> None:
        done = call("search", "sinusoid", "--dry-run", folder=tmp_path)
        assert done.code == 0
        assert list(tmp_path.iterdir()) == []
        resolved, *samples = re.split(r"^# sample \d\n", done.output, flags=re.MULTILINE)
        assert len(samples) == 3
        for text in samples:
            sample = yaml.safe_load(text)
            assert set(sample) == {"algorithm", "hyper", "network", "settings"}
            assert sample["hyper"]["inner_lr"] > 0
        assert yaml.safe_load(resolved)["budget"]["trials"] >= 24

    def test_prints_what_is_a_specification_itself(self, tmp_path: Path) -> None:
        first = call("search", "sinusoid", "--seed=3", "--dry-run", folder=tmp_path)
        resolved = first.output.partition("# sample 1")[0]
        (tmp_path / "again.yaml").write_text(resolved)
        again = call("search", "again.yaml", "--dry-run", folder=tmp_path)
        assert again.output == first.output

    def test_takes_every_option(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text(SPEC)
        options = "--name=a --trials=5 --episodes=90 --time-limit=1h30m --concurrency=3 --seed=7"
        changes = ["--set", "confirmation.best=1", "--set", "space.mlp/width={low: 8, high: 16}"]
        arguments = ["search", "mine.yaml", *options.split(), *changes, "--dry-run"]
        done = call(*arguments, folder=tmp_path)
        assert done.code == 0, done.output
        resolved = yaml.safe_load(done.output.partition("# sample 1")[0])
        assert resolved["name"] == "a"
        assert resolved["budget"] | {"first_rung": 10} == {
            "trials": 5,
            "episodes": 90,
            "first_rung": 10,
            "reduction_factor": 3,
            "time_limit": 5400.0,
            "trial_timeout": 3600.0,
        }
        assert (resolved["concurrency"], resolved["seed"]) == (3, 7)
        assert resolved["confirmation"]["best"] == 1
        assert resolved["space"]["mlp/width"] == {"low": 8, "high": 16, "log": False}

    def test_loads_real_data_when_they_are_there(self, data_folder: Path, tmp_path: Path) -> None:
        arguments = ["search", "omniglot-5way-1shot", "--dry-run", f"--data={data_folder}"]
        done = call(*arguments, folder=tmp_path)
        assert done.code == 0, done.output
        assert done.output.count("# sample ") == 3
        assert "problem omniglot-5way-1shot, hash " in done.output

    def test_downloads_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "cache").mkdir()
        (tmp_path / "here").mkdir()
        arguments = ["search", "omniglot-5way-1shot", "--dry-run"]
        environment = {"METASWEEP_CACHE": str(tmp_path / "cache")}
        done = call(*arguments, folder=tmp_path / "here", environment=environment)
        assert done.code == 0
        assert "the search downloads them first" in done.output
        assert list((tmp_path / "cache").iterdir()) == []


class TestSpecification:
    @pytest.mark.parametrize(
        ("changes", "texts"),
        [
            (["--set", "budget.trails=3"], ["budget.trails", "unknown key", "trials?"]),
            (["--set", "algoritms=[maml]"], ["algoritms", "unknown key", "algorithms?"]),
            (["--set", "algorithms=[mmaml]"], ["algorithms", "'mmaml'", "maml?"]),
            (["--set", "networks=[mlpp]"], ["networks", "'mlpp'", "mlp?"]),
            (["--set", "problem.task=sinus"], ["problem.task", "'sinus'", "sinusoid?"]),
            (["--set", "space.maml/inner_rate=1"], ["maml/inner_rate", "unknown parameter"]),
            (
                ["--set", "space.maml/inner_lr={low: 0.5, high: 0.1}"],
                ["space.maml/inner_lr", "low 0.5, high 0.1", "low must not be above high"],
            ),
            (["--set", "space.maml/inner_lr=[]"], ["space.maml/inner_lr", "at least one option"]),
            (["--set", "space.maml/inner_lr={low: 0.5}"], ["space.maml/inner_lr", "low and high"]),
            (["--set", "budget"], ["--set", "'budget'", "KEY=VALUE"]),
            (["--trials", "0"], ["budget.trials", "0", "at least 1"]),
            (["--time-limit", "soon"], ["budget.time_limit", "'soon'", "8m"]),
            (["--concurrency", "many"], ["concurrency", "'many'", "auto"]),
            (["--name", "a/b"], ["name", "'a/b'", "letters"]),
        ],
    )
    def test_error_names_the_key_and_what_is_right(
        self, changes: list[str], texts: list[str], tmp_path: Path
    ) -> None:
        assert_refused(call("search", "sinusoid", *changes, folder=tmp_path), *texts)
        assert list(tmp_path.iterdir()) == []

    def test_unknown_name_is_answered_with_the_nearest(self, tmp_path: Path) -> None:
        done = call("search", "sinusiod", folder=tmp_path)
        assert_refused(done, "sinusiod", "did you mean sinusoid?")

    @pytest.mark.parametrize(
        ("text", "texts"),
        [
            (SPEC.replace("shots: 5,", "shot: 5,"), ["problem.shots: missing", "problem.shot"]),
            (SPEC + "networks: [mlp]\n", ["mine.yaml, line 7", "networks is given twice"]),
            (SPEC + "space: {maml/inner_lr: {low: 2, high: 1}}\n", ["space.maml/inner_lr"]),
            ("[maml]", ["mine.yaml", "no mapping"]),
            ("name: [", ["mine.yaml", "not valid YAML"]),
        ],
    )
    def test_of_a_file_is_held_to_the_same(
        self, text: str, texts: list[str], tmp_path: Path
    ) -> None:
        (tmp_path / "mine.yaml").write_text(text)
        assert_refused(call("search", "mine.yaml", folder=tmp_path), *texts)

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        done = call("search", "none.yaml", folder=tmp_path)
        assert_refused(done, "none.yaml: no such file", "sinusoid")


class TestData:
    @pytest.fixture
    def omniglot(self, data_folder: Path, tmp_path: Path) -> Path:
        """A copy of the archives that may be damaged."""
        shutil.copytree(data_folder / "omniglot", tmp_path / "data" / "omniglot")
        return tmp_path / "data" / "omniglot"

    def refused(
        self, tmp_path: Path, store: str, *texts: str, changes: tuple[str, ...] = ()
    ) -> None:
        """Check that both the search and its dry run are refused with these texts."""
        arguments = ["search", "omniglot-5way-1shot", "--data", str(tmp_path / "data"), *changes]
        for more in ([], ["--dry-run"]):
            done = call(
                *arguments,
                *more,
                folder=tmp_path,
                environment={URI: store, "METASWEEP_CACHE": str(tmp_path / "cache")},
            )
            assert_refused(done, *texts)
        assert not (tmp_path / "metasweep-store").exists()

    @pytest.mark.parametrize(
        ("change", "texts"),
        [
            ("problem.ways=1100", ["ways 1100", "may be at most"]),
            ("problem.shots=16", ["shots 16 + query_shots 5", "20 drawings a class"]),
        ],
    )
    def test_episodes_larger_than_the_data(
        self, change: str, texts: list[str], data_folder: Path, tmp_path: Path, store: str
    ) -> None:
        (tmp_path / "data").symlink_to(data_folder)
        self.refused(tmp_path, store, *texts, changes=("--set", change))

    def test_missing_folder(self, tmp_path: Path, store: str) -> None:
        self.refused(tmp_path, store, f"data folder {tmp_path / 'data'} does not exist", "--data")

    def test_missing_archive(self, omniglot: Path, tmp_path: Path, store: str) -> None:
        (omniglot / "images_evaluation.zip").unlink()
        self.refused(tmp_path, store, "images_evaluation.zip is missing", "Get it from https://")

    def test_half_an_archive(self, omniglot: Path, tmp_path: Path, store: str) -> None:
        archive = omniglot / "images_background.zip"
        content = archive.read_bytes()
        archive.write_bytes(content[: len(content) // 2])
        again = "get it again from https://"
        self.refused(tmp_path, store, f"{archive} is damaged: cut short", again)

    def test_corrupt_archive(self, omniglot: Path, tmp_path: Path, store: str) -> None:
        archive = omniglot / "images_background.zip"
        content = bytearray(archive.read_bytes())
        for place in range(2000, len(content) // 2, 1000):
            content[place] ^= 0xFF
        archive.write_bytes(content)
        again = "get it again from https://"
        self.refused(tmp_path, store, f"{archive} is damaged: member ", again)


class TestTrackingStore:
    @pytest.mark.parametrize(
        "arguments", [["search", "sinusoid"], ["leaderboard", "sinusoid"], ["export", "a"], ["ui"]]
    )
    def test_unreachable_is_said_within_seconds(self, arguments: list[str], tmp_path: Path) -> None:
        uri = f"http://127.0.0.1:{free_port()}"
        began = time.monotonic()
        done = call(*arguments, "--tracking-uri", uri, folder=tmp_path)
        assert time.monotonic() - began < 15
        texts = [f"tracking URI {uri}", "connection refused", "Start the server"]
        assert_refused(done, *texts, code=1)
        assert list(tmp_path.iterdir()) == []

    def test_password_is_not_printed(self, tmp_path: Path) -> None:
        uri = f"http://me:hunter2@127.0.0.1:{free_port()}"
        done = call("leaderboard", "sinusoid", folder=tmp_path, environment={URI: uri})
        assert_refused(done, "me:***@", code=1)
        assert "hunter2" not in done.output

    @pytest.mark.parametrize("command", ["leaderboard", "export"])
    def test_unknown_name(self, command: str, tmp_path: Path, store: str) -> None:
        done = call(command, "sinusoid", folder=tmp_path, environment={URI: store})
        assert_refused(done, "'sinusoid'", "nothing was recorded there yet")

    def test_unknown_search_is_not_resumed(self, tmp_path: Path) -> None:
        done = call("resume", "sinusoid", folder=tmp_path)
        assert_refused(done, "sinusoid: no such search in", "metasweep-store")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "named"), [("--data", "data folder"), ("--storage", "--storage")]
)
def test_the_home_of_nobody(option: str, named: str, tmp_path: Path) -> None:
    done = call("search", "sinusoid", "--dry-run", f"{option}=~nosuchuser/x", folder=tmp_path)
    assert done.code == 2
    assert f"{named} ~nosuchuser/x: there is no such user as nosuchuser" in done.output
    assert "Traceback" not in done.output


class TestDoctor:
    def test_finds_nothing_wrong_in_an_empty_folder(self, tmp_path: Path) -> None:
        done = call("doctor", folder=tmp_path)
        assert done.code == 0, done.output
        for text in ("python 3.", "torch", "omniglot", "mlflow.db", "no search yet", "ray"):
            assert text in done.output

    def test_says_where_data_are(self, data_folder: Path, tmp_path: Path, store: str) -> None:
        done = call("doctor", "--data", str(data_folder), folder=tmp_path, environment={URI: store})
        assert done.code == 0
        assert str(data_folder / "omniglot" / "images_background.zip") in done.output

    def test_says_what_to_do_about_an_unreachable_store(self, tmp_path: Path) -> None:
        uri = f"http://127.0.0.1:{free_port()}"
        done = call("doctor", "--tracking-uri", uri, folder=tmp_path)
        assert done.code == 1
        assert "Traceback" not in done.output
        assert f"{uri}: connection refused" in done.output
        assert "Start the server" in done.output
