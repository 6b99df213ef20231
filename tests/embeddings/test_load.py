"""A file that loads can be trained on; one that does not says why, with the rows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kaggle_kit.competition import TestKeys, TrainKeys
from kaggle_kit.embeddings import load_pairs, load_test, read_pairs
from kaggle_kit.embeddings.discover import discover_keys
from kaggle_kit.errors import DataError, MissingError
from kaggle_kit.files import sha256_of

Arrays = dict[str, np.ndarray]
Write = Callable[..., Path]


@pytest.mark.parametrize("compress", [True, False])
def test_pairs_equal_what_numpy_loads(write: Write, arrays: Arrays, compress: bool) -> None:
    path = write(arrays, compress=compress)
    pairs = load_pairs(path)
    np.testing.assert_array_equal(pairs.text, arrays["captions/embeddings"])
    np.testing.assert_array_equal(pairs.images, arrays["images/embeddings"])
    np.testing.assert_array_equal(pairs.image_of_caption, arrays["captions/label"].argmax(axis=1))
    np.testing.assert_array_equal(pairs.caption_ids, arrays["captions/ids"])
    np.testing.assert_array_equal(pairs.captions, arrays["captions/text"])
    np.testing.assert_array_equal(pairs.image_names, arrays["images/names"])
    assert (pairs.text.dtype, pairs.images.dtype) == (np.float32, np.float32)
    assert (pairs.image_of_caption.dtype, pairs.caption_ids.dtype) == (np.int32, np.int64)
    assert (pairs.file.path, pairs.file.size, pairs.file.sha256) == (path, path.stat().st_size, sha256_of(path))


def test_metadata_may_be_absent(write: Write, arrays: Arrays) -> None:
    assert len(load_pairs(write(arrays, {"metadata/num_captions": None, "metadata/num_images": None}))) == 200


def test_metadata_that_contradicts_the_arrays_is_worth_a_note(write: Write, arrays: Arrays, notes: Any) -> None:
    load_pairs(write(arrays, {"metadata/num_images": np.array([41])}), progress=notes)
    assert notes.notes == ["train.npz: metadata/num_images says [41], the arrays hold 40"]


@pytest.mark.parametrize("key", ["metadata/num_captions", "another"])
def test_objects_that_nobody_needs_are_left_alone(write: Write, arrays: Arrays, key: str) -> None:
    path = write(arrays, {key: np.array([{}], dtype=object)})
    assert len(load_pairs(path)) == 200
    assert discover_keys(path, None).train == TrainKeys()


def test_other_keys_and_an_index_instead_of_a_matrix_need_no_code(write: Write, arrays: Arrays) -> None:
    index = np.random.default_rng(0).integers(0, 40, 200)
    renamed = {
        "c/id": arrays["captions/ids"],
        "c/words": np.array([text.encode() for text in arrays["captions/text"].tolist()]),
        "c/vectors": arrays["captions/embeddings"],
        "c/picture": index,
        "p/name": arrays["images/names"],
        "p/vectors": arrays["images/embeddings"],
    }
    keys = TrainKeys("c/id", "c/words", "c/vectors", "c/picture", "p/name", "p/vectors")
    pairs = load_pairs(write(renamed), keys)
    np.testing.assert_array_equal(pairs.image_of_caption, index)
    np.testing.assert_array_equal(pairs.captions, arrays["captions/text"])


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_other_floats_become_float32(write: Write, arrays: Arrays, dtype: str, order: str) -> None:
    images = np.asarray(arrays["images/embeddings"].astype(dtype), order=order)
    pairs = load_pairs(write(arrays, {"images/embeddings": images}))
    assert pairs.images.dtype == np.float32
    assert pairs.images.flags.c_contiguous
    np.testing.assert_array_equal(pairs.images, images.astype(np.float32))


def test_large_but_finite_rows_are_no_problem(write: Write, arrays: Arrays) -> None:
    large = arrays["images/embeddings"].copy()
    large[:] = 2e18
    np.testing.assert_array_equal(load_pairs(write(arrays, {"images/embeddings": large})).images, large)


def _with(array: np.ndarray, rows: list[int], value: float) -> np.ndarray:
    changed = array.copy()
    changed[rows, 1] = value
    return changed


def test_rows_that_are_not_finite_are_counted_and_named(write: Write, arrays: Arrays) -> None:
    changes = {
        "captions/embeddings": _with(arrays["captions/embeddings"], [3, 7, 12], np.nan),
        "images/embeddings": _with(arrays["images/embeddings"], list(range(30)), -np.inf),
    }
    with pytest.raises(DataError, match=r"captions/embeddings: rows 3, 7 and 12 have NaN or infinite values") as caught:
        load_pairs(write(arrays, changes))
    assert "images/embeddings: 30 rows (0, 1, 2, 3, 4, …) have NaN or infinite values" in caught.value.message
    assert "counted from 0" in caught.value.hint


def test_opposite_infinities_in_one_row_are_found(write: Write, arrays: Arrays) -> None:
    embeddings = _with(arrays["images/embeddings"], [5], np.inf)
    embeddings[5, 2] = -np.inf
    with pytest.raises(DataError, match=r"images/embeddings: row 5 has NaN or infinite values"):
        load_pairs(write(arrays, {"images/embeddings": embeddings}))


def test_float64_beyond_float32_is_told_from_infinity(write: Write, arrays: Arrays) -> None:
    embeddings = _with(arrays["images/embeddings"].astype(np.float64), [9], 1e39)
    with pytest.raises(DataError, match=r"images/embeddings: row 9 has values too large for float32"):
        load_pairs(write(arrays, {"images/embeddings": embeddings}))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (np.full(8, 3e38), r"row 5 has a length above 1e\+19, which float32 cannot bring to 1"),
        (np.full(8, 1e-14), r"row 5 has a length below 1e-12, which is no direction"),
        (np.full(8, 1e-60), r"row 5 has a length below 1e-12"),
        (np.zeros(8), r"row 5 has zeros only"),
    ],
)
def test_a_row_whose_direction_float32_loses_is_named(
    write: Write, arrays: Arrays, test_arrays: Arrays, notes: Any, row: np.ndarray, said: str
) -> None:
    """Training data with one is refused; of the test captions every one must be answered, so that it is only said."""
    for made in (arrays, test_arrays):
        made["captions/embeddings"] = made["captions/embeddings"].astype(np.float64)
        made["captions/embeddings"][5] = row
    with pytest.raises(DataError, match=f"captions/embeddings: {said}"):
        load_pairs(write(arrays))
    if row[0] > 1:
        with pytest.raises(DataError, match=f"captions/embeddings: {said}"):
            load_test(write(test_arrays))
        return
    load_test(write(test_arrays), progress=notes)
    assert [re.search(said, note) is not None for note in notes.notes] == [True]


def _beyond_unicode(texts: np.ndarray) -> np.ndarray:
    changed = texts.copy()
    changed.view(np.uint32).reshape(len(texts), -1)[3, 1] = 0x110000
    return changed


def _twice(ids: np.ndarray) -> np.ndarray:
    return np.concatenate([ids[:-2], ids[:2]])


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("captions/embeddings", lambda a: a[:, :, None], r"captions/embeddings is float32 \(200, 8, 1\)"),
        ("captions/embeddings", lambda a: a.astype(int), r"captions/embeddings is int64 \(200, 8\)"),
        ("captions/embeddings", lambda a: a[:, :0], r"captions/embeddings is float32 \(200, 0\)"),
        ("captions/embeddings", lambda a: a.astype(complex), r"captions/embeddings is complex128 \(200, 8\)"),
        ("captions/embeddings", lambda a: a[:199], r"captions/ids is int64 \(200,\)"),
        ("captions/embeddings", lambda a: a[:0], r"holds 0 captions and 40 images"),
        ("images/embeddings", lambda a: a[0], r"images/embeddings is float32 \(12,\)"),
        ("images/embeddings", lambda a: a[:39], r"images/names is <U6 \(40,\)"),
        ("captions/text", lambda a: a[:9], r"captions/text is <U24 \(9,\)"),
        ("captions/text", lambda a: np.arange(200), r"captions/text is int64 \(200,\)"),
        ("captions/text", lambda a: np.array([b"\xff"] * 200), r"captions/text holds bytes that are not UTF-8"),
        ("captions/text", _beyond_unicode, r"captions/text: row 3 has characters that do not exist"),
        ("captions/ids", lambda a: a.astype(float), r"captions/ids is float64 \(200,\)"),
        ("captions/ids", _twice, r"captions/ids: rows 198 and 199 have an id that an earlier row has"),
        ("captions/ids", lambda a: a.astype("u8") + np.uint64(2**63), r"captions/ids: ids above 9223372036854775807"),
        ("captions/label", lambda a: a[:, :39], r"captions/label is bool \(200, 39\)"),
        ("captions/label", np.zeros_like, r"captions/label: 200 rows \(0, 1, 2, 3, 4, …\) have no image"),
        (
            "captions/label",
            lambda a: a | (np.arange(200) == 6)[:, None],
            r"captions/label: row 6 has more than one image",
        ),
        ("captions/text", lambda a: a.astype(object), r"captions/text holds pickled Python objects"),
        ("captions/label", lambda a: None, r"has no array 'captions/label'"),
    ],
)
def test_a_bad_array_is_refused(write: Write, arrays: Arrays, key: str, change: Callable[..., Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        load_pairs(write(arrays, {key: change(arrays[key])}))
    assert caught.value.exit_code == 3
    assert caught.value.hint
    assert "train.npz" in caught.value.message


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no such file: .*train\.npz") as caught:
        load_pairs(tmp_path / "train.npz")
    assert caught.value.exit_code == 8
    assert "kk fetch" in caught.value.hint


def test_a_bit_flip_in_any_member_is_noticed(write: Write, arrays: Arrays) -> None:
    path = write(arrays, compress=False)
    content = bytearray(path.read_bytes())
    place = content.index(arrays["images/embeddings"].tobytes()) + 40
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"its member images/embeddings\.npy has checksum [0-9a-f]{8}, not the"):
        load_pairs(path)


def test_images_may_have_any_number_of_captions(write: Write, arrays: Arrays) -> None:
    index = np.concatenate([np.zeros(150, int), np.full(50, 3)])
    label = np.eye(40, dtype=bool)[index]
    assert load_pairs(write(arrays, {"captions/label": label})).captions_of_image[:4].tolist() == [150, 0, 0, 50]


def test_the_test_file_equals_what_numpy_loads(write: Write, test_arrays: Arrays) -> None:
    test = load_test(write(test_arrays, name="test.npz"))
    np.testing.assert_array_equal(test.ids, test_arrays["captions/ids"])
    np.testing.assert_array_equal(test.text, test_arrays["captions/embeddings"])
    np.testing.assert_array_equal(test.captions, test_arrays["captions/text"])
    assert test.ids.dtype == np.int64


def test_texts_missing_from_the_test_file_come_from_the_captions_file(
    write: Write, test_arrays: Arrays, tmp_path: Path
) -> None:
    listed = tmp_path / "captions.txt"
    listed.write_text("id,caption\n" + "".join(f"{number},a dog, number {number}\n" for number in range(1, 31)))
    test = load_test(write(test_arrays, {"captions/text": None}), captions_file=listed)
    assert test.captions[4] == "a dog, number 5"


def test_a_captions_file_that_does_not_fit_is_noted(
    write: Write, test_arrays: Arrays, tmp_path: Path, notes: Any
) -> None:
    listed = tmp_path / "captions.txt"
    listed.write_text("29,a\n30,b\n31,c\n")
    load_test(write(test_arrays), captions_file=listed, progress=notes)
    assert notes.notes == ["captions.txt lists 3 captions, of which 2 are among the 30 test ids"]


def test_a_captions_file_of_another_kind_matters_only_where_it_is_needed(
    write: Write, test_arrays: Arrays, tmp_path: Path, notes: Any
) -> None:
    listed = tmp_path / "captions.txt"
    listed.write_text("image,caption\n17.jpg,a dog\n")
    assert len(load_test(write(test_arrays), captions_file=listed, progress=notes)) == 30
    assert notes.notes[0].startswith("captions.txt is left alone: ")
    with pytest.raises(DataError, match=r"line 2 does not start with an id and a comma"):
        load_test(write(test_arrays, {"captions/text": None}), captions_file=listed)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"captions/ids": np.arange(0), "captions/embeddings": np.zeros((0, 8), np.float32)}, r"holds no captions"),
        ({"captions/ids": np.arange(29)}, r"captions/ids is int64 \(29,\)"),
        ({"captions/ids": np.zeros(30, int)}, r"29 rows \(1, 2, 3, 4, 5, …\) have an id that an earlier row has"),
        (
            {"captions/embeddings": np.full((30, 8), np.nan)},
            r"30 rows \(0, 1, 2, 3, 4, …\) have NaN or infinite values",
        ),
        ({"captions/embeddings": np.zeros((30, 8))}, r"30 rows \(0, 1, 2, 3, 4, …\) have zeros only"),
        ({"captions/embeddings": None}, r"has no array 'captions/embeddings'"),
        ({"captions/text": None}, r"has no array 'captions/text'"),
        ({"captions/text": np.array(["one"])}, r"captions/text is <U3 \(1,\)"),
    ],
)
def test_a_bad_test_file_is_refused(write: Write, test_arrays: Arrays, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_test(write(test_arrays, changes))


def test_test_keys_can_be_renamed(write: Write, test_arrays: Arrays) -> None:
    path = write(
        {"i": test_arrays["captions/ids"], "t": test_arrays["captions/text"], "e": test_arrays["captions/embeddings"]}
    )
    assert len(load_test(path, TestKeys("i", "t", "e"))) == 30


def test_a_wide_label_matrix_is_never_held(tmp_path: Path) -> None:
    """A label of 200 MB is read in a process that is allowed far less."""
    code = """
import json, resource, sys
from pathlib import Path
import numpy as np
from kaggle_kit.embeddings import generate_competition, read_pairs
def peak():  # not ru_maxrss: that of a child begins with what its parent held when it was forked
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
before = peak()
generate_competition(Path(sys.argv[1]), captions=20000, images=10000, text_dim=4, image_dim=4, test=3)
pairs = read_pairs(Path(sys.argv[1]) / "train/train/train.npz")
after = peak()
print(json.dumps([before, after, bool((pairs.image_of_caption == np.arange(20000) // 2).all())]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    before, after, right = json.loads(done.stdout)
    assert right
    assert (after - before) * 1024 < 100e6


def test_reading_without_the_cache_gives_plain_memory(write: Write, arrays: Arrays) -> None:
    assert read_pairs(write(arrays)).text.flags.writeable


def test_nothing_is_parsed_on_the_threads_that_read(
    write: Write, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that parse at once make CPython 3.11 fail now and then: "AST constructor recursion depth mismatch"."""
    parsing: list[str] = []

    def watched(text: str) -> Any:
        parsing.append(threading.current_thread().name)
        return ast.literal_eval(text)

    monkeypatch.setattr("kaggle_kit.embeddings.npz.ast", SimpleNamespace(literal_eval=watched))
    load_pairs(write(arrays), cache_gb=0)
    assert set(parsing) == {threading.main_thread().name}
