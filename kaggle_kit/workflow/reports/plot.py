"""Draw figures of runs and of the history into files."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from kaggle_kit.analysis import history_figures, retrieval_figures
from kaggle_kit.analysis.figures import require_figures
from kaggle_kit.analysis.style import save_figure
from kaggle_kit.archive import Record
from kaggle_kit.config import Project, Settings
from kaggle_kit.errors import MissingError, UsageError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.expect import calibration
from kaggle_kit.workflow.history import history
from kaggle_kit.workflow.predict import finished_run, finished_runs
from kaggle_kit.workflow.reports.verify import Inspection, inspect_run
from kaggle_kit.workflow.sweeps.study import Sweep, load_sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure that can be drawn.

    Attributes:
        meaning: what it shows.
        of: ``run``, ``competition``, ``sweep``, or ``predictions``: a run's, which are ranked first.
        numbers: makes its numbers from the run's record, the inspected run, or the project.
        draw: makes the figure from the numbers.
        on_page: whether a report has it; there, thumbnails show what the others do.
        hint: what to do where there is nothing to draw.
    """

    meaning: str
    of: str
    numbers: Callable[[Any], Any]
    draw: Callable[[Any], Figure]
    on_page: bool = True
    hint: str = ""


@runtime_checkable
class MayBeEmpty(Protocol):
    """Numbers of which there may be none: a report says so in the figure's place, and no file is made of it."""

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None when there is."""


@dataclass(frozen=True)
class PlottedFigure:
    """A figure in a file, and the numbers in it."""

    name: str
    path: Path
    numbers: Any


@dataclass(frozen=True)
class PlotEntry:
    """A line of the list of figures."""

    name: str
    of: str
    meaning: str


def plots() -> list[PlotEntry]:
    """Every figure that :func:`plot` draws."""
    return [PlotEntry(name, "run" if one.of == "predictions" else one.of, one.meaning) for name, one in PLOTS.items()]


def plot(
    project: Project,
    name: str,
    run: str | None = None,
    output: Path | str | None = None,
    *,
    caption: str | None = None,
    progress: Progress = SILENCE,
) -> PlottedFigure:
    """Draw one figure into a file.

    Args:
        name: one of :func:`plots`.
        run: id of a run or ensemble, or the unique beginning of one; the newest finished run when None, of ``learning-curves`` the
            newest that has some. Of ``importances``: the name of a sweep; the only one there is when None.
        output: a .png, .svg or .pdf file; ``<name>.png`` when None.
        caption: of ``retrieved``: the caption, as in :func:`~kaggle_kit.workflow.reports.verify.verify_caption`.

    Raises:
        UsageError: no figure of that name, matplotlib is not installed, the figure takes no run or no caption, or the file cannot be
            written there.
        MissingError: no such run, or nothing that could be drawn.
    """
    kind = _kind(name)
    path = Path(output if output is not None else f"{name}.png")
    require_figures(path)
    if caption is not None and name != "retrieved":
        raise UsageError(f"{name} is not of one caption", "kk plot retrieved RUN --caption TEXT is")
    if run is not None and kind.of == "competition":
        raise UsageError(f"{name} is of the whole competition, not of a run", f"kk plot {name}")
    numbers = numbers_of(project, name, run, caption=caption, progress=progress)
    if isinstance(numbers, MayBeEmpty) and numbers.nothing:
        raise MissingError(f"{name}: {numbers.nothing}", kind.hint)
    save_figure(kind.draw(numbers), path)
    return PlottedFigure(name, path, numbers)


def numbers_of(
    project: Project, name: str, run: str | None = None, *, caption: str | None = None, progress: Progress = SILENCE
) -> Any:
    """The numbers of a figure, without drawing it; arguments and errors as in :func:`plot`."""
    kind = _kind(name)
    if kind.of == "competition":
        return kind.numbers(project)
    if kind.of == "sweep":
        return kind.numbers(load_sweep(project, run))
    if kind.of == "run":
        return kind.numbers(_newest_trained(project) if run is None else finished_run(project, run))
    seen = inspect_run(project, run, progress=progress)
    return kind.numbers(seen) if caption is None else _retrieved(seen, [seen.position(caption)])


def _kind(name: str) -> Plot:
    if name in PLOTS:
        return PLOTS[name]
    near = difflib.get_close_matches(name, PLOTS, 1)
    raise UsageError(
        f"there is no figure {name!r}",
        f"did you mean {near[0]}?" if near else f"figures: {', '.join(PLOTS)}",
    )


def _newest_trained(project: Project) -> Record:
    """The newest finished run of a translator that learns in epochs; any where there is none."""
    finished = finished_runs(project)
    return next((run for run in finished if run["kind"] == "run" and run["loss"] is not None), finished[0])


def _learning_curves(record: Record) -> history_figures.LearningCurves:
    from kaggle_kit.training.crossvalidation import member_tasks
    from kaggle_kit.training.member import member_result

    if record["kind"] == "ensemble":
        raise UsageError(
            f"{record.id} is an ensemble, which was not trained itself",
            f"name one of its runs: {', '.join(member['run'] for member in record['members'])}",
        )
    settings = Settings.from_dict(record["config"])
    # a refit holds nothing out: it has no curve of a validation
    tasks = [task for task in member_tasks(settings) if task.fold is not None]
    members = [member_result(record.folder / task.name) for task in tasks]
    return history_figures.learning_curves(
        record.id, [member.to_dict() for member in members if member is not None], settings.train.epochs
    )


def _ranks(seen: Inspection) -> retrieval_figures.RankHistogram:
    return retrieval_figures.rank_histogram(seen.record.id, seen.rankings)


def _similarities(seen: Inspection) -> retrieval_figures.Similarities:
    return retrieval_figures.similarities(seen.record.id, seen.evidence, seen.rankings, seen.others)


def _spectrum(seen: Inspection) -> retrieval_figures.Spectrum:
    return retrieval_figures.spectrum(seen.record.id, seen.evidence)


def _gallery_curve(seen: Inspection) -> retrieval_figures.GalleryCurve:
    from kaggle_kit.analysis.verification import gallery_sizes

    return retrieval_figures.GalleryCurve(
        seen.record.id, gallery_sizes(seen.evidence, seen.rankings), seen.gallery_size
    )


def _samples(seen: Inspection) -> retrieval_figures.Samples:
    return retrieval_figures.draw_samples_from(
        seen.record.id, seen.evidence, seen.rankings, seen.others, seen.photos, seed=seen.settings.seed
    )


def _retrieved(seen: Inspection, rows: list[int] | None = None) -> retrieval_figures.Samples:
    """The captions ``rows``; without any, the two best and the two worst."""
    from kaggle_kit.analysis.verification import best_and_worst

    if rows is None:
        found = [one.row for cases in best_and_worst(seen.evidence, seen.rankings, 2) for one in cases]
        rows = np.flatnonzero(np.isin(seen.evidence.rows, found)).tolist()
        rows.sort(key=lambda row: found.index(int(seen.evidence.rows[row])))
    return retrieval_figures.samples_of(seen.record.id, seen.evidence, seen.rankings, seen.others, seen.photos, rows)


def _scores(project: Project) -> history_figures.ScoreOverTime:
    return history_figures.score_over_time(history(project).rows)


def _importances(found: Sweep) -> history_figures.Importances:
    names, shares = zip(*found.importances, strict=True) if found.importances else ((), ())
    return history_figures.Importances(found.name, names, shares)


def _calibration(project: Project) -> Any:
    return calibration(project).calibration


MORE_SCORES = "kk submit makes a submission, kk sync fetches the score of one that waits for it"

PLOTS: dict[str, Plot] = {
    "learning-curves": Plot(
        "loss and validation MRR of every fold, with the kept epoch and the early stop", "run",
        _learning_curves, history_figures.draw_learning_curves, hint="kk plot ranks RUN is of every translator",
    ),
    "ranks": Plot(
        "how often the right image comes at which rank", "predictions", _ranks, retrieval_figures.draw_ranks
    ),
    "similarities": Plot(
        "cosines of predictions to their true image and to a random one", "predictions",
        _similarities, retrieval_figures.draw_similarities,
    ),
    "spectrum": Plot(
        "how the variance of predicted and true vectors is spread over directions", "predictions",
        _spectrum, retrieval_figures.draw_spectrum,
    ),
    "gallery-size": Plot(
        "expected MRR by the gallery's size", "predictions", _gallery_curve, retrieval_figures.draw_gallery_curve
    ),
    "samples": Plot(
        "sample captions with their photo, a random other one, and what was retrieved (verify.seed draws them)", "predictions",
        _samples, retrieval_figures.draw_samples, on_page=False,
    ),
    "retrieved": Plot(
        "the same for one caption (--caption), or for the best and the worst", "predictions",
        _retrieved, retrieval_figures.draw_samples, on_page=False,
    ),
    "calibration": Plot(
        "public score against CV, with the fit and its interval", "competition",
        _calibration, history_figures.draw_calibration, hint=MORE_SCORES,
    ),
    "scores": Plot(
        "public score and CV over time", "competition", _scores, history_figures.draw_score_over_time, hint=MORE_SCORES,
    ),
    "importances": Plot(
        "what matters in a sweep, named instead of a run", "sweep", _importances, history_figures.draw_importances,
        hint="kk sweep CONFIG --trials N adds more",
    ),
}  # fmt: skip
"""Every figure by name."""
