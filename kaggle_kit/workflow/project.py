"""The project that every command and notebook works in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kaggle_kit import config as configuration
from kaggle_kit.config import Project


def load_project(
    start: Path | str | None = None,
    *,
    config: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    check_choices: bool = True,
) -> Project:
    """The project at or above ``start`` (the current folder), with its settings resolved.

    Args:
        start: folder to look in first.
        config: path of a TOML file of settings, or the name of a shipped one (``residual``).
        overrides: settings by dotted key, above all others: ``{"train.epochs": 20, "translator": "mlp"}``.
        origins: names of the places that overrides come from, for messages.
        environ: environment variables; the process's own when None.
        check_choices: check the options of the translator and the loss, fill in their defaults, apply the translator's recipe.
            This imports torch; without it the project is good for everything but training.

    Raises:
        ConfigError: one or more settings are wrong; every one is named.
        MissingError: ``config`` is nowhere.
    """
    schemas = None
    if check_choices:
        from kaggle_kit.workflow.schemas import training_schemas

        schemas = training_schemas
    return configuration.load_project(
        start, config=config, overrides=overrides, origins=origins, environ=environ, schemas=schemas
    )


def other_server(project: Project) -> str | None:
    """The server in force when it is not Kaggle's own, with the setting that names it, without any user name in it; None for no URL."""
    if project.settings.service.endpoint:
        url, source = project.settings.service.endpoint, project.origins.get("service.endpoint", "service.endpoint")
    elif os.environ.get("KAGGLE_API_ENDPOINT"):
        url, source = os.environ["KAGGLE_API_ENDPOINT"], "KAGGLE_API_ENDPOINT"
    else:
        return None
    parts = urlsplit(url)
    if not (parts.scheme and parts.netloc):
        return None  # no URL: whoever connects says so
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} ({source})"
