"""A signal ends a command with its exit code, also while the libraries are still being imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from faults import hang
from played import faulty, records, template, tiny  # noqa: F401  # fixtures

IMPORTED = """
import os
print("importing", flush=True)
os.read({wait}, 1)  # interrupted by the signal, whose handler must not raise in here, and taken up again
print("imported", flush=True)
"""

COMMAND = """
import signal, sys
from kaggle_kit.cli.signals import Terminated, end_well_on_signals
end_well_on_signals()
try:
    import slow_to_import
    signal.pause()
except Terminated:
    print("stopped by SIGTERM", flush=True)
except KeyboardInterrupt:
    print("stopped by Ctrl-C", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "told"), [(signal.SIGTERM, "stopped by SIGTERM"), (signal.SIGINT, "stopped by Ctrl-C")]
)
def test_an_import_is_ended_before_the_command_is(tmp_path, number, told):
    read, write = os.pipe()
    (tmp_path / "slow_to_import.py").write_text(IMPORTED.format(wait=read))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, text=True, env=environ, pass_fds=[read]
    ) as child:
        try:
            assert child.stdout.readline() == "importing\n"
            child.send_signal(number)
            os.write(write, b"x")
            rest, _ = child.communicate(timeout=30)
        finally:
            child.kill()
            os.close(read)
            os.close(write)
    assert rest.splitlines() == ["imported", told]


def do_and_hang(server, exchange, proceed):
    """Do what was asked, and never say so."""
    plain = exchange.send_json
    exchange.send_json = lambda document: None
    proceed()
    exchange.send_json = plain
    hang(server, exchange, proceed)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_submission_stopped_while_it_is_asked_for_is_no_failure_and_is_found_again(faulty, tiny, kk, number, code):  # noqa: F811
    faulty.fault("CreateSubmission", do_and_hang)
    words = [sys.executable, "-m", "kaggle_kit", "submit", "-m", "x", "--set", "service.read_timeout_s=60"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as child:
        assert faulty.stalled.wait(60)
        child.send_signal(number)
        _, told = child.communicate(timeout=60)
    assert child.returncode == code, told
    (record,) = records(tiny)
    assert record.state == "sending"
    assert kk("submit", "-m", "x", "-q").code == 0
    (record,) = records(tiny)
    assert record.state == "scored"
    assert len(faulty.book.submissions()) == 1
