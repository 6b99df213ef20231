"""A later load comes from the cache, and whatever is wrong with the cache costs time only."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from kaggle_kit.competition import TrainKeys
from kaggle_kit.embeddings import Pairs, cache_folder, clear_cache, list_cache, load_pairs
from kaggle_kit.errors import DataError, UsageError

Arrays = dict[str, np.ndarray]
Write = Callable[..., Path]
load = partial(load_pairs, cache_from_bytes=1)


def _same(one: Pairs, other: Pairs) -> bool:
    names = ("text", "images", "image_of_caption", "caption_ids", "captions", "image_names")
    return one.file == other.file and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        and getattr(one, name).dtype == getattr(other, name).dtype
        for name in names
    )


def _overwrite_unnoticed(path: Path) -> None:
    """Replace the file's content and leave size, time and inode as they were."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.write(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_second_load_does_not_read_the_file(write: Write, arrays: Arrays) -> None:
    path = write(arrays)
    first = load(path)
    plain = load_pairs(path, cache_gb=0)
    _overwrite_unnoticed(path)
    assert _same(first, load(path))
    assert _same(plain, load(path))


def test_small_files_are_not_cached(write: Write, arrays: Arrays) -> None:
    load_pairs(write(arrays))
    assert list_cache() == []
    assert not cache_folder().exists()


def test_a_changed_file_is_read_anew(write: Write, arrays: Arrays) -> None:
    load(write(arrays))
    changed = load(write(arrays, {"images/embeddings": arrays["images/embeddings"] * 2}))
    np.testing.assert_array_equal(changed.images, arrays["images/embeddings"] * 2)


def test_a_file_that_became_bad_is_refused_though_its_old_self_is_cached(write: Write, arrays: Arrays) -> None:
    load(write(arrays))
    with pytest.raises(DataError, match=r"has no array 'captions/label'"):
        load(write(arrays, {"captions/label": None}))


def test_a_copied_or_touched_file_uses_the_entry_of_its_content(write: Write, arrays: Arrays, tmp_path: Path) -> None:
    path = write(arrays)
    load(path)
    copy = tmp_path / "copy.npz"
    copy.write_bytes(path.read_bytes())
    os.utime(path, ns=(1, 1))
    assert load(copy).file.path == copy
    assert load(path).file.path == path
    assert len(list_cache()) == 1


def test_other_keys_have_an_entry_of_their_own(write: Write, arrays: Arrays) -> None:
    path = write({**arrays, "captions/other": arrays["captions/label"][:, ::-1]})
    load(path)
    turned = load(path, TrainKeys(label="captions/other"))
    np.testing.assert_array_equal(turned.image_of_caption, 39 - arrays["captions/label"].argmax(axis=1))
    assert len(list_cache()) == 2


@pytest.mark.parametrize("name", ["text.npy", "images.npy", "captions.npy", "image_of_caption.npy"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_entry_is_built_again(write: Write, arrays: Arrays, notes: Any, name: str, damage: str) -> None:
    path = write(arrays)
    first = load(path)
    file = cache_folder() / "pairs" / list_cache()[0].key / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-3] ^= 1
        file.write_bytes(content)
    elif damage == "truncate":
        os.truncate(file, 140)
    else:
        file.unlink()
    again = load(path, progress=notes)
    assert notes.notes[0] == "the cached copy of train.npz is damaged; reading the file again"
    np.testing.assert_array_equal(again.image_of_caption, arrays["captions/label"].argmax(axis=1))
    assert again.file == first.file
    quiet = type(notes)()
    load(path, progress=quiet)
    assert quiet.notes == []


def test_an_unreadable_record_is_no_entry(write: Write, arrays: Arrays) -> None:
    path = write(arrays)
    load(path)
    (cache_folder() / "pairs" / list_cache()[0].key / "entry.json").write_text("{")
    assert len(load(path)) == 200
    (cache_folder() / "known" / next((cache_folder() / "known").iterdir()).name).write_text("[]")
    assert len(load(path)) == 200


def test_what_a_killed_process_left_is_swept_away(write: Write, arrays: Arrays) -> None:
    path = write(arrays)
    load(path)
    pairs = cache_folder() / "pairs"
    clear_cache()
    name = next((cache_folder() / "locks").iterdir()).stem
    (pairs / f".{name}").mkdir(parents=True)
    (pairs / f".{name}" / "text.npy").write_bytes(b"half")
    load(path)
    assert [place.name for place in pairs.iterdir()] == [list_cache()[0].key]


def test_writing_to_mapped_arrays_changes_nobody_elses(write: Write, arrays: Arrays) -> None:
    path = write(arrays)
    load(path)
    mine = load(path)
    mine.text[:] = 0
    np.testing.assert_array_equal(load(path).text, arrays["captions/embeddings"])


def test_the_entry_not_used_for_longest_makes_room(write: Write, arrays: Arrays, notes: Any) -> None:
    paths = [write({**arrays, "images/embeddings": arrays["images/embeddings"] + n}, name=f"{n}.npz") for n in range(3)]
    load(paths[0])
    load(paths[1])
    for entry in list_cache():
        age = 100 if entry.source.name == "0.npz" else 200
        record = cache_folder() / "pairs" / entry.key / "entry.json"
        os.utime(record, (record.stat().st_mtime - age,) * 2)
    limit = 2.5 * list_cache()[0].size / 1e9
    load(paths[2], cache_gb=limit, progress=notes)
    assert [entry.source.name for entry in list_cache()] == ["2.npz", "0.npz"]
    assert notes.notes[0].startswith("removed 1.npz (")


def test_a_file_larger_than_the_bound_is_read_into_memory(write: Write, arrays: Arrays, notes: Any) -> None:
    assert len(load(write(arrays), cache_gb=1e-6, progress=notes)) == 200
    assert list_cache() == []
    assert "are allowed" in notes.notes[0]


def test_a_cache_folder_that_cannot_be_made_is_worth_a_note(
    write: Write, arrays: Arrays, tmp_path: Path, notes: Any
) -> None:
    (tmp_path / "file").write_text("in the way")
    pairs = load(write(arrays), environ={"KK_CACHE_DIR": str(tmp_path / "file" / "cache")}, progress=notes)
    assert len(pairs) == 200
    assert notes.notes[0].startswith("reading train.npz without the cache in ")


def test_a_cache_that_fails_at_the_very_end_is_worth_a_note(write: Write, arrays: Arrays, notes: Any) -> None:
    path = write(arrays)
    load(path)
    clear_cache()
    (cache_folder() / "known").write_text("a file where a folder should be")
    assert len(load(path, progress=notes)) == 200
    assert notes.notes[0].startswith("reading train.npz without the cache in ")


def test_a_disk_that_fills_up_is_worth_a_note_and_leaves_nothing(write: Write, arrays: Arrays, notes: Any) -> None:
    path = write(arrays)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        pairs = load(path, progress=notes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    np.testing.assert_array_equal(pairs.text, arrays["captions/embeddings"])
    assert "File too large" in notes.notes[0]
    assert list((cache_folder() / "pairs").iterdir()) == []


def test_two_processes_may_build_at_once(write: Write, arrays: Arrays) -> None:
    path = write(arrays)
    code = (
        "import sys\nfrom kaggle_kit.embeddings import load_pairs\n"
        "print(load_pairs(sys.argv[1], cache_from_bytes=1).images.sum())"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    results = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], results
    assert {out.strip() for out, _ in results} == {str(arrays["images/embeddings"].sum())}
    assert len(list_cache()) == 1
    assert [place.name for place in (cache_folder() / "pairs").iterdir()] == [list_cache()[0].key]


def test_a_lock_that_is_held_too_long_is_not_waited_for(write: Write, arrays: Arrays, notes: Any) -> None:
    path = write(arrays)
    load(path)
    clear_cache()
    with FileLock(next((cache_folder() / "locks").iterdir())):
        assert len(load(path, cache_wait_s=0.01, progress=notes)) == 200
    assert notes.notes[0] == "another process is reading the same file; waiting for it"
    assert "another process has held it" in notes.notes[1]


def test_the_cache_can_be_listed_and_cleared(write: Write, arrays: Arrays) -> None:
    paths = [
        write(arrays, name="a.npz"),
        write({**arrays, "images/embeddings": arrays["images/embeddings"] + 1}, name="b.npz"),
    ]
    for path in paths:
        load(path)
    entries = list_cache()
    assert {entry.source for entry in entries} == set(paths)
    assert all(entry.size > 10_000 and entry.used >= entry.created - 1 for entry in entries)
    assert clear_cache(keys=[entries[0].key]) == entries[0].size
    assert list_cache() == [entries[1]]
    assert clear_cache() == entries[1].size
    assert list_cache() == []
    assert clear_cache() == 0


def test_what_cannot_be_removed_is_told(write: Write, arrays: Arrays, tmp_path: Path) -> None:
    load(write(arrays))
    pairs = cache_folder() / "pairs"
    pairs.rename(tmp_path / "elsewhere")
    pairs.symlink_to(tmp_path / "elsewhere")  # a link is not followed to remove what lies elsewhere
    with pytest.raises(UsageError, match=r"pairs could not be removed"):
        clear_cache()
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/h"}, "/h/.cache/kaggle_kit"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/kaggle_kit"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x", "KK_CACHE_DIR": "/c"}, "/c"),
        ({"HOME": "/h", "KAGGLE_KERNEL_RUN_TYPE": "Batch", "KK_NOTEBOOK_ROOT": "/nowhere"}, "/nowhere/tmp/kaggle_kit"),
    ],
)
def test_where_the_cache_lies(environ: dict[str, str], folder: str) -> None:
    assert cache_folder(environ) == Path(folder)


def test_in_a_notebook_scratch_is_used_where_there_is_some(tmp_path: Path) -> None:
    (tmp_path / "kaggle" / "temp").mkdir(parents=True)
    assert cache_folder({"KK_NOTEBOOK_ROOT": str(tmp_path)}) == tmp_path / "kaggle" / "temp" / "kaggle_kit"


@pytest.mark.parametrize("record", ['{"created":"x"}', '{"source":"/x"}', '{"source":5}', "[]", "{"])
def test_damaged_entry_costs_the_cache_only(tmp_path: Path, record: str) -> None:
    entry = tmp_path / "pairs" / "foo"
    entry.mkdir(parents=True)
    (entry / "entry.json").write_text(record)
    environ = {"KK_CACHE_DIR": str(tmp_path)}
    assert [one.key for one in list_cache(environ)] == ["foo"]
    clear_cache(environ)
    assert not entry.exists()
