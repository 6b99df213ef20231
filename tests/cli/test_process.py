"""``kk`` as a process: start-up time, closed pipes, streams."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def test_module_and_entry_point_are_the_same_command(installed):
    outcome = installed("--version")
    assert (outcome.code, outcome.err) == (0, "")
    kk = shutil.which("kk", path=str(Path(sys.executable).parent))
    if kk:
        assert subprocess.run([kk, "--version"], capture_output=True, text=True, check=True).stdout == outcome.out


def test_usage_error_of_the_process_is_2(installed):
    outcome = installed("trian")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "Error: kk has no command 'trian'\nHint: did you mean kk train?\n"


@pytest.mark.parametrize("arguments", [["leaderboard"], ["runs", "list", "--json"], ["--help"]])
def test_reader_that_closes_the_pipe_is_no_error(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "kaggle_kit", *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0


def test_output_survives_a_terminal_that_knows_ascii_only(installed):
    outcome = installed("leaderboard", "--config", "é±", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert outcome.code == 8
    assert outcome.err.startswith("Error: no configuration file '")
    assert "Traceback" not in outcome.err
