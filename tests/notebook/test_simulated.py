"""``kk`` in a simulated Kaggle notebook, with and without internet: what survives, what is scratch, when it ends."""

from __future__ import annotations

import csv
import json
import time

import pytest
from faults import SECRET

import kaggle_kit
from kaggle_kit.notebook import NotebookFolders
from kaggle_kit.settings import RemoteSettings
from kaggle_kit.workflow.session_clock import notebook_session


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_session_is_unknown_where_nothing_tells_when_it_began(monkeypatch, tmp_path):
    assert notebook_session(RemoteSettings()) is None
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    session = notebook_session(RemoteSettings(session_s=100.0), proc=tmp_path)
    assert (session.kind, session.running_s, session.left_s) == ("Interactive", None, None)


@pytest.mark.slow
def test_without_internet_everything_but_the_submitting_works(offline):
    looked = offline.kk("doctor", "--json")
    assert looked.code == 0, looked.out
    found = {one["check"]: one for one in looked.json["findings"]}
    assert found["data"]["facts"]["how"] == "mounted"
    assert found["credentials"]["status"] == "warning"
    assert 0 < found["session"]["facts"]["running_s"] < 300
    fetched = offline.kk("fetch", "--json")
    assert fetched.code == 0, fetched.err
    assert {file["state"] for file in fetched.json["files"]} == {"in place"}
    assert not (offline.working / "data").exists()
    trained = offline.kk("train", "--json")
    assert trained.code == 0, trained.err
    assert offline.kk("predict", "-o", "submission.csv").code == 0
    with open(offline.working / "submission.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 41
    run = offline.working / "models_archive" / trained.json["id"]
    assert len(list(run.rglob("model.safetensors"))) == 2
    refused = offline.kk("submit", "-m", "x")
    assert refused.code == 4
    assert "switch the notebook's internet on" in refused.err
    places = NotebookFolders(offline.root)
    assert {name.split("/")[0] for name in files(places.working)} <= {
        "kk.toml", "submission.csv", "models_archive", "submissions_archive",
    }  # fmt: skip
    assert {name.split("/")[0] for name in files(offline.root)} <= {"kaggle", "no-home", "tmp"}
    assert (offline.root / "no-home").read_bytes() == b""


@pytest.mark.slow
def test_with_internet_it_is_logged_in_by_its_own_token_and_leaves_the_archive(online):
    looked = online.kk("doctor", "--json")
    assert looked.code == 0, looked.out
    found = {one["check"]: one for one in looked.json["findings"]}
    assert found["credentials"]["facts"]["source"] == "the notebook's own token"
    assert found["competition"]["status"] == "good"
    assert online.kk("train").code == 0
    sent = online.kk("submit", "--json", "-m", "from a notebook")
    assert sent.code == 0, sent.err
    assert sent.json["state"] == "scored"
    kept = files(online.working / "submissions_archive")
    assert {name.rpartition("/")[2] for name in kept} >= {"record.json", "submission.csv"}
    assert SECRET not in looked.out + sent.out + sent.err


@pytest.mark.slow
def test_secret_of_the_notebook_logs_in_where_there_is_no_token(online, tmp_path):
    (tmp_path / "kaggle_secrets.py").write_text(
        "class UserSecretsClient:\n"
        f"    def get_secret(self, label):\n        return {{'KAGGLE_API_TOKEN': {SECRET!r}}}[label]\n"
    )
    del online.variables["KAGGLE_API_V1_TOKEN"]
    looked = online.kk("doctor", "--json", PYTHONPATH=str(tmp_path))
    assert looked.code == 0, looked.out
    (account,) = [one for one in looked.json["findings"] if one["check"] == "credentials"]
    assert account["facts"]["source"] == "the notebook's secret KAGGLE_API_TOKEN"


@pytest.mark.slow
def test_training_ends_before_the_session_does_and_goes_on_in_the_next(offline):
    long = ("--translator", "mlp", "--folds", "1", "--epochs", "1000000", "--set", "train.patience=none", "-q")
    started = time.monotonic()
    stopped = offline.kk("train", "--json", *long, KK_REMOTE_SESSION_S="30")
    assert stopped.code == 75, stopped.err
    assert "time budget" in stopped.json["error"]["message"]
    assert time.monotonic() - started < 60
    (run,) = [path.parent for path in (offline.working / "models_archive").glob("*/run.json")]
    assert list(run.rglob("state.safetensors"))
    record = json.loads((run / "run.json").read_text())
    assert record["state"] == "interrupted"


def test_user_whom_nobody_knows_and_who_has_no_home_is_no_error(monkeypatch, clean_world):
    def unknown(*_):
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    diagnosis = kaggle_kit.doctor(offline=True)
    assert [one.text for one in diagnosis.findings if one.status == "bad"] == []
    assert [one.status for one in diagnosis.of("credentials")] == ["warning"]
