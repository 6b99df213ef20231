"""``kk plot`` as a user runs it, on a tiny competition with one trained run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from played import template, tiny  # noqa: F401  # fixtures

from kaggle_kit.workflow.reports.plot import PLOTS

pytest.importorskip("matplotlib")


def test_plot_alone_lists_every_figure(kk):
    outcome = kk("plot")
    assert outcome.code == 0
    assert all(name in outcome.out for name in PLOTS)
    assert [entry["name"] for entry in kk("plot", "--json").json] == list(PLOTS)


EMPTY = {
    "learning-curves": "solved in closed form",
    "calibration": "no scored submission with a CV yet",
    "scores": "no submission yet",
}
"""What the tiny competition has nothing of, and what is said then."""


@pytest.mark.parametrize("name", EMPTY)
def test_no_picture_is_made_of_nothing(tiny, kk, name):  # noqa: F811
    outcome = kk("plot", name, "-o", "empty.png")
    assert (outcome.code, outcome.out) == (8, "")
    assert EMPTY[name] in outcome.err
    assert "Hint: kk " in outcome.err
    assert not Path("empty.png").exists()


@pytest.mark.parametrize("name", sorted(set(PLOTS) - {"retrieved", "importances", *EMPTY}))
def test_plot_draws_every_figure_and_prints_its_numbers(tiny, kk, name):  # noqa: F811
    outcome = kk("plot", name, "-o", f"sub/{name}.svg", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["numbers"]
    assert Path(outcome.json["path"]).read_text(encoding="utf-8").startswith("<?xml")


def test_plot_one_caption_into_a_png_named_after_the_figure(tiny, kk):  # noqa: F811
    outcome = kk("plot", "retrieved", "--caption", "17")
    assert outcome.code == 0, outcome.err
    assert "drawn into retrieved.png" in outcome.out
    assert Path("retrieved.png").read_bytes().startswith(b"\x89PNG")


def test_plot_of_a_trained_network_has_the_curves_of_its_folds(tiny, kk):  # noqa: F811
    assert kk("train", "--translator", "mlp", "--epochs", "3", "-q").code == 0
    found = kk("plot", "learning-curves", "--json").json["numbers"]
    member = json.loads(next((tiny / "models_archive").glob("*mlp*/fold-0-seed-0/result.json")).read_text())
    assert [curve["fold"] for curve in found["curves"]] == [1, 2]
    assert found["curves"][0]["validation_mrr"] == [line["validation_mrr"] for line in member["history"]]


def test_curves_outlive_the_weights_and_closed_forms_that_came_later(tiny, kk):  # noqa: F811
    train = ("train", "--translator", "mlp", "--epochs", "1", "--set", "train.min_steps=20", "-q")
    assert kk(*train).code == 0
    before = kk("plot", "learning-curves", "--json").json["numbers"]
    assert kk("train", "--translator", "ridge", "-q").code == 0
    assert kk("plot", "learning-curves", "--json").json["numbers"] == before, "the newest run has none"
    assert kk("runs", "prune", "--keep-newest", "0", "--keep-best", "0", "--yes").code == 0
    assert list((tiny / "models_archive").glob("*mlp*/*/model.safetensors")) == []
    assert kk("plot", "learning-curves", "--json").json["numbers"] == before
    assert [curve["stopped"] for curve in before["curves"]] == [None, None], "steps at least add epochs to the plan"
    assert len(before["curves"][0]["epoch"]) > 1


def test_temperature_that_the_loss_trains_is_kept_by_epoch_and_drawn_beside_the_curves(tiny, kk):  # noqa: F811
    train = ("train", "--translator", "mlp", "--loss", "infonce_symmetric", "--epochs", "3", "-q")
    learnt = ("--set", "loss.learnable_temperature=true", "--set", "train.learning_rate=0.01")
    assert kk(*train, *learnt).code == 0
    curves = kk("plot", "learning-curves", "--json").json["numbers"]["curves"]
    first, *_, last = curves[0]["temperature"]
    assert (first, last) != (pytest.approx(0.07), pytest.approx(first))
    assert kk(*train).code == 0
    assert kk("plot", "learning-curves", "--json").json["numbers"]["curves"][0]["temperature"] == [None] * 3


def test_plot_what_matters_in_a_sweep(tiny, kk, write):  # noqa: F811
    pytest.importorskip("optuna")
    assert kk("plot", "importances").code == 8  # there is no sweep yet
    space = (
        '[translator]\nname = "ridge"\n[sweep.space]\n"translator.strength" = { low = 0.1, high = 100.0, log = true }\n'
    )
    write("space.toml", space)
    done = kk("sweep", "space.toml", "--trials", "3", "-q")
    assert done.code == 0, done.err
    found = kk("plot", "importances", "space", "-o", "i.svg", "--json")
    assert found.code == 0, found.err
    assert found.json["numbers"] == {"sweep": "space", "names": ["translator.strength"], "shares": [1.0]}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["rnks"], 2, "did you mean ranks?"),
        (["ranks", "-o", "ranks.gif"], 2, "ranks.gif does not end in one of"),
        (["ranks", "--caption", "1"], 2, "ranks is not of one caption"),
        (["calibration", "20261123"], 2, "of the whole competition, not of a run"),
        (["ranks", "nothing"], 8, "nothing"),
        (["retrieved", "--caption", "no such words"], 8, "no held-out caption"),
    ],
)
def test_plot_says_what_does_not_fit(tiny, kk, arguments, code, words):  # noqa: F811
    outcome = kk("plot", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err
    assert list(Path().glob("*.png")) == []


def test_plot_without_matplotlib_says_what_to_install(tiny, kk, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = kk("plot", "ranks")
    assert outcome.code == 2
    assert 'pip install ".[plots]"' in outcome.err
