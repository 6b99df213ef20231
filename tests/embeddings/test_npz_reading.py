"""Arrays read by us equal those read by NumPy, and nothing is unpickled."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_kit.embeddings.inflate import MemberStream
from kaggle_kit.embeddings.npz import NpzFile
from kaggle_kit.errors import DataError, MissingError

ARRAYS = {
    "float32": np.arange(12, dtype=np.float32).reshape(3, 4),
    "float16": np.arange(5, dtype=np.float16),
    "big_endian": np.arange(6, dtype=">f8").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(20, dtype=np.int16).reshape(4, 5)),
    "text": np.array(["a", "längeres Wort", ""]),
    "bytes": np.array([b"ab", b"c"]),
    "bool": np.array([True, False]),
    "empty": np.empty((0, 7), np.float32),
    "scalar": np.array(3.5),
    "three": np.arange(24).reshape(2, 3, 4),
    "folder/inside": np.arange(3),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("key", ARRAYS)
def test_an_array_equals_what_numpy_loads(tmp_path: Path, save: object, key: str) -> None:
    save(tmp_path / "a.npz", **ARRAYS)  # type: ignore[operator]
    ours = NpzFile(tmp_path / "a.npz").read(key)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        theirs = loaded[key]
    np.testing.assert_array_equal(ours, theirs)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype.newbyteorder("=")
    assert ours.flags.c_contiguous


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        dtype=hnp.scalar_dtypes() | hnp.unicode_string_dtypes(max_len=8) | hnp.byte_string_dtypes(max_len=8),
        shape=hnp.array_shapes(min_dims=0, min_side=0, max_side=6),
    ),
    st.booleans(),
)
def test_any_plain_array_survives_the_round_trip(array: np.ndarray, compress: bool) -> None:
    path = Path(os.environ["HOME"]) / "any.npz"
    (np.savez_compressed if compress else np.savez)(path, a=array)
    with np.load(path, allow_pickle=False) as loaded:
        np.testing.assert_array_equal(NpzFile(path).read("a"), loaded["a"])


def test_zlib_gives_the_same_bytes_as_zlib_ng(tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(0, 50, 300_000).astype(np.int32)
    np.savez_compressed(tmp_path / "a.npz", a=content)
    info = zipfile.ZipFile(tmp_path / "a.npz").infolist()[0]
    whole = []
    for engine in (zlib, None):
        with MemberStream(tmp_path / "a.npz", info, engine=engine) as stream:
            whole.append(stream.read(info.file_size))
    assert whole[0] == whole[1]


def test_without_zlib_ng_files_are_read_by_zlib(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.arange(1000))
    code = (
        "import sys; sys.modules['zlib_ng'] = None\n"
        "from pathlib import Path\nfrom kaggle_kit.embeddings import inflate\nfrom kaggle_kit.embeddings.npz import NpzFile\n"
        "print(inflate.ENGINE.__name__, NpzFile(Path(sys.argv[1])).read('a').sum())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.npz")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert result.stdout.split() == ["zlib", "499500"]


def test_blocks_of_a_member_add_up_to_the_array(tmp_path: Path) -> None:
    array = np.arange(1000, dtype=np.int32).reshape(100, 10)
    np.savez_compressed(tmp_path / "a.npz", a=array)
    blocks = list(NpzFile(tmp_path / "a.npz").blocks("a", multiple_of=40, block_bytes=1000))
    assert {len(block) for block in blocks} == {1000}
    assert b"".join(blocks) == array.tobytes()


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("it-ran",))


def test_object_arrays_are_refused_and_never_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([_Bomb()], dtype=object))
    with pytest.raises(DataError, match=r"a holds pickled Python objects, which are never loaded"):
        NpzFile(tmp_path / "a.npz").read("a")
    assert not Path("it-ran").exists()


def test_a_pickle_under_the_name_of_an_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", pickle.dumps(_Bomb()))
    with pytest.raises(DataError, match=r"a is not a NumPy array"):
        NpzFile(tmp_path / "a.npz").read("a")
    assert not Path("it-ran").exists()


def test_records_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(2, dtype=[("x", "f4"), ("y", "i4")]))
    with pytest.raises(DataError, match=r"a holds records"):
        NpzFile(tmp_path / "a.npz").read("a")


def _with_header(path: Path, header: bytes, payload: bytes = b"", version: bytes = b"\x01\x00") -> NpzFile:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + payload)
    return NpzFile(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        b"{'descr': '<f4', 'fortran_order': False}",
        b"{'descr': 'nonsense', 'fortran_order': False, 'shape': (2,)}",
        b"__import__('os').mkdir('it-ran')",
        b"[" * 3000,
        b"\xff\xfe not python",
    ],
)
def test_a_broken_header_is_said_to_be_unreadable(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(DataError, match=r"the header of a cannot be read"):
        _with_header(tmp_path / "a.npz", header).read("a")
    assert not Path("it-ran").exists()


def test_a_shape_that_the_member_cannot_hold_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"
    with pytest.raises(
        DataError, match=r"declares float64 \(1000000000000,\) \(8,000,000,000,000 bytes\) but holds 16"
    ):
        _with_header(tmp_path / "a.npz", header, bytes(16)).read("a")


def test_a_future_header_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the header of a is not one that NumPy writes"):
        _with_header(tmp_path / "a.npz", b"{}", version=b"\x09\x00").read("a")


def _npz(array: np.ndarray, *, compress: bool = True) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, a=array)
    return file.getvalue()


def test_a_truncated_file_says_that_it_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(_npz(np.arange(10_000))[:-200])
    with pytest.raises(
        DataError, match=r"a\.npz is cut short: [\d,]+ bytes, and the zip directory at its end is missing"
    ):
        NpzFile(path)


@pytest.mark.parametrize("compress", [True, False])
def test_every_flipped_byte_in_the_data_is_noticed(tmp_path: Path, compress: bool) -> None:
    rng = np.random.default_rng(0)
    content = _npz(rng.standard_normal(500), compress=compress)
    path = tmp_path / "a.npz"
    for place in rng.integers(200, len(content) - 200, 60).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"is damaged: its member a\.npy"):
            NpzFile(path).read("a")


def test_a_file_flipped_anywhere_is_either_refused_or_read_right(tmp_path: Path) -> None:
    array = np.arange(300, dtype=np.float32)
    content = _npz(array)
    path = tmp_path / "a.npz"
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with suppress(DataError):
            np.testing.assert_array_equal(NpzFile(path).read("a"), array)


def test_content_longer_than_declared_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    content = _npz(np.zeros(100, np.uint8))
    declared = struct.pack("<I", 228)
    assert content.count(declared) == 2
    path.write_bytes(content.replace(declared, struct.pack("<I", 220)))
    with pytest.raises(DataError, match=r"declares uint8 \(100,\) \(100 bytes\) but holds 92"):
        NpzFile(path).read("a")
    with (
        MemberStream(path, zipfile.ZipFile(path).infolist()[0]) as stream,
        pytest.raises(DataError, match=r"is longer than"),
    ):
        stream.read(220)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    content = bytearray(_npz(np.arange(4)))
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy is encrypted"):
        NpzFile(tmp_path / "a.npz").read("a")


def test_another_compression_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", b"x" * 100)
    with pytest.raises(DataError, match=r"a\.npy is compressed with lzma, not with deflate"):
        NpzFile(tmp_path / "a.npz").read("a")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"a\.npz is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 626741039\n",
            r"is a Git LFS pointer of 72 bytes",
        ),
        (b"\n<!DOCTYPE html><html><title>403</title></html>", r"is an HTML page of 47 bytes"),
        (b"\x93NUMPY\x01\x00 etc", r"is a single \.npy array, not an npz file"),
        (pickle.dumps({"a": 1}), r"is a pickle, which is never loaded"),
        (b"id,caption\n1,a dog\n", r"is not an npz \(zip\) file: it starts with b'id,caption"),
        (b"PK\x03\x04 and then nothing", r"is cut short"),
    ],
)
def test_what_is_no_zip_file_is_called_by_its_name(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=said):
        NpzFile(tmp_path / "a.npz")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no such file: .*a\.npz"):
        NpzFile(tmp_path / "a.npz")
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(DataError, match=r"a\.npz is a folder"):
        NpzFile(tmp_path / "a.npz")


def test_a_missing_key_names_the_nearest_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"captions/embeddings": np.zeros(2), "images/names": np.zeros(2)})
    with pytest.raises(
        DataError, match=r"has no array 'caption/embeddings'; it has captions/embeddings, images/names"
    ) as caught:
        NpzFile(tmp_path / "a.npz").read("caption/embeddings")
    assert "did you mean captions/embeddings?" in caught.value.hint
