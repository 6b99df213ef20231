"""kill -9 at random instants of train and of submit: no record lost, none doubled, and the next command heals.

The instants are drawn from a seed, between a third of the usual time, when the imports are done, and some time after the usual end: ten
of each in the slow tests, a hundred of each in the long ones.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from faults import SECRET, FaultyServer
from played import faulty, holding, records, template, tiny  # noqa: F401  # fixtures
from safetensors.numpy import load_file

from kaggle_kit.archive import RunStore
from kaggle_kit.files import sha256_of

TRAIN = ("train", "--translator", "mlp", "--epochs", "30", "--set", "translator.hidden=4", "--set", "train.patience=none",
         "--set", "train.checkpoint_minutes=0", "-q")  # fmt: skip
SUBMIT = ("submit", "-m", "try", "-q", "--no-wait")


def start(*arguments: str) -> subprocess.Popen[str]:
    """``kk`` as a process."""
    command = [sys.executable, "-m", "kaggle_kit", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def seconds_of(*arguments: str) -> float:
    """How long a command takes when nobody kills it."""
    begun = time.monotonic()
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    return time.monotonic() - begun


def kill_at(moment_s: float, *arguments: str) -> bool:
    """Start a command and kill it after ``moment_s`` seconds; whether it was still running then."""
    process = start(*arguments)
    try:
        process.wait(moment_s)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


def forget(folder: Path, server: FaultyServer | None = None) -> None:
    """Back to a project that was never submitted from, and a server that never saw a submission."""
    shutil.rmtree(folder / "submissions_archive", ignore_errors=True)
    if server is not None:
        server.book._submissions.clear()
        server.book._uploads.clear()


def submit_and_kill(count: int, server: FaultyServer, folder: Path, kk) -> Counter[str]:
    """Kill ``count`` submissions at drawn instants, each in an archive of its own, and heal each; where they were caught."""
    usual = seconds_of(*SUBMIT)
    dice, caught = random.Random(6), Counter[str]()
    for _ in range(count):
        forget(folder, server)
        killed = kill_at(dice.uniform(0.35, 1.1) * usual, *SUBMIT)
        before = len(server.book.submissions())
        states = "+".join(one.state for one in records_left(folder)) or "no record"
        caught[f"{states}, {before} at the server" if killed else "ended before"] += 1
        for _ in range(2):  # the same intent again, twice
            healing = kk("submit", "-m", "try", "--debug")
            assert healing.code in (0, 5), healing.err
        assert kk("sync").code == 0
        (submission,) = server.book.submissions()
        (record,) = records(folder)
        assert (record["ref"], record.state) == (submission.ref, "scored")
        assert holding(SECRET, folder) == []
    return caught


def records_left(folder: Path):
    """The records after a kill: readable or not there, never half."""
    from kaggle_kit.archive import SubmissionStore

    listing = SubmissionStore(folder / "submissions_archive").scan()
    assert listing.broken == []
    return listing.records


def train_and_kill(count: int, folder: Path, kk) -> Counter[str]:
    """Kill ``count`` runs at drawn instants, some of them again while they are resumed, and finish each; where they were caught."""
    shutil.rmtree(folder / "models_archive")
    usual = seconds_of(*TRAIN)
    store = RunStore(folder / "models_archive")
    (whole,) = store.list()
    expected, dice, caught = weights(whole), random.Random(7), Counter[str]()
    for _ in range(count):
        known = {run.id for run in store.list()}
        killed = kill_at(dice.uniform(0.35, 1.05) * usual, *TRAIN)
        new = [run for run in store.list() if run.id not in known]
        assert len(new) <= 1
        assert store.scan().broken == []
        caught["no record" if not new else f"{new[0].state}{'' if killed else ', ended before'}"] += 1
        if not new:
            continue
        if killed and dice.random() < 0.3:
            caught["killed again"] += kill_at(dice.uniform(0.4, 1.0) * usual, "train", "--resume", new[0].id, "-q")
        if store.read(new[0].id).state != "done":
            assert kk("train", "--resume", new[0].id, "-q").code == 0
        done = store.read(new[0].id)
        assert done.state == "done"
        assert weights(done) == expected  # bit for bit those of the run that nobody killed
        assert known < {run.id for run in store.list()}
        shutil.rmtree(done.folder)
    return caught


def weights(run) -> list[dict[str, bytes]]:
    """The run's weights to the last bit; the files, which name their run, are what the record says they are."""
    files = [run.folder / entry["file"] for entry in run["checkpoints"]]
    assert [sha256_of(file) for file in files] == [entry["sha256"] for entry in run["checkpoints"]]
    assert len(files) == 2
    return [{name: array.tobytes() for name, array in load_file(file).items()} for file in files]


@pytest.mark.slow
def test_ten_killed_submissions_are_sent_once_each(faulty, tiny, kk):  # noqa: F811
    print(submit_and_kill(10, faulty, tiny, kk))


@pytest.mark.slow
def test_ten_killed_trainings_end_as_if_never_killed(tiny, kk):  # noqa: F811
    print(train_and_kill(10, tiny, kk))


@pytest.mark.long
def test_hundred_killed_submissions_are_sent_once_each(faulty, tiny, kk):  # noqa: F811
    print(submit_and_kill(100, faulty, tiny, kk))


@pytest.mark.long
def test_hundred_killed_trainings_end_as_if_never_killed(tiny, kk):  # noqa: F811
    print(train_and_kill(100, tiny, kk))
