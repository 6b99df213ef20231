"""Names that are looked up when first used must not be those of modules: importing the module would take their place."""

from __future__ import annotations

import pkgutil

import pytest

import kaggle_kit
from kaggle_kit import render


@pytest.mark.parametrize("package", [kaggle_kit, render], ids=lambda package: package.__name__)
def test_no_lazy_name_is_the_name_of_a_module(package):
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package._PLACES)
