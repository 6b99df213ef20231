"""``kk init``: a project begun from what the service or the files tell."""

from __future__ import annotations

import json
import os
import tomllib

import numpy as np
import pytest
from other_competitions import PRICES, write_prices, write_sounds

from kaggle_kit.embeddings import generate_competition, load_pairs, load_test
from kaggle_kit.workflow.project import load_project


def test_embeddings_begin_from_the_service_and_the_loop_goes_on_from_there(sounds, clean_world, kk):
    begun = json.loads(kk("init", "https://www.kaggle.com/competitions/sound-match/overview", "--json").stdout)
    assert (begun["kind"], begun["title"], begun["per_day"]) == ("embeddings", "Sounds of things", 3)
    competition = load_project(clean_world, environ={}).settings.competition
    assert (competition.files.train, competition.files.test) == ("pairs.npz", "queries.npz")
    assert (competition.files.images, competition.files.test_captions) == (None, None)
    keys = competition.train_keys
    assert (keys.caption_ids, keys.caption_texts, keys.caption_embeddings) == ("q/id", "q/words", "q/vec")
    assert (keys.label, keys.image_names, keys.image_embeddings) == ("q/target", "t/name", "t/vec")
    assert competition.test_keys.caption_embeddings == "q/vec"
    assert any("evaluation page" in note for note in begun["notes"])
    kk("fetch", "-q")
    assert len(load_pairs(clean_world / "data/sound-match/pairs.npz", keys, cache_gb=0).images) == 44
    assert len(load_test(clean_world / "data/sound-match/queries.npz", competition.test_keys)) == 21


def test_a_plain_competition_begins_from_its_sample(prices, clean_world, kk):
    kk("init", "house-prices")
    competition = load_project(clean_world, environ={}).settings.competition
    assert competition.plain
    assert (competition.files.sample, competition.files.more) == ("sample_submission.csv", ["train.csv"])
    assert (competition.submission.id_column, competition.submission.embedding_column) == ("house", "price")
    kk("fetch", "-q")
    rows = "".join(f"{identifier},{value}\n" for identifier, value in zip(range(901, 913), PRICES, strict=True))
    (clean_world / "mine.csv").write_text(f"house,price\n{rows}")
    assert json.loads(kk("submit", "mine.csv", "-m", "first", "--json", "-q", "--wait-for", "20s").stdout)["ref"]


def test_a_file_that_climbs_out_of_its_folder_is_refused(prices, clean_world, kk, monkeypatch):
    sample = prices.competition.files / "sample_submission.csv"
    monkeypatch.setattr(prices, "_files", lambda: {"../../../sample_submission.csv": sample})
    refused = kk("init", "house-prices", code=3).stderr
    assert "'../../../sample_submission.csv' does not stay in its folder" in refused
    assert not list(clean_world.parent.glob("sample_submission.csv*"))
    assert not (clean_world / "competitions").exists()


def test_files_alone_are_enough(tmp_path, clean_world, kk):
    write_sounds(tmp_path / "files")
    (tmp_path / "files" / "sample_submission.csv").write_text('query,vector\n400,"[0.1, 0.2, 0.3]"\n405,"[1, 2, 3]"\n')
    shown = kk("init", "sound-match", "--from", str(tmp_path / "files")).stdout
    assert "kk fetch --from" in shown
    competition = load_project(clean_world, environ={}).settings.competition
    assert (competition.submission.id_column, competition.submission.embedding_column) == ("query", "vector")
    assert competition.train_keys.label == "q/target"
    kk("fetch", "--from", str(tmp_path / "files"), "-q")
    kk("data", "-q")


def test_every_line_that_sets_something_is_explained(tmp_path, clean_world, kk):
    write_prices(tmp_path / "files")
    kk("init", "house-prices", "--from", str(tmp_path / "files"))
    for file in ("kk.toml", "competitions/house-prices.toml"):
        lines = (clean_world / file).read_text().splitlines()
        tomllib.loads("\n".join(lines))
        for before, line in zip(["", *lines], lines, strict=False):
            assert not (" = " in line and not line.startswith("#")) or before.startswith("# "), (file, line)


def test_a_one_hot_label_and_the_real_layout_are_recognised(tmp_path, clean_world, kk):
    generate_competition(tmp_path / "files", captions=30, images=10, text_dim=6, image_dim=5, test=8)
    (tmp_path / "files" / "train" / "train" / "Images").mkdir()
    (tmp_path / "files" / "train" / "train" / "Images" / "1.jpg").write_bytes(b"")
    kk("init", "other-words", "--from", str(tmp_path / "files"))
    competition = load_project(clean_world, environ={}).settings.competition
    default = load_project(clean_world, environ={}, overrides={"competition": "unknown"}).settings.competition
    assert competition.files == default.files
    assert (competition.train_keys, competition.test_keys) == (default.train_keys, default.test_keys)


def test_a_shipped_competition_needs_its_name_only(tmp_path, clean_world, kk):
    (tmp_path / "empty").mkdir()
    kk("init", "aml-competition", "--from", str(tmp_path / "empty"))
    assert not (clean_world / "competitions").exists()
    assert load_project(clean_world, environ={}).settings.competition.files.train_sha256.startswith("ed9a2251")


def test_a_shipped_competition_begins_without_an_account(clean_world, kk):
    begun = json.loads(kk("init", "aml-competition", "--json").stdout)
    assert begun["command"] == "kk fetch"
    (note,) = begun["notes"]
    assert note.startswith("deadline and limit are not known yet: no credentials")
    assert load_project(clean_world, environ={}).settings.competition.slug == "aml-competition"
    assert "no credentials" in kk("init", "titanic", "--force", code=4).stderr


def test_a_folder_with_a_blank_in_its_name_is_quoted(tmp_path, clean_world, kk):
    write_sounds(tmp_path / "my files")
    begun = json.loads(kk("init", "sound-match", "--from", str(tmp_path / "my files"), "--json").stdout)
    assert begun["command"] == f"kk fetch --from '{tmp_path / 'my files'}'"


def test_a_file_whose_name_is_not_utf8_is_left_out(tmp_path, clean_world, kk):
    write_prices(tmp_path / "files")
    try:
        (tmp_path / "files" / os.fsdecode(b"caf\xe9.csv")).write_text("1")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    shown = kk("init", "house-prices", "--from", str(tmp_path / "files")).stdout
    assert "left out, as its name is not UTF-8: 'caf\\udce9.csv'" in shown
    assert load_project(clean_world, environ={}).settings.competition.files.more == ["train.csv"]


def test_nothing_is_replaced_without_force(tmp_path, clean_world, kk):
    write_prices(tmp_path / "files")
    (clean_world / "kk.toml").write_text("# mine\n")
    refused = kk("init", "house-prices", "--from", str(tmp_path / "files"), code=2)
    assert "kk.toml is there already" in refused.stderr
    assert (clean_world / "kk.toml").read_text() == "# mine\n"
    assert not (clean_world / "competitions").exists()
    kk("init", "house-prices", "--from", str(tmp_path / "files"), "--force")
    assert 'competition = "house-prices"' in (clean_world / "kk.toml").read_text()


def test_what_cannot_be_told_is_said(tmp_path, clean_world, kk):
    folder = tmp_path / "files"
    folder.mkdir()
    np.savez(folder / "train.npz", vectors=np.zeros((4, 3), np.float32))
    np.savez(folder / "test.npz", vectors=np.zeros((4, 3), np.float32))
    shown = kk("init", "strange", "--from", str(folder)).stdout
    assert "train.npz has no array that must be label" in shown
    assert load_project(clean_world, environ={}).settings.competition.slug == "strange"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("init", "two words"), 2, "must be a competition's slug"),
        (("init", "x", "--from", "nowhere"), 2, "no such folder"),
        (("init", "sound-mach"), 8, "sound-mach"),
    ],
)
def test_wrong_names_are_refused_and_nothing_is_written(sounds, clean_world, kk, words, code, said):
    assert said in kk(*words, code=code).stderr
    assert not (clean_world / "kk.toml").exists()


def test_a_competition_without_words_names_and_ids_is_recognised_and_trained_on(tmp_path, clean_world, kk):
    write_sounds(tmp_path / "all")
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("pairs.npz", "queries.npz"):
        kept = ("q/vec", "q/target", "t/vec") if name == "pairs.npz" else ("q/id", "q/vec")
        with np.load(tmp_path / "all" / name) as arrays:
            np.savez(folder / name, **{key: arrays[key] for key in kept})
    begun = json.loads(kk("init", "bare", "--from", str(folder), "--json").stdout)
    assert all("no array" not in note for note in begun["notes"])
    keys = load_project(clean_world, environ={}).settings.competition.train_keys
    assert (keys.caption_ids, keys.caption_texts, keys.image_names) == (None, None, None)
    kk("fetch", "--from", str(folder), "-q")
    kk("data", "-q")
    kk("train", "--translator", "ridge", "--folds", "2", "-q")
    kk("predict", "-q")
    assert "could not be looked at" not in kk("doctor", code=4).output  # there are no credentials


def test_without_credentials_the_way_without_a_network_is_named(clean_world, kk):
    assert "kk init sound-match --from DIR" in kk("init", "sound-match", code=4).stderr
