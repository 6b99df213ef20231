"""kaggle_kit: from a Kaggle competition on text-to-image embedding translation to a scored, archived submission."""

from kaggle_kit.version import VERSION as __version__

__all__ = ["__version__"]
