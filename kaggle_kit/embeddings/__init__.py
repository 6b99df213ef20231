"""What the competition's data is: read it, check it, split it, write it.

:func:`load_pairs` and :func:`load_test` are the two doors; everything else works on the plain arrays that they
return.
"""

from kaggle_kit.embeddings.cache import CacheEntry, cache_folder, clear_cache, list_cache, load_pairs
from kaggle_kit.embeddings.captions_file import read_captions
from kaggle_kit.embeddings.cleaning import apply_data_settings
from kaggle_kit.embeddings.folds import Folds, fold_pairs, group_images, make_folds, split_pairs
from kaggle_kit.embeddings.generate import generate_competition
from kaggle_kit.embeddings.hide import hide_images
from kaggle_kit.embeddings.leaks import SplitLeaks, find_leaks, split_leaks, sum_leaks
from kaggle_kit.embeddings.load import load_test, read_pairs
from kaggle_kit.embeddings.locate import find_file
from kaggle_kit.embeddings.lookalikes import Lookalikes, find_lookalikes
from kaggle_kit.embeddings.pairs import DataFile, Pairs, TestCaptions
from kaggle_kit.embeddings.report import DataReport, data_report, domain_distances, fold_facts
from kaggle_kit.embeddings.write import write_test_npz, write_train_npz

__all__ = [
    "CacheEntry",
    "DataFile",
    "DataReport",
    "Folds",
    "Lookalikes",
    "Pairs",
    "SplitLeaks",
    "TestCaptions",
    "apply_data_settings",
    "cache_folder",
    "clear_cache",
    "data_report",
    "domain_distances",
    "find_file",
    "find_leaks",
    "find_lookalikes",
    "fold_facts",
    "fold_pairs",
    "generate_competition",
    "group_images",
    "hide_images",
    "list_cache",
    "load_pairs",
    "load_test",
    "make_folds",
    "read_captions",
    "read_pairs",
    "split_leaks",
    "split_pairs",
    "sum_leaks",
    "write_test_npz",
    "write_train_npz",
]
