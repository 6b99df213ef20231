"""What a CV is worth on the leaderboard: public score against CV over the history, and what to expect of a run before it is sent.

The line is Theil's median of pairwise slopes (Theil, 1950; Sen, 1968), which up to about a quarter of wild points do not move. Where
the CVs differ by less than their own error no slope can be told, and 1 is assumed: a run better by 0.01 in CV is better by 0.01 there.
The interval is a seeded bootstrap over the points, with the scatter around the line and the error of the new CV on top.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

LEAST_POINTS = 3
"""Comparable submissions below which nothing is said about another one."""
MOST_POINTS = 200
"""The newest so many are fitted; pairs grow with the square."""
RESAMPLES = 400
MOST_PAIRS = 2_000_000
"""Pairs of points held at once."""
USUAL_SPREAD = 0.01
"""Standard deviation of a score on 1,500 rows around what was expected."""
USUAL_COUNTS = 5
"""As many submissions' worth as that is believed, beside what the history itself shows."""
SATURATED = 0.98
WILD = 3.5
"""Typical scatters from the line beyond which a point is an outlier."""
LEAST_FOR_OUTLIERS = 5
WORTH = 0.05
"""Probability of a new best below which a submission is not worth its place in the quota."""
USUAL_CAPTIONS = 5
NEAR_CEILING = 0.01


@dataclass(frozen=True)
class Basis:
    """On what a CV was measured; None where it was not recorded, which counts as fitting everything.

    Attributes:
        gallery_size: images in a gallery.
        train_sha256: hash of the training file.
        folds: number of folds.
        folds_by: how images are split: ``images`` at random, or ``text_clusters``.
        folds_digest: hash of which image is held out where.
        captions: captions trained on for each image.
    """

    gallery_size: int | None = None
    train_sha256: str | None = None
    folds: int | None = None
    folds_by: str | None = None
    folds_digest: str | None = None
    captions: float | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Basis:
        """The basis as a record tells it; what is no part of one is left out."""
        return cls(**{part.name: facts.get(part.name) for part in fields(cls)})


@dataclass(frozen=True)
class Point:
    """A scored submission that has a CV."""

    id: str
    cv: float
    public: float
    cv_error: float | None = None
    label: str = ""
    translator: str = ""
    created: str = ""
    basis: Basis = Basis()
    leaks: bool = False
    """Its folds are known to have had look-alikes on both sides."""


@dataclass(frozen=True)
class LeftOut:
    """A submission whose CV cannot be compared with the others, and why."""

    id: str
    label: str
    why: str


@dataclass(frozen=True)
class Outlier:
    """A submission far from the line.

    Attributes:
        expected: the public score on the line at its CV.
        off: public score minus that.
        scatters: the same in typical scatters around the line.
        cause: what usually is behind it.
    """

    id: str
    label: str
    cv: float
    public: float
    expected: float
    off: float
    scatters: float
    cause: str


@dataclass(frozen=True)
class Expectation:
    """The public score that a CV lets expect.

    Attributes:
        score: the middle of what is expected.
        error: half the width of the central 68 %.
        low, high: ends of the central 95 %.
        best: the best public score so far; None when there is none.
        chance: probability of a score above that; None without one.
        beyond: the CV lies outside those that were submitted.
    """

    cv: float
    score: float
    error: float
    low: float
    high: float
    best: float | None
    chance: float | None
    beyond: bool

    @property
    def worth(self) -> bool:
        """Whether it may become the best."""
        return self.chance is None or self.chance >= WORTH

    @property
    def verdict(self) -> str:
        """One line: ``expected 0.840 ± 0.010; your best is 0.868: not worth a submission``."""
        text = f"expected {self.score:.3f} ± {self.error:.3f}"
        if self.best is not None and self.chance is not None:
            text += f"; your best is {self.best:.3f}: "
            text += f"{_percent(self.chance)} to beat it" if self.worth else "not worth a submission"
        return text + (" (its CV lies outside those submitted so far)" if self.beyond else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Calibration:
    """Public score against CV over the comparable submissions.

    Attributes:
        points: those that the line was fitted to, oldest first.
        left_out: not comparable.
        slope, intercept: of the line; None with fewer than ``LEAST_POINTS``.
        assumed_slope: the slope could not be told and is taken as 1.
        spread: standard deviation of public scores around the line, believed to be ``USUAL_SPREAD`` as long as few points
            tell otherwise, and no less than the error of a CV; None without a line.
        rank_correlation: Spearman's; None when undefined.
        rank_correlation_error: its standard error (Bonett and Wright, 2000); None below four points.
        best: the best public score of all submissions, comparable or not.
    """

    points: tuple[Point, ...]
    left_out: tuple[LeftOut, ...] = ()
    slope: float | None = None
    intercept: float | None = None
    assumed_slope: bool = False
    spread: float | None = None
    rank_correlation: float | None = None
    rank_correlation_error: float | None = None
    outliers: tuple[Outlier, ...] = ()
    warnings: tuple[str, ...] = ()
    best: float | None = None
    seed: int = 0
    lines: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)), repr=False, compare=False)
    """(resamples, 2): slope and intercept of each bootstrap sample."""
    scatter: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    """Residuals of the points that are no outliers."""

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None when there is."""
        return None if self.points else "no scored submission with a CV yet"

    @property
    def needed(self) -> int:
        """Comparable scored submissions still missing before anything can be expected."""
        return max(0, LEAST_POINTS - len(self.points))

    @property
    def fitted(self) -> bool:
        """Whether there is a line."""
        return self.slope is not None

    def line(self, cvs: Sequence[float] | np.ndarray) -> np.ndarray:
        """The public score on the line at each CV; NaN without a line."""
        if self.slope is None or self.intercept is None:
            return np.full(len(cvs), np.nan)
        return self.slope * np.asarray(cvs, dtype=np.float64) + self.intercept

    def band(self, cvs: Sequence[float] | np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of where a new submission is expected at each CV; NaN without a line."""
        if not self.fitted:
            return np.full(len(cvs), np.nan), np.full(len(cvs), np.nan)
        tail = 50 * (1 - level)
        ends = [np.percentile(self._draws(float(cv), self._usual_error), [tail, 100 - tail]) for cv in cvs]
        return np.array([low for low, _ in ends]), np.array([high for _, high in ends])

    def expect(self, cv: float, cv_error: float | None = None) -> Expectation | None:
        """What public score to expect of a run, and whether it is worth a submission; None without a line.

        Args:
            cv: its out-of-fold score.
            cv_error: its standard error; that of the submissions so far when None.
        """
        if not self.fitted:
            return None
        draws = self._draws(cv, self._usual_error if cv_error is None else cv_error)
        low, below, above, high = (float(end) for end in np.percentile(draws, [2.5, 15.865, 84.135, 97.5]))
        chance = None if self.best is None else float((draws > self.best).mean())
        beyond = not min(one.cv for one in self.points) <= cv <= max(one.cv for one in self.points)
        score = float(self.line([cv])[0])
        return Expectation(cv, score, (above - below) / 2, low, high, self.best, chance, beyond)

    @property
    def _usual_error(self) -> float:
        return _typical_error(self.points)

    def _draws(self, cv: float, cv_error: float) -> np.ndarray:
        """(resamples * 10,) possible public scores at ``cv``: lines, scatter around them, and the error of the CV."""
        generator = np.random.default_rng(self.seed)
        lines = np.repeat(self.lines, 10, axis=0)
        scatter = generator.choice(self.scatter, len(lines))
        # the points' own CV errors are part of the scatter already: only what exceeds them is added
        extra = math.sqrt(max(0.0, cv_error**2 - self._usual_error**2)) * generator.standard_normal(len(lines))
        # a few points lie nearer to their line than the next one will
        smooth = max(0.0, (self.spread or 0.0) ** 2 - float(np.mean(self.scatter**2)))
        noise = math.sqrt(smooth) * generator.standard_normal(len(lines))
        return lines[:, 0] * (cv + extra) + lines[:, 1] + scatter + noise

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the bootstrap samples."""
        whole = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("lines", "scatter", "seed")
        }
        for name in ("points", "left_out", "outliers"):
            whole[name] = [asdict(one) for one in whole[name]]
        return {**whole, "warnings": list(self.warnings), "needed": self.needed}


def calibrate(
    points: Iterable[Point], *, basis: Basis | None = None, best: float | None = None, seed: int = 0
) -> Calibration:
    """Fit public score on CV over the submissions that can be compared.

    Args:
        points: scored submissions with a CV, in any order.
        basis: what they must be comparable with: that of the run in question; that of most points when None.
        best: the best public score of all submissions, those without a CV too; the best point's when None.
        seed: of the bootstrap.
    """
    known = sorted((one for one in points if _finite(one)), key=lambda one: (one.created, one.id))
    best = max((one.public for one in known), default=None) if best is None else best
    wanted = _most_common(known) if basis is None else basis
    reasons = [(one, _why_not(one.basis, wanted)) for one in known]
    kept = tuple(one for one, why in reasons if not why)[-MOST_POINTS:]
    left_out = tuple(LeftOut(one.id, one.label, why) for one, why in reasons if why)
    warnings = tuple(_warnings(kept, left_out, wanted))
    cv, public = np.array([one.cv for one in kept]), np.array([one.public for one in kept])
    rho, rho_error = spearman(cv, public)
    if len(kept) < LEAST_POINTS:
        return Calibration(kept, left_out, rank_correlation=rho, rank_correlation_error=rho_error, warnings=warnings,
                           best=best, seed=seed)  # fmt: skip
    assumed = slope_is_lost(cv, _typical_error(kept))
    slope, intercept = robust_line(cv, public, slope=1.0 if assumed else None)
    residuals = public - (slope * cv + intercept)
    outliers = _outliers(kept, residuals, slope, intercept)
    usual = np.array([r for one, r in zip(kept, residuals, strict=True) if one.id not in {out.id for out in outliers}])
    free = max(0, len(usual) - (1 if assumed else 2))
    squares = USUAL_COUNTS * USUAL_SPREAD**2 + float((usual**2).sum())
    spread = max(math.sqrt(squares / (USUAL_COUNTS + free)), _typical_error(kept))
    lines = _resampled(cv, public, slope if assumed else None, (slope, intercept), seed)
    return Calibration(kept, left_out, slope, intercept, assumed, spread, rho, rho_error, outliers, warnings, best,
                       seed, lines, usual)  # fmt: skip


def slope_is_lost(cv: np.ndarray, error: float) -> bool:
    """Whether CVs (n,) differ by no more than their own standard error, so that no slope can be told."""
    return bool(np.ptp(cv) == 0 or cv.std(ddof=1) <= error)


def robust_line(x: np.ndarray, y: np.ndarray, *, slope: float | None = None) -> tuple[float, float]:
    """Slope and intercept: the median of the slopes of all pairs, and the median of what is left.

    Args:
        x, y: (n,) float64; pairs of equal x tell nothing about the slope and are left out.
        slope: given, only the intercept is fitted.

    Source: Theil, A rank-invariant method of linear and polynomial regression analysis, 1950; Sen, JASA 63, 1968.
    """
    if slope is None:
        first, second = np.triu_indices(len(x), k=1)
        run, rise = x[second] - x[first], y[second] - y[first]
        apart = run != 0
        slope = float(np.median(rise[apart] / run[apart])) if apart.any() else 1.0
    return slope, float(np.median(y - slope * x))


def _resampled(x: np.ndarray, y: np.ndarray, slope: float | None, whole: tuple[float, float], seed: int) -> np.ndarray:
    """(RESAMPLES, 2) lines through bootstrap samples of the points; a sample of one CV alone keeps the whole slope."""
    drawn = np.random.default_rng(seed).integers(0, len(x), (RESAMPLES, len(x)))
    x, y = x[drawn], y[drawn]  # (RESAMPLES, points)
    if slope is None:
        slopes = np.concatenate([_middle_slopes(*block) for block in _blocks(x, y)])
        slopes = np.where(np.isnan(slopes), whole[0], slopes)
    else:
        slopes = np.full(RESAMPLES, slope)
    return np.stack([slopes, np.median(y - slopes[:, None] * x, axis=1)], axis=1)


def _blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Samples, so many at a time that their pairs stay small."""
    size = max(1, MOST_PAIRS // x.shape[1] ** 2)
    yield from ((x[start : start + size], y[start : start + size]) for start in range(0, len(x), size))


def _middle_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(samples,) the median slope of the pairs of each row of (samples, points); NaN where all x are equal."""
    first, second = np.triu_indices(x.shape[1], k=1)
    run, rise = x[:, second] - x[:, first], y[:, second] - y[:, first]
    slopes = np.divide(rise, run, out=np.full_like(run, np.nan), where=run != 0)
    slopes.sort(axis=1)  # NaN, pairs of equal x, go last
    known = (~np.isnan(slopes)).sum(axis=1)
    rows = np.arange(len(slopes))
    middle: np.ndarray = (slopes[rows, np.maximum(0, known - 1) // 2] + slopes[rows, known // 2]) / 2
    return middle


def spearman(x: np.ndarray, y: np.ndarray) -> tuple[float | None, float | None]:
    """Spearman's rank correlation, ties at their mean rank, and its standard error; None where undefined.

    Source of the error: Bonett and Wright, Sample size requirements for estimating Pearson, Kendall and Spearman correlations,
    Psychometrika 65, 2000, brought back from Fisher's z.
    """
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None, None
    rho = round(float(np.corrcoef(ranks(x), ranks(y))[0, 1]), 12)  # a perfect order is 1, not nearly so
    if len(x) < 4:
        return rho, None
    return rho, (1 - rho**2) * math.sqrt((1 + rho**2 / 2) / (len(x) - 3))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 of (n,) values, equal ones at the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return mean


def tied_ceiling(captions: int) -> float:
    """What even a perfect translator scores when all ``captions`` of each image share a gallery: their images are equal."""
    return float(np.mean(1 / np.arange(1, captions + 1)))


def _finite(point: Point) -> bool:
    return math.isfinite(point.cv) and math.isfinite(point.public)


def _typical_error(points: Sequence[Point]) -> float:
    errors = [one.cv_error for one in points if one.cv_error is not None and math.isfinite(one.cv_error)]
    return float(np.median(errors)) if errors else 0.0


def _most_common(points: Sequence[Point]) -> Basis:
    """The galleries and data of most points, of the newest among equals."""
    known = [one.basis for one in points if one.basis.gallery_size or one.basis.train_sha256]
    keys = Counter((one.gallery_size, one.train_sha256, one.folds_by) for one in known)
    folds = Counter(one.folds_digest for one in known)
    return max(
        reversed(known),
        key=lambda one: (keys[one.gallery_size, one.train_sha256, one.folds_by], folds[one.folds_digest]),
        default=Basis(),
    )


def _why_not(basis: Basis, wanted: Basis) -> str:
    """Why a CV cannot be compared; empty when it can."""
    if basis.gallery_size and wanted.gallery_size and basis.gallery_size != wanted.gallery_size:
        return f"its CV is of galleries of {basis.gallery_size}, not {wanted.gallery_size}"
    if basis.train_sha256 and wanted.train_sha256 and basis.train_sha256 != wanted.train_sha256:
        return f"trained on another file (sha256 {basis.train_sha256[:12]}…, not {wanted.train_sha256[:12]}…)"
    if basis.folds_by and wanted.folds_by and basis.folds_by != wanted.folds_by:
        return f"its folds are split by {basis.folds_by}, not by {wanted.folds_by}"
    return ""


def _warnings(points: Sequence[Point], left_out: Sequence[LeftOut], wanted: Basis) -> Iterator[str]:
    if len(points) < LEAST_POINTS:
        missing = LEAST_POINTS - len(points)
        more = f"submit {missing} more {'run' if missing == 1 else 'runs'} of different CV"
        have = f"{len(points)} comparable scored submission{'' if len(points) == 1 else 's'}"
        yield f"{have}; {LEAST_POINTS} are needed to expect anything: {more}"
    if left_out:
        yield f"{len(left_out)} not comparable: {'; '.join(sorted({one.why for one in left_out}))}"
    other = [one for one in points if one.basis.folds_digest and wanted.folds_digest
             and one.basis.folds_digest != wanted.folds_digest]  # fmt: skip
    if other:
        yield f"{len(other)} of {len(points)} CVs are of other folds: small differences between them mean nothing"
    leaking = sum(one.leaks for one in points)
    if leaking:
        yield f"{leaking} of {len(points)} CVs are too high: their folds leak"
    yield from _saturation(points, wanted)


def _saturation(points: Sequence[Point], wanted: Basis) -> Iterator[str]:
    """Whether the validation figure still tells runs apart."""
    if not points:
        return
    cv, error = np.array([one.cv for one in points]), _typical_error(points)
    captions = round(wanted.captions or USUAL_CAPTIONS)
    if cv.max() >= SATURATED:
        yield f"the CV saturates ({cv.max():.4f}): larger galleries, or another figure, would tell runs apart"
    elif captions > 1 and -NEAR_CEILING <= cv.max() - tied_ceiling(captions) <= max(error, NEAR_CEILING / 2):
        yield (
            f"the best CV, {cv.max():.4f}, is near {tied_ceiling(captions):.4f}, the most that can be reached when all "
            f"{captions} captions of an image share a gallery: is there one caption for each image?"
        )
    if len(points) >= LEAST_POINTS and slope_is_lost(cv, error):
        yield (
            f"the CVs differ by {cv.std(ddof=1):.4f}, no more than their error of {error:.4f}: the slope is taken as 1"
        )


def _outliers(points: Sequence[Point], residuals: np.ndarray, slope: float, intercept: float) -> tuple[Outlier, ...]:
    if len(points) < LEAST_FOR_OUTLIERS:
        return ()
    typical = max(1.4826 * float(np.median(np.abs(residuals))), _typical_error(points), 1e-6)
    return tuple(
        Outlier(
            one.id,
            one.label,
            one.cv,
            one.public,
            slope * one.cv + intercept,
            float(off),
            float(off) / typical,
            _cause(one, slope * one.cv + intercept, float(off)),
        )
        for one, off in zip(points, residuals, strict=True)
        if abs(off) > WILD * typical
    )


def _cause(point: Point, expected: float, off: float) -> str:
    if off > 0:
        return "the CV is too low: harder galleries than the leaderboard's, or too few images"
    if point.leaks:
        return "the CV is too high: its folds leak, look-alikes were on both sides"
    if point.public < expected / 2:
        return "a broken file: rows in another order, other ids, or vectors of another space"
    return "the CV is too high: a leak between folds, or easier galleries"


def _percent(chance: float) -> str:
    return "over 99 %" if chance > 0.99 else f"{chance:.0%}".replace("%", " %")
