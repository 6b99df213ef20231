"""Figures of a run's retrieval: the numbers of each, and how they are drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kaggle_kit.analysis.evidence import NOBODY, Evidence, Rankings
from kaggle_kit.analysis.photos import Photos
from kaggle_kit.analysis.style import (
    BLUE,
    DOTS_PER_INCH,
    GREEN,
    GREY,
    INK,
    SKY,
    VERMILLION,
    new_figure,
    say,
    shown,
    styled,
)
from kaggle_kit.analysis.verification import Case, GallerySize, case

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 60
BLOCK_ROWS = 4096
ROUNDING = 1e-8
"""Share of the variance below which a direction is rounding only: float32 products leave about 1e-9 where there is none."""
SAMPLES = 4
PHOTO_INCHES = 1.25


@dataclass(frozen=True)
class RankHistogram:
    """How often the right image comes at which rank of its whole fold.

    Attributes:
        first, last: (bins,) ranks from … to …, both included; each bin but the last is as wide as all before it.
        share: (bins,) of the captions.
        chance: (bins,) of a random order.
        gallery: images in a fold.
    """

    run: str
    first: tuple[int, ...]
    last: tuple[int, ...]
    share: tuple[float, ...]
    chance: tuple[float, ...]
    gallery: int


def rank_histogram(run: str, rankings: Rankings) -> RankHistogram:
    """Counts of ranks 1, 2, 3 to 4, 5 to 8, … up to the largest fold; the last bin takes what is left."""
    gallery = int(rankings.gallery.max())
    last = [1]
    while last[-1] < gallery:
        last.append(2 * last[-1] if 3 * last[-1] < gallery else gallery)  # the last one takes what is left
    first = [1, *(rank + 1 for rank in last[:-1])]
    place = np.searchsorted(last, rankings.rank)
    share = np.bincount(place, minlength=len(last)) / len(place)
    chance = [(high - low + 1) / gallery for low, high in zip(first, last, strict=True)]
    return RankHistogram(run, tuple(first), tuple(last), tuple(share.tolist()), tuple(chance), gallery)


@styled
def draw_ranks(numbers: RankHistogram) -> Figure:
    """Bars for the run, a marked line for chance."""
    figure = new_figure()
    axes = figure.subplots()
    places = np.arange(len(numbers.first))
    names = [
        f"{low:,}" if low == high else f"{low:,}–{high:,}"
        for low, high in zip(numbers.first, numbers.last, strict=True)
    ]
    axes.bar(places, [100 * share for share in numbers.share], color=BLUE, width=0.8, label=shown(numbers.run, 60))
    axes.plot(
        places, [100 * share for share in numbers.chance], color=VERMILLION, marker="o", linestyle="--", label="chance"
    )
    axes.set_xticks(places, names, rotation=30 if len(names) > 8 else 0, ha="right" if len(names) > 8 else "center")
    axes.set(title=f"Rank of the right image among {numbers.gallery:,}", xlabel="rank", ylabel="captions, per cent")
    axes.grid(visible=False, axis="x")
    axes.legend()
    return figure


@dataclass(frozen=True)
class Similarities:
    """Cosines of predictions to their true image and to a random other one.

    Attributes:
        edges: (bins + 1,) of the cosine.
        true, random: (bins,) densities.
        true_mean, random_mean: of the cosines.
        separation: probability that a true pair is more similar than a random one (the area under the ROC curve, ties half).
    """

    run: str
    edges: tuple[float, ...]
    true: tuple[float, ...]
    random: tuple[float, ...]
    true_mean: float
    random_mean: float
    separation: float


def similarities(run: str, evidence: Evidence, rankings: Rankings, others: np.ndarray) -> Similarities:
    """The two distributions over shared bins.

    Args:
        others: (captions,) int64, a random other image for each; captions without one are left out.
    """
    from scipy.stats import rankdata

    rows = np.flatnonzero(others != NOBODY)
    true = rankings.cosine[rows].astype(np.float64)
    blocks = (rows[first : first + BLOCK_ROWS] for first in range(0, len(rows), BLOCK_ROWS))
    random = np.concatenate(
        [np.einsum("nd,nd->n", evidence.predictions[block], evidence.images[others[block]]) for block in blocks]
        or [np.zeros(0, np.float32)]
    ).astype(np.float64)
    if not len(rows):
        return Similarities(run, (), (), (), float("nan"), float("nan"), float("nan"))
    both = np.concatenate([true, random])
    margin = 1e-6 + 1e-3 * (both.max() - both.min())
    edges = np.linspace(both.min() - margin, both.max() + margin, BINS + 1)
    densities = [np.histogram(part, edges, density=True)[0] for part in (true, random)]
    count = len(true)
    wins = rankdata(both)[:count].sum() - count * (count + 1) / 2  # Mann and Whitney's U
    return Similarities(
        run,
        tuple(edges.tolist()),
        tuple(densities[0].tolist()),
        tuple(densities[1].tolist()),
        float(true.mean()),
        float(random.mean()),
        float(wins / count**2),
    )


@styled
def draw_similarities(numbers: Similarities) -> Figure:
    """An area for random pairs, a line for true ones."""
    figure = new_figure()
    axes = figure.subplots()
    if not numbers.edges:
        say(axes, "there are no two images to compare")
        return figure
    axes.stairs(numbers.random, numbers.edges, fill=True, color=SKY, alpha=0.6, label="random other image")
    axes.stairs(numbers.true, numbers.edges, color=VERMILLION, linewidth=2, label="true image")
    axes.axvline(numbers.random_mean, color=SKY, linestyle=":", linewidth=1.5)
    axes.axvline(numbers.true_mean, color=VERMILLION, linestyle="--", linewidth=1.5)
    axes.set(
        title=f"Similarity of predictions; a true pair wins {numbers.separation:.1%} of the time",
        xlabel="cosine",
        ylabel="density",
    )
    axes.legend()
    return figure


@dataclass(frozen=True)
class Spectrum:
    """How the variance of unit vectors is spread over their principal directions.

    Attributes:
        predicted, true: (d,) shares of the variance, largest first, of predictions and of the images that they stand for.
        predicted_rank, true_rank: effective numbers of directions, exp of the entropy of the shares.

    Source of the effective rank: Roy and Vetterli, The Effective Rank, EUSIPCO 2007.
    """

    run: str
    predicted: tuple[float, ...]
    true: tuple[float, ...]
    predicted_rank: float
    true_rank: float


def spectrum(run: str, evidence: Evidence) -> Spectrum:
    """Spectra of the covariances, one row a caption on both sides."""
    times = np.bincount(evidence.image, minlength=len(evidence.images))
    predicted = variance_shares(evidence.predictions, np.ones(len(evidence)))
    true = variance_shares(evidence.images, times)
    return Spectrum(
        run, tuple(predicted.tolist()), tuple(true.tolist()), effective_rank(predicted), effective_rank(true)
    )


def variance_shares(rows: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Shares of the variance of (n, d) rows, each counted ``times`` (n,), along principal directions: (d,), largest first."""
    weight = (times / times.sum())[:, None].astype(np.float32)
    mean = (weight * rows).sum(0)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for first in range(0, len(rows), BLOCK_ROWS):
        block = rows[first : first + BLOCK_ROWS] - mean
        covariance += (weight[first : first + BLOCK_ROWS] * block).T @ block
    values = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0)
    total = values.sum()
    return values / total if total > 0 else values


def effective_rank(shares: np.ndarray) -> float:
    """exp of the entropy of shares that sum to 1; 0 when there is no variance."""
    present = shares[shares > 0]
    return float(np.exp(-(present * np.log(present)).sum())) if len(present) else 0.0


@styled
def draw_spectrum(numbers: Spectrum) -> Figure:
    """Both spectra on logarithmic axes."""
    figure = new_figure()
    axes = figure.subplots()
    for shares, rank, name, color, line in (
        (numbers.true, numbers.true_rank, "true", BLUE, "-"),
        (numbers.predicted, numbers.predicted_rank, "predicted", VERMILLION, "--"),
    ):
        present = [100 * share for share in shares if share > ROUNDING]
        label = f"{name}: {rank:.0f} effective directions"
        axes.plot(np.arange(1, len(present) + 1), present, linewidth=2, label=label, color=color, linestyle=line)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(
        title="Spectrum of predicted and true vectors",
        xlabel="principal direction",
        ylabel="variance, per cent",
    )
    axes.legend()
    return figure


@dataclass(frozen=True)
class GalleryCurve:
    """The expected score by gallery size."""

    run: str
    sizes: tuple[GallerySize, ...]
    competition_size: int


@styled
def draw_gallery_curve(numbers: GalleryCurve) -> Figure:
    """Expected MRR with its error, chance beside it, the competition's size marked."""
    figure = new_figure()
    axes = figure.subplots()
    sizes = [one.size for one in numbers.sizes]
    errors = [2 * one.error if np.isfinite(one.error) else 0.0 for one in numbers.sizes]
    axes.errorbar(
        sizes,
        [one.mrr for one in numbers.sizes],
        errors,
        color=BLUE,
        marker="o",
        capsize=3,
        label="expected, ± 2 errors",
    )
    axes.plot(sizes, [one.chance for one in numbers.sizes], color=GREY, marker="s", linestyle="--", label="chance")
    axes.axvline(
        numbers.competition_size, color=GREEN, linestyle=":", label=f"the competition's {numbers.competition_size}"
    )
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set(title="Effect of the gallery's size", xlabel="images in a gallery", ylabel="MRR", ylim=(0, 1))
    axes.legend()
    return figure


@dataclass(frozen=True)
class Sample:
    """A caption, its distances, and what was retrieved for it.

    Attributes:
        random: name of a random other image of the gallery; None when there is no other.
        true_distance, random_distance: euclidean, manhattan and cosine, of unit vectors.
    """

    case: Case
    random: str | None
    true_distance: tuple[float, float, float]
    random_distance: tuple[float, float, float] | None


@dataclass(frozen=True)
class Samples:
    """Sample captions of a run."""

    run: str
    seed: int
    samples: tuple[Sample, ...]
    photos: Photos = field(repr=False, default=Photos(None))


def draw_samples_from(
    run: str, evidence: Evidence, rankings: Rankings, others: np.ndarray, photos: Photos, *, seed: int
) -> Samples:
    """Captions drawn by the seed, of different images as far as there are any."""
    order = np.random.default_rng(seed).permutation(len(evidence))
    _, first = np.unique(evidence.image[order], return_index=True)
    rows = order[np.sort(first)[:SAMPLES]]
    return Samples(run, seed, tuple(_sample(evidence, rankings, others, int(row)) for row in rows), photos)


def samples_of(
    run: str, evidence: Evidence, rankings: Rankings, others: np.ndarray, photos: Photos, rows: Sequence[int]
) -> Samples:
    """The captions ``rows`` of the evidence."""
    return Samples(run, 0, tuple(_sample(evidence, rankings, others, row) for row in rows), photos)


def _sample(evidence: Evidence, rankings: Rankings, others: np.ndarray, row: int) -> Sample:
    other = int(others[row])
    prediction = evidence.predictions[row].astype(np.float64)
    return Sample(
        case=case(evidence, rankings, row),
        random=None if other == NOBODY else str(evidence.names[other]),
        true_distance=_three(prediction, evidence.images[evidence.image[row]]),
        random_distance=None if other == NOBODY else _three(prediction, evidence.images[other]),
    )


def _three(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    difference = one - other
    return float(np.sqrt(difference @ difference)), float(np.abs(difference).sum()), float(1 - one @ other)


@styled
def draw_samples(numbers: Samples) -> Figure:
    """A row a caption: its own photo, a random other one, then what was retrieved, the right one framed."""
    places = max(len(sample.case.retrieved) for sample in numbers.samples)
    count = len(numbers.samples)
    figure = new_figure(PHOTO_INCHES * (places + 2) + 0.8, (PHOTO_INCHES + 0.85) * count + 0.3)
    figure.suptitle(f"{shown(numbers.run, 70)}: captions, their images, and what was retrieved", fontsize=11)
    for part, sample in zip(figure.subfigures(count, 1, squeeze=False).flat, numbers.samples, strict=True):
        _draw_sample(part, sample, numbers.photos, places)
    return figure


def _draw_sample(part: Any, sample: Sample, photos: Photos, places: int) -> None:
    found = sample.case
    rank = f"rank {found.rank:,} of {found.gallery:,}"
    caption = "\n".join(textwrap.wrap(f"“{shown(found.caption, 170)}”  {rank}", 105)) or rank
    part.suptitle(caption, fontsize=9.5, x=0.01, ha="left", parse_math=False)
    axes = part.subplots(1, places + 2, gridspec_kw={"wspace": 0.08})
    _picture(axes[0], photos, found.image, "described", _distances(sample.true_distance), frame=GREEN)
    if sample.random is None or sample.random_distance is None:
        say(axes[1], "no other\nimage")
    else:
        _picture(axes[1], photos, sample.random, "random other", _distances(sample.random_distance))
    for number, spot in enumerate(axes[2:]):
        if number >= len(found.retrieved):
            spot.set_axis_off()
            continue
        place = found.retrieved[number]
        title = f"{place.rank:,}. ✓" if place.right else f"{place.rank:,}."
        frame = GREEN if place.right else None
        _picture(spot, photos, place.image, title, f"cosine {place.cosine:.3f}", frame=frame)


def _distances(values: tuple[float, float, float]) -> str:
    return f"euclidean {values[0]:.3f}\nmanhattan {values[1]:.1f}\n1 - cosine {values[2]:.3f}"


def _picture(axes: Axes, photos: Photos, name: str, title: str, under: str, *, frame: str | None = None) -> None:
    """A photo, or its name on a hatched card when it is not here; the right one in a thick frame with a tick in its title."""
    from matplotlib.patches import Rectangle

    picture = photos.read(name, round(1.5 * PHOTO_INCHES * DOTS_PER_INCH))
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=8.5, pad=3)
    axes.set_xlabel(under, fontsize=7.5, labelpad=3)
    if picture is not None:
        axes.imshow(picture)
    else:
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect=1)
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="none", edgecolor=GREY, hatch="///", alpha=0.25))
        card = "\n".join(textwrap.wrap(shown(name, 48), 14)) or "no name"
        axes.text(0.5, 0.5, card, ha="center", va="center", fontsize=7, parse_math=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame or INK, linewidth=3.5 if frame else 0.6)
