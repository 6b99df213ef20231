"""The loop by commands: train, predict, validate, submit to a server on this machine, look at what came of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.embeddings import generate_competition
from kaggle_kit.rehearsal.hosted import HostedCompetition
from kaggle_kit.rehearsal.server import RehearsalServer

TEST = 40


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """The files of a tiny competition, and its answers."""
    folder = tmp_path_factory.mktemp("competition")
    answers = generate_competition(folder, captions=120, images=40, text_dim=8, image_dim=12, test=TEST)
    return folder, answers


@pytest.fixture
def project(made_up, clean_world, write) -> Path:
    """A project with the data in place, and settings that make training quick."""
    shutil.copytree(made_up[0], clean_world / "data")
    write(
        "kk.toml",
        '[competition]\nslug = "tiny"\ngallery_size = 20\n[folds]\ncount = 2\n[submit]\npoll_first_s = 0.05\n',
    )
    return clean_world


@pytest.fixture
def server(made_up, tmp_path, monkeypatch) -> Iterator[RehearsalServer]:
    """A server for the competition, in force by environment variables."""
    hosted = HostedCompetition(
        slug="tiny", title="Tiny", files=made_up[0], ids=np.arange(1, TEST + 1), answers=made_up[1], gallery_size=20
    )
    with RehearsalServer(hosted, folder=tmp_path / "server") as running:
        for name, value in running.environ().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def trained(project, kk):
    """The project with one run."""
    assert kk("train", "--translator", "ridge", "--name", "first", "--quiet").code == 0
    return project


def test_training_shows_the_run_on_stdout_and_its_course_on_stderr(project, kk):
    outcome = kk(
        "train", "--translator", "mlp", "--epochs", "2", "--set", "translator.hidden=4", "--set", "train.patience=none"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Run 20")
    assert "MRR in galleries of 20, out of fold, 40 images" in outcome.out
    assert "fold 1/2: MRR" in outcome.err
    assert "epochs" not in outcome.err  # a file is no display


def test_epochs_asked_of_a_closed_form_change_nothing_and_are_told_of(project, kk):
    outcome = kk("train", "--translator", "ridge", "--epochs", "2")
    assert outcome.code == 0, outcome.err
    assert "ridge is solved in closed form, there are no epochs: --epochs changes nothing" in outcome.err


def test_training_ends_within_its_time_budget_and_goes_on(project, kk):
    network = ("--translator", "mlp", "--epochs", "3", "--set", "translator.hidden=4", "--set", "train.patience=none")
    whole = kk("train", *network, "-q", "--json").json
    outcome = kk("train", *network, "--time-budget", "0.001s", "--json")
    assert outcome.code == 75, outcome.err
    error = outcome.json["error"]
    assert error["message"].startswith("stopped at the start of fold-0-seed-0, ")
    assert "into the time budget of 0s" in error["message"]
    newest = kk("runs", "list", "--json").json[0]
    assert (newest["state"], error["hint"]) == ("interrupted", f"kk train --resume {newest['id']}")
    again = kk("train", "--resume", newest["id"], "--time-budget", "0.002")
    assert again.code == 75, "a resumed run gets a new budget"
    resumed = kk("train", "--resume", newest["id"], "--time-budget", "1h", "-q", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["record"]["cv"] == whole["record"]["cv"]


def test_a_budget_that_is_no_duration_is_a_usage_error(project, kk):
    outcome = kk("train", "--time-budget", "soon")
    assert outcome.code == 2
    assert "--time-budget: must be a duration such as 90s, 45m, 11h30m or a number of seconds or none" in outcome.err


def test_quiet_training_says_the_result_only(project, kk):
    outcome = kk("train", "--translator", "ridge", "-q")
    assert outcome.err == ""
    assert "ridge" in outcome.out


def test_training_as_json_is_one_document(project, kk):
    outcome = kk("train", "--translator", "ridge", "--json")
    document = outcome.json
    assert document["record"]["state"] == "done"
    assert document["record"]["origins"]["translator.name"] == "--translator"
    assert Path(document["folder"]).is_dir()
    assert "fold 1/2" in outcome.err


def test_prediction_is_a_valid_file(trained, kk):
    outcome = kk("predict", "-o", "out/best.csv")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("out/best.csv: 40 rows of 12 numbers")
    assert (trained / "out" / "best.csv").read_text().startswith("id,embedding\n")
    validated = kk("validate", "out/best.csv")
    assert (validated.code, validated.out.split(",")[0]) == (0, "out/best.csv: valid")


def test_invalid_file_is_3_and_its_problems_are_named(trained, kk):
    kk("predict")
    lines = Path("submission.csv").read_text().splitlines()
    Path("bad.csv").write_text("\n".join([*lines[:5], lines[6].replace("[", "[nan, "), *lines[7:]]) + "\n")
    outcome = kk("validate", "bad.csv")
    assert outcome.code == 3
    assert "bad.csv: invalid" in outcome.out
    assert "error" in outcome.out
    assert outcome.err.startswith("Error: ")
    as_json = kk("validate", "bad.csv", "--json")
    assert as_json.code == 3
    assert as_json.json["error_count"] >= 2
    assert as_json.err.startswith("Error: ")


def test_runs_are_found_by_the_beginning_of_their_id(trained, kk):
    (row,) = kk("runs", "list", "--json").json
    assert kk("runs", "show", row["id"][:15]).out.startswith(f"Run {row['id']}")
    assert row["id"] in kk("runs", "list").out
    missing = kk("runs", "show", "20200101")
    assert (missing.code, missing.out) == (8, "")


def test_ensemble_is_filed_like_a_run(trained, kk):
    assert kk("train", "--translator", "procrustes", "-q").code == 0
    ids = [row["id"] for row in kk("runs", "list", "--json").json]
    outcome = kk("ensemble", *ids, "--weights", "0.75,0.25", "--name", "both", "--json")
    assert outcome.code == 0, outcome.err
    assert [member["weight"] for member in outcome.json["record"]["members"]] == [0.75, 0.25]
    twice = kk("ensemble", ids[0], ids[0])
    assert (twice.code, twice.out) == (5, "")


def test_submission_is_scored_and_shown_in_the_history(trained, server, kk):
    outcome = kk("submit", "--message", "first try")
    assert outcome.code == 0, outcome.err
    assert "Submission 20" in outcome.out
    assert "public score" in outcome.out
    assert outcome.err.count("Using the server at http://127.0.0.1") == 1
    assert server.token not in outcome.out + outcome.err
    history = kk("leaderboard", "--json").json
    assert [row["message"] for row in history] == ["first try"]
    assert {
        "id",
        "message",
        "translator",
        "folds",
        "cv",
        "cv_error",
        "public_score",
        "private_score",
        "status",
        "ref",
    } <= set(history[0])
    assert history[0]["status"] == "scored"
    assert "first try" in kk("leaderboard").out
    assert kk("leaderboard", "--csv").out.splitlines()[0].startswith("id,created,message")
    assert kk("leaderboard", "--rehearsals", "--json").json == []
    assert "first try" in kk("submissions", "show").out


def test_second_submission_of_the_same_vectors_is_5(trained, server, kk):
    assert kk("submit", "-m", "once", "-q").code == 0
    again = kk("submit", "-m", "twice", "--json")
    assert again.code == 5
    assert again.json["error"]["kind"] == "duplicate"
    assert kk("submit", "-m", "twice", "--force", "-q").code == 0


def test_dry_run_sends_nothing(trained, server, kk):
    outcome = kk("submit", "-m", "dry", "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["ref"] is None
    assert kk("sync", "--json").json["adopted"] == []


def test_public_leaderboard_marks_the_own_team(trained, server, kk):
    kk("submit", "-m", "x", "-q")
    rows = kk("leaderboard", "--public", "--json").json
    assert [row["own"] for row in rows].count(True) == 1
    assert "> your team" in kk("leaderboard", "--public").out


def test_sync_says_what_changed(trained, server, kk):
    assert kk("submit", "-m", "x", "-q", "--no-wait").code == 0
    outcome = kk("sync")
    assert outcome.code == 0
    assert "brought up to date" in outcome.out or "up to date" in outcome.out
    assert kk("leaderboard", "--sync", "--json").json[0]["status"] == "scored"


def test_fetch_downloads_then_has_nothing_to_do(clean_world, write, server, kk):
    write("kk.toml", 'competition = "tiny"\n')
    first = kk("fetch")
    assert first.code == 0, first.err
    assert "downloaded" in first.out
    second = kk("fetch", "--json")
    assert second.json["nothing_to_do"] is True
    assert kk("fetch", "--verify").code == 0


def test_no_credentials_is_4_and_says_where_they_go(trained, kk):
    outcome = kk("submit", "-m", "x", "--json")
    assert outcome.code == 4
    assert outcome.json["error"]["kind"] == "credentials"
    assert "Hint: " in outcome.err


def test_unreachable_service_is_6(trained, kk, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_0123456789abcdef")
    outcome = kk("sync", "--set", "service.endpoint=http://127.0.0.1:9", "--set", "service.attempts=1")
    assert outcome.code == 6
    assert "Using the server at http://127.0.0.1:9 (--set)" in outcome.err
    assert "KGAT_0123456789abcdef" not in outcome.err


def test_plain_http_to_another_machine_is_a_usage_error(trained, kk, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_0123456789abcdef")
    assert kk("sync", "--set", "service.endpoint=http://example.org").code == 2


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_stopped_training_can_be_resumed(project, kk, number, code):
    arguments = [
        "train",
        "--translator",
        "mlp",
        "--folds",
        "2",
        "--set",
        "translator.hidden=4",
        "--set",
        "train.patience=none",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "kaggle_kit", *arguments, "--epochs", "4000", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if "training on" in line:
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert json.loads(out)["error"]["code"] == code
    assert "Traceback" not in err
    (row,) = kk("runs", "list", "--json").json
    assert row["state"] == "interrupted"


@pytest.mark.slow
def test_demo_plays_the_whole_loop(installed):
    outcome = installed("demo", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert [row["status"] for row in outcome.json["history"]] == ["scored"] * 3
    assert set(os.listdir()) == {"demo"}
    Path("demo/notes.md").write_text("mine")
    with Path("demo/kk.toml").open("a") as file:
        file.write("# mine, too")
    outcome = installed("demo")
    assert outcome.code == 2
    assert "demo holds what its demo did not write: notes.md, kk.toml" in outcome.err
    assert "--force replaces this one" in outcome.err
    assert Path("demo/notes.md").read_text() == "mine"


def test_demo_keeps_what_nobody_knows_to_be_its_own(clean_world, kk):
    Path("demo/models_archive").mkdir(parents=True)
    Path("demo/.kk-demo").write_text("of a former version")
    Path("demo/models_archive/run.json").write_text("{}")
    outcome = kk("demo")
    assert outcome.code == 2
    assert "demo holds what its demo did not write: models_archive/run.json" in outcome.err
    assert Path("demo/models_archive/run.json").is_file()
