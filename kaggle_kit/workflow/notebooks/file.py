"""Write a notebook that is ready to run on Kaggle: install, look, fetch, train, verify, predict, submit, history."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.competition import Competition
from kaggle_kit.config import Project, literal
from kaggle_kit.errors import UsageError
from kaggle_kit.files import read_json, write_bytes
from kaggle_kit.settings import duration_text
from kaggle_kit.training.interrupts import MARGIN_SHARE
from kaggle_kit.version import VERSION
from kaggle_kit.workflow.notebooks.pack import refuse_secrets

SENT = ("competition", "data", "folds", "translator", "loss", "train", "validation", "remote")
"""Sections that go along when they were set; the others say how things are on this machine."""

LOCAL = ("data.extra", "data.drop_captions", "data.noise_run")
"""Settings that name something on this machine."""

MARK = "kaggle_kit"

INSTALL = """\
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

STARTED = time.monotonic()
ROOT = Path(os.environ.get("KK_NOTEBOOK_ROOT", "/"))  # another folder in a simulated notebook
INPUT = ROOT / "kaggle" / "input"
os.chdir(ROOT / "kaggle" / "working")  # what lies here survives the session

wheels = sorted([*INPUT.glob("*/*.whl"), *INPUT.glob("datasets/*/*/*.whl")])
ours = [wheel for wheel in wheels if wheel.name.startswith("kaggle_kit-")]
if not ours:
    raise SystemExit("attach the data set that kk wheels made: Add Input > Datasets > Your Work")
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-color", "--disable-pip-version-check", "--root-user-action=ignore"]
"""

ONLINE = """
# the image satisfies nearly all that is required: pip adds what is missing and changes nothing else
subprocess.run([*pip, ours[-1]], check=True)
importlib.invalidate_caches()
importlib.metadata.version("kaggle_kit")
"""

OFFLINE = """

def is_missing(wheel):
    try:
        return not importlib.metadata.version(wheel.name.split("-")[0])
    except importlib.metadata.PackageNotFoundError:
        return True


folder = ours[-1].parent
missing = [wheel.name.split("-")[0] for wheel in folder.glob("*.whl") if wheel not in ours and is_missing(wheel)]
subprocess.run([*pip, "--no-index", f"--find-links={folder}", "--no-deps", "--upgrade", "kaggle_kit", *missing], check=True)
importlib.invalidate_caches()
importlib.metadata.version("kaggle_kit")
"""

TRAIN = """\
from kaggle_kit.errors import DuplicateError, InterruptedWork

for name in ("models_archive", "submissions_archive"):  # the output of an earlier version, when it is attached
    for archive in [*INPUT.glob(f"*/{{name}}"), *INPUT.glob(f"notebooks/*/*/{{name}}")]:
        shutil.copytree(archive, name, dirs_exist_ok=True)

states = [json.loads(file.read_text())["state"] for file in Path("models_archive").glob("*/run.json")]
left = max(60, {budget} - (time.monotonic() - STARTED))
project = kk.load_project(overrides={{"train.time_budget": left}})
try:
    go_on = any(state in ("running", "interrupted") for state in states)
    run = (kk.resume if go_on else kk.train)(project, progress=kk.show_progress())
except InterruptedWork as stopped:
    run = None
    print(stopped.message)
    print("Save this version, attach its output to the next one (Add Input > Notebook Output), and run that: it goes on.")
run"""

SUBMIT = """\
submission = None
if run and not os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):
    try:
        submission = kk.submit(project, run.id, message={message}, progress=kk.show_progress())
    except (DuplicateError, InterruptedWork) as why:
        print(why.message)
submission"""


SETTINGS_TEXT = (
    "## Settings\n\nWhat was set in the project; everything else has its default. `!kk config show --origin` lists all."
)

DOCTOR_TEXT = """\
## Is everything here?

Each line is good, a warning or bad, with the remedy."""

TRAIN_TEXT = """\
## Train

Every fold, on every GPU that is here. After {budget} in all it stops with its state saved, before the session is ended; the next version of
this notebook goes on from there."""

SUBMIT_TEXT = """\
## Submit

The very file above, once: asked for, uploaded, waited for, filed. Delete this cell to keep the submission."""

SUBMIT_OFFLINE_TEXT = """\
## Submit

Without internet the notebook cannot submit by itself. *Save Version > Save & Run All*, then *Submit* beside the version's output; or from a
laptop:

```
kk submit -m MESSAGE --kernel OWNER/SLUG --kernel-version N --file submission.csv
```"""

TEXT, CODE = "markdown", "code"


@dataclass(frozen=True)
class NotebookFile:
    """A notebook that was written.

    Attributes:
        path: where.
        competition: the competition to attach.
        offline: it needs no internet.
        settings: what was set in the project and goes along, by dotted key.
        cells: how many it has.
        next_steps: what to do with it.
    """

    path: Path
    competition: str
    offline: bool
    settings: dict[str, Any]
    cells: int
    next_steps: list[str]


def make_notebook(
    project: Project,
    output: Path | str = Path("kk.ipynb"),
    *,
    offline: bool = False,
    message: str | None = None,
    force: bool = False,
) -> NotebookFile:
    """Write a notebook that does on Kaggle what the commands do here, with the settings that were made here.

    Args:
        output: where to write; a file that is no notebook of ours is not replaced.
        offline: install from the attached data set only, and leave the submitting to Kaggle's own button.
        message: what is new about the submission; made from the settings when None.
        force: replace whatever is there.

    Raises:
        UsageError: something else lies there, or a setting names a file of this machine.
    """
    path = Path(output)
    if path.suffix != ".ipynb":
        raise UsageError(f"{path} is no name of a notebook", f"-o {path.with_suffix('.ipynb')}")
    if path.exists() and not force and not _is_ours(path):
        raise UsageError(f"{path} was not written by kk notebook", "choose another name, or replace it with --force")
    settings = _set_here(project)
    cells = list(_cells(project, settings, message or _message(project), offline=offline))
    content = json.dumps(_document(cells, offline=offline), indent=1, ensure_ascii=False) + "\n"
    refuse_secrets(path.name, content.encode())
    write_bytes(path, content.encode())
    competition = project.settings.competition
    steps = _rehearsal_steps(competition) if competition.rehearsal else _next_steps(path, competition, offline=offline)
    return NotebookFile(path, competition.slug, offline, settings, len(cells), steps)


def _is_ours(path: Path) -> bool:
    try:
        return MARK in read_json(path)["metadata"]
    except Exception:  # whatever it is, it is not ours
        return False


def _set_here(project: Project) -> dict[str, Any]:
    """The settings that were made, by flag, variable, file or description of the competition; recipes hold there as they do here."""
    tables = project.settings.to_dict()
    made = {
        key: _value(tables, key)
        for key, origin in project.origins.items()
        if key.partition(".")[0] in SENT and not _is_shipped(origin, project.root)
    }
    made |= {"translator.name": project.settings.translator.name, "competition.slug": project.settings.competition.slug}
    for key in LOCAL:
        if made.get(key) and not str(made[key]).startswith("/kaggle/input/"):
            raise UsageError(
                f"{key} = {made[key]} is on this machine, where the notebook cannot see it",
                "kk remote train sends such files along; or publish it as a data set and give its path below /kaggle/input/",
            )
    made.pop("train.time_budget", None)
    return dict(sorted(made.items()))


def _is_shipped(origin: str, root: Path) -> bool:
    """Whether a value comes with the package, so that the notebook has it, too."""
    return origin.startswith(("default", "recipe")) or (
        origin.startswith("competitions/") and not (root / origin).exists()
    )


def _value(tables: Mapping[str, Any], key: str) -> Any:
    value: Any = tables
    for part in key.split("."):
        value = value[part]
    return value


def _message(project: Project) -> str:
    folds = project.settings.folds.count
    return f"{project.settings.translator.name}, {folds} fold{'s' if folds > 1 else ''}, from a notebook"


def _toml(settings: Mapping[str, Any]) -> str:
    """Settings by dotted key as a ``kk.toml``."""
    sections: dict[str, list[str]] = {}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append(f"{name} = {literal(value)}")
    return "\n\n".join("\n".join([f"[{section}]", *lines]) for section, lines in sections.items())


# --- the cells


def _cells(
    project: Project, settings: Mapping[str, Any], message: str, *, offline: bool
) -> Iterator[tuple[str, str, str]]:
    """Name, kind and source of each cell."""
    slug, remote = project.settings.competition.slug, project.settings.remote
    budget = remote.session_s - min(remote.margin_s, MARGIN_SHARE * remote.session_s)
    yield "title", TEXT, _title(slug, offline=offline)
    yield "install-text", TEXT, _install_text(offline=offline)
    yield "install", CODE, (INSTALL + (OFFLINE if offline else ONLINE)).rstrip()
    yield "settings-text", TEXT, SETTINGS_TEXT
    yield "settings", CODE, f"%%writefile kk.toml\n{_toml(settings)}"
    yield "doctor-text", TEXT, DOCTOR_TEXT
    yield "doctor", CODE, f"import kaggle_kit as kk\n\nkk.doctor(offline={offline})"
    yield "fetch-text", TEXT, f"## Data\n\nThe files of `{slug}`, used where they are mounted."
    yield "fetch", CODE, "kk.fetch(kk.load_project(), progress=kk.show_progress())"
    yield "train-text", TEXT, TRAIN_TEXT.format(budget=duration_text(budget))
    yield "train", CODE, TRAIN.format(budget=round(budget))
    yield "verify-text", TEXT, "## Verify\n\nThe run judged on captions whose images it never saw."
    yield "verify", CODE, "if run:\n    !kk verify {run.id}"
    yield "predict-text", TEXT, "## Predict\n\n`submission.csv`, read back and validated."
    yield "predict", CODE, "if run:\n    !kk predict {run.id} -o submission.csv && kk validate submission.csv"
    yield "submit-text", TEXT, SUBMIT_OFFLINE_TEXT if offline else SUBMIT_TEXT
    if not offline:
        yield "submit", CODE, SUBMIT.format(message=json.dumps(message, ensure_ascii=False))
    yield (
        "history-text",
        TEXT,
        "## History\n\nWhat was trained here." if offline else "## History\n\nCV beside public score.",
    )
    yield "history", CODE, f"kk.{'run_history' if offline else 'leaderboard'}(kk.load_project())"


def _title(slug: str, *, offline: bool) -> str:
    wheels = "the data set of wheels that `kk wheels` makes (*Datasets > Your Work*)"
    internet = "Leave **Internet** off." if offline else "Switch **Internet** on."
    return (
        f"# {slug}\n\nWritten by `kk notebook` ({VERSION}). Before running it:\n\n"
        f"1. Accept the rules: <https://www.kaggle.com/competitions/{slug}/rules>.\n"
        f"2. *Add Input*: the competition `{slug}`, and {wheels}.\n"
        f"3. *Settings*: Accelerator **GPU T4 x2**. {internet}\n\n"
        "The runs are filed in `models_archive`"
        f"{'' if offline else ', the submissions in `submissions_archive`'}, both in `/kaggle/working`, which survives the session."
    )


def _install_text(*, offline: bool) -> str:
    if offline:
        return "## Install\n\nFrom the attached wheels, without any network. None of the image's packages is changed."
    return "## Install\n\nOur wheel, from the attached data set. None of the image's packages is changed."


def _document(cells: list[tuple[str, str, str]], *, offline: bool) -> dict[str, Any]:
    """The notebook in format 4.5."""
    return {
        "cells": [_cell(*cell) for cell in cells],
        "metadata": {
            MARK: {"version": VERSION, "offline": offline},
            "kaggle": {"accelerator": "nvidiaTeslaT4", "isGpuEnabled": True, "isInternetEnabled": not offline, "language": "python",
                       "sourceType": "notebook"},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip


def _cell(name: str, kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == CODE else {})


def _rehearsal_steps(competition: Competition) -> list[str]:
    return [f"{competition.slug} is rehearsed here, Kaggle does not know it: kk notebook is for a project of kk init"]


def _next_steps(path: Path, competition: Competition, *, offline: bool) -> list[str]:
    internet, slug = "off" if offline else "on", competition.slug
    return [
        "kk wheels: our wheel as a private data set",
        f"kaggle.com > Create > Notebook > File > Import Notebook: {path.name}",
        f"Add Input: the competition {slug}, and the data set of wheels; accelerator GPU T4 x2, internet {internet}",
        "Save Version > Save & Run All",
    ]
