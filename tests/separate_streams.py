"""click's runner with stdout and stderr apart, whatever click: before 8.2 it had to be asked for that."""

from __future__ import annotations

import inspect

from click.testing import CliRunner


def cli_runner() -> CliRunner:
    """A runner whose results tell ``stdout`` and ``stderr`` apart."""
    asked = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(**({"mix_stderr": False} if asked else {}))
