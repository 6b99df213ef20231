"""The importable API: the names, and that they are what the commands call."""

from __future__ import annotations

import importlib
import traceback

import pytest
from played import faulty, template, tiny  # noqa: F401

import kaggle_kit


@pytest.mark.parametrize("name", [name for name in kaggle_kit.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_documented(name):
    value = getattr(kaggle_kit, name)
    assert callable(value)
    assert value.__doc__


def test_names_are_listed_and_unknown_ones_refused():
    assert set(kaggle_kit.__all__) <= set(dir(kaggle_kit))
    with pytest.raises(AttributeError, match="module 'kaggle_kit' has no attribute 'trian'"):
        kaggle_kit.trian  # noqa: B018


def test_no_public_name_is_hidden_by_a_module_of_that_name():
    for name in kaggle_kit.__all__:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"kaggle_kit.{name}")


def test_project_of_the_api_applies_the_recipe():
    project = kaggle_kit.load_project(overrides={"translator": "mlp"})
    assert (project.settings.train.epochs, project.settings.translator.options["hidden"]) == (20, 4096)
    assert kaggle_kit.load_project(overrides={"translator": "mlp"}, check_choices=False).settings.train.epochs == 100


QUICK = {"folds": 2, "threads": 1}


def test_a_notebook_needs_no_project(tiny, faulty):  # noqa: F811
    run = kaggle_kit.train(translator="ridge", strength=0.2, name="quick", **QUICK)
    assert run.record["config"]["translator"]["strength"] == 0.2
    assert run.record["folds"]["count"] == 2
    assert "ridge" in run._repr_html_()
    written = kaggle_kit.predict(run, "mine.csv")
    assert "mine.csv" in written._repr_html_()
    assert kaggle_kit.submit(run, message="from a notebook")["state"] == "scored"
    assert [row["message"] for row in kaggle_kit.leaderboard().rows] == ["from a notebook"]
    assert kaggle_kit.plot("ranks", run=run, output="ranks.svg").path.is_file()
    both = kaggle_kit.make_ensemble(runs=[run, kaggle_kit.list_runs()[-1]])
    assert both.record["kind"] == "ensemble"
    assert "all here" in kaggle_kit.whereabouts()._repr_html_()


def test_a_project_can_be_given_first_as_ever(tiny):  # noqa: F811
    project = kaggle_kit.load_project(overrides={"translator": "procrustes"})
    run = kaggle_kit.train(project, folds=3, train__seed=4)
    config = run.record["config"]
    assert (config["translator"]["name"], config["folds"]["count"], config["train"]["seed"]) == ("procrustes", 3, 4)


def test_what_a_project_was_loaded_with_holds_under_another_configuration(tiny):  # noqa: F811
    project = kaggle_kit.load_project(overrides={"folds.count": 3, "folds.seed": 5, "translator": "mlp"})
    config = kaggle_kit.train(project, config="procrustes", train__threads=1, folds=2).record["config"]
    assert config["translator"]["name"] == "procrustes", "the configuration brings its own"
    assert (config["folds"]["count"], config["folds"]["seed"]) == (2, 5)
    assert len(kaggle_kit.list_runs(project)) == len(kaggle_kit.list_runs(project=project)) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epoch": 3}, "no setting is called 'epoch'; did you mean epochs"),
        ({"wait_s": 3}, "several settings are called 'wait_s'"),
        ({"translator": "rigde"}, "did you mean ridge"),
        ({"translator": "ridge", "strength": -1}, "must be"),
    ],
)
def test_a_setting_that_is_none_is_refused_by_name(tiny, settings, said):  # noqa: F811
    with pytest.raises(kaggle_kit.KaggleKitError, match=said):
        kaggle_kit.train(**settings)


def test_options_of_translator_and_loss_are_given_by_name():
    from kaggle_kit.api import _overrides

    base = kaggle_kit.load_project(check_choices=False)
    given = {
        "translator": {"name": "mlp", "hidden": 8},
        "dropout": 0.1,
        "loss": "infonce",
        "temperature": 0.02,
        "epochs": 2,
    }
    assert _overrides(given, base) == {
        "translator.name": "mlp", "translator.hidden": 8, "translator.dropout": 0.1, "loss.name": "infonce",
        "loss.temperature": 0.02, "train.epochs": 2,
    }  # fmt: skip


def test_a_traceback_ends_with_the_hint():
    error = kaggle_kit.KaggleKitError("there is no run yet", "kk train makes one")
    assert traceback.format_exception(error)[-1] == "Hint: kk train makes one\n"
