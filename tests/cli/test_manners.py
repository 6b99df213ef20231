"""What a command says once, hints at rightly, and refuses before it begins."""

from __future__ import annotations

import numpy as np
import pytest

from kaggle_kit.embeddings import generate_competition


@pytest.fixture
def project(clean_world, write):
    """A project with tiny data."""
    write("kk.toml", '[competition]\nslug = "tiny"\n')
    generate_competition(clean_world / "data/tiny", captions=60, images=30, text_dim=8, image_dim=6, test=4)
    return clean_world


def test_validate_prints_each_problem_once(project, write, kk):
    write("bad.csv", "id,embedding\n1,[1]\n2,[2]\n")
    outcome = kk("validate", "bad.csv")
    assert outcome.code == 3
    problems = [line.strip() for line in (outcome.out + outcome.err).splitlines() if "numbers" in line]
    assert problems
    assert len(problems) == len(set(problems))
    assert "bad.csv is not a valid submission:" in outcome.err
    assert len(outcome.err.strip().splitlines()) <= 2, "the count, and a hint"


def test_rows_of_zeros_are_named_before_anything_is_trained(project, kk):
    path = project / "data/tiny/train/train/train.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["images/embeddings"][[3, 7]] = 0
    arrays["captions/embeddings"][5] = 0
    arrays["captions/embeddings"][6, 0] = 0  # one zero among numbers is nothing
    np.savez(path, **arrays)
    outcome = kk("train", "--translator", "ridge", "--folds", "2")
    assert (outcome.code, outcome.out) == (3, "")
    assert "images/embeddings: rows 3 and 7 have zeros only, which is no direction" in outcome.err
    assert "captions/embeddings: row 5 has zeros only" in outcome.err
    assert not (project / "models_archive").exists()


def test_an_unknown_translator_is_answered_with_where_they_are_listed(clean_world, kk):
    outcome = kk("train", "--translator", "transformer9000")
    assert outcome.code == 2
    assert "Hint: kk translators lists" in outcome.err
    assert "Hint: kk config show" in kk("train", "--set", "train.epoches=3").err


def test_an_endpoint_that_is_no_url_is_not_announced_as_a_server(clean_world, kk, write, monkeypatch):
    write("kk.toml", '[competition]\nslug = "tiny"\n')
    monkeypatch.setenv("KAGGLE_API_ENDPOINT", "127.0.0.1:9")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
    outcome = kk("fetch")
    assert outcome.code == 2
    assert "Using the server" not in outcome.err
    assert "KAGGLE_API_ENDPOINT is not an http(s) URL: '127.0.0.1:9'" in outcome.err
