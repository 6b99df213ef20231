"""Nothing is tied to one competition: the whole loop on two others, by commands, through the official client."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from other_competitions import PRICES, QUICK, SOUNDS
from separate_streams import cli_runner

from kaggle_kit.cli import cli


def write_predictions(path: Path, values: np.ndarray, *, header: str = "house,price") -> str:
    rows = "".join(f"{identifier},{value}\n" for identifier, value in zip(range(901, 1000), values, strict=False))
    path.write_text(f"{header}\n{rows}")
    return path.name


@pytest.fixture
def sound_project(sounds, clean_world):
    (clean_world / "competitions").mkdir()
    (clean_world / "competitions" / "sound-match.toml").write_text(SOUNDS)
    (clean_world / "kk.toml").write_text('competition = "sound-match"\n' + QUICK)
    return clean_world


@pytest.fixture
def price_project(prices, clean_world):
    (clean_world / "kk.toml").write_text(
        '[competition]\nslug = "house-prices"\n[competition.files]\ntrain = "none"\ntest = "none"\n'
        'sample = "sample_submission.csv"\ntest_captions = "none"\nmore = ["train.csv"]\n' + QUICK
    )
    return clean_world


def test_other_names_sizes_and_caption_counts_go_through_the_whole_loop(sound_project, sounds, kk):
    assert "queries.npz" in kk("fetch").stdout
    assert (sound_project / "data" / "sound-match" / "pairs.npz").is_file()
    network = ("--translator", "mlp", "--set", "translator.hidden=4", "--epochs", "2")
    runs = [json.loads(kk("train", *way, "--json", "-q").stdout)["id"] for way in (("--translator", "ridge"), network)]
    kk("ensemble", *runs, "-q")
    written = json.loads(kk("predict", "-o", "mine.csv", "--json", "-q").stdout)
    assert (written["rows"], written["dimension"]) == (21, 6)
    assert Path("mine.csv").read_text().startswith('query,vector\n400,"[')
    assert "valid" in kk("validate", "mine.csv").stdout
    sent = json.loads(kk("submit", "-m", "both", "--json", "-q").stdout)
    assert sent["state"] == "scored"
    assert 1 / 7 <= sent["public_score"] <= 1
    kk("submit", "mine.csv", "-m", "again", "-q", code=5)
    board = json.loads(kk("leaderboard", "--json").stdout)
    assert [row["public_score"] for row in board] == [pytest.approx(sent["public_score"])]


def test_what_was_submitted_elsewhere_is_adopted(sound_project, sounds, kk):
    kk("fetch", "-q")
    kk("train", "--translator", "ridge", "-q")
    kk("submit", "-m", "from another machine", "-q")
    for record in (sound_project / "submissions_archive").glob("*/record.json"):
        record.unlink()
    kk("sync", "-q")
    assert len(json.loads(kk("leaderboard", "--json").stdout)) == 1


def test_the_data_report_and_the_rehearsal_know_the_other_names(sound_project, sounds, kk):
    kk("fetch", "-q")
    assert "44" in kk("data").stdout
    played = json.loads(
        kk("rehearse", "--hide", "14", "--set", "translator=ridge", "--set", "submit.poll_first_s=0.01", "--json", "-q")
        .stdout
    )  # fmt: skip
    assert played["submissions"][0]["state"] == "scored"
    assert played["submissions"][0]["competition"] == "sound-match-rehearsal"


def test_a_plain_competition_is_fetched_validated_submitted_and_listed(price_project, prices, kk):
    fetched = kk("fetch").stdout
    assert "sample_submission.csv" in fetched
    assert "train.csv" in fetched
    good = write_predictions(price_project / "good.csv", PRICES + 0.1)
    assert "valid" in kk("validate", good).stdout
    sent = json.loads(kk("submit", good, "-m", "by hand", "--json", "-q").stdout)
    assert (sent["state"], sent["public_score"]) == ("scored", pytest.approx(1 - 0.01 / PRICES.var(), abs=1e-5))
    assert (Path("submissions_archive") / sent["id"] / "submission.csv").read_bytes() == Path(good).read_bytes()
    assert "by hand" in kk("leaderboard").stdout
    chain = kk("submissions", "show", sent["id"]).stdout
    assert "by hand" in chain
    assert "submission.csv" in chain
    assert "vectors.npy" not in chain
    kk("sync", "-q")
    kk("final", "-q")
    assert "sample_submission.csv" in cli_runner().invoke(cli, ["doctor"], catch_exceptions=False).output
    assert "kk submit FILE" in kk().stdout
    assert "rehearsal team" in kk("leaderboard", "--public").stdout


def test_a_plain_file_with_equal_values_is_a_duplicate_however_they_are_written(price_project, prices, kk):
    kk("fetch", "-q")
    kk("submit", write_predictions(price_project / "one.csv", PRICES), "-m", "one", "-q")
    again = price_project / "again.csv"
    again.write_text(Path("one.csv").read_text().replace(",1.0\n", ",1.00e0\n"))
    refused = kk("submit", "again.csv", "-m", "again", "-q", code=5)
    assert "were submitted before" in refused.stderr
    kk("submit", write_predictions(price_project / "two.csv", PRICES + 1), "-m", "two", "-q")
    assert len(json.loads(kk("leaderboard", "--json").stdout)) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("house,price\n901,x\n", "not a number"),
        ("house,cost\n901,1\n", "price"),
        ("house,price\n901,nan\n", "not finite"),
    ],
)
def test_a_broken_plain_file_is_never_sent(price_project, prices, kk, text, problem):
    kk("fetch", "-q")
    (price_project / "bad.csv").write_text(text)
    assert problem in kk("submit", "bad.csv", "-m", "bad", code=3).stderr
    assert json.loads(kk("leaderboard", "--json").stdout) == []


@pytest.mark.parametrize("command", [("train",), ("predict",), ("submit", "-m", "newest"), ("data",), ("rehearse",)])
def test_what_needs_embeddings_says_that_there_are_none(price_project, prices, kk, command):
    refused = kk(*command, "-q", code=2)
    assert "house-prices has no embeddings" in refused.stderr
    assert "kk submit FILE" in refused.stderr


def test_a_description_without_test_file_and_sample_is_refused(clean_world, kk):
    (clean_world / "kk.toml").write_text('[competition.files]\ntrain = "none"\ntest = "none"\n')
    assert "sample: must be named" in kk("validate", "x.csv", code=2).stderr
