"""Is everything here that a submission needs? One line a check, each good, a warning or bad, with the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kaggle_kit.config import Project, Settings
from kaggle_kit.config.places import find_root
from kaggle_kit.errors import ConfigError, KaggleKitError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.doctor.diagnosis import BAD, GOOD, WARNING, Check, Diagnosis, Finding, Surroundings
from kaggle_kit.workflow.doctor.machine import CHECKS as OF_THE_MACHINE
from kaggle_kit.workflow.doctor.project import CHECKS as OF_THE_PROJECT
from kaggle_kit.workflow.project import load_project


def doctor(
    project: Project | None = None,
    *,
    config: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    offline: bool = False,
    environ: Mapping[str, str] = os.environ,
    progress: Progress = SILENCE,
) -> Diagnosis:
    """Look at the machine, the packages, the project, the account and the archive; nothing is changed.

    A check that fails by itself is a bad finding and hides none of the others.

    Args:
        project: the project; that of the current folder when None, with ``config``, ``overrides`` and ``origins`` as in
            :func:`kaggle_kit.load_project`. Settings that are wrong are a finding, and the defaults are then looked at.
        offline: do not ask the service whether it accepts the credentials.
        environ: says whether this is a notebook, and where credentials are.
    """
    findings: list[Finding] = []
    if project is None:
        project, found = _settings(config, overrides, origins, environ)
        findings.append(found)
    around = Surroundings(project, environ, offline, progress)
    checks = {**OF_THE_MACHINE, **OF_THE_PROJECT}
    watch = progress.start("looking", len(checks), "checks")
    try:
        for done, (name, check) in enumerate(checks.items()):
            watch.update(done, at=name)
            findings += _found(name, check, around)
    finally:
        watch.finish()
    return Diagnosis(tuple(findings))


def _found(name: str, check: Check, around: Surroundings) -> Iterator[Finding]:
    """What a check finds; how it failed, when it did, after what it had found until then."""
    try:
        yield from check(around)
    except KaggleKitError as error:
        yield Finding(name, BAD, error.message, error.hint, error.exit_code)
    except Exception as error:  # whatever is broken here is what the others are to be told beside
        first = next(iter(str(error).splitlines()), "")
        yield Finding(
            name, BAD, f"could not be looked at: {type(error).__name__}: {first}", "", KaggleKitError.exit_code
        )


def _settings(
    config: Path | str | None,
    overrides: Mapping[str, Any] | None,
    origins: Mapping[str, str] | None,
    environ: Mapping[str, str],
) -> tuple[Project, Finding]:
    """The project, and what is to be said of its settings; the defaults when they are wrong."""
    load = partial(load_project, config=config, overrides=overrides, origins=origins, environ=environ)
    try:
        project = load()
    except KaggleKitError as error:
        what = "; ".join(error.problems) if isinstance(error, ConfigError) else error.message
        told = Finding("settings", BAD, f"{what}; looked at what the defaults say", error.hint, error.exit_code)
        return _fallback(load), told
    except ImportError as error:  # torch is missing or broken: its own line says more
        told = Finding("settings", WARNING, f"options of the translator were not checked: {error}")
        return _fallback(load), told
    file = project.root / "kk.toml"
    given = [
        key for key, origin in project.origins.items() if not origin.startswith(("default", "recipe", "competitions/"))
    ]
    said = f"{file}" if file.is_file() else f"no kk.toml in {project.root}"
    competition = project.settings.competition.slug
    text = f"{said}; competition {competition}, translator {project.settings.translator.name}"
    text += f"; set here: {', '.join(given)}" if given else ""
    return project, Finding("settings", GOOD, text, facts={"root": str(project.root), "competition": competition})


def _fallback(load: partial[Project]) -> Project:
    try:
        return load(check_choices=False)
    except KaggleKitError:
        return Project(find_root(), Settings())
