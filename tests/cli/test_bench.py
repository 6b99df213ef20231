"""``kk bench`` as a user runs it."""

from __future__ import annotations

import pytest

from kaggle_kit.embeddings import generate_competition

pytestmark = pytest.mark.slow

SMALL = ("--batch", "16", "--samples", "32", "--rounds", "2", "--threads", "1", "--precision", "fp32")


@pytest.fixture(autouse=True)
def data(clean_world):
    generate_competition(clean_world / "data", captions=40, images=8, text_dim=8, image_dim=12, test=4)


def test_json_has_the_figures_by_name(kk):
    found = kk("bench", *SMALL, "--translator", "mlp", "--json").json
    for name in ("reference_fp32", "reference_same_dtype", "floor"):
        assert found[f"{name}_samples_per_s"] > 0
    assert found["samples_per_s"] > 0
    assert (found["device"], found["dtype"], found["batch"], found["threads"]) == ("cpu", "fp32", 16, 1)
    assert found["translator"]["name"] == "mlp"
    assert found["spread"]["ratio"]["low"] <= found["ratio"] <= found["spread"]["ratio"]["high"]


def test_table_names_every_competitor_and_the_conditions(kk):
    said = kk(
        "bench", *SMALL, "--translator", "mlp", "--set", "train.epochs=2", "--time-to", "0.99", "--images", "40"
    ).out
    for part in ("original loop, fp32", "ours, same network", "bare matrix products", "mlp, batch 16", "of the floor"):
        assert part in said
    assert "not reached" in said
    assert "median of 2 rounds of 32 captions in turns, 8 to 12 dimensions" in said


def test_nothing_is_archived_and_a_missing_device_is_refused(kk, clean_world):
    outcome = kk("bench", *SMALL, "--device", "mps")
    assert (outcome.code, "mps is not available" in outcome.err) == (2, True)
    kk("bench", *SMALL, "--translator", "mlp")
    assert not (clean_world / "models_archive").exists()
