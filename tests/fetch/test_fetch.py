"""Getting the competition's files: what is asked for, what is left alone, what is told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
from faults import PAGE, SECRET, SLUG, FaultyServer, answer, drop, drop_after, flip, rpc_error, small_competition
from filelock import FileLock

from kaggle_kit.config import Project
from kaggle_kit.errors import (
    CredentialsError,
    DataError,
    DiskFullError,
    KaggleKitError,
    MissingError,
    ServiceError,
    UsageError,
)
from kaggle_kit.progress import Silence
from kaggle_kit.workflow.fetch import fetch

TRAIN, TEST, CAPTIONS = "train/train/train.npz", "test/test/test.clean.npz", "test/test/captions.txt"


def tree(folder):
    """Every file below ``folder`` by its relative name, without the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def states(result):
    return {file.name: file.state for file in result.files}


def manifest(project):
    return json.loads((project.data_dir / SLUG / "fetch.json").read_text())


def renamed(project, **files):
    """The project with other names or hashes of files."""
    competition = project.settings.competition
    changed = replace(competition, files=replace(competition.files, **files))
    return Project(project.root, replace(project.settings, competition=changed))


def test_only_what_is_needed_is_downloaded(project, server, hosted):
    result = fetch(project)
    assert states(result) == dict.fromkeys([CAPTIONS, TEST, TRAIN], "downloaded")
    here = tree(project.data_dir / SLUG)
    assert set(here) == {TRAIN, TEST, CAPTIONS, "fetch.json"}
    assert here[TRAIN] == (hosted.files / TRAIN).read_bytes()
    assert not result.nothing_to_do


def test_manifest_tells_name_size_hash_source_and_time(project, server, hosted):
    fetch(project)
    entry = manifest(project)["files"][TRAIN]
    content = (hosted.files / TRAIN).read_bytes()
    assert (entry["size"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert entry["path"] == f"{SLUG}/{TRAIN}"
    assert entry["source"].startswith("the server at 127.0.0.1")
    assert entry["time"].endswith("+00:00")


def test_second_run_does_nothing_and_says_so_without_the_network(project, server, monkeypatch):
    fetch(project)
    before, asked = tree(project.data_dir), len(server.requests)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_API_ENDPOINT"):
        monkeypatch.delenv(name)
    result = fetch(project)
    assert result.nothing_to_do
    assert result.notes[0].startswith("nothing to do")
    assert set(states(result).values()) == {"present"}
    assert (tree(project.data_dir), len(server.requests)) == (before, asked)


def test_only_a_missing_file_is_downloaded_again(project, server):
    fetch(project)
    (project.data_dir / SLUG / TEST).unlink()
    assert states(fetch(project)) == {TRAIN: "present", TEST: "downloaded", CAPTIONS: "present"}


def test_missing_captions_are_a_note(project, server, hosted):
    (hosted.files / CAPTIONS).unlink()
    result = fetch(project)
    assert set(states(result)) == {TRAIN, TEST}
    assert result.notes == [f"the competition has no {CAPTIONS}; nothing needs it"]


class Bytes(Silence):
    """Keeps, for each task, its total, what was there at the start, the last count and the summary."""

    def __init__(self):
        self.tasks = {}

    def start(self, what, total=None, unit="", *, done=0.0):
        kept = self.tasks[what] = {"total": total, "done": done, "last": done, "summary": None}

        class Task:
            def update(self, done, **figures):
                assert done >= kept["last"]
                kept["last"] = done

            def finish(self, summary=""):
                kept["summary"] = summary

        return Task()


def test_progress_tells_each_file_and_all_of_them_with_sizes_for_people(project, server, hosted):
    seen = Bytes()
    fetch(project, progress=seen)
    total = sum((hosted.files / name).stat().st_size for name in (TRAIN, TEST, CAPTIONS))
    assert seen.tasks["3 files of demo-competition"] == {"total": total, "done": 0, "last": total, "summary": ""}
    assert seen.tasks[TRAIN] == {"total": 400_004, "done": 0, "last": 400_004, "summary": f"{TRAIN}: 400 kB"}


def test_progress_of_a_continued_download_begins_where_it_stopped(project, server):
    server.fault("/storage/files/" + TRAIN, drop_after(150_000))
    server.fault("/storage/files/" + TRAIN, drop, times=3)
    with pytest.raises(ServiceError, match="dropped"):
        fetch(project)
    seen = Bytes()
    fetch(project, progress=seen)
    assert list(seen.tasks) == [TRAIN], "one file needs no line for all of them"
    assert seen.tasks[TRAIN] == {"total": 400_004, "done": 150_000, "last": 400_004, "summary": f"{TRAIN}: 400 kB"}


def test_listed_files_are_downloaded_with_their_folders(project, server):
    result = fetch(project, files=["train/train/captions.txt", "1.jpg"])
    assert states(result) == dict.fromkeys(["train/train/captions.txt", "train/train/Images/1.jpg"], "downloaded")
    assert fetch(project, files=["train/train/captions.txt"]).nothing_to_do


def test_unknown_file_is_answered_with_the_nearest(project, server):
    with pytest.raises(MissingError, match="among its 5") as caught:
        fetch(project, files=["train/train/tran.npz"])
    assert TRAIN in caught.value.hint


def test_everything_is_unpacked_from_one_archive_that_is_deleted(project, server, hosted):
    result = fetch(project, everything=True)
    here = tree(project.data_dir / SLUG)
    assert {name: here[name] for name in tree(hosted.files)} == tree(hosted.files)
    assert set(here) - set(tree(hosted.files)) == {"fetch.json"}
    assert set(states(result).values()) == {"unpacked"}
    assert "5 files unpacked" in result.notes[-1]
    again = fetch(project, everything=True)
    assert again.nothing_to_do
    assert again.notes == ["nothing to do: all 5 files are there already"]
    assert len(server.asked("DownloadDataFiles")) == 1


def test_archive_is_kept_if_asked_for(project, server):
    fetch(project, everything=True, keep_zip=True)
    assert zipfile.is_zipfile(project.data_dir / SLUG / f"{SLUG}.zip")


def test_archive_that_was_whole_before_an_interruption_is_not_downloaded_again(project, server):
    fetch(project, everything=True, keep_zip=True)
    (project.data_dir / SLUG / TRAIN).unlink()
    fetch(project, everything=True)
    assert (project.data_dir / SLUG / TRAIN).exists()
    assert len(server.asked("DownloadDataFiles")) == 1


def test_attack_in_the_archive_touches_nothing(project, server):
    fetch(project)
    before = tree(project.data_dir)
    evil = server.competition.files.parent / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr(TRAIN, b"new")
        archive.writestr("../../evil", b"x")
    server.fault("/storage/all.zip", lambda server, exchange, proceed: exchange.send_file(evil, server._md5(evil)))
    with pytest.raises(DataError, match="does not stay in its folder"):
        fetch(project, everything=True)
    after = tree(project.data_dir)
    assert {name: after[name] for name in before if not name.endswith("fetch.json")} == {
        name: before[name] for name in before if not name.endswith("fetch.json")
    }
    assert not (project.root / "evil").exists()


# -- files that are there already ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["data/{slug}/train/train", "data/train/train", "data/train", "data/{slug}", "data"])
def test_layout_that_is_there_is_used_and_left_alone(project, layout):
    train = project.root / layout.format(slug=SLUG) / "train.npz"
    test = project.root / layout.format(slug=SLUG).replace("train", "test") / "test.clean.npz"
    for path in (train, test):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PK")
    result = fetch(project)
    assert states(result) == {TRAIN: "in place", TEST: "in place"}
    assert {file.path for file in result.files} == {train, test}
    assert set(states(fetch(project)).values()) == {"present"}
    assert train.read_bytes() == b"PK"


@pytest.mark.parametrize("mount", ["competitions/" + SLUG, SLUG, "somewhere/else"])
def test_mount_of_a_notebook_is_used_where_it_is(project, monkeypatch, tmp_path, mount):
    root = tmp_path / "notebook"
    for name in (TRAIN, TEST):
        path = root / "kaggle/input" / mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PK")
    monkeypatch.setenv("KK_NOTEBOOK_ROOT", str(root))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    result = fetch(project)
    assert states(result) == {TRAIN: "in place", TEST: "in place"}
    assert any("is mounted at" in note for note in result.notes)
    assert not project.data_dir.exists()


def test_folder_of_the_user_is_copied_from(project, hosted, tmp_path):
    result = fetch(project, source=hosted.files)
    assert states(result) == dict.fromkeys([TRAIN, TEST, CAPTIONS], "copied")
    assert tree(project.data_dir / SLUG)[TRAIN] == (hosted.files / TRAIN).read_bytes()
    assert manifest(project)["files"][TEST]["source"].endswith(TEST)
    assert fetch(project).nothing_to_do
    before = (project.data_dir / SLUG / TRAIN).stat().st_ino
    assert states(fetch(project, source=hosted.files)) == dict.fromkeys([TRAIN, TEST, CAPTIONS], "present")
    assert (project.data_dir / SLUG / TRAIN).stat().st_ino == before, "what is there is not written again"
    (project.data_dir / SLUG / TRAIN).write_bytes(b"x" * (hosted.files / TRAIN).stat().st_size)
    assert states(fetch(project, source=hosted.files))[TRAIN] == "copied"


def test_flat_folder_of_the_user_is_recognised(project, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("train.npz", "test.clean.npz", "captions.txt"):
        (flat / name).write_bytes(b"PK")
    result = fetch(project, source=flat)
    assert states(result) == dict.fromkeys([TRAIN, TEST], "copied"), "whose captions these are cannot be told"
    assert CAPTIONS in result.notes[0]


def test_zip_of_the_user_is_unpacked_from(project, hosted, tmp_path):
    archive = tmp_path / "aml.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in tree(hosted.files).items():
            file.writestr(f"aml/{name}", content)
    result = fetch(project, source=archive)
    assert states(result) == dict.fromkeys([TRAIN, TEST, CAPTIONS], "unpacked")
    assert set(tree(project.data_dir / SLUG)) == {TRAIN, TEST, CAPTIONS, "fetch.json"}
    assert archive.exists()


def test_single_file_of_the_user_is_taken(project, hosted):
    assert states(fetch(project, source=hosted.files / TRAIN)) == {TRAIN: "copied"}


def test_all_files_of_a_folder_can_be_taken(project, hosted):
    assert len(fetch(project, source=hosted.files, everything=True).files) == 5


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (PAGE, "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer"),
        (b"", "no npz file"),
    ],
)
def test_stand_in_for_an_npz_is_refused_and_what_was_there_stays(project, hosted, content, problem):
    fetch(project, source=hosted.files)
    before = tree(project.data_dir)
    (hosted.files / TRAIN).write_bytes(content)
    with pytest.raises(DataError, match=problem):
        fetch(project, source=hosted.files, files=[TRAIN])
    assert tree(project.data_dir) == before


def test_folder_without_the_files_tells_what_it_has(project, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.csv").touch()
    with pytest.raises(MissingError, match=r"has no .test/test/test\.clean\.npz. among its 1 files") as caught:
        fetch(project, source=tmp_path / "other")
    assert caught.value.hint == "it has a.csv"
    with pytest.raises(MissingError, match="no such folder or file"):
        fetch(project, source=tmp_path / "nowhere")


def test_broken_zip_of_the_user_is_refused(project, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match="not a whole zip archive"):
        fetch(project, source=tmp_path / "a.zip")


# -- changes ---------------------------------------------------------------------------------------------------------


def test_verify_passes_what_is_unchanged(project, server):
    fetch(project)
    result = fetch(project, verify=True)
    assert set(states(result).values()) == {"verified"}
    assert result.notes == ["all 3 files are what was fetched"]


def test_verify_names_a_changed_file_and_a_missing_one(project, server):
    fetch(project)
    path = project.data_dir / SLUG / TRAIN
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (project.data_dir / SLUG / TEST).unlink()
    with pytest.raises(DataError, match=rf"{TEST} is gone\n.*{TRAIN} changed: its sha256 is") as caught:
        fetch(project, verify=True)
    assert CAPTIONS not in caught.value.message


def test_verify_before_any_fetch_is_told(project):
    with pytest.raises(MissingError, match="nothing was fetched"):
        fetch(project, verify=True)


def test_changed_file_is_left_alone_and_named_and_fetched_anew_when_asked_for(project, server, hosted):
    fetch(project)
    path = project.data_dir / SLUG / TRAIN
    path.write_bytes(b"mine")
    result = fetch(project)
    assert states(result)[TRAIN] == "changed"
    assert any("changed since it was fetched" in note for note in result.notes)
    assert path.read_bytes() == b"mine"
    assert states(fetch(project, files=[TRAIN])) == {TRAIN: "downloaded"}
    assert path.read_bytes() == (hosted.files / TRAIN).read_bytes()


def test_hash_other_than_the_known_one_is_a_note_with_both(project, server, hosted):
    project = renamed(project, train_sha256="0" * 64)
    found = hashlib.sha256((hosted.files / TRAIN).read_bytes()).hexdigest()
    notes = fetch(project).notes
    assert any(found in note and "0" * 64 in note for note in notes)


def test_manifest_of_a_newer_version_is_refused(project):
    folder = project.data_dir / SLUG
    folder.mkdir(parents=True)
    (folder / "fetch.json").write_text('{"schema": 2}')
    with pytest.raises(DataError, match="has schema 2; this version knows 1"):
        fetch(project)


# -- refusals and faults ---------------------------------------------------------------------------------------------


def test_rules_not_accepted_are_told_before_any_download(project, tmp_path):
    hosted = small_competition(tmp_path / "closed", entered=False)
    with FaultyServer(hosted, folder=tmp_path / "s") as server:
        with pytest.raises(CredentialsError, match="has not joined") as caught:
            fetch(project, environ=server.environ())
        assert f"/competitions/{SLUG}/rules" in caught.value.hint
        assert caught.value.hint.endswith("kk fetch --from DIR takes files that you have")
        assert server.asked("DownloadDataFile") == []


def test_mistyped_competition_is_answered_with_the_nearest(project, server):
    settings = replace(project.settings, competition=replace(project.settings.competition, slug="demo-competiton"))
    with pytest.raises(MissingError, match="no competition 'demo-competiton'") as caught:
        fetch(Project(project.root, settings))
    assert SLUG in caught.value.hint


FAULTS = {
    "401": (rpc_error(401, "Unauthenticated"), 1, CredentialsError),
    "403 rules": (rpc_error(403, "You must accept this competition's rules before"), 1, CredentialsError),
    "403 scope": (rpc_error(403, "Permission 'competitions.participate' was denied"), 1, CredentialsError),
    "404": (rpc_error(404, "Not found"), 1, MissingError),
    "400 empty": (answer(400), 1, ServiceError),
    "429": (answer(429, Retry_After="99"), 1, ServiceError),
    "500": (answer(500), 9, ServiceError),
    "503 three times": (answer(503), 3, None),
    "page": (answer(200, PAGE, "text/html"), 9, ServiceError),
    "empty": (answer(200), 9, KaggleKitError),
    "dropped": (drop, 9, ServiceError),
}


@pytest.mark.parametrize("call", ["ListDataFiles", "DownloadDataFile"])
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_ends_in_the_right_error_and_a_second_run_succeeds(project, server, hosted, fault, call):
    act, times, error = FAULTS[fault]
    planned = server.fault(call, act, times=times)
    if error is None:
        fetch(project)
    else:
        with pytest.raises(error, match=r".") as caught:
            fetch(project)
        assert caught.value.hint
        assert SECRET not in str(caught.value) + caught.value.hint
        planned.happened = planned.times
        fetch(project)
    assert tree(project.data_dir / SLUG)[TRAIN] == (hosted.files / TRAIN).read_bytes()


def test_interrupted_fetch_has_not_forgotten_what_it_had(project, server):
    server.fault("/storage/files/" + TRAIN, drop_after(150_000))
    server.fault("/storage/files/" + TRAIN, drop, times=3)
    with pytest.raises(ServiceError, match="dropped"):
        fetch(project)
    assert set(manifest(project)["files"]) == {TEST, CAPTIONS}
    result = fetch(project)
    assert states(result) == {CAPTIONS: "present", TEST: "present", TRAIN: "downloaded"}
    assert {file.name: file.bytes_received for file in result.files}[TRAIN] == 400_004 - 150_000


def test_server_that_lies_leaves_what_was_there_untouched(project, server):
    fetch(project)
    (project.data_dir / SLUG / TRAIN).write_bytes(b"mine")
    server.fault("/storage/files/" + TRAIN, flip(5), times=99)
    with pytest.raises(ServiceError, match="damaged"):
        fetch(project, files=[TRAIN])
    assert (project.data_dir / SLUG / TRAIN).read_bytes() == b"mine"


def test_second_fetch_at_the_same_time_is_refused(project, server):
    folder = project.data_dir / SLUG
    folder.mkdir(parents=True)
    with FileLock(folder / ".fetch.lock"), pytest.raises(UsageError, match="another kk fetch is at work"):
        fetch(project)
    assert server.requests == []


CHILD = """
import resource
from pathlib import Path
from faults import QUICK, SLUG
from kaggle_kit.config import Project, Settings
from kaggle_kit.errors import UsageError
from kaggle_kit.workflow.fetch import fetch
project = Project(Path.cwd(), Settings.from_dict({"competition": {"slug": SLUG}, "service": QUICK}))
try:
    fetch(project, everything=%s)
    # not ru_maxrss: that of a child begins with what its parent held when it was forked
    print("done", next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
except UsageError as error:
    print("refused", error.message)
"""


def fetching(*, everything=False):
    """A process that fetches and says how it ended."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-c", CHILD % everything], stdout=subprocess.PIPE, text=True, env=environ)


def test_of_two_fetches_at_once_one_works_and_the_other_is_refused_or_has_nothing_to_do(project, server, hosted):
    said = [process.communicate(timeout=60)[0].split()[0] for process in (fetching(), fetching(), fetching())]
    assert "done" in said
    assert set(said) <= {"done", "refused"}
    assert set(tree(project.data_dir / SLUG)) == {TRAIN, TEST, CAPTIONS, "fetch.json"}
    assert fetch(project, verify=True).notes == ["all 3 files are what was fetched"]
    assert len(server.asked("/storage/files/")) == 3, "every file came once"


@pytest.mark.slow
@pytest.mark.parametrize("everything", [False, True], ids=["files", "everything"])
def test_memory_does_not_grow_with_the_files(project, server, hosted, everything):
    """300 MB, twice what the process may take with Python and the client in it."""
    with open(hosted.files / TRAIN, "r+b") as file:
        file.truncate(300_000_000)
    word, peak_kb = fetching(everything=everything).communicate(timeout=120)[0].split()
    assert word == "done"
    assert int(peak_kb) < 150_000
    assert (project.data_dir / SLUG / TRAIN).stat().st_size == 300_000_000


@pytest.mark.skipif(not os.path.isdir("/sys"), reason="no folder here that nobody may write to, not even root")
def test_folder_that_may_only_be_read_is_told(project, server):
    project = Project(project.root, replace(project.settings, paths=replace(project.settings.paths, data="/sys")))
    with pytest.raises(UsageError, match="cannot finish fetching into"):
        fetch(project)
    assert server.requests == []


def test_file_in_place_of_the_folder_is_told(project, server):
    project.data_dir.write_text("I am a file")
    with pytest.raises(UsageError, match="cannot finish fetching into"):
        fetch(project)


def test_full_disk_is_told_and_the_part_stays(project, server):
    """A limit on the size of files stands for the full disk; the child reports what it met."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from pathlib import Path\nfrom faults import QUICK, SLUG\n"
        "from kaggle_kit.config import Project, Settings\nfrom kaggle_kit.workflow.fetch import fetch\n"
        "from kaggle_kit.errors import DiskFullError\n"
        "project = Project(Path.cwd(), Settings.from_dict({'competition': {'slug': SLUG}, 'service': QUICK}))\n"
        "try: fetch(project)\nexcept DiskFullError as error: print(error.exit_code, error.message)\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.stdout.startswith("75 disk full while writing"), done.stderr
    assert DiskFullError.exit_code == 75
    assert (project.data_dir / SLUG / (TRAIN + ".part")).stat().st_size == 100_000
    assert states(fetch(project))[TRAIN] == "downloaded"


def test_contradictory_arguments_are_refused(project):
    with pytest.raises(UsageError, match="all files and a list of files"):
        fetch(project, everything=True, files=["a"])


def test_secret_is_in_nothing_that_was_written(project, server, tmp_path):
    fetch(project, everything=True, keep_zip=True)
    for path in project.root.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
            assert b"signature=" not in path.read_bytes(), path


def test_damaged_archive_is_not_kept_to_fail_for_ever(project, server, hosted):
    damaged = server.competition.files.parent / "damaged.zip"
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr(TRAIN, b"train " * 100)
    damaged.write_bytes(damaged.read_bytes().replace(b"train train", b"treen train", 1))
    server.fault(
        "/storage/all.zip", lambda server, exchange, proceed: exchange.send_file(damaged, server._md5(damaged))
    )
    with pytest.raises(DataError, match="not a whole zip archive"):
        fetch(project, everything=True)
    assert not (project.data_dir / SLUG / f"{SLUG}.zip").exists()
    fetch(project, everything=True)
    assert (project.data_dir / SLUG / TRAIN).read_bytes() == (hosted.files / TRAIN).read_bytes()
