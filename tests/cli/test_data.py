"""Getting data, looking at it, and what is kept of it: fetch, data, cache, demo --write, by commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.embeddings import generate_competition, load_pairs
from kaggle_kit.rehearsal.hosted import HostedCompetition
from kaggle_kit.rehearsal.server import RehearsalServer

TRAIN, TEST, CAPTIONS = "train/train/train.npz", "test/test/test.clean.npz", "test/test/captions.txt"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> Path:
    """The files of a small competition, a photo among them."""
    folder = tmp_path_factory.mktemp("competition")
    generate_competition(folder, captions=600, images=150, text_dim=16, image_dim=12, test=40)
    photo = folder / "train/train/Images/1.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(bytes(5000))
    return folder


@pytest.fixture
def server(made_up, tmp_path, monkeypatch, write) -> Iterator[RehearsalServer]:
    """A server for the competition, in force by environment variables."""
    write("kk.toml", 'competition = "tiny"\n')
    hosted = HostedCompetition(
        slug="tiny", title="Tiny", files=made_up, ids=np.arange(1, 41), answers=np.ones((40, 12), np.float32)
    )
    with RehearsalServer(hosted, folder=tmp_path / "server") as running:
        for name, value in running.environ().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def project(made_up, clean_world, write) -> Path:
    """A project with the data in place."""
    write("kk.toml", 'competition = "tiny"\n')
    shutil.copytree(made_up, clean_world / "data" / "tiny")
    return clean_world


def here(folder: Path) -> set[str]:
    """The files of the competition below ``folder``."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if name != "fetch.json" and not name.endswith(".lock")}


# -- fetch -----------------------------------------------------------------------------------------------------------


def test_fetch_gets_what_is_needed_and_tells_sizes_for_people(server, kk):
    outcome = kk("fetch")
    assert outcome.code == 0, outcome.err
    assert here(Path("data/tiny")) == {TRAIN, TEST, CAPTIONS}
    assert re.search(rf"^{TRAIN}: \d+(\.\d)? kB$", outcome.err, re.MULTILINE)
    assert re.search(rf"^{TRAIN} +\d+(\.\d)? kB +downloaded +[0-9a-f]{{12}} *$", outcome.out, re.MULTILINE)
    assert not re.search(r"\d{5,} bytes", outcome.out + outcome.err)


def test_fetch_all_gets_the_photos_and_keeps_the_zip_when_told_to(server, kk):
    outcome = kk("fetch", "--all", "--keep-zip", "--json")
    assert outcome.code == 0, outcome.err
    assert here(Path("data/tiny")) == {TRAIN, TEST, CAPTIONS, "train/train/Images/1.jpg", "tiny.zip"}
    assert {file["state"] for file in outcome.json["files"]} == {"unpacked"}
    Path("data/tiny/train/train/Images/1.jpg").unlink()
    assert kk("fetch", "--all").code == 0
    assert here(Path("data/tiny")) == {TRAIN, TEST, CAPTIONS, "train/train/Images/1.jpg"}


def test_fetch_file_gets_those_files_only(server, kk):
    assert kk("fetch", "--file", "1.jpg", "--file", CAPTIONS).code == 0
    assert here(Path("data/tiny")) == {"train/train/Images/1.jpg", CAPTIONS}
    mistyped = kk("fetch", "--file", "train/train/tarin.npz")
    assert (mistyped.code, mistyped.out) == (8, "")
    assert f"Hint: did you mean {TRAIN}" in mistyped.err
    assert kk("fetch", "--all", "--file", "1.jpg").code == 2


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_fetch_from_takes_what_the_user_has_without_the_network(write, made_up, tmp_path, kk, zipped):
    write("kk.toml", 'competition = "tiny"\n')
    source = Path(shutil.make_archive(str(tmp_path / "mine"), "zip", made_up)) if zipped else made_up
    outcome = kk("fetch", "--from", str(source), "--json")
    assert outcome.code == 0, outcome.err
    assert here(Path("data/tiny")) == {TRAIN, TEST, CAPTIONS}
    assert {file["state"] for file in outcome.json["files"]} == {"unpacked" if zipped else "copied"}
    assert kk("fetch", "--json").json["nothing_to_do"] is True


def test_fetch_verify_names_what_changed(server, kk):
    kk("fetch", "-q")
    assert "all 3 files are what was fetched" in kk("fetch", "--verify").out
    Path("data/tiny", TEST).write_bytes(b"mine")
    outcome = kk("fetch", "--verify")
    assert (outcome.code, outcome.out) == (3, "")
    assert re.search(rf"{TEST} changed: its sha256 is \w{{64}}, fetched was \w{{64}}", outcome.err)
    assert Path("data/tiny", TEST).read_bytes() == b"mine"


def test_fetch_from_a_zip_that_attacks_touches_nothing(write, tmp_path, kk):
    write("kk.toml", 'competition = "tiny"\n')
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(TRAIN, b"PK")
        archive.writestr(TEST, b"PK")
        archive.writestr("../../evil", b"x")
    outcome = kk("fetch", "--from", str(tmp_path / "evil.zip"))
    assert (outcome.code, outcome.out) == (3, "")
    assert "does not stay in its folder" in outcome.err
    assert here(Path("data")) == set()


# -- data ------------------------------------------------------------------------------------------------------------


def test_data_tells_what_is_there(project, kk):
    outcome = kk("data")
    assert outcome.code == 0, outcome.err
    rows = {row[0]: row[1:] for line in outcome.out.splitlines() if len(row := re.split(r" {2,}", line.strip())) > 1}
    assert rows["captions"] == ["600", "40"]
    assert rows["images"] == ["150"]
    assert rows["captions an image"] == ["4 to 4, mean 4"]
    assert rows["text dimensions"] == ["16", "16"]
    assert rows["look out of domain"][0] == "5.0%"
    assert "of the test captions look out of domain" in outcome.out


def test_data_as_json_is_plain(project, kk):
    facts = kk("data", "--json").json
    assert facts["train"]["captions_an_image"] == {"min": 4, "mean": 4, "max": 4}
    assert facts["test"]["captions"] == 40
    assert 0 <= facts["test"]["far_from_train"]["share"] <= 1
    assert "settings" not in facts


def test_data_tells_what_the_settings_leave_out(project, kk):
    outcome = kk("data", "--set", "data.drop_noisiest=0.05")
    assert "data.drop_noisiest leaves out 30 captions" in outcome.out
    assert "570 captions of 600 trained on" in outcome.out


def test_data_without_the_test_file_is_told_of_training_only(project, kk):
    (project / "data/tiny" / TEST).unlink()
    outcome = kk("data", "--json")
    assert outcome.code == 0, outcome.err
    assert set(outcome.json) == {"train", "folds"}
    assert "without test captions" in outcome.err
    assert "look out of domain" not in kk("data").out


def test_data_that_is_not_there_is_8(kk):
    outcome = kk("data")
    assert (outcome.code, outcome.out) == (8, "")
    assert "kk fetch" in outcome.err


@pytest.mark.parametrize(("name", "head"), [("d.png", b"\x89PNG"), ("sub/d.pdf", b"%PDF"), ("d.svg", b"<?xml")])
def test_data_draws_a_figure(project, kk, name, head):
    pytest.importorskip("matplotlib")
    outcome = kk("data", "--figure", name)
    assert outcome.code == 0, outcome.err
    assert Path(name).read_bytes().startswith(head)
    assert f"drawn into {name}" in outcome.err


def test_data_figure_without_test_captions_is_drawn(project, kk):
    pytest.importorskip("matplotlib")
    (project / "data/tiny" / TEST).unlink()
    assert kk("data", "--figure", "d.svg").code == 0


def test_data_figure_of_an_unknown_format_is_refused_before_anything_is_read(kk):
    outcome = kk("data", "--figure", "d.xyz")
    assert outcome.code == 2
    assert "d.xyz does not end in one of .png, .pdf, .svg" in outcome.err


def test_data_figure_without_matplotlib_says_what_to_install(project, kk, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = kk("data", "--figure", "d.png")
    assert outcome.code == 2
    assert "figures need matplotlib, which is not installed" in outcome.err
    assert 'pip install ".[plots]"' in outcome.err
    assert not Path("d.png").exists()


# -- cache -----------------------------------------------------------------------------------------------------------


def test_cache_lists_and_clears_what_was_read(project, kk):
    train = project / "data/tiny" / TRAIN
    load_pairs(train, cache_from_bytes=1)
    listed = kk("cache")
    assert listed.code == 0
    assert re.search(r" \d+(\.\d)? kB +\d{4}-\d\d-\d\d \d\d:\d\d ", listed.out)
    assert "of 20.0 GB (data.cache_gb) in" in listed.out
    (entry,) = kk("cache", "--json").json["entries"]
    assert entry["source"] == str(train)
    cleared = kk("cache", "--clear")
    assert re.match(r"\d+(\.\d)? kB freed in ", cleared.out)
    assert kk("cache", "--json").json["entries"] == []
    assert train.exists()


# -- demo --write ----------------------------------------------------------------------------------------------------


def test_demo_write_writes_a_competition_that_fetch_takes(clean_world, kk):
    outcome = kk("demo", "--write", "big", "--captions", "60", "--images", "20", "--json")
    assert outcome.code == 0, outcome.err
    assert set(outcome.json["files"]) == {TRAIN, TEST, CAPTIONS}
    pairs = load_pairs(Path("big", TRAIN))
    assert (pairs.text.shape, pairs.images.shape) == ((60, 1024), (20, 1536))
    assert kk("fetch", "--from", "big").code == 0
    assert kk("data", "--json").json["test"]["captions"] == 1500


def test_demo_write_leaves_a_folder_with_something_in_it_alone(write, kk):
    kept = write("big/mine.txt", "mine")
    outcome = kk("demo", "--write", "big")
    assert outcome.code == 2
    assert "big is not empty" in outcome.err
    assert [path.name for path in kept.parent.iterdir()] == ["mine.txt"]


def test_demo_sizes_without_write_and_impossible_ones_are_refused(clean_world, kk):
    assert "--captions and --images go with --write DIR" in kk("demo", "--captions", "10").err
    outcome = kk("demo", "--write", "big", "--captions", "10", "--images", "20")
    assert outcome.code == 2
    assert not Path("big", TRAIN).exists()


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_fetch_where_another_one_is_at_work_is_refused(server, kk):
    """Another process holds the folder; both processes are real."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom filelock import FileLock\n"
        "Path('data/tiny').mkdir(parents=True)\n"
        "with FileLock('data/tiny/.fetch.lock'):\n  print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    ) as other:
        other.stdout.readline()
        outcome = kk("fetch", "--json")
        other.stdin.close()
    assert outcome.code == 2
    assert "another kk fetch is at work" in json.loads(outcome.out)["error"]["message"]
    assert kk("fetch", "-q").code == 0
