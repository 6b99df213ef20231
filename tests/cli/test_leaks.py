"""A split with look-alikes on both sides: told by kk data, refused by kk train, marked wherever its CV is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.embeddings import Folds, generate_competition

TRAIN = "data/tiny/train/train/train.npz"
RIDGE = ("--translator", "ridge", "--folds", "2")


@pytest.fixture
def project(clean_world, write) -> Path:
    """A project whose data says one sentence of eleven images, and shows one picture under two names."""
    write("kk.toml", '[competition]\nslug = "tiny"\ngallery_size = 10\n')
    generate_competition(clean_world / "data/tiny", captions=120, images=60, text_dim=16, image_dim=12, test=20)
    with np.load(TRAIN) as file:
        arrays = dict(file)
    arrays["captions/text"][:22:2] = "A dog runs ."
    arrays["images/embeddings"][40] = arrays["images/embeddings"][41]
    np.savez(TRAIN, **arrays)
    return clean_world


def test_data_counts_what_looks_alike_and_what_the_folds_would_part(project, kk):
    outcome = kk("data")
    assert outcome.code == 0, outcome.err
    assert "2 images with near copies" in outcome.out
    assert "join 13 images into 2 groups, the largest of 11 images" in outcome.out
    assert "5 folds, holding out 10 to 19 images: nothing on both sides" in outcome.out
    parted = kk("data", "--set", "folds.group=images", "--json").json["folds"]
    assert parted["leaks"]["equal_captions"] == 11
    assert parted["leaks"]["equal_images"] == parted["leaks"]["near_images"] == 0


def test_train_refuses_a_split_that_leaks_and_names_what(project, kk):
    outcome = kk("train", *RIDGE, "--set", "folds.group=images")
    assert (outcome.code, outcome.out) == (3, "")
    assert "the folds leak: 11 held-out captions with the words of a training caption" in outcome.err
    assert "'A dog runs .' is said of " in outcome.err
    assert "folds.leaks=warn" in outcome.err
    assert not list(project.glob("models_archive/*/run.json"))
    assert kk("train", *RIDGE, "-q").code == 0, "look-alikes are kept together by default"


def test_a_forced_leak_is_marked_wherever_its_score_is_shown(project, kk):
    sound = kk("train", *RIDGE, "--json", "-q").json["id"]
    forced = kk("train", *RIDGE, "--set", "folds.group=images", "--set", "folds.leaks=warn", "--json")
    assert forced.code == 0, forced.err
    assert "warning: the folds leak" in forced.err
    assert forced.json["record"]["leaks"]["equal_captions"] == 11
    assert "11 equal captions on both sides of the folds" in kk("runs", "show", forced.json["id"]).out
    listed = kk("runs", "list").out
    assert listed.count("!") == 2, "the mark, and what it means"
    assert "the folds leak" in listed
    assert [row["leaks"] for row in kk("compare", forced.json["id"], forced.json["id"], "--json").json] == [True, True]
    assert "!" not in kk("compare", sound, sound).out


def test_the_learning_curve_is_one_table_and_one_csv(project, kk):
    outcome = kk("compare", "ridge", "--shares", ".5,.25", "--set", "folds.count=2", "-q")
    assert outcome.code == 0, outcome.err
    assert [line.split()[:2] for line in outcome.out.splitlines()[2:5]] == [["25%", "7"], ["50%", "15"], ["100%", "30"]]
    csv = kk("compare", "ridge", "--shares", ".5", "--set", "folds.count=2", "-q", "--csv").out.splitlines()
    assert csv[0].startswith("share,images,cv,cv_error,full_mrr,difference,")
    assert [line.partition(",")[0] for line in csv[1:]] == ["0.5", "1.0"]
    refused = kk("compare", "ridge", "fast", "--shares", ".5")
    assert (refused.code, refused.out) == (2, "")
    assert "--shares makes the curve of one run or configuration, not of 2" in refused.err
    assert "'5' is no list of shares such as .1,.25,.5,1" in kk("compare", "ridge", "--shares", "5").err


def test_resume_checks_the_saved_folds(project, kk):
    """A run of folds that were made before anybody looked for look-alikes."""
    run = project / "models_archive" / kk("train", *RIDGE, "--json", "-q").json["id"]
    folds = Folds.load(run)
    parted = Folds((np.arange(60) % 2).astype(np.int16), 2, folds.seed, folds.holdout)
    parted.save(run)
    record = json.loads((run / "run.json").read_text())
    record["folds"]["digest"], record["state"] = parted.digest, "interrupted"
    (run / "run.json").write_text(json.dumps(record))
    outcome = kk("train", "--resume")
    assert outcome.code == 3
    assert "the folds leak: 2 held-out images with a copy in training, 11 held-out captions" in outcome.err
