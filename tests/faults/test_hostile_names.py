"""Names from anyone: never a path out of a folder, a tag in a page, or a command in a shell."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import yaml

from search import export, plots
from search.config import Config, Problem
from search.config_file import read_config
from search.errors import UserError
from search.search_folder import SearchFolder
from tests.faults.hostile import refused
from tests.search.small_runs import small_config
from tests.search.test_export import ENTRY, PROVENANCE

TAG = "<img src=x onerror=alert(1)>"
NAMES = (
    "../../outside",
    "..",
    "",
    "/etc/passwd",
    "a/b",
    "a\n",
    "\x1b[2J",
    "-rf",
    "$(touch owned)",
    "a;touch owned",
    "x' OR '1'='1",
    "x'; DROP TABLE runs; --",
    TAG,
    "[/red]",
    "=1+1",
    "%s%n",
    "a\u202eb",
    "\u0661\u0662",
    "a" * 5000,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_is_not_given_such_a_name(tmp_path: Path, name: str) -> None:
    said = refused("search", "sinusoid", f"--name={name!r}", "--dry-run", folder=tmp_path)
    assert "must be at most 100 letters, digits, '.', '_' and '-'" in said
    with pytest.raises(UserError, match="is no name of a search: must be at most 100 letters"):
        SearchFolder(tmp_path, name)


@pytest.mark.parametrize("command", ["resume", "sync", "leaderboard", "export"])
@pytest.mark.parametrize("name", ["../outside", "x' OR '1'='1", TAG, "[/red]", "\x1b[2J"])
def test_nothing_is_found_by_such_a_name(tmp_path: Path, command: str, name: str) -> None:
    here, outside = tmp_path / "here", tmp_path / "outside"
    for folder in (here, outside):
        folder.mkdir()
    (outside / "search.json").write_text("{}")
    said = refused(command, name, "--tracking-uri", f"sqlite:///{tmp_path}/m.db", folder=here)
    assert name.replace("\x1b", "\\x1b") in said
    assert [path.name for path in outside.iterdir()] == ["search.json"]


@pytest.mark.parametrize("name", ["../../x", "a/b", "a b", TAG, "a\0b", "\x1b[2J", "-"])
def test_a_problem_names_a_folder_whatever_its_parts_are_called(name: str) -> None:
    problem = Problem(f"mine:{name}", "classification", 1, 1, ways=5, split=name)
    assert Path(problem.name).name == problem.name
    assert problem.name.replace("-", "").replace(".", "").replace("_", "").isalnum()


def test_a_page_holds_names_as_text(tmp_path: Path) -> None:
    link = '<a href="javascript:alert(2)">'
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float(f"{TAG}/rate", 0, 1) + trial.suggest_float(f"{link}/rate", 0, 9)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study.optimize(objective, n_trials=12)
    figure = plots.parameter_importance(study)
    assert not isinstance(figure, str)
    assert set(figure.data[0].y) == {
        "&lt;img src=x onerror=alert(1)&gt;/rate",
        '&lt;a href="javascript:alert(2)"&gt;/rate',
    }
    page = tmp_path / "page.html"
    figure.write_html(page, include_plotlyjs=False)
    assert TAG not in page.read_text()
    assert "<a href" not in page.read_text()


def whole() -> Config:
    """Return a configuration with its task's options, which a file that is read always has."""
    config = small_config()
    return replace(config, problem=replace(config.problem, options={"noise": 0.0}))


@pytest.mark.parametrize(
    "name", ["a b.yaml", "$(touch owned).yaml", "x';touch owned;'.yaml", "#.yaml"]
)
def test_the_command_to_train_again_is_the_file_to_a_shell(tmp_path: Path, name: str) -> None:
    config = whole()
    export.write(tmp_path / name, export.document(config, ENTRY, PROVENANCE))
    command = (tmp_path / name).read_text().splitlines()[0].partition(": ")[2]
    assert shlex.split(command) == ["metasweep", "train", name]
    assert read_config(tmp_path / name) == config


def test_a_name_of_several_lines_stays_out_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a\nconfig: {}\n.yaml"
    export.write(file, export.document(whole(), ENTRY, PROVENANCE))
    assert file.read_text().splitlines()[1].startswith("metasweep: ")
    assert read_config(file) == whole()


@pytest.mark.parametrize("text", [TAG, "*alias", "!!python/object:os.system", "a: b", "\x1b[2J"])
def test_an_exported_text_is_text(tmp_path: Path, text: str) -> None:
    config: Config = replace(small_config(), algorithm=text)
    export.write(tmp_path / "best.yaml", export.document(config, ENTRY, {"search": text}))
    content = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert content["config"]["algorithm"] == text
    assert content["provenance"] == {"search": text}
    assert "\x1b" not in (tmp_path / "best.yaml").read_text()


@pytest.mark.parametrize("command", ["train", "evaluate", "search"])
def test_a_path_is_shown_as_it_is(tmp_path: Path, command: str) -> None:
    assert "[/red]\\x1b[2J.yaml: no such file" in refused(
        command, "./[/red]\x1b[2J.yaml", folder=tmp_path
    )


@pytest.mark.parametrize("module", ["unittest.__main__", "quits"])
def test_a_module_that_is_a_program_is_not_run(tmp_path: Path, module: str) -> None:
    (tmp_path / "quits.py").write_text("raise SystemExit(0)")
    said = refused(
        "search", "sinusoid", "--dry-run", f"--set=algorithms=['{module}:x']", folder=tmp_path
    )
    assert f"algorithms: '{module}:x': " in said
    assert "SystemExit: 0" in said or "must not be a __main__" in said
