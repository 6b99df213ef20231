"""Figures as files, by matplotlib (the extra ``plots``), without its global state."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kaggle_kit.embeddings import DataReport
from kaggle_kit.errors import UsageError
from kaggle_kit.files import atomic_writer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
# Blue and vermillion of Okabe and Ito: told apart with any colour vision, and light against dark in grey.
TRAIN: dict[str, Any] = {"color": "#0072B2", "alpha": 0.55, "label": "train"}
TEST: dict[str, Any] = {"color": "#D55E00", "linewidth": 1.8, "label": "test"}
BINS = 60
DOTS_PER_INCH = 150


def require_figures(path: Path) -> None:
    """Refuse a figure that could not be drawn, before any work is done for it.

    Raises:
        UsageError: matplotlib is not installed, or the file's ending names no format of ours.
    """
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise UsageError(
            f"{path} does not end in one of {', '.join(f'.{name}' for name in FORMATS)}",
            "name a figure such as data.png",
        )
    if find_spec("matplotlib") is None:
        raise UsageError(
            "figures need matplotlib, which is not installed",
            'pip install matplotlib, or install kaggle_kit with its extra: pip install ".[plots]"',
        )


def draw_data(report: DataReport, path: Path) -> None:
    """Draw the report on the data into ``path``: distances, norms, captions an image.

    Raises:
        UsageError: matplotlib is not installed, or the file cannot be written there.
        DiskFullError: no space left.
    """
    require_figures(path)
    figure = data_figure(report)
    with atomic_writer(path) as file:
        figure.savefig(file, format=path.suffix.lower().removeprefix("."), dpi=DOTS_PER_INCH)


def data_figure(report: DataReport) -> Figure:
    """The report on the data as a matplotlib figure, for a notebook to show."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    (distances, counts), (text, images) = figure.subplots(2, 2)
    _draw_distances(distances, report)
    _draw_counts(counts, report.captions_of_image)
    _draw_two(text, report.text_norms, report.test_norms)
    text.set(title="Norms of text embeddings", xlabel="norm", ylabel="density")
    _draw_two(images, report.image_norms, None)
    images.set(title="Norms of image embeddings", xlabel="norm", ylabel="density")
    return figure


def _draw_distances(axes: Axes, report: DataReport) -> None:
    axes.set(title="Distance to the nearest training caption", xlabel="1 - cosine", ylabel="density")
    if report.train_distances is None or report.test_distances is None:
        axes.text(0.5, 0.5, "no test captions", transform=axes.transAxes, ha="center")
        return
    _draw_two(axes, report.train_distances, report.test_distances)
    far = report.facts["test"]["far_from_train"]
    axes.axvline(far["distance"], color="black", linestyle="--", linewidth=1)
    axes.set_title(f"Distance to the nearest training caption\n{far['share']:.0%} of test beyond 95% of train")


def _draw_counts(axes: Axes, captions_of_image: np.ndarray) -> None:
    numbers, images = np.unique(captions_of_image, return_counts=True)
    axes.bar(numbers, images, **TRAIN)
    axes.set(title="Captions an image", xlabel="captions", ylabel="images")
    axes.set_xlim(numbers[0] - 1.5, numbers[-1] + 1.5)
    if len(numbers) <= 10:
        axes.set_xticks(numbers)


def _draw_two(axes: Axes, train: np.ndarray, test: np.ndarray | None) -> None:
    """Densities over shared bins: train as an area, test as a line, so that they differ by more than colour."""
    both = train if test is None else np.concatenate([train, test])
    low, high = float(both.min()), float(both.max())
    margin = max(1e-6, 1e-3 * abs(high)) if high - low < 1e-6 else 0.0  # all the same: unit rows
    edges = np.linspace(low - margin, high + margin, BINS + 1)
    shared: dict[str, Any] = {"bins": edges.tolist(), "density": True}
    axes.hist(train, histtype="stepfilled", **shared, **TRAIN)
    if test is not None:
        axes.hist(test, histtype="step", **shared, **TEST)
    axes.legend()
