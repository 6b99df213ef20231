"""The two streams of a command: results on stdout, everything for people's eyes only on stderr."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from kaggle_kit.errors import KaggleKitError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.render.plain import document
from kaggle_kit.render.progress import Bars, Lines, OneLine, progress_on
from kaggle_kit.render.text import clean

_WIDE = 200
"""Width of a table that no terminal limits: it goes into a file or a pipe."""


class Screen:
    """Where one command shows what it found.

    Args:
        json: results and errors are one JSON document each on stdout; people's text stays on stderr.
        quiet: no progress and no notes.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)
        self._live: Bars | Lines | OneLine | None = None

    @property
    def progress(self) -> Progress:
        """Where the library reports how far it is."""
        if self.quiet:
            return SILENCE
        if self._live is None:
            self._live = progress_on(self.err)
        return self._live

    def note(self, text: str) -> None:
        """One line for people on stderr."""
        self.progress.note(text)

    def show(self, data: Any, *views: RenderableType) -> None:
        """A command's result: ``data`` as one JSON document with ``--json``, else ``views`` for people, on stdout."""
        self.close()
        if self.json:
            self.write(document(data))
            return
        for view in views:
            self.out.print(view)

    def write(self, content: bytes | str) -> None:
        """Content as it is to stdout: JSON, CSV, anything for another program."""
        self.close()
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        sys.stdout.flush()
        sys.stdout.buffer.write(raw)
        sys.stdout.flush()

    def error(self, error: KaggleKitError) -> None:
        """What went wrong and what to do: text on stderr, and with ``--json`` an object on stdout."""
        self.close()
        for line in error_lines(error):
            self.err.print(line, soft_wrap=True)
        if self.json:
            self.write(document({"ok": False, "error": error.to_dict()}))

    def close(self) -> None:
        """Stop whatever is live, so that nothing is drawn over what follows."""
        if self._live is not None:
            self._live.close()


def error_lines(error: KaggleKitError) -> list[Text]:
    """``Error: …`` with one line for each line of the message, and ``Hint: …``."""
    first, *rest = error.message.splitlines() or [""]
    lines = [Text.assemble(("Error: ", "bold red"), clean(first))]
    lines += [Text(f"       {clean(line)}") for line in rest]
    if error.hint:
        lines.append(Text.assemble(("Hint: ", "bold"), clean(error.hint)))
    return lines


def _console(*, stderr: bool) -> Console:
    """A console that interprets nothing in what it prints; as wide as it likes where there is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not stream.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=_WIDE)
    return console
