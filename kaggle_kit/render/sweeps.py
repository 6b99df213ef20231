"""How a sweep looks in a terminal."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import clean, counted, duration, number
from kaggle_kit.render.views import View, heading, line


def sweep(result: Any) -> View:
    """The trials, how much each setting matters, and how to train the best one."""
    states = ("done", "pruned", "failed", "running", "stopped", "waiting")
    counts = [f"{result.count(state)} {state}" for state in states if result.count(state)]
    yield heading(f"Sweep {result.name}: {counted(len(result.trials), 'trial')}{', '.join(['', *counts])}")
    yield _trials(result)
    yield from _importances(result.importances)
    yield Text()
    if result.best is None:
        yield Text("no trial is finished yet")
        return
    yield heading(
        f"Best: trial {result.best.number}, out-of-fold MRR {number(result.best.value)}, run {result.best.run}"
    )
    yield Text(clean(result.command), no_wrap=True, overflow="ignore")
    if result.best_config:
        yield line("the same:", f"kk train --config {result.best_config}")


def _trials(result: Any) -> Grid:
    keys = list(dict.fromkeys(key for trial in result.trials for key in trial.params))
    leaves = [key.rpartition(".")[2] for key in keys]
    titles = {
        key: leaf if leaves.count(leaf) == 1 and leaf != "name" else key for key, leaf in zip(keys, leaves, strict=True)
    }
    columns = [
        Column("number", "Trial", str, right=True),
        Column("state", "State"),
        Column("value", "MRR", number, right=True),
        *(Column(key, titles[key], _value, right=True) for key in keys),
        Column("seconds", "Time", lambda value: duration(value) if value else "", right=True, order=1),
        Column("run", "Run", lambda value: clean(value or ""), order=2),
    ]
    best = result.best.number if result.best else None
    return Grid(
        columns,
        [{**trial.params, **{c: getattr(trial, c) for c in ("number", "state", "value", "seconds", "run")}}
         for trial in result.trials],
        style=lambda row: "bold" if row["number"] == best else "",
        empty="no trial yet",
    )  # fmt: skip


def _importances(pairs: Any) -> View:
    if pairs:
        yield Text()
        yield Grid(
            (Column("key", "Setting"), Column("share", "Importance", lambda value: f"{value:.0%}", right=True)),
            [{"key": key, "share": share} for key, share in pairs],
        )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else clean(value)
