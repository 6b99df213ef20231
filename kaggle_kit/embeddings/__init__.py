"""What the competition's data is: read it, check it, split it, write it.

:func:`load_pairs` and :func:`load_test` are the two doors; everything else works on the plain arrays that they
return.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaggle_kit.embeddings.cache import CacheEntry as CacheEntry
    from kaggle_kit.embeddings.cache import cache_folder as cache_folder
    from kaggle_kit.embeddings.cache import clear_cache as clear_cache
    from kaggle_kit.embeddings.cache import list_cache as list_cache
    from kaggle_kit.embeddings.cache import load_pairs as load_pairs
    from kaggle_kit.embeddings.captions_file import read_captions as read_captions
    from kaggle_kit.embeddings.cleaning import apply_data_settings as apply_data_settings
    from kaggle_kit.embeddings.folds import Folds as Folds
    from kaggle_kit.embeddings.folds import all_captions as all_captions
    from kaggle_kit.embeddings.folds import fold_pairs as fold_pairs
    from kaggle_kit.embeddings.folds import group_images as group_images
    from kaggle_kit.embeddings.folds import make_folds as make_folds
    from kaggle_kit.embeddings.folds import split_pairs as split_pairs
    from kaggle_kit.embeddings.generate import generate_competition as generate_competition
    from kaggle_kit.embeddings.hide import hide_images as hide_images
    from kaggle_kit.embeddings.leaks import SplitLeaks as SplitLeaks
    from kaggle_kit.embeddings.leaks import find_leaks as find_leaks
    from kaggle_kit.embeddings.leaks import sum_leaks as sum_leaks
    from kaggle_kit.embeddings.load import load_test as load_test
    from kaggle_kit.embeddings.load import read_pairs as read_pairs
    from kaggle_kit.embeddings.locate import closest as closest
    from kaggle_kit.embeddings.locate import file_if_there as file_if_there
    from kaggle_kit.embeddings.locate import find_file as find_file
    from kaggle_kit.embeddings.lookalikes import Lookalikes as Lookalikes
    from kaggle_kit.embeddings.lookalikes import find_lookalikes as find_lookalikes
    from kaggle_kit.embeddings.pairs import DataFile as DataFile
    from kaggle_kit.embeddings.pairs import Pairs as Pairs
    from kaggle_kit.embeddings.pairs import TestCaptions as TestCaptions
    from kaggle_kit.embeddings.report import DataReport as DataReport
    from kaggle_kit.embeddings.report import data_report as data_report
    from kaggle_kit.embeddings.report import domain_distances as domain_distances
    from kaggle_kit.embeddings.report import fold_facts as fold_facts
    from kaggle_kit.embeddings.write import write_test_npz as write_test_npz
    from kaggle_kit.embeddings.write import write_train_npz as write_train_npz

_PLACES = {
    "CacheEntry": "cache",
    "DataFile": "pairs",
    "DataReport": "report",
    "Folds": "folds",
    "Lookalikes": "lookalikes",
    "Pairs": "pairs",
    "SplitLeaks": "leaks",
    "TestCaptions": "pairs",
    "apply_data_settings": "cleaning",
    "cache_folder": "cache",
    "clear_cache": "cache",
    "closest": "locate",
    "data_report": "report",
    "domain_distances": "report",
    "file_if_there": "locate",
    "find_file": "locate",
    "find_leaks": "leaks",
    "find_lookalikes": "lookalikes",
    "fold_facts": "report",
    "fold_pairs": "folds",
    "generate_competition": "generate",
    "group_images": "folds",
    "hide_images": "hide",
    "list_cache": "cache",
    "load_pairs": "cache",
    "load_test": "load",
    "make_folds": "folds",
    "read_captions": "captions_file",
    "read_pairs": "load",
    "all_captions": "folds",
    "split_pairs": "folds",
    "sum_leaks": "leaks",
    "write_test_npz": "write",
    "write_train_npz": "write",
}

__all__ = [*_PLACES]  # noqa: PLE0604  (the keys are strings)


def __getattr__(name: str) -> Any:
    """Each name is imported when it is first used: where files lie can be asked without loading NumPy."""
    if name not in _PLACES:
        raise AttributeError(f"module 'kaggle_kit.embeddings' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"kaggle_kit.embeddings.{_PLACES[name]}"), name)
    globals()[name] = value
    return value
