"""Which layer wins, and what origin it leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_kit.config import Choice, ChoiceSchema, Schemas, load_project


def test_defaults_are_in_force_without_any_file(load, clean_world):
    project = load()
    assert project.root == clean_world
    assert project.settings.competition.slug == "aml-competition"
    assert project.settings.folds.count == 5
    assert project.origins["folds.count"] == "default"


def test_each_layer_wins_over_the_ones_below(load, write):
    write("kk.toml", "[folds]\ncount = 3\nseed = 3\nholdout = 0.3\n[train]\nepochs = 3\n")
    write("more.toml", "[folds]\ncount = 4\nseed = 4\nholdout = 0.4\n")
    project = load(
        config="more.toml",
        environ={"KK_FOLDS_COUNT": "6", "KK_FOLDS_SEED": "6"},
        overrides={"folds.count": 7},
        origins={"folds.count": "--folds"},
    )
    assert (project.settings.folds.count, project.settings.folds.seed) == (7, 6)
    assert (project.settings.folds.holdout, project.settings.train.epochs) == (0.4, 3)
    assert {key: project.origins[key] for key in ("folds.count", "folds.seed", "folds.holdout", "train.epochs")} == {
        "folds.count": "--folds",
        "folds.seed": "KK_FOLDS_SEED",
        "folds.holdout": "more.toml",
        "train.epochs": "kk.toml",
    }


@pytest.mark.parametrize(
    ("overrides", "environ", "steps"),
    [
        ({}, {}, 120),
        ({"train.epochs": 4}, {}, 0),
        ({}, {"KK_TRAIN_EPOCHS": "4"}, 0),
        ({"train.epochs": 4}, {"KK_TRAIN_MIN_STEPS": "50"}, 0),
        ({"train.epochs": 4, "train.min_steps": 60}, {}, 60),
        ({"train.min_steps": 60}, {"KK_TRAIN_EPOCHS": "4"}, 60),
    ],
)
def test_epochs_that_were_asked_for_are_not_outdone_by_the_steps_of_a_preset(load, write, overrides, environ, steps):
    write("preset.toml", "[train]\nepochs = 30\nmin_steps = 120\n")
    assert load(config="preset.toml", overrides=overrides, environ=environ).settings.train.min_steps == steps


def test_project_file_is_found_upwards(load, write, clean_world, monkeypatch):
    write("kk.toml", 'competition = "other-competition"\n')
    inner = clean_world / "notebooks" / "old"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    project = load()
    assert project.root == clean_world
    assert project.settings.competition.slug == "other-competition"
    assert project.data_dir == clean_world / "data"


def test_environment_of_the_process_is_read_by_default(monkeypatch):
    monkeypatch.setenv("KK_TRAIN_EPOCHS", "12")
    assert load_project().settings.train.epochs == 12


def test_an_empty_variable_counts_as_not_set(load):
    assert load(environ={"KK_TRAIN_EPOCHS": ""}).settings.train.epochs == 100


@pytest.mark.parametrize(
    ("text", "value"),
    [("none", None), ("0.5", 0.5), ("1", 1.0), ("1e-3", 0.001)],
    ids=["none", "float", "int", "exponent"],
)
def test_text_becomes_the_type_of_its_setting(load, text, value):
    assert load(overrides={"train.clip_norm": text}).settings.train.clip_norm == value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("No", False), ("1", True), ("off", False)])
def test_booleans_are_understood_as_text(load, text, value):
    assert load(environ={"KK_TRAIN_RESTORE_BEST": text}).settings.train.restore_best is value


def test_absolute_and_home_folders_stay_where_they_are(load, write, tmp_path):
    write("kk.toml", f'[paths]\nmodels = "{tmp_path}/elsewhere"\ndata = "~/competition"\n')
    project = load()
    assert project.models_dir == tmp_path / "elsewhere"
    assert project.data_dir == Path.home() / "competition"


def test_choices_are_complete_with_schemas(load):
    assert load(overrides={"translator": "mlp", "translator.hidden": "8"}).settings.translator == Choice(
        "mlp", {"hidden": 8, "dropout": 0.2, "bias": True, "widths": ()}
    )


def test_options_of_a_choice_are_carried_unchecked_without_schemas(clean_world):
    project = load_project(environ={"KK_TRANSLATOR_HIDDEN": "8"}, overrides={"translator": "unheard_of"})
    assert project.settings.translator == Choice("unheard_of", {"hidden": 8})


def test_lists_are_written_with_commas(load):
    assert load(environ={"KK_TRANSLATOR_WIDTHS": "4, 2"}).settings.translator.options["widths"] == (4, 2)


def test_a_section_may_be_named_by_its_choice_alone(load, write):
    write("kk.toml", 'translator = "ridge"\nloss = "mse"\n')
    project = load()
    assert (project.settings.translator.name, project.settings.loss.name) == ("ridge", "mse")
    assert load(environ={"KK_TRANSLATOR": "mlp"}).settings.translator.name == "mlp"


def test_options_of_another_translator_are_left_out(load, write):
    write("kk.toml", '[translator]\nname = "mlp"\nhidden = 8\n')
    assert load().settings.translator.options["hidden"] == 8
    project = load(overrides={"translator.name": "ridge"})
    assert project.settings.translator == Choice("ridge", {"strength": None})


def test_options_of_another_translator_are_checked_all_the_same(problems_of, write):
    write("kk.toml", '[translator]\nname = "mlp"\nhiden = 8\n')
    assert problems_of(overrides={"translator.name": "ridge"}) == [
        "kk.toml: translator.hiden: translator mlp has no such option; did you mean translator.hidden?"
    ]


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """A folder of shipped configurations."""
    from kaggle_kit.config import places

    package = tmp_path / "site" / "kaggle_kit"
    (package / "configs").mkdir(parents=True)
    (package / "competitions").mkdir()
    monkeypatch.setattr(places, "PACKAGE", package)
    return package


def test_recipe_of_the_chosen_translator_lies_between_defaults_and_project(schemas, shipped, write, load):
    recipe = '[train]\nepochs = 20\nlearning_rate = 1e-3\n[loss]\nname = "infonce"\ntemperature = 0.5\n'
    (shipped / "configs" / "baseline.toml").write_text(recipe)
    write("kk.toml", "[train]\nlearning_rate = 0.5\n")
    with_recipe = Schemas(
        {**schemas.translators, "mlp": ChoiceSchema(schemas.translators["mlp"].options, "baseline")}, schemas.losses
    )
    project = load(schemas=lambda: with_recipe, overrides={"translator.name": "mlp"})
    assert (project.settings.train.epochs, project.settings.train.learning_rate) == (20, 0.5)
    assert (project.origins["train.epochs"], project.origins["train.learning_rate"]) == ("recipe mlp", "kk.toml")
    assert project.settings.loss == Choice("infonce", {"temperature": 0.5})
    assert load(schemas=with_recipe).settings.train.epochs == 100


def test_a_loss_named_by_the_user_does_not_inherit_the_recipes_options(schemas, shipped, load):
    (shipped / "configs" / "r.toml").write_text('[loss]\nname = "infonce"\ntemperature = 0.5\n')
    with_recipe = Schemas({"subspace_mlp": ChoiceSchema(schemas.translators["mlp"].options, "r")}, schemas.losses)
    assert load(schemas=with_recipe, overrides={"loss.name": "mse"}).settings.loss == Choice("mse", {})


def test_shipped_configuration_is_found_by_each_of_its_names(shipped, load):
    (shipped / "configs" / "residual.toml").write_text("[train]\nepochs = 20\n")
    for name in ("residual", "residual.toml", "configs/residual.toml", Path("configs/residual.toml")):
        project = load(config=name)
        assert project.settings.train.epochs == 20
        assert project.origins["train.epochs"] == "configs/residual.toml"


def test_a_file_of_the_users_wins_over_a_shipped_one_of_that_name(shipped, load, write):
    (shipped / "configs" / "residual.toml").write_text("[train]\nepochs = 20\n")
    write("configs/residual.toml", "[train]\nepochs = 21\n")
    assert load(config="configs/residual.toml").settings.train.epochs == 21


def test_every_shipped_configuration_names_only_declared_settings(schemas):
    from kaggle_kit.config import shipped_configs

    for name in shipped_configs():
        load_project(config=name, environ={})


def test_every_setting_has_a_variable_of_its_own():
    from kaggle_kit.config.layers import all_keys

    variables = [key.replace(".", "_") for key in all_keys()]
    assert len(set(variables)) == len(variables)
    assert all(known.meaning for known in all_keys().values())
