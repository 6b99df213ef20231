"""CV against public score, each number against a naive computation or a known answer."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest

from kaggle_kit.analysis.calibration import (
    Basis,
    Calibration,
    Point,
    calibrate,
    ranks,
    robust_line,
    spearman,
    tied_ceiling,
)


def points(cvs, publics, *, error: float | None = 0.005, **same: object) -> list[Point]:
    return [
        Point(f"s{i:03}", float(cv), float(public), error, f"try {i}", created=f"2026-11-{1 + i % 28:02}", **same)
        for i, (cv, public) in enumerate(zip(cvs, publics, strict=True))
    ]


@pytest.fixture
def noisy() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    cv = 0.6 + 0.2 * generator.random(20)
    return cv, 0.8 * cv - 0.05 + 0.004 * generator.standard_normal(20)


def test_line_is_the_median_of_all_pairwise_slopes(noisy):
    cv, public = noisy
    pairs = itertools.combinations(zip(cv, public, strict=True), 2)
    slope = statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs)
    intercept = statistics.median(y - slope * x for x, y in zip(cv, public, strict=True))
    assert robust_line(cv, public) == pytest.approx((slope, intercept), abs=1e-12)
    fitted = calibrate(points(cv, public))
    assert (fitted.slope, fitted.intercept) == pytest.approx((slope, intercept), abs=1e-12)
    assert fitted.line([0.5, 0.7]) == pytest.approx([slope * 0.5 + intercept, slope * 0.7 + intercept])


def test_wild_points_do_not_move_the_line_and_are_named(noisy):
    cv, public = noisy
    clean = calibrate(points(cv, public))
    public = public.copy()
    public[3], public[8], public[12] = 0.02, public[8] - 0.1, public[12] + 0.1
    fitted = calibrate(points(cv, public))
    assert fitted.slope == pytest.approx(clean.slope, abs=0.05)
    causes = {one.id: one.cause for one in fitted.outliers}
    assert list(causes) == ["s003", "s008", "s012"]
    assert "broken file" in causes["s003"]
    assert "leak" in causes["s008"]
    assert "too low" in causes["s012"]
    (wild,) = [one for one in fitted.outliers if one.id == "s008"]
    assert wild.off == pytest.approx(public[8] - fitted.line([cv[8]])[0])
    # the scatter is that of the others
    assert fitted.spread == pytest.approx(clean.spread, abs=0.002)


def test_known_leak_is_the_cause_named():
    cv = np.linspace(0.6, 0.8, 9)
    many = points(cv, cv - 0.1)
    many[4] = Point("leaky", 0.7, 0.45, 0.005, leaks=True, created="2026-11-09")
    fitted = calibrate(many)
    assert [one.cause for one in fitted.outliers] == [
        "the CV is too high: its folds leak, look-alikes were on both sides"
    ]
    assert "1 of 9 CVs are too high: their folds leak" in fitted.warnings


def test_rank_correlation_is_pearson_of_ranks_with_ties_in_the_middle():
    x, y = np.array([0.1, 0.4, 0.4, 0.9, 0.7]), np.array([0.2, 0.1, 0.5, 0.8, 0.6])
    assert ranks(x).tolist() == [1, 2.5, 2.5, 5, 4]
    rho, error = spearman(x, y)
    first, second = [1, 2.5, 2.5, 5, 4], [2, 1, 3, 5, 4]
    assert rho == pytest.approx(statistics.correlation(first, second))
    assert error == pytest.approx((1 - rho**2) * ((1 + rho**2 / 2) / (5 - 3)) ** 0.5)
    assert spearman(x, np.ones(5)) == (None, None)
    assert spearman(x[:3], y[:3])[1] is None
    assert spearman(x[:1], y[:1]) == (None, None)
    assert spearman(np.arange(6.0), -np.arange(6.0)) == (-1.0, 0.0)


def test_expectation_lies_on_the_line_and_its_interval_covers_what_comes():
    generator = np.random.default_rng(11)
    inside = central = 0
    for _ in range(40):
        cv = 0.7 + 0.04 * generator.standard_normal(13)
        public = 0.9 * cv - 0.1 + 0.01 * generator.standard_normal(13)
        expected = calibrate(points(cv[:12], public[:12])).expect(cv[12])
        inside += expected.low <= public[12] <= expected.high
        central += abs(public[12] - expected.score) <= expected.error
    assert inside >= 34  # 38 of 40 are expected of 95 %
    assert 18 <= central <= 36  # 27 of 40 of 68 %


def test_interval_is_the_same_each_time_and_wider_for_a_worse_cv(noisy):
    fitted = calibrate(points(*noisy))
    assert fitted.expect(0.7) == calibrate(points(*noisy)).expect(0.7)
    assert fitted.expect(0.7, 0.03).error > 1.5 * fitted.expect(0.7, 0.005).error
    low, high = fitted.band([0.65, 0.7])
    assert (low < fitted.line([0.65, 0.7])).all()
    assert (high > fitted.line([0.65, 0.7])).all()
    assert fitted.expect(0.95).beyond
    assert not fitted.expect(0.7).beyond


def test_verdict_weighs_the_expectation_against_the_best():
    cv = np.linspace(0.7, 0.8, 6)
    fitted = calibrate(points(cv, cv), best=0.868)
    assert fitted.expect(0.72).verdict == (
        f"expected 0.720 ± {fitted.expect(0.72).error:.3f}; your best is 0.868: not worth a submission"
    )
    assert not fitted.expect(0.72).worth
    better = fitted.expect(0.95)
    assert better.worth
    assert "over 99 % to beat it (its CV lies outside those submitted so far)" in better.verdict
    assert fitted.expect(0.868).chance == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_points_say_what_is_needed(count):
    fitted = calibrate(points([0.7, 0.8][:count], [0.6, 0.7][:count]))
    assert (fitted.fitted, fitted.needed, fitted.expect(0.7)) == (False, 3 - count, None)
    assert "3 are needed to expect anything" in fitted.warnings[0]
    assert np.isnan(fitted.line([0.7])).all()
    assert np.isnan(fitted.band([0.7])[0]).all()
    assert fitted.to_dict()["needed"] == 3 - count


@pytest.mark.parametrize("error", [0.005, None])
def test_cvs_that_do_not_differ_take_a_slope_of_one(error):
    fitted = calibrate(points([0.8] * 4, [0.7, 0.71, 0.69, 0.7], error=error))
    assert (fitted.slope, fitted.assumed_slope) == (1.0, True)
    assert fitted.expect(0.8).score == pytest.approx(0.7)
    assert fitted.expect(0.82).score == pytest.approx(0.72)
    assert fitted.rank_correlation is None
    assert any("the slope is taken as 1" in warning for warning in fitted.warnings)


def test_differences_below_their_error_tell_no_slope():
    fitted = calibrate(points([0.800, 0.801, 0.802, 0.803], [0.70, 0.72, 0.69, 0.71], error=0.005))
    assert fitted.assumed_slope
    assert not calibrate(points([0.75, 0.80, 0.83], [0.7, 0.72, 0.75], error=0.005)).assumed_slope


def test_saturated_cv_is_warned_of():
    fitted = calibrate(points([0.95, 0.97, 0.985], [0.7, 0.72, 0.75]))
    assert any("the CV saturates (0.9850)" in warning for warning in fitted.warnings)


def test_ceiling_of_several_captions_in_one_gallery_is_recognised():
    assert tied_ceiling(5) == pytest.approx(0.45667, abs=1e-5)
    fitted = calibrate(points([0.40, 0.43, 0.455], [0.7, 0.75, 0.8]))
    assert any("all 5 captions of an image share a gallery" in warning for warning in fitted.warnings)
    fitted = calibrate(points([0.40, 0.43, 0.49], [0.7, 0.75, 0.8]))
    assert not any("share a gallery" in warning for warning in fitted.warnings)


def test_other_galleries_data_and_folds_are_not_compared():
    usual = Basis(100, "a" * 64, 5, "images", "f" * 64)
    many = points([0.7, 0.75, 0.8], [0.6, 0.65, 0.7], basis=usual)
    many += [
        Point("small", 0.95, 0.6, basis=Basis(10, "a" * 64), created="2026-12-01"),
        Point("other", 0.5, 0.6, basis=Basis(100, "b" * 64), created="2026-12-01"),
        Point("clusters", 0.5, 0.6, basis=Basis(100, "a" * 64, 5, "text_clusters"), created="2026-12-01"),
        Point("ten", 0.76, 0.66, basis=Basis(100, "a" * 64, 10, "images", "e" * 64), created="2026-12-01"),
        Point("unknown", 0.72, 0.62, created="2026-12-01"),
    ]
    fitted = calibrate(many)
    assert {one.id: one.why.split(",")[0] for one in fitted.left_out} == {
        "small": "its CV is of galleries of 10",
        "other": f"trained on another file (sha256 {'b' * 12}…",
        "clusters": "its folds are split by text_clusters",
    }
    assert {one.id for one in fitted.points} >= {"ten", "unknown"}
    assert any("1 of 5 CVs are of other folds" in warning for warning in fitted.warnings)
    assert calibrate(many, basis=Basis(10, "a" * 64)).needed == 1  # small and unknown fit
    assert fitted.best == 0.7


def test_thousands_of_points_fit_the_newest():
    generator = np.random.default_rng(0)
    cv = 0.5 + 0.4 * generator.random(5000)
    many = [Point(f"{i:05}", x, x - 0.1, created=f"{i:05}") for i, x in enumerate(cv)]
    fitted = calibrate(many)
    assert (len(fitted.points), fitted.points[-1].id) == (200, "04999")
    assert fitted.slope == pytest.approx(1.0)


def test_figures_that_are_no_numbers_are_left_out():
    fitted = calibrate([*points([0.7, 0.8], [0.6, 0.7]), Point("nan", float("nan"), 0.5)])
    assert isinstance(fitted, Calibration)
    assert len(fitted.points) == 2


def test_each_bootstrap_line_is_the_line_through_its_sample():
    generator = np.random.default_rng(3)
    cv = np.round(0.6 + 0.3 * generator.random(7), 1)  # equal CVs among them
    public = cv - 0.1 + 0.02 * generator.standard_normal(7)
    fitted = calibrate(sorted(points(cv, public), key=lambda one: one.id), seed=4)
    drawn = np.random.default_rng(4).integers(0, 7, (len(fitted.lines), 7))
    for sample, line in list(zip(drawn, fitted.lines, strict=True))[:50]:
        x, y = cv[sample], public[sample]
        assert tuple(line) == pytest.approx(robust_line(x, y, slope=fitted.slope if np.ptp(x) == 0 else None))
