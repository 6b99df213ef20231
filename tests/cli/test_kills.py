"""kill -9 at random instants of train and of submit: no record lost, none doubled, and the next command heals.

The instants are drawn from a seed: most between the first trace of the work on disk and a little after its usual end, some from the start
of the process. Ten kills of each in the slow tests, a hundred of each in the long ones; processes that ended before do not count.
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
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import SECRET, FaultyServer
from played import faulty, holding, template, tiny  # noqa: F401  # fixtures
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


class Killer:
    """Kills a command at drawn instants.

    Args:
        command: what follows ``kk``.
        begun: whether the work shows on disk.
        seed: of the instants.
    """

    def __init__(self, command: tuple[str, ...], begun: Callable[[], bool], seed: int) -> None:
        self.command, self.begun, self.dice = command, begun, random.Random(seed)
        killed, self.usual = self._run(120.0, self.command, begun)
        assert not killed

    def strike(self, *command: str) -> bool:
        """Run the command (or another of about its length) and kill it; whether it was still running then."""
        from_start = bool(command) or self.dice.random() < 0.2
        length = self.dice.uniform(0, 1.1)
        killed, took = self._run(
            length * (2.0 if from_start else self.usual),
            command or self.command,
            (lambda: True) if from_start else self.begun,
        )
        if not from_start:  # the machine may have become quicker or slower meanwhile
            self.usual *= 1.03 if killed else 0.8 + 0.2 * min(1.0, took / self.usual)
        return killed

    @staticmethod
    def _run(seconds: float, command: tuple[str, ...], begun: Callable[[], bool]) -> tuple[bool, float]:
        process = start(*command)
        while process.poll() is None and not begun():
            time.sleep(0.001)
        since = time.monotonic()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        took = time.monotonic() - since
        out, err = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), out + err
        return process.returncode != 0, took


def forget(folder: Path, server: FaultyServer | None = None) -> None:
    """Back to a project that was never submitted from, and a server that never saw a submission."""
    shutil.rmtree(folder / "submissions_archive", ignore_errors=True)
    if server is not None:
        server.book._submissions.clear()
        server.book._uploads.clear()


def submit_and_kill(count: int, server: FaultyServer, folder: Path, kk) -> Counter[str]:
    """Kill ``count`` submissions at drawn instants, each in an archive of its own, and heal each; where they were caught."""
    killer = Killer(SUBMIT, lambda: any((folder / "submissions_archive").glob("2*")), seed=6)
    caught, kills = Counter[str](), 0
    while kills < count:
        forget(folder, server)
        killed = killer.strike()
        kills += killed
        before = len(server.book.submissions())
        states = "+".join(one.state for one in records_left(folder)) or "no record"
        caught[f"{states}, {before} at the server" if killed else "ended before"] += 1
        for _ in range(2):  # the same intent again, twice
            healing = kk("submit", "-m", "try", "--debug")
            assert healing.code in (0, 5), healing.err
        assert kk("sync").code == 0
        (submission,) = server.book.submissions()
        (record,) = records_left(folder)
        assert (record["ref"], record.state) == (submission.ref, "scored")
        assert holding(SECRET, folder) == []
    return caught


def records_left(folder: Path):
    """The records after a kill: readable or not there, never half; a temporary file may lie beside them, which pruning takes away."""
    from kaggle_kit.archive import SubmissionStore

    listing = SubmissionStore(folder / "submissions_archive").scan()
    assert listing.broken == []
    return listing.records


def train_and_kill(count: int, folder: Path, kk) -> Counter[str]:
    """Kill ``count`` runs at drawn instants, some of them again while they are resumed, and finish each; where they were caught."""
    archive = folder / "models_archive"
    shutil.rmtree(archive)
    store, kept = RunStore(archive), 0
    killer = Killer(TRAIN, lambda: len(list(archive.glob("2*"))) > kept, seed=7)
    (whole,) = store.list()
    expected, kept = weights(whole), 1
    caught, kills = Counter[str](), 0
    while kills < count:
        killed = killer.strike()
        kills += killed
        assert store.scan().broken == []
        new = [run for run in store.list() if run.id != whole.id]
        assert len(new) <= 1
        caught[f"{new[0].state if new else 'no record'}{'' if killed else ', ended before'}"] += 1
        if new:
            if killed and killer.dice.random() < 0.2:
                caught["killed again while resumed"] += killer.strike("train", "--resume", new[0].id, "-q")
            if store.read(new[0].id).state != "done":
                assert kk("train", "--resume", new[0].id, "-q").code == 0
            done = store.read(new[0].id)
            assert done.state == "done"
            assert weights(done) == expected  # bit for bit those of the run that nobody killed
            assert store.read(whole.id).to_dict() == whole.to_dict()
        for left in archive.glob("2*"):
            if left.name != whole.id:
                shutil.rmtree(left)
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
