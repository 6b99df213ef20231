"""The report counts what is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from kaggle_kit.embeddings import Pairs, TestCaptions, data_report, domain_distances
from kaggle_kit.errors import DataError


def _test_captions(pairs: Pairs, text: np.ndarray, captions: list[str]) -> TestCaptions:
    return TestCaptions(np.arange(len(text)), text.astype(np.float32), np.array(captions), pairs.file)


def test_counts_norms_and_duplicates_of_the_training_data(pairs: Pairs) -> None:
    images, captions, names = pairs.images.copy(), pairs.captions.copy(), pairs.image_names.copy()
    images[7] = images[3]
    images[0] = 0
    images[0, 0] = 100
    captions[9] = captions[2].upper() + " ."
    names[5] = names[6]
    uneven = np.where(pairs.image_of_caption == 1, 0, pairs.image_of_caption).astype(np.int32)
    changed = replace(pairs, images=images, captions=captions, image_names=names, image_of_caption=uneven)
    train = data_report(changed).facts["train"]
    assert (train["captions"], train["images"], train["text_dim"], train["image_dim"]) == (200, 40, 8, 12)
    assert train["captions_an_image"] == {"min": 0.0, "mean": 5.0, "max": 10.0}
    assert train["images_without_captions"] == 1
    assert train["image_norm"]["max"] == pytest.approx(100)
    assert train["text_norm"]["mean"] == pytest.approx(np.linalg.norm(pairs.text, axis=1).mean())
    assert (train["repeated_captions"], train["repeated_image_names"], train["copied_images"]) == (1, 1, 1)


def test_a_test_from_elsewhere_looks_far_and_one_from_here_does_not(pairs: Pairs) -> None:
    rng = np.random.default_rng(0)
    centre = rng.standard_normal(8) * 5
    near_home = replace(pairs, text=(rng.standard_normal((200, 8)) + centre).astype(np.float32))
    here = _test_captions(pairs, rng.standard_normal((200, 8)) + centre, ["a"] * 200)
    away = _test_captions(pairs, rng.standard_normal((200, 8)) - centre, ["a"] * 200)
    assert data_report(near_home, here).facts["test"]["far_from_train"]["share"] < 0.15
    assert data_report(near_home, away).facts["test"]["far_from_train"]["share"] == 1.0
    own, test = domain_distances(near_home, away)
    assert len(own) == 200
    assert test.min() > own.max()


def test_overlap_with_the_training_captions_is_counted(pairs: Pairs) -> None:
    text = np.concatenate([pairs.text[:2], -pairs.text[2:3]])
    test = _test_captions(pairs, text, [str(pairs.captions[0]).title(), "unheard of", "unheard of"])
    report = data_report(pairs, test).facts["test"]
    assert (report["captions"], report["captions_in_train"], report["repeated_captions"]) == (3, 1, 1)
    assert report["train_captions_near_test"] == 2


def test_the_report_is_plain_data(pairs: Pairs) -> None:
    test = _test_captions(pairs, pairs.text[:5], ["a"] * 5)
    facts = data_report(pairs, test).to_dict()
    assert orjson.loads(orjson.dumps(facts)) == facts


def test_test_captions_of_another_encoder_are_refused(pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r"test captions have 7 dimensions, training captions 8"):
        data_report(pairs, _test_captions(pairs, pairs.text[:5, :7], ["a"] * 5))
