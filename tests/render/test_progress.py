"""Progress on a terminal, in a notebook and in a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kaggle_kit.render.bars import Bars
from kaggle_kit.render.measure import Measure
from kaggle_kit.render.progress import Lines, OneLine, progress_on


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock():
    return Clock()


def console(*, terminal: bool = False, width: int = 100) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, markup=False, highlight=False, legacy_windows=False
    )


def written(lines: Lines) -> list[str]:
    return lines.console.file.getvalue().splitlines()


def test_measure_tells_amount_rate_and_time_left(clock):
    measure = Measure("train.npz", 200_000_000, "B", clock)
    clock.time += 2
    measure.update(50_000_000, {})
    assert measure.line() == "train.npz: 50.0 MB of 200 MB, 0:06 left, 25.0 MB/s"


def test_rate_follows_the_last_half_minute(clock):
    measure = Measure("x", None, "rows", clock)
    for done in (1000, 1010, 1020, 1030):
        clock.time += 20
        measure.update(done, {})
    assert measure.rate == pytest.approx(0.5)
    assert measure.left_s is None


def test_lines_are_few_however_many_epochs(clock):
    lines = Lines(console(), interval_s=10, now=clock)
    task = lines.start("fold 1", 50, "epochs")
    for epoch in range(1, 51):
        clock.time += 0.5
        task.update(epoch, loss=2.0 / epoch, mrr=0.5, samples_per_s=12345.6)
    task.finish("fold 1: MRR 0.5000")
    assert written(lines) == [
        "fold 1: 20 of 50 epochs, 0:15 left, loss 0.1, mrr 0.5, 12,346 samples/s",
        "fold 1: 40 of 50 epochs, 0:05 left, loss 0.05, mrr 0.5, 12,346 samples/s",
        "fold 1: MRR 0.5000",
    ]


def test_lines_tell_other_work_every_interval_only(clock):
    lines = Lines(console(), interval_s=10, now=clock)
    task = lines.start("train.npz", 100, "B")
    for done in range(1, 26):
        clock.time += 1
        task.update(done)
    assert len(written(lines)) == 2
    assert written(lines)[0].startswith("train.npz: 10 B of 100 B")


def test_one_line_tells_a_file_and_the_download_that_it_belongs_to(clock):
    lines = Lines(console(), interval_s=10, now=clock)
    whole = lines.start("3 files", 400_000_000, "B", done=100_000_000)
    part = lines.start("train.npz", 300_000_000, "B", done=100_000_000)
    for second in range(1, 11):
        clock.time += 1
        part.update(100_000_000 + second * 10_000_000)
        whole.update(100_000_000 + second * 10_000_000)
    part.finish("train.npz: 300 MB")
    for second in range(11, 21):
        clock.time += 1
        whole.update(100_000_000 + second * 10_000_000)
    assert written(lines) == [
        "train.npz: 200 MB of 300 MB, 0:10 left, 10.0 MB/s; 3 files: 190 MB of 400 MB, 0:21 left, 10.0 MB/s",
        "train.npz: 300 MB",
        "3 files: 300 MB of 400 MB, 0:10 left, 10.0 MB/s",
    ]


def test_work_that_an_error_cut_short_is_forgotten(clock):
    lines = Lines(console(), interval_s=10, now=clock)
    lines.start("cut short", 10)
    other = lines.start("other", 10)
    clock.time += 10
    other.update(5)
    assert written(lines) == ["other: 5 of 10, 0:10 left, 0.5/s"]


def test_short_work_without_a_summary_leaves_no_line(clock):
    lines = Lines(console(), now=clock)
    lines.start("quick", 1).finish()
    assert written(lines) == []


def test_long_work_without_a_summary_leaves_its_duration(clock):
    lines = Lines(console(), now=clock)
    task = lines.start("slow", 1)
    clock.time += 75
    task.finish()
    assert written(lines) == ["slow: done in 1 min 15 s"]


def test_lines_are_never_broken_and_never_interpreted(clock):
    lines = Lines(console(width=20), now=clock)
    lines.note("[bold]" + "long " * 20 + "\x1b[2J")
    assert written(lines) == ["[bold]" + "long " * 20 + "\\x1b[2J"]


class Cell:
    """A notebook's cell: remembers everything that it was made to show, until another cell runs."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.fresh = True

    def begins(self) -> bool:
        fresh, self.fresh = self.fresh, False
        return fresh

    def show(self, text: str) -> None:
        self.shown.append(text)


def test_one_line_is_replaced_in_a_notebook(clock):
    cell = Cell()
    shown = OneLine(cell, now=clock)
    task = shown.start("fold 1", 3, "epochs")
    task.update(1, loss=2.0)
    clock.time += 1
    task.update(2, loss=1.0)
    task.finish("fold 1 done")
    assert cell.shown[0].startswith("fold 1: 1 of 3 epochs, loss 2")
    assert cell.shown[1].startswith("fold 1: 2 of 3 epochs, ")
    assert cell.shown[2:] == ["fold 1 done"]
    shown.note("a note \x1b[2J")
    assert cell.shown[-1] == "fold 1 done\na note \\x1b[2J"
    cell.fresh = True
    shown.note("in the next cell")
    assert cell.shown[-1] == "in the next cell"


def test_one_line_shows_all_that_is_open_in_a_notebook(clock):
    cell = Cell()
    shown = OneLine(cell, now=clock)
    whole, part = shown.start("3 files", 400, "B"), shown.start("train.npz", 300, "B")
    part.update(100)
    whole.update(100)
    clock.time += 1
    part.update(200)
    whole.update(200)
    assert cell.shown[-1].startswith("train.npz: 200 B of 300 B")
    assert "; 3 files: 100 B of 400 B" in cell.shown[-1]


def test_one_line_updates_no_faster_than_an_eye_follows(clock):
    cell = Cell()
    shown = OneLine(cell, now=clock)
    task = shown.start("fold 1", 1000, "epochs")
    for epoch in range(100):
        clock.time += 0.001
        task.update(epoch)
    assert len(cell.shown) == 1


def test_bars_vanish_and_summaries_stay():
    bars = Bars(console(terminal=True))
    first, second = bars.start("all files", 100, "B"), bars.start("[red]train.npz", 50, "B")
    second.update(25, loss=0.5)
    bars.note("using the mounted data")
    second.finish("train.npz: 50 B")
    first.finish()
    text = bars.console.file.getvalue()
    assert "using the mounted data" in text
    assert "train.npz: 50 B" in text
    assert text.rstrip().endswith("\x1b[2K") or "\x1b[?25h" in text  # the cursor is shown again, the bars are erased


def test_bars_can_be_closed_in_the_middle_and_used_no_more():
    bars = Bars(console(terminal=True))
    task = bars.start("training", 10, "epochs")
    bars.close()
    bars.close()
    task.update(3)
    task.finish("stopped")
    assert "stopped" in bars.console.file.getvalue()


def test_kind_follows_the_console(monkeypatch):
    import sys

    assert isinstance(progress_on(console(terminal=True)), Bars)
    assert isinstance(progress_on(console()), Lines)
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert isinstance(progress_on(console()), OneLine)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    assert isinstance(progress_on(console()), Lines)
