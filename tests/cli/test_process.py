"""``kk`` as a process: start-up time, closed pipes, streams."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_module_and_entry_point_are_the_same_command(installed):
    outcome = installed("--version")
    assert (outcome.code, outcome.err) == (0, "")
    kk = shutil.which("kk", path=str(Path(sys.executable).parent))
    if kk:
        assert subprocess.run([kk, "--version"], capture_output=True, text=True, check=True).stdout == outcome.out


def test_help_takes_less_than_a_third_of_a_second():
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "kaggle_kit", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.3


def test_usage_error_of_the_process_is_2(installed):
    outcome = installed("trian")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "Error: kk has no command 'trian'\nHint: did you mean kk train?\n"


@pytest.mark.parametrize("arguments", [["config", "show"], ["config", "show", "--json"], ["--help"]])
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
    outcome = installed("translators", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert outcome.code == 0, outcome.err
    assert "residual_mlp" in outcome.out
