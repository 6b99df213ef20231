"""The numbers in figures against loops, and that every figure can be drawn, however little there is."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from made_evidence import make_evidence, scores_of

from kaggle_kit.analysis import history_figures, retrieval_figures
from kaggle_kit.analysis.calibration import Point, calibrate
from kaggle_kit.analysis.evidence import random_others, rank_galleries
from kaggle_kit.analysis.photos import Photos

pytest.importorskip("matplotlib")
from kaggle_kit.analysis.style import inline_svg, save_figure, shown

NASTY = '<script>alert(1)</script> & "$x_1$" \u202eevil\u202c 🐕 日本 \x00\x1b[31m'


def test_rank_histogram_counts_like_a_loop():
    evidence = make_evidence(images=150, folds=2)
    rankings = rank_galleries(evidence, neighbours=4)
    found = retrieval_figures.rank_histogram("run", rankings)
    assert (found.first, found.last) == ((1, 2, 3, 5, 9, 17, 33), (1, 2, 4, 8, 16, 32, 75))
    for low, high, share, chance in zip(found.first, found.last, found.share, found.chance, strict=True):
        assert share == pytest.approx(sum(low <= rank <= high for rank in rankings.rank.tolist()) / len(evidence))
        assert chance == pytest.approx((high - low + 1) / 75)
    assert sum(found.share) == pytest.approx(1)
    assert sum(found.chance) == pytest.approx(1)


def test_similarities_are_densities_of_the_cosines(evidence, rankings, others):
    found = retrieval_figures.similarities("run", evidence, rankings, others)
    true = [scores_of(evidence, row)[int(evidence.image[row])] for row in range(len(evidence))]
    random = [scores_of(evidence, row)[int(others[row])] for row in range(len(evidence))]
    assert (found.true_mean, found.random_mean) == pytest.approx((np.mean(true), np.mean(random)), abs=1e-6)
    wins = np.mean([(a > b) + 0.5 * (a == b) for a in true for b in random])
    assert found.separation == pytest.approx(wins, abs=1e-9)
    width = found.edges[1] - found.edges[0]
    for values, density in ((true, found.true), (random, found.random)):
        assert sum(density) * width == pytest.approx(1)
        tenth = sum(found.edges[10] <= value < found.edges[11] for value in values)
        assert density[10] == pytest.approx(tenth / len(values) / width)


def test_spectrum_is_that_of_the_singular_values(evidence):
    found = retrieval_figures.spectrum("run", evidence)
    for rows, shares, rank in (
        (evidence.predictions, found.predicted, found.predicted_rank),
        (evidence.images[evidence.image], found.true, found.true_rank),
    ):
        values = np.linalg.svd(rows.astype(float) - rows.mean(0, dtype=float), compute_uv=False) ** 2
        assert shares == pytest.approx((values / values.sum()).tolist(), abs=1e-5)
        naive = math.exp(-sum(share * math.log(share) for share in values / values.sum()))
        assert rank == pytest.approx(naive, rel=1e-4)


def test_samples_are_seeded_of_different_images_and_measured(evidence, rankings, others):
    arguments = ("run", evidence, rankings, others, Photos(None))
    found = retrieval_figures.draw_samples_from(*arguments, seed=3)
    assert found == retrieval_figures.draw_samples_from(*arguments, seed=3)
    assert found != retrieval_figures.draw_samples_from(*arguments, seed=4)
    assert len({sample.case.image for sample in found.samples}) == 4
    for sample in found.samples:
        row = sample.case.row - 100
        difference = evidence.predictions[row] - evidence.images[others[row]]
        assert sample.random == f"{others[row]}.jpg"
        assert sample.random_distance == pytest.approx(
            (
                np.linalg.norm(difference),
                np.abs(difference).sum(),
                1 - evidence.predictions[row] @ evidence.images[others[row]],
            ),
            abs=1e-5,
        )


def member(fold: int, epochs: int, best: int) -> dict[str, object]:
    """A member's result with a curve that rises to ``best``."""
    history = [
        {"epoch": epoch, "train_loss": 3 / epoch, "validation_loss": 3.5 / min(epoch, best) if epoch % 2 else None,
         "validation_mrr": 0.1 * min(epoch, best) if epoch % 2 else None}
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    return {"fold": fold, "seed_number": 0, "best_epoch": best, "history": history}


def test_learning_curves_tell_the_kept_epoch_and_the_early_stop():
    found = history_figures.learning_curves("run", [member(0, 7, 5), member(1, 9, 9)], planned_epochs=9)
    assert [(curve.fold, curve.best_epoch, curve.stopped) for curve in found.curves] == [(1, 5, 7), (2, 9, None)]
    assert found.curves[0].train_loss == tuple(3 / epoch for epoch in range(1, 8))
    assert found.curves[0].validation_mrr[:3] == pytest.approx((0.1, None, 0.3))
    closed = history_figures.learning_curves("run", [{"fold": 0, "seed_number": 0, "history": []}], 9)
    assert closed.curves == ()


def test_both_sides_of_learning_curves_show_the_same_epochs_where_only_the_last_was_validated():
    last = member(0, 5, 5)
    for line in last["history"][:-1]:
        line["validation_loss"] = line["validation_mrr"] = None
    figure = history_figures.draw_learning_curves(history_figures.learning_curves("run", [last], 5))
    assert [axes.get_xlim() for axes in figure.axes] == [(0.5, 5.5)] * 2


def test_trained_temperature_has_a_place_of_its_own():
    member_of_one = member(0, 5, 5)
    for number, line in enumerate(member_of_one["history"]):
        line["temperature"] = 0.07 - 0.01 * number
    figure = history_figures.draw_learning_curves(history_figures.learning_curves("run", [member_of_one], 5))
    assert [round(value, 3) for value in figure.axes[2].get_lines()[0].get_ydata()] == [0.07, 0.06, 0.05, 0.04, 0.03]


def test_learning_curves_fit_the_figure_and_tell_seeds_apart():
    members = [{**member(fold, 7, 5), "seed_number": seed} for fold in range(5) for seed in range(3)]
    run = "20261123-213326-subspace_mlp-943c57"
    figure = history_figures.draw_learning_curves(history_figures.learning_curves(run, members, 9))
    figure.draw_without_rendering()
    page = figure.bbox
    texts = [figure._suptitle, *(axes.title for axes in figure.axes)]
    assert any(run in text.get_text() for text in texts)
    for text in texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text.get_text()
        assert box.y1 <= page.y1, text.get_text()
    scores = figure.axes[1]
    for axes in figure.axes:
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert not [axes for axes in figure.axes if axes.get_legend()], "a legend lies over the curves"
    styles = {line.get_label(): line.get_linestyle() for line in scores.get_lines()}
    assert len({styles[f"seed {number}"] for number in (1, 2, 3)}) == 3


def test_spectrum_leaves_out_directions_that_are_rounding_only(evidence):
    found = retrieval_figures.spectrum("run", evidence)
    noisy = replace(found, true=(0.7, 0.3, 2e-9, 1e-9))
    line = retrieval_figures.draw_spectrum(noisy).axes[0].get_lines()[0]
    assert line.get_ydata().tolist() == pytest.approx([70, 30])


def test_score_over_time_keeps_the_best_so_far_in_the_order_of_time():
    rows = [
        {"created": "2026-01-03T00:00:00+00:00", "cv": 0.5, "public_score": 0.6},
        {"created": "2026-01-01T00:00:00+00:00", "cv": 0.4, "public_score": None},
        {"created": "2026-01-02T00:00:00+00:00", "cv": None, "public_score": 0.7},
    ]
    found = history_figures.score_over_time(rows)
    assert found.public == (None, 0.7, 0.6)
    assert found.best == (None, 0.7, 0.7)
    assert found.cv == (0.4, None, 0.5)


def test_the_axis_of_a_single_submission_is_a_day_long():
    rows = [{"created": "2026-01-03T12:00:00+00:00", "cv": 0.5, "public_score": 0.6}]
    (axes,) = history_figures.draw_score_over_time(history_figures.score_over_time(rows)).axes
    first, last = axes.get_xlim()
    assert last - first == pytest.approx(1)


def everything(images: int = 24, folds: int = 3):
    """Every figure of one small run, drawn."""
    evidence = make_evidence(images=images, folds=folds)
    evidence.captions[:] = shown(NASTY, 200)
    evidence.names[0] = "x$y"
    rankings, others = rank_galleries(evidence, neighbours=4), random_others(evidence, 0)
    from kaggle_kit.analysis.verification import gallery_sizes

    run = NASTY
    yield retrieval_figures.draw_ranks(retrieval_figures.rank_histogram(run, rankings))
    yield retrieval_figures.draw_similarities(retrieval_figures.similarities(run, evidence, rankings, others))
    yield retrieval_figures.draw_spectrum(retrieval_figures.spectrum(run, evidence))
    curve = retrieval_figures.GalleryCurve(run, gallery_sizes(evidence, rankings), 100)
    yield retrieval_figures.draw_gallery_curve(curve)
    samples = retrieval_figures.draw_samples_from(run, evidence, rankings, others, Photos(None), seed=0)
    yield retrieval_figures.draw_samples(samples)


@pytest.mark.parametrize(
    ("images", "folds"),
    [
        pytest.param(24, 3, id="some", marks=pytest.mark.slow),
        pytest.param(4, 1, id="one fold", marks=pytest.mark.slow),
        pytest.param(3, 3, id="one image a fold"),
    ],
)
def test_figures_of_a_run_are_drawn_as_sound_svg(images, folds):
    for number, figure in enumerate(everything(images, folds)):
        check_svg(inline_svg(figure, f"figure{number}"))


def check_svg(svg: str) -> None:
    """Well-formed, harmless, in the page's ink, its ids its own."""
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert not [part for part in root.iter() if part.tag.endswith("script")]
    assert "<metadata" not in svg
    assert "#1b1c1e" not in svg.lower()
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    assert set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', svg)) <= ids


def points(count: int) -> list[Point]:
    rng = np.random.default_rng(0)
    return [Point(f"s{n}", 0.5 + 0.01 * n, 0.6 + 0.01 * n + 0.002 * rng.standard_normal(), 0.004) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 8])
def test_history_figures_are_drawn_however_little_there_is(count):
    fitted = calibrate([*points(count), *([Point("odd", 0.55, 0.1, 0.004)] if count > 5 else [])])
    check_svg(inline_svg(history_figures.draw_calibration(fitted), "calibration"))
    rows = [{"created": f"2026-01-0{n + 1}T00:00:00+00:00", "cv": 0.5, "public_score": None} for n in range(count)]
    check_svg(inline_svg(history_figures.draw_score_over_time(history_figures.score_over_time(rows)), "scores"))
    members = [member(number, 7, 5) for number in range(count)]
    curves = history_figures.learning_curves(NASTY, members, 9)
    check_svg(inline_svg(history_figures.draw_learning_curves(curves), "curves"))
    names, shares = tuple(f"train.{n}<&" for n in range(count)), tuple(1 / count for _ in range(count))
    check_svg(inline_svg(history_figures.draw_importances(history_figures.Importances("s", names, shares)), "i"))


def test_figures_are_written_whole_in_every_format_and_are_the_same_again(tmp_path):
    figure = next(everything())
    for name, head in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        save_figure(figure, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(head)
    save_figure(next(everything()), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_photos_are_read_small_and_only_from_their_folder(tmp_path):
    from PIL import Image

    folder = tmp_path / "Images"
    folder.mkdir()
    Image.new("RGB", (400, 200), (200, 30, 30)).save(folder / "a.jpg")
    Image.new("RGB", (40, 20)).save(tmp_path / "secret.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    photos = Photos(folder)
    assert photos.read("a.jpg", 100).shape == (50, 100, 3)
    thumbnail = photos.thumbnail("a.jpg")
    assert thumbnail.startswith(b"\xff\xd8")
    assert len(thumbnail) < 5000
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "broken.jpg", "none.jpg", "", "a\0b", "x" * 5000):
        assert photos.read(name, 100) is None
    assert Photos(None).thumbnail("a.jpg") is None
