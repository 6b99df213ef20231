"""Archives from outside: whole ones are unpacked, attacks and damage change nothing."""

from __future__ import annotations

import hashlib
import stat
import zipfile

import pytest

from kaggle_kit.errors import DataError
from kaggle_kit.kaggle_service import unpack
from kaggle_kit.kaggle_service.unpack import single_member


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "target"
    path.mkdir()
    (path / "kept.txt").write_text("untouched")
    return path


def make(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def assert_untouched(folder):
    assert [path.name for path in folder.parent.rglob("*") if path.is_file() and path.suffix != ".zip"] == ["kept.txt"]
    assert (folder / "kept.txt").read_text() == "untouched"


def test_members_arrive_in_their_folders_with_their_hashes(tmp_path, folder):
    archive = make(tmp_path / "a.zip", {"train/train.npz": b"PK" * 50, "./x.txt": b"1", "empty/": b""})
    unpacked = unpack(archive, folder)
    assert [(file.name, file.size) for file in unpacked] == [("train/train.npz", 100), ("x.txt", 1)]
    assert unpacked[0].sha256 == hashlib.sha256(b"PK" * 50).hexdigest()
    assert (folder / "train/train.npz").read_bytes() == b"PK" * 50


def test_only_wanted_members_are_unpacked_and_placed(tmp_path, folder):
    archive = make(tmp_path / "a.zip", {"deep/train.npz": b"1", "other": b"2"})
    unpack(archive, folder, wanted=lambda name: name.endswith(".npz"), place=lambda name: "train.npz")
    assert sorted(path.name for path in folder.iterdir()) == ["kept.txt", "train.npz"]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "\\evil", "..\\evil", "C:\\evil", "C:/evil", "a\nb"]
)
def test_path_that_leaves_the_folder_is_refused(tmp_path, folder, name):
    archive = make(tmp_path / "a.zip", {"good.txt": b"1", name: b"2"})
    with pytest.raises(DataError, match="does not stay in its folder"):
        unpack(archive, folder)
    assert_untouched(folder)


def test_link_is_refused(tmp_path, folder):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="is a link or a device"):
        unpack(tmp_path / "a.zip", folder)
    assert_untouched(folder)


def test_link_that_lies_in_the_folder_already_leads_nowhere(tmp_path, folder):
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "train").symlink_to(outside)
    with pytest.raises(DataError, match="leads out of"):
        unpack(make(tmp_path / "a.zip", {"train/x": b"1"}), folder)
    assert list(outside.iterdir()) == []


def test_bomb_is_refused_by_what_it_declares(tmp_path, folder):
    path = make(tmp_path / "a.zip", {"bomb": bytes(1000)}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 24 : central + 28] = (2_000_000_000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match="a zip bomb"):
        unpack(path, folder)
    assert_untouched(folder)


def test_member_longer_than_it_declares_is_refused(tmp_path, folder):
    path = make(tmp_path / "a.zip", {"x": bytes(100_000)}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 24 : central + 28] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a whole zip|longer than it declares"):
        unpack(path, folder)
    assert_untouched(folder)


def test_flipped_byte_is_found_by_the_crc(tmp_path, folder):
    path = make(tmp_path / "a.zip", {"x": b"0123456789" * 100})
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        unpack(path, folder)
    assert_untouched(folder)


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 cut", None])
def test_what_is_no_whole_zip_is_refused(tmp_path, folder, content):
    path = make(tmp_path / "a.zip", {"x": b"0123456789" * 100})
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)
    with pytest.raises(DataError, match="not a whole zip archive"):
        unpack(path, folder)
    assert_untouched(folder)


def test_two_members_of_one_name_are_refused(tmp_path, folder):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "1")
        archive.writestr("./x", "2")
    with pytest.raises(DataError, match="two members are named 'x'"):
        unpack(path, folder)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b/c", "a"), ("x" * 300,)])
def test_members_that_no_disk_can_hold_are_refused_before_any_is_written(tmp_path, folder, names):
    archive = tmp_path / "odd.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    before = sorted(folder.iterdir())
    with pytest.raises(DataError):
        unpack(archive, folder)
    assert sorted(folder.iterdir()) == before


def test_encrypted_member_is_refused(tmp_path, folder):
    path = make(tmp_path / "a.zip", {"x": b"1"})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        unpack(path, folder)


def test_zip_around_one_file_is_told_from_a_file_that_is_a_zip(tmp_path):
    wrapped = make(tmp_path / "wrapped", {"train.npz": b"1"})
    assert single_member(wrapped, "train/train.npz") == "train.npz"
    assert single_member(wrapped, "train/test.npz") is None
    assert single_member(make(tmp_path / "npz", {"a.npy": b"1"}), "train.npz") is None
    assert single_member(make(tmp_path / "zip", {"all.zip": b"1"}), "all.zip") is None
