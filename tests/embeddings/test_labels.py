"""The label matrix becomes the same index that NumPy would find, and every bad row is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.embeddings.labels import nonzero, read_image_of_caption
from kaggle_kit.embeddings.npz import NpzFile
from kaggle_kit.errors import DataError


def _read(path: Path, captions: int, images: int) -> tuple[np.ndarray, list[str]]:
    return read_image_of_caption(NpzFile(path), "label", captions, images)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("compress", [True, False])
def test_one_hot_of_any_type_and_order_becomes_the_index(
    write: Callable[..., Path], dtype: str, order: str, compress: bool
) -> None:
    index = np.random.default_rng(0).integers(0, 7, 101)
    label = np.asarray(np.eye(7)[index].astype(dtype), order=order)
    found, problems = _read(write({"label": label}, compress=compress), 101, 7)
    np.testing.assert_array_equal(found, index)
    assert found.dtype == np.int32
    assert problems == []


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32"])
def test_an_index_is_taken_as_it_is(write: Callable[..., Path], dtype: str) -> None:
    index = np.array([2, 0, 1, 1], dtype)
    found, problems = _read(write({"label": index}), 4, 3)
    assert found.tolist() == [2, 0, 1, 1]
    assert problems == []


def test_an_index_outside_the_images_is_named(write: Callable[..., Path]) -> None:
    _, problems = _read(write({"label": np.array([0, 3, -1])}), 3, 3)
    assert problems == ["label: rows 1 and 2 have an image number that is not from 0 to 2"]


def test_a_matrix_wider_than_a_block_is_read_right(write: Callable[..., Path]) -> None:
    images = 300_001  # rows of an odd length, each a third of a block
    index = np.array([0, images - 1, 150_000, 7, 8, 9, 299_999])
    label = np.zeros((7, images), bool)
    label[np.arange(7), index] = True
    found, problems = _read(write({"label": label}), 7, images)
    np.testing.assert_array_equal(found, index)
    assert problems == []


def test_rows_without_an_image_or_with_two_are_named(write: Callable[..., Path]) -> None:
    label = np.eye(9, dtype=bool)
    label[3] = False
    label[7, 0] = True
    label[8, 1] = True
    _, problems = _read(write({"label": label}), 9, 9)
    assert problems == ["label: row 3 has no image", "label: rows 7 and 8 have more than one image"]


def test_many_bad_rows_are_counted(write: Callable[..., Path]) -> None:
    _, problems = _read(write({"label": np.zeros((2000, 3), bool)}), 2000, 3)
    assert problems == ["label: 2,000 rows (0, 1, 2, 3, 4, …) have no image"]


@pytest.mark.parametrize("value", [0.5, np.nan, -1.0])
def test_values_other_than_0_and_1_are_named(write: Callable[..., Path], value: float) -> None:
    label = np.eye(4, dtype=np.float32)
    label[2, 2] = value
    _, problems = _read(write({"label": label}), 4, 4)
    assert problems == ["label: row 2 has a value other than 0 and 1"]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (np.zeros((4, 5), bool), r"label is bool \(4, 5\)"),
        (np.zeros((5, 3), bool), r"label is bool \(5, 3\)"),
        (np.zeros(3, int), r"label is int64 \(3,\)"),
        (np.zeros(4, np.float32), r"label is float32 \(4,\)"),
        (np.zeros((4, 3), np.complex64), r"label is complex64 \(4, 3\)"),
        (np.zeros((4, 3), "U1"), r"label is <U1 \(4, 3\)"),
    ],
)
def test_a_label_of_another_shape_or_type_is_refused(write: Callable[..., Path], label: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        _read(write({"label": label}), 4, 3)


def test_a_transposed_label_is_recognised(write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"label is bool \(3, 4\)") as caught:
        _read(write({"label": np.zeros((3, 4), bool)}), 4, 3)
    assert "transposed" in caught.value.hint


@given(st.lists(st.sampled_from([0, 0, 0, 0, 0, 1, 255]), max_size=200), st.sampled_from(["u1", "<u2", ">i4", "<i8"]))
def test_nonzero_agrees_with_numpy(values: list[int], dtype: str) -> None:
    array = np.array(values, dtype)
    places, found = nonzero(array.tobytes(), array.dtype)
    np.testing.assert_array_equal(places, np.flatnonzero(array))
    np.testing.assert_array_equal(found, array[array != 0])
