"""The translators from text to image space, by name."""

from kaggle_kit.translators import deep, linear, networks, subspace  # noqa: F401  (importing a family files its translators)
from kaggle_kit.translators.base import FitData, Translator, build_translator, translators

__all__ = ["FitData", "Translator", "build_translator", "translators"]
