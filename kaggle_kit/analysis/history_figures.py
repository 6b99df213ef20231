"""Figures of training and of the history: the numbers of each, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from kaggle_kit.analysis.style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    INK,
    LINES,
    MARKERS,
    VERMILLION,
    new_figure,
    say,
    shown,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kaggle_kit.analysis.calibration import Calibration

MANY = 500
"""Marks from which they are drawn as one picture, in an SVG, too: thousands of elements would make it heavy."""
ONE_MOMENT = timedelta(hours=12)
"""To either side of the only mark over time: an axis without a length would go over years."""
ENTRIES = 10
"""Members named in the legend; with more of them only folds are."""


@dataclass(frozen=True)
class Curve:
    """The learning curve of one member.

    Attributes:
        fold, seed: counted from 1.
        epoch: (epochs,) counted from 1.
        train_loss, validation_loss, validation_mrr: (epochs,); None where an epoch was not validated.
        temperature: (epochs,) after each; None where the loss trains none.
        best_epoch: whose weights were kept; None when none was told from the others.
        stopped: the last epoch trained, when that was before the last one planned; else None.
    """

    fold: int
    seed: int
    epoch: tuple[int, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float | None, ...]
    validation_mrr: tuple[float | None, ...]
    temperature: tuple[float | None, ...]
    best_epoch: int | None
    stopped: int | None


@dataclass(frozen=True)
class LearningCurves:
    """All members of a run; empty for a translator that is solved in closed form."""

    run: str
    curves: tuple[Curve, ...]

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None when there is."""
        return None if self.curves else f"{self.run} has no learning curve: its translator is solved in closed form"


def learning_curves(run: str, members: Sequence[Mapping[str, Any]], planned_epochs: int | None) -> LearningCurves:
    """The curves in the results of a run's members.

    Args:
        members: the content of each member's ``result.json``.
        planned_epochs: of the run's settings, for members that do not tell their own.
    """
    trained = [member for member in members if member.get("history")]
    return LearningCurves(
        run, tuple(_curve(member, member.get("planned_epochs") or planned_epochs) for member in trained)
    )


def _curve(member: Mapping[str, Any], planned: int | None) -> Curve:
    history = member["history"]
    last = int(history[-1]["epoch"])
    return Curve(
        fold=int(member["fold"]) + 1,
        seed=int(member["seed_number"]) + 1,
        epoch=tuple(int(line["epoch"]) for line in history),
        train_loss=tuple(float(line["train_loss"]) for line in history),
        validation_loss=tuple(line.get("validation_loss") for line in history),
        validation_mrr=tuple(line.get("validation_mrr") for line in history),
        temperature=tuple(line.get("temperature") for line in history),
        best_epoch=int(member["best_epoch"]) or None,
        stopped=last if planned is not None and last < planned else None,
    )


@styled
def draw_learning_curves(numbers: LearningCurves) -> Figure:
    """Losses on the left, validation MRR on the right; a star at the kept epoch, a bar where training stopped early.

    A temperature that was trained stands beside them.
    """
    from matplotlib.ticker import MaxNLocator

    trained = any(value is not None for curve in numbers.curves for value in curve.temperature)
    figure = new_figure(14 if trained else 10, 4.2)
    if numbers.nothing:
        say(figure.subplots(), shown(numbers.nothing, 200))
        return figure
    losses, scores, *more = figure.subplots(1, 3 if trained else 2)
    for curve in numbers.curves:
        _draw_curve(losses, scores, curve, named=len(numbers.curves) <= ENTRIES or curve.seed == 1)
    losses.plot([], [], color=INK, linestyle="--", linewidth=1, label="training")
    for seed in sorted({curve.seed for curve in numbers.curves} if len(numbers.curves) > ENTRIES else ()):
        scores.plot([], [], color=INK, linestyle=LINES[(seed - 1) % len(LINES)], linewidth=1.4, label=f"seed {seed}")
    scores.plot([], [], color=INK, linestyle="none", marker="*", markersize=10, label="kept epoch")
    if any(curve.stopped for curve in numbers.curves):
        scores.plot([], [], color=INK, linestyle="none", marker="|", markersize=12, label="stopped early")
    figure.suptitle(shown(numbers.run, 80), fontsize=11)
    losses.set(title="Loss: validation, and training thin", xlabel="epoch", ylabel="loss")
    scores.set(title="Validation MRR while training, two draws of galleries", xlabel="epoch", ylabel="MRR")
    last = max((curve.epoch[-1] for curve in numbers.curves if curve.epoch), default=1)
    for temperatures in more:
        _draw_temperatures(temperatures, numbers.curves)
    for axes in (losses, scores, *more):
        # the same epochs on both sides, also where only the last one was validated
        axes.set_xlim(0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    named = [
        line for axes in (scores, losses) for line in axes.get_lines() if not str(line.get_label()).startswith("_")
    ]
    figure.legend(handles=named, fontsize=8, ncols=6, loc="outside lower center")
    return figure


def _draw_temperatures(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve in curves:
        points = [pair for pair in zip(curve.epoch, curve.temperature, strict=True) if pair[1] is not None]
        if points:
            at = (curve.fold - 1) % len(COLOURS)
            axes.plot(
                *zip(*points, strict=True), color=COLOURS[at], marker=MARKERS[at], markersize=4, linewidth=1.4,
                markevery=max(1, len(points) // 8), linestyle=LINES[(curve.seed - 1) % len(LINES)],
            )  # fmt: skip
    axes.set(title="Temperature that the loss trains", xlabel="epoch", ylabel="temperature")


def _draw_curve(losses: Axes, scores: Axes, curve: Curve, *, named: bool) -> None:
    colour, marker = COLOURS[(curve.fold - 1) % len(COLOURS)], MARKERS[(curve.fold - 1) % len(MARKERS)]
    every = max(1, len(curve.epoch) // 8)
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.4}
    losses.plot(curve.epoch, curve.train_loss, color=colour, linestyle="--", linewidth=1, alpha=0.7)
    label = f"fold {curve.fold}" + (f", seed {curve.seed}" if curve.seed > 1 else "")
    for axes, values in ((losses, curve.validation_loss), (scores, curve.validation_mrr)):
        points = [(epoch, value) for epoch, value in zip(curve.epoch, values, strict=True) if value is not None]
        if not points:
            continue
        epochs, known = zip(*points, strict=True)
        axes.plot(
            epochs, known, markevery=every, label=label if named and axes is scores else None,
            linestyle=LINES[(curve.seed - 1) % len(LINES)], **style,
        )  # fmt: skip
        at = dict(points)
        if curve.best_epoch in at:
            axes.plot(
                curve.best_epoch, at[curve.best_epoch], color=colour, marker="*", markersize=12, markeredgecolor=INK
            )
        if curve.stopped in at:
            axes.plot(curve.stopped, at[curve.stopped], color=colour, marker="|", markersize=16, markeredgewidth=2)


@styled
def draw_calibration(numbers: Calibration) -> Figure:
    """Public score against CV with the fitted line and its 95 % band; outliers crossed."""
    figure = new_figure(7.2, 4.6)
    axes = figure.subplots()
    if numbers.nothing:
        say(axes, numbers.nothing)
        return figure
    outliers = {one.id for one in numbers.outliers}
    for inside, style in (
        (True, {"color": BLUE, "marker": "o", "label": "submission"}),
        (False, {"color": VERMILLION, "marker": "X", "markersize": 9, "label": "outlier"}),
    ):
        chosen = [one for one in numbers.points if (one.id not in outliers) is inside]
        if chosen:
            errors = [one.cv_error or 0.0 for one in chosen]
            axes.errorbar(
                [one.cv for one in chosen],
                [one.public for one in chosen],
                xerr=errors,
                linestyle="none",
                capsize=2,
                **style,
            )
    _draw_fit(axes, numbers)
    axes.set(title=_calibration_title(numbers), xlabel="CV (out-of-fold MRR)", ylabel="public score")
    figure.legend(ncols=4, loc="outside lower center")  # no place among the points stays empty for long
    return figure


def _draw_fit(axes: Axes, numbers: Calibration) -> None:
    if not numbers.fitted:
        return
    known = [one.cv for one in numbers.points]
    spare = 0.1 * (max(known) - min(known)) or 0.01
    cvs = np.linspace(min(known) - spare, max(known) + spare, 40)
    low, high = numbers.band(cvs)
    axes.fill_between(cvs, low, high, color=GREY, alpha=0.2, linewidth=0, label="95 % of new submissions")
    axes.plot(cvs, numbers.line(cvs), color=INK, linestyle="--", linewidth=1.2, label="robust fit")


def _calibration_title(numbers: Calibration) -> str:
    if not numbers.fitted:
        return f"CV against public score; {numbers.needed} more submissions needed for a fit"
    rho = numbers.rank_correlation
    return "CV against public score" + (f"; rank correlation {rho:.2f}" if rho is not None else "")


@dataclass(frozen=True)
class ScoreOverTime:
    """The history of scores, oldest first.

    Attributes:
        when: ISO 8601, UTC.
        cv, public: None where unknown.
        best: the best public score so far; None before the first.
    """

    when: tuple[str, ...]
    cv: tuple[float | None, ...]
    public: tuple[float | None, ...]
    best: tuple[float | None, ...]

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None when there is."""
        if any(score is not None for score in (*self.cv, *self.public)):
            return None
        return "no scored submission yet" if self.when else "no submission yet"


def score_over_time(rows: Sequence[Mapping[str, Any]]) -> ScoreOverTime:
    """The scores of submissions, given as rows with ``created``, ``cv`` and ``public_score``, in any order."""
    ordered = sorted(rows, key=lambda row: str(row["created"]))
    best, so_far = [], None
    for row in ordered:
        score = row.get("public_score")
        so_far = score if so_far is None else so_far if score is None else max(so_far, score)
        best.append(so_far)
    return ScoreOverTime(
        tuple(str(row["created"]) for row in ordered),
        tuple(row.get("cv") for row in ordered),
        tuple(row.get("public_score") for row in ordered),
        tuple(best),
    )


@styled
def draw_score_over_time(numbers: ScoreOverTime) -> Figure:
    """Public scores and CVs as marks, the best public score so far as a step line."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    figure = new_figure()
    axes = figure.subplots()
    when = [_moment(text) for text in numbers.when]
    if numbers.nothing:
        say(axes, numbers.nothing)
        return figure
    size, many = 6 if len(when) <= 100 else 3, len(when) > MANY
    for values, label, marker, color, face in (
        (numbers.cv, "CV", "s", VERMILLION, "none"),
        (numbers.public, "public score", "o", BLUE, BLUE),
    ):
        points = [(at, value) for at, value in zip(when, values, strict=True) if value is not None]
        if points:
            axes.plot(
                *zip(*points, strict=True), linestyle="none", color=color, marker=marker, markerfacecolor=face,
                markersize=size, rasterized=many, label=label,
            )  # fmt: skip
    best = [(at, value) for at, value in zip(when, numbers.best, strict=True) if value is not None]
    if best:
        axes.step(*zip(*best, strict=True), where="post", color=GREEN, linewidth=1.5, label="best so far")
    if len(set(when)) == 1:
        axes.set_xlim(date2num(when[0] - ONE_MOMENT), date2num(when[0] + ONE_MOMENT))
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set(title="Scores over time (UTC)", ylabel="MRR")
    figure.legend(ncols=4, loc="outside lower center")  # no place among the points stays empty for long
    return figure


def _moment(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Importances:
    """How much of the score's variance in a sweep each setting explains."""

    sweep: str
    names: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None when there is."""
        return None if self.names else f"sweep {self.sweep} has too few finished trials to tell what matters"


@styled
def draw_importances(numbers: Importances) -> Figure:
    """Bars, the most important setting on top."""
    figure = new_figure(7.2, max(2.2, 0.9 + 0.32 * len(numbers.names)))
    axes = figure.subplots()
    if numbers.nothing:
        say(axes, shown(numbers.nothing, 200))
        return figure
    pairs = sorted(zip(numbers.shares, numbers.names, strict=True))
    bars = axes.barh([shown(name, 40) for _, name in pairs], [100 * share for share, _ in pairs], color=BLUE)
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set(title=f"What matters in sweep {shown(numbers.sweep, 40)}", xlabel="importance, per cent")
    axes.grid(visible=False, axis="y")
    return figure
