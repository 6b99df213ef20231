"""States of unfinished folds: when they are written, what is kept, and what happens to a damaged one or on a full disk."""

from __future__ import annotations

import errno
import os
import signal

import pytest
import torch
from small_training import CallAfterEpoch, run, weights_of

from kaggle_kit import files
from kaggle_kit.errors import DataError, DiskFullError, InterruptedWork
from kaggle_kit.progress import Silence
from kaggle_kit.training.state import PREVIOUS, STATE, StateFiles

FOLD = "fold-0-seed-0"


class Notes(Silence):
    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def stop_in_epoch(number):
    return CallAfterEpoch(number - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))


def stopped(pairs, settings, folder, epoch=3):
    """A run of which two states lie in its first fold."""
    with pytest.raises(InterruptedWork, match=f"stopped by SIGTERM at epoch {epoch}, step 1"):
        run(pairs, settings, folder, progress=stop_in_epoch(epoch))
    return folder / FOLD / STATE, folder / FOLD / PREVIOUS


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_a_new_best_is_saved_whatever_the_clock_says(pairs, settings_of, tmp_path):
    seen = []
    look = CallAfterEpoch(1, lambda: seen.append((tmp_path / FOLD / STATE).is_file()))
    run(pairs, settings_of(checkpoint_minutes=1e6, folds=2), tmp_path, progress=look)
    assert seen == [True, False], "of the two folds only the first one lies there"
    assert not list(tmp_path.glob("*/*state*")), "nothing is left of the states"


@pytest.mark.parametrize("damage", [flip, cut, os.remove], ids=["bit", "cut", "gone"])
def test_a_damaged_state_gives_way_to_the_one_before_it(pairs, settings_of, tmp_path, damage):
    settings = settings_of(folds=2)
    run(pairs, settings, tmp_path / "whole")
    newest, previous = stopped(pairs, settings, tmp_path / "parts")
    assert previous.is_file()
    damage(newest)
    notes = Notes()
    run(pairs, settings, tmp_path / "parts", progress=notes)
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")
    told = [line for line in notes.lines if PREVIOUS in line]
    assert len(told) == (damage is not os.remove)
    assert all(str(newest) in line and "is damaged" in line for line in told)


def test_two_damaged_states_are_named(pairs, settings_of, tmp_path):
    settings = settings_of(folds=2)
    for path in stopped(pairs, settings, tmp_path):
        flip(path)
    with pytest.raises(DataError, match=r"state\.safetensors is damaged: its content is not what was written"):
        run(pairs, settings, tmp_path)


def test_too_little_space_stops_the_run_and_leaves_the_state_before_it(pairs, settings_of, tmp_path):
    settings = settings_of(folds=2)
    run(pairs, settings, tmp_path / "whole")
    newest, _ = stopped(pairs, settings, tmp_path / "parts")
    before = files.sha256_of(newest)
    with pytest.raises(
        DiskFullError, match=r"too little space to save the state in .*fold-0-seed-0: .* TB needed"
    ) as full:
        run(pairs, settings_of(folds=2, disk_margin_mb=1e12), tmp_path / "parts")
    assert full.value.exit_code == 75
    assert "free; the state before it is untouched" in full.value.message
    assert files.sha256_of(newest) == before
    run(pairs, settings, tmp_path / "parts")
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")


def test_a_disk_that_fills_up_while_a_state_is_written_keeps_the_two_before_it(tmp_path, monkeypatch):
    states = StateFiles(tmp_path / FOLD, margin_mb=0, note=pytest.fail)
    for number in (1, 2):
        states.save({"weight": torch.full((3,), float(number))}, {"number": number})

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError, match="disk full while writing"):
            states.save({"weight": torch.zeros(3)}, {"number": 3})
    assert sorted(path.name for path in states.folder.iterdir()) == [PREVIOUS, STATE]
    tensors, header = states.load()
    assert header["number"] == 2
    assert tensors["weight"].tolist() == [2, 2, 2]


def test_what_a_killed_write_left_is_removed_with_the_states(tmp_path):
    states = StateFiles(tmp_path / FOLD, margin_mb=0, note=pytest.fail)
    states.save({"weight": torch.zeros(3)}, {})
    (states.folder / f".{STATE}.1234.abcd.tmp").write_bytes(b"half")
    states.remove()
    assert not list(states.folder.iterdir())
    assert states.load() is None
