"""The time budget: what it may be, that it ends in time to save, and that what goes on equals what never stopped."""

from __future__ import annotations

import pytest
from small_training import run, weights_of

from kaggle_kit.config import load_project
from kaggle_kit.errors import ConfigError, InterruptedWork
from kaggle_kit.settings import duration_of, duration_text
from kaggle_kit.training.interrupts import Deadline, StopRequest
from kaggle_kit.training.member import RESULT
from kaggle_kit.training.state import STATE


class Clock:
    """Seconds that pass whenever somebody looks."""

    def __init__(self, tick=1.0):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("45m", 2700),
        ("11h30m", 41400),
        ("90s", 90),
        ("90", 90),
        (" 1H ", 3600),
        (3600, 3600),
        (0.5, 0.5),
        ("none", None),
    ],
)
def test_budgets_are_understood(tmp_path, given, seconds):
    settings = load_project(tmp_path, overrides={"train.time_budget": given}, environ={}).settings
    assert settings.train.time_budget == seconds


@pytest.mark.parametrize("given", ["soon", "11h30m!", "-5m", "", True, "1h30"])
def test_other_budgets_are_refused_with_examples(tmp_path, given):
    with pytest.raises(ConfigError, match=r"time_budget: must be a duration such as 90s, 45m, 11h30m") as caught:
        load_project(tmp_path, overrides={"train.time_budget": given}, environ={})
    assert caught.value.exit_code == 2


def test_a_budget_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be above 0"):
        load_project(tmp_path, overrides={"train.time_budget": "0"}, environ={})


def test_budgets_of_files_and_variables(tmp_path):
    (tmp_path / "kk.toml").write_text('[train]\ntime_budget = "11h30m"\n')
    assert load_project(tmp_path, environ={}).settings.train.time_budget == 41400
    assert load_project(tmp_path, environ={"KK_TRAIN_TIME_BUDGET": "45m"}).settings.train.time_budget == 2700


@pytest.mark.parametrize(("seconds", "text"), [(41400, "11h30m"), (59.6, "1m"), (3661, "1h1m1s"), (0.2, "0s")])
def test_durations_are_written_as_they_are_read(seconds, text):
    assert duration_text(seconds) == text
    assert duration_of(text) == round(seconds)


def test_the_margin_is_a_tenth_of_a_short_budget():
    assert Deadline(100, 60, clock=Clock(0)).left_s() == 90
    assert Deadline(10_000, 60, clock=Clock(0)).left_s() == 9940


def test_it_stops_before_what_would_not_be_done_in_time():
    clock = Clock(0)
    stop = StopRequest(Deadline(100, clock=clock))
    for seconds in (25, 30, 5):
        with stop.timed("epoch"):
            clock.now += seconds
    assert not stop.before("step")
    clock.now += 9
    assert not stop.before("epoch"), "31 seconds are left, 30 is the longest so far"
    clock.now += 1
    assert stop.before("epoch")
    assert stop, "once out of time, always"


def test_warming_up_is_not_taken_for_the_usual_time():
    clock = Clock(0)
    stop = StopRequest(Deadline(100, clock=clock))
    for seconds in (40, 2):
        with stop.timed("step"):
            clock.now += seconds
    clock.now += 40
    assert not stop.before("step"), "18 seconds are left, a step takes 2"


def slice_of(pairs, settings, folder, budget):
    """The result of a run that went on for ``budget`` at most; None when it was stopped."""
    clock = Clock()
    try:
        return run(pairs, settings, folder, deadline=Deadline(budget, 60, clock=clock))
    except InterruptedWork as stopped:
        found = (stopped.exit_code, "into the time budget of" in stopped.message, clock.now <= budget)
    assert found == (75, True, True), "it ends in time, and says why"
    return None


@pytest.mark.parametrize("budget", [40, 150])
def test_a_run_in_slices_of_its_budget_equals_an_uninterrupted_one(pairs, settings_of, tmp_path, budget):
    settings = settings_of(folds=2)
    whole = run(pairs, settings, tmp_path / "whole")
    slices = 0
    while (resumed := slice_of(pairs, settings, tmp_path / "parts", budget)) is None:
        slices += 1
        assert slices < 100
    assert slices > 0
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")
    assert resumed.score == whole.score
    assert not list((tmp_path / "parts").glob(f"*/{STATE}"))


def test_a_budget_that_is_over_at_once_stops_before_the_first_fold(pairs, settings_of, tmp_path):
    clock = Clock(0)
    late = Deadline(5, clock=clock, started=-10)
    with pytest.raises(InterruptedWork, match="stopped at the start of fold-0-seed-0, 10s into the time budget of 5s"):
        run(pairs, settings_of(), tmp_path, deadline=late)


def test_a_closed_form_is_not_begun_when_it_would_not_be_finished(pairs, settings_of, tmp_path):
    settings = settings_of(translator={"name": "ridge"})
    assert slice_of(pairs, settings, tmp_path, 15) is None
    started, finished = (sorted(path.parent.name for path in tmp_path.glob(f"*/{name}")) for name in ("*", RESULT))
    assert set(started) == set(finished)
    assert 0 < len(finished) < 3
    assert slice_of(pairs, settings, tmp_path, 60).score.mrr > 0.5
