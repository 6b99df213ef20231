"""The importable API: the names, and that they are what the commands call."""

from __future__ import annotations

import importlib

import pytest

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
