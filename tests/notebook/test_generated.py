"""``kk notebook``: what it writes is a notebook, carries the project's settings, and runs on the simulated layout."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from faults import SECRET
from separate_streams import cli_runner
from simulated import SETTINGS, Notebook

from kaggle_kit.cli import cli
from kaggle_kit.notebook import NotebookFolders
from kaggle_kit.version import VERSION
from kaggle_kit.workflow.notebooks.wheel import build_wheel
from kaggle_kit.workflow.project import load_project

OFFLINE_CELLS = ["install", "settings", "doctor", "fetch", "train", "verify", "predict", "history"]


@pytest.fixture
def kk():
    """Run a command line in this process, on this machine."""
    return lambda *words: cli_runner().invoke(cli, list(words), catch_exceptions=False)


def cell(path: Path, name: str) -> str:
    """The source of one cell."""
    return next(one.source for one in nbformat.read(path, as_version=4).cells if one.id == name)


def written(source: str, folder: Path) -> Path:
    """The project that the settings cell makes."""
    command, _, content = source.partition("\n")
    assert command == "%%writefile kk.toml"
    folder.mkdir()
    (folder / "kk.toml").write_text(content)
    return folder


@pytest.mark.parametrize("words", [(), ("--offline",)])
def test_what_is_written_is_a_notebook_with_text_between_the_cells(kk, clean_world, words):
    outcome = kk("notebook", "--json", *words)
    assert outcome.exit_code == 0, outcome.stderr
    notebook = nbformat.read("kk.ipynb", as_version=4)
    nbformat.validate(notebook)
    names = [one.id for one in notebook.cells if one.cell_type == "code"]
    assert names == OFFLINE_CELLS if words else [*OFFLINE_CELLS[:-1], "submit", "history"]
    kinds = [one.cell_type for one in notebook.cells]
    assert all(kinds[place - 1] == "markdown" for place, kind in enumerate(kinds) if kind == "code")
    assert notebook.metadata.kaggle.isInternetEnabled is not bool(words)
    assert ("--no-index" in cell(Path("kk.ipynb"), "install")) == bool(words)
    assert all(one.outputs == [] for one in notebook.cells if one.cell_type == "code")


def test_settings_hold_there_as_they_do_here(kk, clean_world, tmp_path):
    (clean_world / "kk.toml").write_text(SETTINGS)
    words = ("--config", "residual", "--folds", "3", "--set", "train.epochs=7", "--set", "paths.data=elsewhere")
    assert kk("notebook", *words).exit_code == 0
    here = load_project(config="residual", overrides={"folds.count": 3, "train.epochs": 7}).settings
    there = load_project(written(cell(Path("kk.ipynb"), "settings"), tmp_path / "there")).settings
    assert there.digest() == here.digest()
    assert there.paths.data == "data"  # where things lie on this machine is no business of the notebook


def test_defaults_are_left_to_the_version_that_runs_there(kk, clean_world):
    assert kk("notebook").exit_code == 0
    source = cell(Path("kk.ipynb"), "settings").partition("\n")[2]
    assert tomllib.loads(source) == {"competition": {"slug": "aml-competition"}, "translator": {"name": "subspace_mlp"}}


def test_time_and_message_are_those_of_the_project(kk, clean_world):
    assert kk("notebook", "-m", 'a "new" one', "--set", "remote.session_s=3600").exit_code == 0
    assert "max(60, 3240 - " in cell(Path("kk.ipynb"), "train")
    assert r'message="a \"new\" one"' in cell(Path("kk.ipynb"), "submit")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "kk.txt"), "is no name of a notebook"),
        (("-o", "mine.ipynb"), "was not written by kk notebook"),
        (("--set", "data.drop_captions=rows.txt"), "is on this machine"),
        (("-m", SECRET), "holds what looks like a Kaggle token"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(kk, clean_world, words, told):
    (clean_world / "mine.ipynb").write_text('{"metadata": {}}')
    outcome = kk("notebook", *words)
    assert outcome.exit_code == 2
    assert told in outcome.stderr
    assert [path.name for path in clean_world.iterdir()] == ["mine.ipynb"]
    assert (clean_world / "mine.ipynb").read_text() == '{"metadata": {}}'


def test_own_notebook_is_written_anew_and_others_only_when_told_to(kk, clean_world):
    assert kk("notebook").exit_code == 0
    assert kk("notebook", "--offline").exit_code == 0
    assert "--no-index" in cell(Path("kk.ipynb"), "install")
    (clean_world / "mine.ipynb").write_text("{")
    assert kk("notebook", "-o", "mine.ipynb", "--force").exit_code == 0
    nbformat.validate(nbformat.read("mine.ipynb", as_version=4))


# --- executed


def attach_wheels(notebook: Notebook) -> None:
    """What ``kk wheels`` publishes, attached."""
    build_wheel(notebook.input / "datasets" / "ann" / "kk-wheels", None)


def texts(notebook: Any) -> Iterator[str]:
    """Everything that a saved notebook shows."""
    for one in notebook.cells:
        for output in one.get("outputs", []):
            yield output.get("text", "")
            yield from (value for value in output.get("data", {}).values() if isinstance(value, str))
            yield from output.get("traceback", [])


def executed(kk, notebook: Notebook, python: Path, *words: str) -> Any:
    """Write a notebook with the simulated one's settings, execute it there, and read it."""
    notebook.python = python
    attach_wheels(notebook)
    (notebook.working / "kk.toml").rename(Path("kk.toml"))
    assert kk("notebook", *words).exit_code == 0
    path = notebook.root / "tmp" / "kk.ipynb"
    Path("kk.ipynb").rename(path)
    done = notebook.execute(path)
    assert done.code == 0, done.err[-3000:]
    found = nbformat.read(path, as_version=4)
    nbformat.validate(found)
    shown = "\n".join(texts(found))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", shown)  # no control codes, no carriage returns
    assert SECRET not in path.read_text()
    return {one.id: one.outputs for one in found.cells if one.cell_type == "code"}


def page_of(outputs: list[Any]) -> str:
    """The HTML of a cell's result."""
    return outputs[-1]["data"]["text/html"]


@pytest.fixture
def stopped(offline) -> str:
    """A run that an earlier version of the notebook had no time to finish; that version's output is attached."""
    words = ("--translator", "mlp", "--folds", "1", "--epochs", "3")
    assert offline.kk("train", *words, "--time-budget", "1s").code == 75
    (record,) = offline.working.glob("models_archive/*/run.json")
    output = offline.input / "notebooks" / "ann" / "kk"
    output.mkdir(parents=True)
    (offline.working / "models_archive").rename(output / "models_archive")
    return record.parent.name


@pytest.mark.slow
def test_offline_notebook_installs_goes_on_with_training_and_leaves_its_submission(
    kk, offline, stopped, fresh_image, clean_world
):
    cells = executed(kk, offline, fresh_image, "--offline")
    assert "is mounted at" in page_of(cells["fetch"])
    assert ">good</td>" in page_of(cells["doctor"])
    assert f">{stopped}</td>" in page_of(cells["train"])
    assert ">done</td>" in page_of(cells["train"])
    assert "submission.csv" in "".join(output["text"] for output in cells["predict"])
    assert page_of(cells["history"]).startswith("<table>")
    working = NotebookFolders(offline.root).working
    assert (working / "submission.csv").is_file()
    (record,) = working.glob("models_archive/*/run.json")
    assert json.loads(record.read_text())["state"] == "done"
    installed = fresh_image.parent.parent.glob("lib/*/site-packages/*.dist-info")
    assert [path.name for path in installed] == [f"kaggle_kit-{VERSION}.dist-info"]


@pytest.mark.slow
def test_online_notebook_submits_and_shows_the_score(kk, online, fresh_image, clean_world):
    cells = executed(kk, online, fresh_image, "-m", "generated")
    assert ">scored</td>" in page_of(cells["submit"])
    assert "<td>generated</td>" in page_of(cells["history"])
    (record,) = online.working.glob("submissions_archive/*/record.json")
    assert json.loads(record.read_text())["public_score"] is not None
    output = online.input / "notebooks" / "ann" / "kk"
    output.mkdir(parents=True)
    for archive in ("models_archive", "submissions_archive"):
        (online.working / archive).rename(output / archive)
    path = online.root / "tmp" / "kk.ipynb"
    assert online.execute(path).code == 0
    shown = "\n".join(texts(nbformat.read(path, as_version=4)))
    assert "these vectors were submitted before" in shown, "the next version, with the first one's output attached"
    assert len(list(online.working.glob("submissions_archive/*/record.json"))) == 1


def test_a_rehearsal_is_told_that_kaggle_does_not_know_it(kk, clean_world):
    (clean_world / "kk.toml").write_text('[competition]\nslug = "played"\nrehearsal = true\n')
    assert "played is rehearsed here, Kaggle does not know it" in kk("notebook").stdout
