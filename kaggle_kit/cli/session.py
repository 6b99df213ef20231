"""What the commands of one invocation share: the output options, the settings given as flags, the screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from kaggle_kit.errors import UsageError

if TYPE_CHECKING:
    from kaggle_kit.config import Project
    from kaggle_kit.progress import Progress
    from kaggle_kit.render import Screen


class Session:
    """One invocation of ``kk``.

    Attributes:
        started: what ``time.monotonic`` showed when it began.
        json: one JSON document on stdout.
        quiet: no progress, no notes.
        debug: tracebacks of every error.
        config: the file given by ``--config``.
        overrides: settings given as flags, by dotted key; ``origins`` says which flag gave which.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.started = time.monotonic()
        self.json = json
        self.quiet = False
        self.debug = False
        self.config: str | None = None
        self.overrides: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    @cached_property
    def screen(self) -> Screen:
        """Where the command shows what it found."""
        from kaggle_kit.render import Screen

        return Screen(json=self.json, quiet=self.quiet)

    @property
    def progress(self) -> Progress:
        """Where the library reports how far it is."""
        return self.screen.progress

    def show(self, data: Any, view: Callable[[Any], Any]) -> None:
        """Show a command's result: as JSON, or as ``view`` draws it."""
        self.screen.show(data, view)

    def show_table(self, table: Any, view: Callable[[Any], Any], *, csv: bool) -> None:
        """Show a table: as CSV, as JSON (a list of rows), or as ``view`` draws it.

        Raises:
            UsageError: both CSV and JSON were asked for.
        """
        if csv and self.json:
            raise UsageError("--csv and --json exclude each other", "leave one of them out")
        if csv:
            self.screen.write(table.to_csv())
        else:
            self.screen.show(table.rows if self.json else table, view)

    @property
    def can_ask(self) -> bool:
        """Whether a person at a terminal can be asked something."""
        return not self.json and sys.stdin.isatty() and sys.stderr.isatty()

    def ask(self, question: str) -> bool | None:
        """Yes or no from the person at the terminal; None when nobody can be asked."""
        if not self.can_ask:
            return None
        self.screen.close()
        return click.confirm(question, err=True)

    def override(self, key: str, value: Any, flag: str) -> None:
        """A setting was given as a flag."""
        self.overrides[key] = value
        self.origins[key] = flag

    def project(self, *, training: bool = False, service: bool = False) -> Project:
        """The project of the current folder, with the flags' settings on top.

        Args:
            training: translators and losses matter: check their options and apply the recipe (imports torch).
            service: the command talks to Kaggle: name the server when it is another one.

        Raises:
            ConfigError: settings are wrong.
        """
        from kaggle_kit.workflow.project import load_project, other_server

        project = load_project(
            config=self.config, overrides=self.overrides, origins=self.origins, check_choices=training
        )
        if service and (server := other_server(project)):
            self.screen.warn(f"Using the server at {server}")
        return project

    def refuse_settings(self, why: str, *, but: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> None:
        """Refuse flags that would have no effect.

        Args:
            why: what makes them so.
            but: sections, or settings by dotted key, that do have an effect.
            only: the settings that have none; nothing else is refused then.

        Raises:
            UsageError: a setting or configuration file was given.
        """
        flags = [flag for key, flag in self.origins.items() if not {key, key.partition(".")[0]} & {*but}]
        flags += ["--config"] if self.config else []
        if only:
            flags = [flag for key, flag in self.origins.items() if key in only]
        if flags:
            raise UsageError(f"{', '.join(dict.fromkeys(flags))} cannot be combined with {why}")


pass_session = click.make_pass_decorator(Session)
