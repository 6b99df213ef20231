"""``kk verify`` as a user runs it, on a tiny competition with one trained run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from played import template, tiny  # noqa: F401 (fixtures)

from kaggle_kit.archive import RunStore
from kaggle_kit.embeddings import load_pairs


def test_verify_tells_every_part_and_agrees_with_the_cv(tiny, kk):  # noqa: F811
    outcome = kk("verify")
    assert outcome.code == 0, outcome.err
    for title in ("Distance to the true image", "By length", "By number", "By domain", "By fold", "By gallery size",
                  "Hubs", "Errors whose winner", "Best cases", "Worst cases"):  # fmt: skip
        assert title in outcome.out
    assert "photos: not here (kk fetch --all gets them)" in outcome.out
    found = kk("verify", "--json").json
    (run,) = RunStore(tiny / "models_archive").list()
    assert found["run"] == run.id
    assert found["mrr"] == pytest.approx(run["cv"]["mrr"], abs=3 * run["cv"]["error"])
    assert (found["captions"], found["images"], found["gallery_size"]) == (240, 80, 20)
    assert found["gallery_sizes"][-1]["whole"] is True


def test_verify_counts_and_seed_are_settings(tiny, kk):  # noqa: F811
    found = kk("verify", "--cases", "2", "--set", "verify.domains=3", "--set", "verify.neighbours=4", "--json").json
    assert len(found["best"]) == len(found["worst"]) == len(found["hubs"]["top"]) == 2
    assert len(found["by_domain"]) == 3
    assert found["hubs"]["neighbours"] == 4
    assert kk("verify", "--seed", "1", "--json").json["distances"] != kk("verify", "--json").json["distances"]
    assert kk("verify", "--cases", "0").code == 2


def test_verify_one_caption_by_row_and_by_text(tiny, kk):  # noqa: F811
    pairs = load_pairs(tiny / "data/train/train/train.npz")
    outcome = kk("verify", "--caption", "17")
    assert outcome.code == 0, outcome.err
    assert f"“{pairs.captions[17]}”" in outcome.out
    assert len(re.findall("◀ right", outcome.out)) == 1
    found = kk("verify", "--caption", str(pairs.captions[17]), "--json").json
    assert found["case"]["caption"].lower() == pairs.captions[17].lower()
    images = [place["image"] for place in found["case"]["retrieved"] if place["right"]]
    assert images == [pairs.image_names[pairs.image_of_caption[found["case"]["row"]]]]
    (cosine,) = [one for one in found["distances"] if one["name"] == "cosine"]
    assert cosine["true"] == pytest.approx(1 - found["case"]["cosine"], abs=1e-5)


@pytest.mark.parametrize(
    ("caption", "code", "words"),
    [
        ("240", 8, "caption 240 is not among the 240 that run"),
        ("no such thing", 8, "no held-out caption of run"),
        (" ", 8, "no held-out caption"),
        ("a", 2, "captions say 'a':"),
    ],
)
def test_verify_says_when_a_caption_is_not_there_or_not_one(tiny, kk, caption, code, words):  # noqa: F811
    outcome = kk("verify", "--caption", caption)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err


def test_verify_an_ensemble_and_a_single_hold_out(tiny, kk):  # noqa: F811
    assert kk("train", "--translator", "procrustes", "--name", "other", "-q").code == 0
    assert kk("ensemble", "first", "other", "-q").code == 8  # names are no ids: the ids are
    ids = [record.id for record in RunStore(tiny / "models_archive").list()]
    assert kk("ensemble", *ids, "-q").code == 0
    found = kk("verify", "--json").json
    assert "ensemble" in found["run"]
    assert found["captions"] == 240
    assert kk("train", "--folds", "1", "--set", "folds.holdout=0.25", "-q").code == 0
    found = kk("verify", "--json").json
    assert (found["captions"], len(found["by_fold"])) == (60, 1)


def test_verify_without_a_run_or_on_other_data_is_refused(tiny, kk, monkeypatch, tmp_path):  # noqa: F811
    path = tiny / "data/train/train/train.npz"
    with np.load(path) as arrays:
        changed = {name: arrays[name] for name in arrays.files}
    changed["images/embeddings"] = changed["images/embeddings"] * 2
    np.savez_compressed(path, **changed)
    outcome = kk("verify")
    assert (outcome.code, outcome.out) == (3, "")
    assert "was trained on other data than is here" in outcome.err
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert kk("verify").code == 8


def test_verify_names_the_folder_of_photos(tiny, kk):  # noqa: F811
    Path("data/train/train/Images").mkdir()
    assert kk("verify", "--json").json["photos"].endswith("data/train/train/Images")
