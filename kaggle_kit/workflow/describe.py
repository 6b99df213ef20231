"""Say what is in the competition's data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kaggle_kit.config import Project
from kaggle_kit.embeddings import DataReport, data_report, fold_facts
from kaggle_kit.errors import MissingError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import DataSettings
from kaggle_kit.workflow.data import competition_pairs, read_test, training_pairs


def describe_data(project: Project, *, figure: Path | None = None, progress: Progress = SILENCE) -> DataReport:
    """What the training data and the test captions are like: counts, norms, duplicates, overlap, distances, leaks of its folds.

    Args:
        figure: a file (png, pdf, svg) to draw it into, by matplotlib.

    Raises:
        MissingError: the training file is nowhere.
        DataError: a file is not what it should be.
        UsageError: matplotlib is not installed, or the figure cannot be written there.
    """
    if figure is not None:
        from kaggle_kit.analysis.figures import require_figures

        require_figures(figure)
    pairs = competition_pairs(project, progress=progress)
    try:
        test = read_test(project, progress=progress)
    except MissingError as error:
        progress.note(f"without test captions: {error.message}")
        test = None
    task = progress.start("comparing captions")
    report = data_report(pairs, test)
    report = replace(report, facts={**report.facts, "folds": fold_facts(pairs, project.settings.folds)})
    task.finish()
    if _changes_something(project.settings.data):
        _, cleaning = training_pairs(project, progress=progress)
        report = replace(report, facts={**report.facts, "settings": cleaning})
    if figure is not None:
        from kaggle_kit.analysis.figures import draw_data

        draw_data(report, figure)
        progress.note(f"drawn into {figure}")
    return report


def _changes_something(data: DataSettings) -> bool:
    """Whether the [data] settings leave captions out or add some."""
    return bool(data.drop_noisiest or data.drop_captions or data.drop_near_test is not None or data.extra)
