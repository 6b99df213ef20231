"""Settings as plain data, and their hash."""

from __future__ import annotations

import json

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.config import Choice, Settings, digest_of, load_project
from kaggle_kit.config.model import SECTIONS
from kaggle_kit.errors import ConfigError


def test_settings_round_trip_through_json(load):
    settings = load(overrides={"translator.hidden": 3, "train.clip_norm": 1, "folds.count": 2}).settings
    again = Settings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again.to_dict() == settings.to_dict()
    assert again.digest() == settings.digest()
    assert again.train == settings.train


def test_settings_without_sequences_round_trip_to_equality(load):
    settings = load(overrides={"translator": "ridge"}).settings
    assert Settings.from_dict(settings.to_dict()) == settings


def test_what_is_missing_has_its_default():
    assert Settings.from_dict({"train": {"epochs": 3}, "translator": "mlp"}).translator == Choice("mlp")
    assert Settings.from_dict({}) == Settings()


def test_unknown_and_ill_typed_data_is_refused_all_at_once():
    with pytest.raises(ConfigError, match=r"train\.epocs") as caught:
        Settings.from_dict({"train": {"epocs": 3, "seed": "x"}, "competition": {"files": {"x": 1}}, "trian": {}})
    assert caught.value.problems == [
        "train.epocs: no such setting; did you mean train.epochs?",
        "train.seed: must be an integer, not 'x'",
        "competition.files.x: no such setting",
        "trian: no such section; did you mean train?",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "epochs", "files", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*SECTIONS, "trian"]), JSON, max_size=4))
@hypothesis.settings(max_examples=200, deadline=None)
def test_any_data_gives_settings_or_a_list_of_problems(data):
    problems = []
    settings = Settings()
    try:
        settings = Settings.from_dict(data)
    except ConfigError as error:
        problems = error.problems
    assert all(": " in problem for problem in problems)
    assert Settings.from_dict(settings.to_dict()).to_dict() == settings.to_dict()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"translator": {"hidden": 3}}, "translator: must be a name or a table with a name, not {'hidden': 3}"),
        ({"loss": 3}, "loss: must be a name or a table with a name, not 3"),
        ({"train": 3}, "train: must be a table of settings, not 3"),
    ],
)
def test_part_of_another_shape_is_refused(data, problem):
    with pytest.raises(ConfigError, match="must be") as caught:
        Settings.from_dict(data)
    assert caught.value.problems == [problem]


def test_digest_changes_with_what_changes_a_prediction_only(load):
    plain = load().settings.digest()
    assert load(overrides={"service.attempts": 9, "paths.models": "m", "submit.keep": 1}).settings.digest() == plain
    assert load(overrides={"train.seed": 9}).settings.digest() != plain
    assert load(overrides={"translator.hidden": 9}).settings.digest() != plain


def test_rows_tell_value_origin_and_meaning_of_every_setting(load):
    rows = {row.key: row for row in load(overrides={"translator.hidden": 9}).rows()}
    assert (rows["translator.hidden"].value, rows["translator.hidden"].origin) == (9, "argument")
    assert rows["translator.hidden"].meaning == "hidden width"
    assert rows["translator.name"].value == "subspace_mlp"
    assert rows["competition.files.train"].value == "train/train/train.npz"
    assert all(row.meaning for row in rows.values())


def test_project_can_be_loaded_from_another_folder(write, clean_world):
    write("there/kk.toml", "[folds]\ncount = 2\n")
    project = load_project(clean_world / "there", environ={})
    assert (project.root, project.settings.folds.count) == (clean_world / "there", 2)


def test_a_setting_that_came_later_leaves_the_digest_of_older_runs_as_it_was():
    settings = Settings()
    older = settings.to_dict()
    del older["train"]["kernels"]
    assert digest_of(older) == settings.digest()
    assert Settings.from_dict({"train": {"kernels": True}}).digest() != settings.digest()
