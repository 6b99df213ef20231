"""Records: made, found, changed, never half, never lost."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kaggle_kit.archive import Migrations, RecordChanged, RecordStore, RunStore, SubmissionStore, new_id
from kaggle_kit.archive.fields import Field
from kaggle_kit.archive.runs import RUN_FIELDS
from kaggle_kit.errors import DataError, DuplicateError, InterruptedWork, MissingError, UsageError
from kaggle_kit.version import VERSION

RUN = {"competition": "aml-competition", "translator": "ridge", "config": {"folds": {"count": 5}}}


def make_run(runs: RunStore, name: str = "ridge", **fields: Any) -> str:
    return runs.create(runs.reserve(name, "ab12" * 16), {**RUN, "name": name, **fields}).id


def test_new_id_is_date_name_and_hash() -> None:
    moment = datetime(2026, 11, 23, 14, 15, 3, tzinfo=UTC)
    assert new_id("residual_mlp", moment, "1a2b3c4d5e") == "20261123-141503-residual_mlp-1a2b3c"
    assert new_id("../my run: é", moment, "1a2b3c4d5e") == "20261123-141503-my_run-1a2b3c"
    assert new_id("///", moment, "1a2b3c4d5e") == "20261123-141503-unnamed-1a2b3c"
    assert len(new_id("x" * 500, moment, "1a2b3c4d5e")) < 70


def test_created_record_is_read_back_with_defaults_and_head(runs: RunStore) -> None:
    record = runs.read(make_run(runs))
    assert record["translator"] == "ridge"
    assert record["checkpoints"] == []
    assert (record["schema"], record.revision, record.state, record["rehearsal"]) == (1, 1, "running", False)
    assert (record["written_by"], record.created) == (VERSION, "2026-11-23T14:15:02.000Z")
    assert json.loads((record.folder / "run.json").read_bytes()) == record.to_dict()


def test_unknown_fields_are_kept(runs: RunStore) -> None:
    run_id = make_run(runs, later="something")
    assert runs.update(run_id, state="done")["later"] == "something"


def test_defaults_are_not_shared_between_records(runs: RunStore) -> None:
    first = runs.read(make_run(runs))
    first["checkpoints"].append("x")
    assert runs.read(make_run(runs))["checkpoints"] == []


def test_wrong_fields_are_refused_all_at_once(runs: RunStore) -> None:
    with pytest.raises(DataError, match=r"competition is missing; rehearsal cannot be 'no' .*; seconds cannot be True"):
        runs.create("x", {"rehearsal": "no", "seconds": True})
    assert runs.list() == []


def test_second_record_of_an_id_is_refused(runs: RunStore) -> None:
    run_id = make_run(runs)
    with pytest.raises(DuplicateError, match=f"there is a run {run_id} already"):
        runs.create(run_id, RUN)


def test_ids_reserved_in_the_same_second_differ(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    runs = RunStore(tmp_path / "models", clock=lambda: moment)
    ids = {runs.reserve("same", "ab12" * 16) for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "/etc", "a/b"])
def test_id_that_is_no_plain_name_is_refused(runs: RunStore, name: str) -> None:
    with pytest.raises((UsageError, MissingError), match=r"cannot be the id of a run|no run"):
        runs.create(name, RUN)
    with pytest.raises((UsageError, MissingError), match=r"no run|cannot be the id"):
        runs.load(name)


def test_record_is_found_by_id_beginning_hash_and_as_the_newest(runs: RunStore) -> None:
    first = make_run(runs, "ridge")
    second = runs.create(runs.reserve("mlp", "ff00aa" * 10), {**RUN}).id
    assert runs.load(first).id == first
    assert runs.load(second[:-3]).id == second
    assert runs.load("ff00").id == second
    assert runs.load().id == runs.load("newest").id == second
    assert runs.load(where=lambda run: run["name"] == "ridge").id == first


def test_ambiguous_and_unknown_names_are_told_apart(runs: RunStore) -> None:
    first, second = make_run(runs, "ridge"), make_run(runs, "residual")
    with pytest.raises(UsageError, match=f"'20261123' could be 2 runs: {second}, {first}"):
        runs.load("20261123")
    with pytest.raises(MissingError, match=f"no run '{first[:-1]}x'; did you mean {first}") as caught:
        runs.load(first[:-1] + "x")
    assert caught.value.hint == "kk runs list shows them"
    with pytest.raises(MissingError, match=f"no run 'resid'; did you mean {second}"):
        runs.load("resid")


def test_empty_archive_says_how_to_fill_it(runs: RunStore, submissions: SubmissionStore) -> None:
    assert runs.list() == []
    with pytest.raises(MissingError, match="there is no run yet") as caught:
        runs.load()
    assert caught.value.hint == "kk train makes one"
    with pytest.raises(MissingError, match="there is no submission yet"):
        submissions.load()


def test_list_is_newest_first(runs: RunStore) -> None:
    made = [make_run(runs, f"run{i}") for i in range(5)]
    assert [record.id for record in runs.list()] == made[::-1]
    assert [record.id for record in runs.list(where=lambda run: run["name"] > "run2")] == [made[4], made[3]]


def test_update_of_a_stale_record_is_refused_and_changes_nothing(runs: RunStore) -> None:
    stale = runs.read(make_run(runs))
    runs.update(stale.id, seconds=1.5)
    with pytest.raises(RecordChanged, match="was changed by another process meanwhile"):
        runs.update(stale, state="done")
    assert runs.read(stale.id).state == "running"
    fresh = runs.update(runs.read(stale.id), {"state": "done"})
    assert (fresh.revision, fresh["seconds"]) == (3, 1.5)


def test_update_waits_for_the_lock_and_then_gives_up(runs: RunStore, tmp_path: Path) -> None:
    run_id = make_run(runs)
    impatient = RunStore(runs.folder, lock_timeout_s=0.05)
    with (
        runs.locked(run_id),
        pytest.raises(InterruptedWork, match=r"another process has been writing run .* for 0.05 s"),
    ):
        impatient.update(run_id, state="done")
    impatient.update(run_id, state="done")


def test_parallel_updates_lose_nothing(runs: RunStore) -> None:
    run_id = make_run(runs)

    def add(number: int) -> None:
        for _ in range(10):
            while True:
                record = runs.read(run_id)
                try:
                    runs.update(record, left_out=[*record["left_out"], number])
                except RecordChanged:
                    continue
                break

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(runs.read(run_id)["left_out"]) == sorted([0, 1, 2, 3] * 10)


def test_broken_records_are_reported_and_left_alone(runs: RunStore) -> None:
    good = make_run(runs)
    broken = {
        "half": b'{"schema": 1, "id": "half", "comp',
        "empty": b"",
        "list": b"[]",
        "no_schema": b"{}",
        "wrong_type": b'{"schema": 1, "id": "wrong_type", "competition": 5, "created": "x"}',
        "moved": (runs.folder_of(good) / "run.json").read_bytes(),
    }
    for name, content in broken.items():
        (runs.folder / name).mkdir()
        (runs.folder / name / "run.json").write_bytes(content)
    (runs.folder / "no_record").mkdir()
    (runs.folder / "README.md").write_text("not a record")
    for listing in (runs.scan(), runs.scan(), runs.reindex()):
        assert [record.id for record in listing.records] == [good]
        assert [one.id for one in listing.broken] == sorted(broken)
        words = {one.id: one.message for one in listing.broken}
        assert "not valid JSON" in words["half"]
        assert f"the record is of '{good}' but lies in the folder 'moved'" in words["moved"]
        assert "no valid schema number" in words["no_schema"]
    for name, content in broken.items():
        assert (runs.folder / name / "run.json").read_bytes() == content
    with pytest.raises(DataError, match=r"half.run\.json.* is not valid JSON"):
        runs.load("half")


def test_newer_schema_is_refused_with_the_version_needed(runs: RunStore) -> None:
    run_id = make_run(runs)
    path = runs.folder_of(run_id) / "run.json"
    newer = json.loads(path.read_bytes()) | {"schema": 9, "written_by": "7.1.0"}
    path.write_text(json.dumps(newer))
    with pytest.raises(
        DataError, match=rf"schema 9, written by kaggle_kit 7\.1\.0; this is kaggle_kit {VERSION}"
    ) as caught:
        runs.load(run_id)
    assert caught.value.hint == "pip install --upgrade 'kaggle_kit>=7.1.0'"
    with pytest.raises(DataError, match="schema 9"):
        runs.update(run_id, state="done")
    assert [one.id for one in runs.scan().broken] == [run_id]
    assert json.loads(path.read_bytes()) == newer


def test_old_records_go_through_every_step_and_are_written_in_the_new_schema(tmp_path: Path) -> None:
    migrations = Migrations("note")

    @migrations.step(1)
    def name_the_author(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "author": record.pop("by")}

    @migrations.step(2)
    def count_words(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "words": len(record["text"].split())}

    class NoteStore(RecordStore):
        pass

    NoteStore.migrations = migrations
    notes = NoteStore(tmp_path / "notes")
    (tmp_path / "notes" / "a").mkdir(parents=True)
    old = {"schema": 1, "id": "a", "created": "x", "state": "s", "by": "me", "text": "two words"}
    (tmp_path / "notes" / "a" / "record.json").write_text(json.dumps(old))
    record = notes.load("a")
    assert (record["author"], record["words"], record["schema"]) == ("me", 2, 3)
    assert json.loads((record.folder / "record.json").read_bytes()) == old
    assert notes.list()[0]["words"] == 2
    notes.update(record, text="now three words")
    assert json.loads((record.folder / "record.json").read_bytes())["schema"] == 3
    with pytest.raises(ValueError, match="starts from schema 3, not 2"):
        migrations.step(2)


def test_index_follows_every_change_of_the_files(runs: RunStore) -> None:
    run_id = make_run(runs)
    assert runs.list()[0].state == "running"
    path = runs.folder_of(run_id) / "run.json"
    for state in ("failed", "killed", "paused"):  # same size each, written within the clock's tick
        path.write_bytes(path.read_bytes().replace(runs.list()[0].state.encode(), state.encode()))
        assert runs.list()[0].state == state
    path.unlink()
    assert runs.list() == []


def test_old_files_are_served_from_the_index(runs: RunStore) -> None:
    run_id = make_run(runs)
    path = runs.folder_of(run_id) / "run.json"
    os.utime(path, (1_000_000_000, 1_000_000_000))
    runs.list()
    before = path.stat()
    content = path.read_bytes().replace(b"running", b"stopped")
    with open(path, "r+b") as file:  # the same inode, size and time: only the index can still know the old content
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert runs.list()[0].state == "running"
    assert runs.reindex().records[0].state == "stopped"


@pytest.mark.parametrize("damage", ["garbage", "middle", "empty", "other table", "folder"])
def test_damaged_index_is_made_anew(runs: RunStore, damage: str) -> None:
    made = {make_run(runs, f"run{i}") for i in range(30)}
    for run_id in made:
        os.utime(runs.folder_of(run_id) / "run.json", (1_000_000_000, 1_000_000_000))
    runs.list()
    path = runs.folder / "index.sqlite"
    assert path.exists()
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    if damage == "garbage":
        path.write_bytes(os.urandom(5000))
    elif damage == "middle":
        content = bytearray(path.read_bytes())
        content[4096:] = os.urandom(len(content) - 4096)
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other table":
        path.unlink()
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(path)) as database:
            database.executescript("CREATE TABLE records (x); PRAGMA user_version = 1;")
    else:
        path.unlink()
        path.mkdir()
    for _ in range(3):
        assert {record.id for record in runs.list()} == made
    if damage != "folder":
        assert path.read_bytes()[:15] == b"SQLite format 3"


def test_archive_that_cannot_be_written_is_still_listed(runs: RunStore) -> None:
    run_id = make_run(runs)
    runs.list()
    runs.index.drop()
    runs.index.path = Path("/proc/no/such/place/index.sqlite")
    assert [record.id for record in runs.list()] == [run_id]


def test_records_have_no_group_write_and_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        runs = RunStore(tmp_path / "models")
        run_id = make_run(runs)
        runs.list()
    finally:
        os.umask(before)
    for path in [runs.folder, *runs.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0, path
    assert stat.S_IMODE((runs.folder_of(run_id) / "run.json").stat().st_mode) == 0o640


WRITER = """
import sys
from pathlib import Path
from kaggle_kit.archive import RunStore
runs = RunStore(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1_000_000):
    runs.update(sys.argv[2], config={"filler": "x" * 200_000, "number": number}, seconds=float(number))
"""


@pytest.mark.slow
def test_killed_writer_leaves_a_whole_record(runs: RunStore) -> None:
    run_id = make_run(runs)
    last = -1.0
    for _ in range(10):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(runs.folder), run_id], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        before = runs.read(run_id).revision
        while runs.read(run_id).revision < before + 3:  # it is writing now
            pass
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        record = runs.read(run_id)
        assert record["config"]["number"] == record["seconds"]
        assert record.revision > last
        last = record.revision
        runs.update(run_id, state="interrupted")  # the dead writer's lock is free
        assert runs.scan().broken == []


WORKER = """
import sys
from pathlib import Path
from kaggle_kit.archive import RunStore
runs = RunStore(Path(sys.argv[1]))
for number in range(25):
    run = runs.create(runs.reserve(f"w{sys.argv[2]}", "ab" * 20), {"competition": "c"})
    runs.update(run, state="done")
    listing = runs.scan()
    assert not listing.broken, listing.broken
    assert run.id in {record.id for record in listing.records}
    if number % 10 == 5:
        runs.reindex()
    while True:
        shared = runs.read("shared")
        try:
            runs.update(shared, seconds=shared["seconds"] + 1)
        except Exception as error:
            assert type(error).__name__ == "RecordChanged", error
        else:
            break
"""


@pytest.mark.slow
def test_many_processes_share_records_and_index(runs: RunStore) -> None:
    runs.create("shared", {"competition": "c", "seconds": 0})
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(runs.folder), str(i)], stderr=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    failures = [worker.communicate()[1] for worker in workers]
    assert failures == [""] * 4
    listing = runs.scan()
    assert (len(listing.records), listing.broken) == (101, [])
    assert runs.read("shared")["seconds"] == 100
    assert all(record.state == "done" for record in listing.records if record.id != "shared")


@pytest.mark.slow
def test_five_thousand_records_are_listed_at_once(runs: RunStore) -> None:
    content = runs.read(make_run(runs)).to_dict()
    for number in range(5000):
        folder = runs.folder / f"20251123-{number:06}-old-abcdef"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(content | {"id": folder.name}))
        os.utime(folder / "run.json", (1_600_000_000, 1_600_000_000))
    assert len(runs.list()) == 5001
    code = (
        "import sys, resource; from pathlib import Path; from kaggle_kit.archive import RunStore\n"
        "assert len(RunStore(Path(sys.argv[1])).list()) == 5001\n"
        "usage = resource.getrusage(resource.RUSAGE_SELF); print(usage.ru_utime + usage.ru_stime)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(runs.folder)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.5  # processor seconds: what else the machine does must not decide


def test_score_is_read_alike_from_a_run_and_from_a_submission(runs: RunStore, submissions: SubmissionStore) -> None:
    run = runs.create("one", {**RUN, "cv": {"mrr": 0.7, "error": 0.01}})
    sent = submissions.create("one", {"competition": "aml-competition", "cv": 0.7, "cv_error": 0.01})
    assert (run.cv, run.cv_error) == (sent.cv, sent.cv_error) == (0.7, 0.01)
    assert (runs.create("two", RUN).cv, runs.create("three", {**RUN, "cv": {}}).cv_error) == (None, None)


@pytest.mark.parametrize(
    ("field", "value"), [("translator", {"name": "mlp"}), ("loss", {"name": "mse"}), ("seeds", [1, 2]), ("cv", 0.7)]
)
def test_record_of_another_shape_is_reported_whatever_the_index_remembers(
    runs: RunStore, field: str, value: object
) -> None:
    class Lenient(RunStore):
        fields: ClassVar = {**RUN_FIELDS, field: Field(object, "anything")}

    record = Lenient(runs.folder).create("one", {**RUN, field: value})
    # of an index that was made long after the record
    os.utime(record.folder / "run.json", (0, 0))
    assert Lenient(runs.folder).overview().records[0].id == "one"
    for listing in (runs.overview(), runs.scan()):
        assert not listing.records
        assert f"{field} cannot be" in listing.broken[0].message
