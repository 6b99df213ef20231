"""A download killed with the signal that cannot be caught goes on where it stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from faults import QUICK, SLUG, stall_after

from kaggle_kit.workflow.fetch import fetch

NAME = "train/train/train.npz"
SIZE = 400_004

CHILD = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
from pathlib import Path
from kaggle_kit.config import Project, Settings
from kaggle_kit.workflow.fetch import fetch
service = {{**{QUICK!r}, "read_timeout_s": 60.0}}
fetch(Project(Path.cwd(), Settings.from_dict({{"competition": {{"slug": {SLUG!r}}}, "service": service}})))
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_killed_fetch_goes_on_and_asks_only_for_what_is_missing(project, server, hosted, kill):
    server.fault("/storage/files/" + NAME, stall_after(250_000))
    child = subprocess.Popen([sys.executable, "-c", CHILD], stderr=subprocess.DEVNULL, env=os.environ)
    part = project.data_dir / SLUG / (NAME + ".part")
    assert server.stalled.wait(30)
    for _ in range(1000):
        if part.exists() and part.stat().st_size == 250_000:
            break
        time.sleep(0.01)
    child.send_signal(kill)
    child.wait(20)

    result = fetch(project)

    assert (project.data_dir / SLUG / NAME).read_bytes() == (hosted.files / NAME).read_bytes()
    received = {file.name: file.bytes_received for file in result.files}
    assert received[NAME] == SIZE - 250_000
    assert server.asked("/storage/files/" + NAME)[-1].sent == SIZE - 250_000
    assert not part.exists()
