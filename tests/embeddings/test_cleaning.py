"""What the [data] settings leave out, add and report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.embeddings import Pairs, TestCaptions, apply_data_settings, fold_pairs, split_pairs
from kaggle_kit.embeddings.cleaning import add_pairs, centroid_noise, noisiest, prediction_noise, read_caption_rows
from kaggle_kit.embeddings.neighbours import find_near_copies, nearest_cosines
from kaggle_kit.errors import ConfigError, DataError, MissingError, UsageError
from kaggle_kit.files import sha256_of
from kaggle_kit.settings import DataSettings


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_by_default_nothing_changes(pairs: Pairs) -> None:
    same, report = apply_data_settings(pairs, DataSettings())
    assert same is pairs
    assert report == {
        "file": {"name": "train.npz", "size": 1, "sha256": "0" * 64},
        "captions": 200,
        "images": 40,
        "trained_captions": 200,
        "steps": [],
    }


def test_centroid_noise_equals_a_naive_loop(pairs: Pairs) -> None:
    shuffled = pairs.take_captions(np.random.default_rng(0).permutation(200)[:150])
    noise = centroid_noise(shuffled)
    for row in range(150):
        others = (shuffled.image_of_caption == shuffled.image_of_caption[row]) & (np.arange(150) != row)
        if not others.any():
            assert np.isnan(noise[row])
            continue
        centroid = _unit(shuffled.text[others]).sum(axis=0)
        assert noise[row] == pytest.approx(1 - _unit(shuffled.text[row]) @ _unit(centroid), abs=1e-5)


def test_prediction_noise_equals_a_naive_loop(pairs: Pairs) -> None:
    predictions = np.random.default_rng(5).standard_normal((200, 12)).astype(np.float32)
    predictions[17] = 0
    noise = prediction_noise(pairs, predictions)
    naive = 1 - (_unit(predictions + 1e-6) * _unit(pairs.images[pairs.image_of_caption])).sum(axis=1)
    assert np.isnan(noise[17])
    np.testing.assert_allclose(np.delete(noise, 17), np.delete(naive, 17), atol=1e-5)
    with pytest.raises(DataError, match=r"out-of-fold predictions are \(199, 12\), expected \(200, 12\)"):
        prediction_noise(pairs, predictions[1:])


def test_the_noisiest_are_a_share_of_all_and_never_unknown() -> None:
    noise = np.array([0.1, np.nan, 0.9, 0.5, 0.9, np.nan, 0.2, 0.3, 0.0, 0.4], np.float32)
    assert noisiest(noise, 0.3).tolist() == [2, 3, 4]
    assert noisiest(noise, 0.0).tolist() == []
    assert noisiest(noise, 0.99).tolist() == [0, 2, 3, 4, 6, 7, 8, 9]


def test_the_noisiest_captions_are_not_trained_on_but_validated_on(pairs: Pairs) -> None:
    text = pairs.text.copy()
    text[:] = np.repeat(text[::5], 5, axis=0) + 0.01 * text
    text[[8, 77]] *= -1  # point away from the other captions of their images
    noisy = replace(pairs, text=text)
    cleaned, report = apply_data_settings(noisy, DataSettings(drop_noisiest=0.01))
    assert np.flatnonzero(~cleaned.is_trained).tolist() == [8, 77]
    assert report["steps"] == [{"step": "drop_noisiest", "by": "centroid", "share": 0.01, "captions": 2}]
    assert report["trained_captions"] == 198
    assert cleaned.text is text
    folds = fold_pairs(cleaned)
    trained, validated = (
        np.unique(np.concatenate([split_pairs(cleaned, folds, fold)[side] for fold in range(5)])) for side in (0, 1)
    )
    assert len(validated) == 200
    assert np.setdiff1d(np.arange(200), trained).tolist() == [8, 77]


def test_out_of_fold_predictions_can_say_what_is_noisy(pairs: Pairs) -> None:
    predictions = pairs.images[pairs.image_of_caption].copy()
    predictions[3] *= -1
    cleaned, _ = apply_data_settings(
        pairs, DataSettings(drop_noisiest=0.005, noise_by="predictions"), predictions=predictions
    )
    assert np.flatnonzero(~cleaned.is_trained).tolist() == [3]
    with pytest.raises(UsageError, match=r'noise_by = "predictions" needs out-of-fold predictions') as caught:
        apply_data_settings(pairs, DataSettings(drop_noisiest=0.005, noise_by="predictions"))
    assert "data.noise_run" in caught.value.hint


def test_a_list_of_captions_is_not_trained_on(pairs: Pairs, tmp_path: Path) -> None:
    (tmp_path / "noisy.txt").write_text("# looked at by hand\n5\n\n9  # a joke\n5\n")
    cleaned, report = apply_data_settings(pairs, DataSettings(drop_captions="noisy.txt"), root=tmp_path)
    assert np.flatnonzero(~cleaned.is_trained).tolist() == [5, 9]
    sha256 = sha256_of(tmp_path / "noisy.txt")
    assert report["steps"] == [{"step": "drop_captions", "file": "noisy.txt", "sha256": sha256, "captions": 2}]
    np.save(tmp_path / "rows.npy", np.array([9, 5]))
    assert read_caption_rows(tmp_path / "rows.npy", 200).tolist() == [5, 9]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("200\n", r"names row 200"),
        ("-1\n", r"names row -1"),
        ("five\n", r"does not hold caption rows"),
        ("1.5\n", r"does not hold caption rows"),
        ("99999999999999999999\n", r"does not hold caption rows"),
    ],
)
def test_a_bad_list_of_captions_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "rows.txt").write_text(content)
    with pytest.raises(DataError, match=said):
        read_caption_rows(tmp_path / "rows.txt", 200)


def test_a_list_that_is_no_integers_or_not_there_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([1.5]))
    with pytest.raises(DataError, match=r"rows\.npy holds float64 \(1,\)"):
        read_caption_rows(tmp_path / "rows.npy", 200)
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        read_caption_rows(tmp_path, 200)
    with pytest.raises(MissingError, match=r"no such file: .*none\.txt"):
        read_caption_rows(tmp_path / "none.txt", 200)


def test_captions_near_a_test_caption_are_not_trained_on(pairs: Pairs) -> None:
    text = np.concatenate(
        [pairs.text[[4, 50]] * 3, np.random.default_rng(9).standard_normal((5, 8)).astype(np.float32)]
    )
    test = TestCaptions(np.arange(7), text, np.array(["x"] * 7), pairs.file)
    cleaned, report = apply_data_settings(pairs, DataSettings(drop_near_test=0.9999), test=test)
    assert np.flatnonzero(~cleaned.is_trained).tolist() == [4, 50]
    assert report["steps"] == [{"step": "drop_near_test", "cosine": 0.9999, "captions": 2}]
    with pytest.raises(UsageError, match=r"data\.drop_near_test needs the test captions"):
        apply_data_settings(pairs, DataSettings(drop_near_test=0.9999))


def test_steps_add_up(pairs: Pairs, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("0\n1\n")
    settings = DataSettings(drop_captions="rows", drop_noisiest=0.1)
    cleaned, report = apply_data_settings(pairs, settings, root=tmp_path)
    assert [step["captions"] for step in report["steps"]] == [2, 20]
    assert report["trained_captions"] == np.count_nonzero(cleaned.is_trained) <= 198


def test_extra_pairs_are_trained_on_with_their_weight_and_never_validated_on(
    pairs: Pairs, arrays: dict[str, np.ndarray], write: Callable[..., Path]
) -> None:
    others = np.array([f"elsewhere {text}" for text in arrays["captions/text"]])
    changed = {"images/embeddings": arrays["images/embeddings"] + 5, "captions/text": others}
    path = write(arrays, changed, name="extra.npz")
    more, report = apply_data_settings(pairs, DataSettings(extra="extra.npz", extra_weight=0.5), root=path.parent)
    assert (len(more), len(more.images)) == (400, 80)
    assert more.weight is not None
    assert (more.weight[:200] == 1).all()
    assert (more.weight[200:] == 0.5).all()
    np.testing.assert_array_equal(more.images[more.image_of_caption[200:]], pairs.images[pairs.image_of_caption] + 5)
    assert len(np.unique(more.caption_ids)) == 400
    assert report["steps"][0]["step"] == "extra"
    assert report["steps"][0]["captions"] == 200
    assert len(report["steps"][0]["sha256"]) == 64
    for fold in range(5):
        train, validation = split_pairs(more, fold_pairs(more), fold)
        assert validation.max() < 200
        assert (train >= 200).sum() == 200


def test_extra_pairs_of_an_images_copy_do_not_leak_it(pairs: Pairs) -> None:
    more = add_pairs(pairs, pairs)
    for fold in range(5):
        train, validation = split_pairs(more, fold_pairs(more), fold)
        assert validation.max() < 200
        trained = {row.tobytes() for row in more.images[np.unique(more.image_of_caption[train])]}
        assert not trained & {row.tobytes() for row in more.images[np.unique(more.image_of_caption[validation])]}


def test_extra_pairs_of_other_dimensions_are_refused(pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r"train\.npz maps 7 to 12 dimensions, train\.npz 8 to 12"):
        add_pairs(pairs, replace(pairs, text=pairs.text[:, :7]))


@pytest.mark.parametrize(
    "wrong", [{"drop_noisiest": 1.0}, {"noise_by": "luck"}, {"drop_near_test": 1.5}, {"extra_weight": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DataSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [8, 200])
@pytest.mark.parametrize("cosine", [0.3, 0.95, 0.999])
def test_near_copies_equal_a_full_comparison(width: int, cosine: float) -> None:
    rng = np.random.default_rng(0)
    others = rng.standard_normal((300, width)).astype(np.float32)
    noise = rng.uniform(0, 0.5, (1500, 1)) * rng.standard_normal((1500, width))
    rows = (others[rng.integers(0, 300, 1500)] + noise).astype(np.float32)
    full = (_unit(rows) @ _unit(others).T).max(axis=1)
    clear = abs(full - cosine) > 1e-5  # on the edge, rounding may decide
    np.testing.assert_array_equal(find_near_copies(rows, others, cosine)[clear], (full >= cosine)[clear])


def test_nearest_cosines_leave_the_own_group_out() -> None:
    rng = np.random.default_rng(0)
    rows, group = rng.standard_normal((1300, 6)).astype(np.float32), rng.integers(0, 40, 1300)
    full = _unit(rows) @ _unit(rows).T
    np.testing.assert_allclose(nearest_cosines(rows, rows), 1, atol=1e-5)
    full[group[:, None] == group] = -1
    found = nearest_cosines(rows, rows, group=group, other_group=group)
    np.testing.assert_allclose(found, full.max(axis=1), atol=1e-5)
