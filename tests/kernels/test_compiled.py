"""Every kernel compiles for the GPUs that run it, and keeps what it works on in registers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

SCRIPT = Path(__file__).with_name("compile_all.py")


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["80", "90"])
def test_all_kernels_compile_and_spill_nothing(tmp_path, capability):
    environ = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, SCRIPT, capability], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len({name for _, name, *_ in lines}) == 13
    assert [name for _, name, _, stack in lines if int(stack) > 0] == []
