"""``kk doctor``: what is wrong is named with its remedy, one failing check hides no other, no secret is shown."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults import SECRET
from played import *  # noqa: F403

import kaggle_kit


def findings(outcome, check):
    """The findings of one check in the command's JSON."""
    return [one for one in outcome.json["findings"] if one["check"] == check]


def statuses(outcome, check):
    return [one["status"] for one in findings(outcome, check)]


@pytest.fixture
def look(kk):
    """``kk doctor --json``, asking nobody."""
    return lambda *more: kk("doctor", "--json", "--offline", *more)


def test_everything_is_said_and_nothing_is_bad(faulty, tiny, kk):
    (tiny / "home").mkdir()
    outcome = kk("doctor", "--json")
    assert outcome.code == 0, outcome.out
    told = {one["check"] for one in outcome.json["findings"]}
    assert told >= {
        "settings", "python", "packages", "cpu", "memory", "device cpu", "precision", "disk: project", "disk: cache",
        "notebook", "data", "credentials", "competition", "archive",
    }  # fmt: skip
    (account,) = findings(outcome, "credentials")
    assert account["facts"]["source"] == "KAGGLE_API_TOKEN"
    assert "accepted by the server at 127.0.0.1" in account["text"]
    (works,) = findings(outcome, "device cpu")
    assert works["text"] == "computes, result checked"
    assert [one["facts"]["how"] for one in findings(outcome, "data")] == ["found", "found"]
    assert SECRET not in outcome.out + outcome.err
    people = kk("doctor")
    assert "nothing is bad" in people.out
    assert SECRET not in people.out + people.err


def test_project_without_anything_is_told_what_to_do_first(look):
    outcome = look()
    assert outcome.code == 0
    assert outcome.json["status"] == "warning"
    assert ["kk fetch" in one["remedy"] for one in findings(outcome, "data")] == [True, True]
    assert "access_token" in findings(outcome, "credentials")[0]["remedy"]


def test_no_credentials_are_bad_when_they_are_to_be_used(kk):
    outcome = kk("doctor", "--json")
    assert outcome.code == 4
    assert statuses(outcome, "credentials") == ["bad"]


def test_wrong_settings_are_one_finding_among_the_others(look, write):
    write("kk.toml", "[folds]\ncuont = 3\n")
    outcome = look()
    assert outcome.code == 2
    assert "did you mean folds.count" in findings(outcome, "settings")[0]["text"].replace("`", "")
    assert statuses(outcome, "device cpu") == ["good"]


def test_check_that_breaks_hides_none_of_the_others(look, monkeypatch):
    monkeypatch.setattr("torch.arange", lambda *_: 1 / 0)
    outcome = look()
    assert outcome.code == 1
    (broken,) = [one for one in outcome.json["findings"] if one["status"] == "bad"]
    assert (broken["check"], broken["text"]) == (
        "devices",
        "could not be looked at: ZeroDivisionError: division by zero",
    )
    assert statuses(outcome, "precision") == ["good"]


def test_device_that_computes_wrongly_is_bad(look, monkeypatch):
    monkeypatch.setattr("torch.equal", lambda *_: False)
    outcome = look()
    assert outcome.code == 7
    assert "came out wrong" in findings(outcome, "device cpu")[0]["text"]


@pytest.fixture
def two_t4s(monkeypatch):
    """Make torch believe in two T4s, which compute on the CPU; returns a way to break them."""
    import torch

    card = SimpleNamespace(name="Tesla T4", major=7, minor=5)
    answers = {
        "is_available": True, "device_count": 2, "get_device_properties": card, "mem_get_info": (15 * 10**9, 16 * 10**9),
        "get_device_capability": (7, 5), "get_device_name": "Tesla T4",
    }  # fmt: skip
    for name, value in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    real = torch.Tensor.to
    broken: list[str] = []

    def to(tensor, *where):
        if where[0] in broken:
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")
        return tensor if str(where[0]).startswith("cuda") else real(tensor, *where)

    monkeypatch.setattr(torch.Tensor, "to", to)
    return broken


def test_each_gpu_is_told_with_what_it_can_do(look, two_t4s):
    outcome = look()
    assert outcome.code == 0, outcome.out
    for device in ("device cuda:0", "device cuda:1"):
        (finding,) = findings(outcome, device)
        assert finding["text"] == "Tesla T4, capability 7.5, 15.0 GB of 16.0 GB free: computes, result checked"
    (precision,) = findings(outcome, "precision")
    assert precision["text"].startswith("fp16 on cuda: capability 7.5 is below 8.0")
    asked = findings(look("--set", "train.precision=bf16"), "precision")[0]
    assert (asked["status"], "emulated" in asked["text"]) == ("warning", True)


def test_gpu_that_torch_has_no_code_for_is_bad_and_hides_not_the_other(look, two_t4s):
    two_t4s.append("cuda:1")
    outcome = look()
    assert outcome.code == 2
    assert [statuses(outcome, f"device cuda:{index}") for index in (0, 1)] == [["good"], ["bad"]]
    assert "no kernel image is available" in findings(outcome, "device cuda:1")[0]["text"]


def test_precision_that_is_only_emulated_is_a_warning(look):
    (finding,) = findings(look("--set", "train.precision=fp16"), "precision")
    assert finding["status"] == "warning"
    assert "emulated" in finding["text"]


def package(folder: Path, name: str, version: str, *requires: str) -> None:
    """The metadata of an installed package."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    rows = "".join(f"Requires-Dist: {row}\n" for row in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{rows}")


def test_package_that_does_not_fit_is_named_with_what_asks_for_it(look, tmp_path, monkeypatch):
    site = tmp_path / "site"
    package(
        site,
        "kaggle_kit",
        "0.1.0",
        "numpy>=1.24",
        "click>=8.1",
        "nowhere-to-be-had>=2",
        'matplotlib>=99; extra == "plots"',
    )
    package(site, "click", "7.0", "colourful>=1")
    package(site, "numpy", "1.26.4")
    package(site, "matplotlib", "3.5.0")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    outcome = look()
    assert outcome.code == 2
    told = {one["text"]: one["status"] for one in findings(outcome, "packages")}
    assert told == {
        "click 7.0 is installed, and kaggle_kit requires click>=8.1": "bad",
        "nowhere-to-be-had is missing: kaggle_kit requires nowhere-to-be-had>=2": "bad",
        "colourful is missing: click requires colourful>=1": "warning",
        "matplotlib 3.5.0 is installed, and the extra plots requires matplotlib>=99": "warning",
    }
    assert findings(outcome, "packages")[0]["remedy"] == "pip install 'click>=8.1'"


def test_file_of_credentials_that_others_can_read_is_named_with_the_command(look, clean_world):
    file = Path(os.environ["HOME"]) / ".kaggle" / "access_token"
    file.parent.mkdir()
    file.write_text(SECRET)
    file.chmod(0o644)
    outcome = look()
    open_file, used = findings(outcome, "credentials")
    assert (open_file["status"], open_file["remedy"]) == ("warning", f"chmod 600 {file}")
    assert used["text"] == "token from ~/.kaggle/access_token; not tried (--offline)"
    assert SECRET not in outcome.out + outcome.err


def test_credentials_that_are_refused_are_bad(faulty, tiny, kk, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_stale")
    outcome = kk("doctor", "--json")
    assert outcome.code == 4
    assert statuses(outcome, "credentials") == ["bad"]
    assert "KGAT_stale" not in outcome.out + outcome.err


def test_stale_source_is_named_beside_the_one_that_is_accepted(faulty, tiny, kk, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_stale")
    file = Path(os.environ["HOME"]) / ".kaggle" / "access_token"
    file.parent.mkdir()
    file.write_text(SECRET)
    file.chmod(0o600)
    outcome = kk("doctor", "--json")
    assert outcome.code == 0, outcome.out
    stale, used = findings(outcome, "credentials")
    assert "refused the credentials from KAGGLE_API_TOKEN" in stale["text"]
    assert used["facts"]["source"] == "~/.kaggle/access_token"


def test_server_that_cannot_be_reached_is_bad_and_soon_said(tiny, kk, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    outcome = kk("doctor", "--json")
    assert outcome.code == 6
    assert statuses(outcome, "archive")[0] == "good"


def test_data_that_is_none_is_bad(look, tiny):
    train = next((tiny / "data").rglob("train.npz"))
    train.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    outcome = look()
    assert outcome.code == 3
    assert sorted(statuses(outcome, "data")) == ["bad", "good"]
    assert any("Git LFS" in one["text"] for one in findings(outcome, "data"))


def test_data_of_another_competition_is_told_by_its_arrays(look, tiny):
    (tiny / "kk.toml").write_text((tiny / "kk.toml").read_text() + '[competition.train_keys]\nlabel = "which"\n')
    outcome = look()
    assert outcome.code == 3
    assert any("has no which" in one["text"] for one in findings(outcome, "data"))


def test_archive_tells_what_cannot_be_read_what_was_stopped_and_what_is_left_over(look, tiny):
    archive = tiny / "models_archive"
    (run,) = [path.parent for path in archive.glob("*/run.json")]
    record = json.loads((run / "run.json").read_text())
    stopped = archive / "20261101-000000-stopped-aaaaaa"
    stopped.mkdir()
    (stopped / "run.json").write_text(json.dumps({**record, "id": stopped.name, "state": "interrupted"}))
    (archive / "20261101-000000-torn-bbbbbb").mkdir()
    (archive / "20261101-000000-torn-bbbbbb" / "run.json").write_text("{")
    (run / ".model.safetensors.99999999.abcdef12.tmp").write_bytes(b"x" * 100)
    outcome = look()
    assert outcome.code == 3
    told = [(one["status"], one["text"], one["remedy"]) for one in findings(outcome, "archive")]
    assert any(status == "bad" and "torn-bbbbbb/run.json cannot be read" in text for status, text, _ in told)
    assert any(f"run {stopped.name} was stopped" in text and "--resume" in remedy for _, text, remedy in told)
    assert any("left over from killed commands" in text and "1 in all, 100 B" in text for _, text, _ in told)


def test_archive_names_a_checkpoint_that_changed(look, tiny):
    weights = next((tiny / "models_archive").rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    outcome = look()
    assert outcome.code == 3
    assert any("no longer what its record says" in one["text"] for one in findings(outcome, "archive"))


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who holds a lock")
def test_lock_that_is_held_is_told_with_its_holder_and_not_disturbed(look, tiny):
    lock = next((tiny / "models_archive").glob("*/run.json")).with_name(".lock")
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        outcome = look()
    assert any(f"held by process {os.getpid()}" in one["text"] for one in findings(outcome, "archive"))


def test_folder_that_cannot_be_written_to_is_bad(look, write):
    write("models_archive", "a file")
    outcome = look()
    assert outcome.code == 2
    (finding,) = findings(outcome, "disk: project")
    assert "cannot be written to" in finding["text"]


def test_simulated_notebook_is_told_with_its_folders(look, tmp_path, monkeypatch):
    monkeypatch.setenv("KK_NOTEBOOK_ROOT", str(tmp_path / "root"))
    (tmp_path / "root" / "kaggle" / "working").mkdir(parents=True)
    outcome = look()
    assert outcome.code == 8  # neither data nor a way to get it
    assert "lost with the session" in findings(outcome, "notebook")[0]["text"]
    assert "unknown" in findings(outcome, "session")[0]["text"]
    assert "Add Input" in findings(outcome, "data")[0]["remedy"]
    monkeypatch.chdir(tmp_path / "root" / "kaggle" / "working")
    assert statuses(look(), "notebook") == ["good"]


def test_notebook_shows_a_table(clean_world):
    page = kaggle_kit.doctor(kaggle_kit.load_project(check_choices=False), offline=True)._repr_html_()
    assert page.startswith("<table>")
    assert ">good</td>" in page
