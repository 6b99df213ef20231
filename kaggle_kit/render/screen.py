"""The two streams of a command: results on stdout, everything for people's eyes only on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.text import Text

from kaggle_kit.errors import KaggleKitError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.render.plain import document
from kaggle_kit.render.progress import Lines, OneLine, in_cell, in_kernel, progress_on
from kaggle_kit.render.tables import Grid
from kaggle_kit.render.text import clean

if TYPE_CHECKING:
    from kaggle_kit.render.bars import Bars

_WIDE = 200
"""Width of a table that no terminal limits: it goes into a file or a pipe."""
_CELL = 110
"""Width of a table in a notebook's cell, which breaks longer lines."""


def show_progress() -> Progress:
    """Progress for a script or a notebook, to be given to a function of the library as ``progress``."""
    return progress_on(_console(stderr=not in_kernel()))  # a notebook paints stderr red


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
        self._answered = False

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

    def warn(self, text: str) -> None:
        """One line on stderr that even a quiet command says."""
        self.close()
        self.err.print(Text(clean(text)), soft_wrap=True)

    def show(self, data: Any, view: Callable[[Any], Iterable[RenderableType]]) -> None:
        """A command's result on stdout: ``data`` as one JSON document with ``--json``, else as ``view`` draws it."""
        self.close()
        if self.json:
            self._answer(data)
            return
        for part in view(data):
            self.out.print(
                part, crop=not isinstance(part, Grid)
            )  # it fits by itself, and cropping thousands of lines is slow

    def write(self, content: bytes | str) -> None:
        """Content as it is to stdout: JSON, CSV, anything for another program."""
        self.close()
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        sys.stdout.flush()
        sys.stdout.buffer.write(raw)
        sys.stdout.flush()

    def error(self, error: KaggleKitError) -> None:
        """What went wrong and what to do: text on stderr, and with ``--json`` an object on stdout.

        A command that fails after it showed its result (a file that is invalid) has given its one document already.
        """
        self.close()
        for line in error_lines(error):
            self.err.print(line, soft_wrap=True)
        if self.json and not self._answered:
            self._answer({"ok": False, "error": error.to_dict()})

    def _answer(self, data: Any) -> None:
        self._answered = True
        self.write(document(data))

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


class _Console(Console):
    """A console that leaves it to the command line what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        """Do not exit from here."""
        raise  # noqa: PLE0704  (called where a BrokenPipeError is being handled)


def _console(*, stderr: bool) -> Console:
    """A console that interprets nothing in what it prints; wide where there is no terminal to limit it.

    In a cell it is no terminal, whatever the stream says, and not one that writes HTML: what it prints is kept as it is.
    """
    stream = sys.stderr if stderr else sys.stdout
    asked = os.environ.get("COLUMNS", "").isdigit()
    cell = in_cell()
    width = None if asked else _CELL if cell else None if stream.isatty() else _WIDE
    return _Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        width=width,
        force_terminal=False if cell else None,
        force_jupyter=False,
    )
