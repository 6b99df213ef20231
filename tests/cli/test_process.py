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


@pytest.mark.skipif(os.name != "posix", reason="a shell's redirections")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed, clean_world):
    done = subprocess.run(
        f"{sys.executable} -m kaggle_kit config show {closed}", shell=True, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (">&- " not in f"{closed} ".replace("2>&-", ""))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_finds_no_space_is_told(clean_world):
    done = subprocess.run(
        f"{sys.executable} -m kaggle_kit config show >/dev/full",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 75
    assert done.stderr.startswith("Error: disk full")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="arguments are bytes there")
def test_message_that_is_no_text_is_refused_and_leaves_nothing(clean_world):
    done = subprocess.run(
        [sys.executable, "-m", "kaggle_kit", "submit", "-m", b"caf\xe9"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "is not text in UTF-8" in done.stderr
    assert list(clean_world.iterdir()) == []
