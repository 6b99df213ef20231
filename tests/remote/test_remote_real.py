"""Trainings that really run in a notebook, as they would on Kaggle: the pushed program itself, from the first byte to the archive."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from kaggle_kit.workflow.notebooks.wheel import build_wheel
from kaggle_kit.workflow.project import load_project

pytestmark = pytest.mark.slow


def test_trained_there_it_is_as_if_it_had_been_trained_here(kk, serve, project, competition):
    server = serve()
    outcome = kk("--json", "remote", "train", "--gpu", "cpu", "--no-internet")
    assert outcome.code == 0, outcome.err
    remote = outcome.json["run"]
    shutil.copytree(competition[0], project / "data")
    local = kk("--json", "train")
    assert local.code == 0, local.err
    assert remote["cv"]["mrr"] == pytest.approx(local.json["record"]["cv"]["mrr"])
    assert remote["config_digest"] == local.json["record"]["config_digest"]
    predicted = kk("predict", remote["id"], "-o", "again.csv")
    assert predicted.code == 0, predicted.err
    kept = project / "models_archive" / "remote" / outcome.json["job"]["name"] / "v1"
    assert (project / "again.csv").read_bytes() == (kept / "submission.csv").read_bytes()
    # what ran there was the code that was sent, not the one installed on this machine
    root = server.kernels.host.version(outcome.json["job"]["kernel"]).folders.root
    assert [path.name for path in (root / "tmp").glob("kk-*/code/*")] != []
    assert remote["provenance"]["git"] == outcome.json["job"]["git"]


def test_stopped_in_the_middle_of_a_fold_it_goes_on_in_the_next_session(kk, serve, project):
    server = serve({"tell_sessions": True, "grace_s": 120.0})
    long = [
        "--translator",
        "mlp",
        "--folds",
        "1",
        "--epochs",
        "400",
        "--set",
        "train.patience=none",
        "--set",
        "train.min_steps=0",
    ]
    started = kk("--json", "remote", "train", "--gpu", "cpu", "--no-wait", *long)
    assert started.code == 0, started.err
    kernel = started.json["job"]["kernel"]
    while not any("training on" in row["data"] for row in server.kernels.host.version(kernel).log):
        assert not server.kernels.host.version(kernel).finished
        time.sleep(0.05)
    assert kk("remote", "cancel").code == 0
    kk("remote", "logs", "-f")
    stopped = kk("remote", "pull")
    assert stopped.code == 75, stopped.err
    [run] = [path.parent for path in (project / "models_archive").glob("*/run.json")]
    assert json.loads((run / "run.json").read_text())["state"] == "interrupted"
    assert list(run.rglob("state.safetensors"))
    done = kk("--json", "remote", "train", "--resume", run.name, "--gpu", "cpu")
    assert done.code == 0, done.err
    assert (done.json["run"]["id"], done.json["run"]["state"]) == (run.name, "done")
    assert done.json["run"]["provenance"]["remote"]["versions"] == [1, 2]


def test_training_that_cannot_be_done_ends_with_its_reason(kk, serve):
    serve()
    outcome = kk("remote", "train", "--gpu", "cpu", "--folds", "500")
    assert outcome.code == 2, outcome.err
    assert "failed in version 1: folds.count: 500 folds need as many images" in outcome.err


def test_wheel_is_the_same_each_time_and_runs_where_only_it_is_installed(tmp_path):
    git = {"commit": "a" * 40, "dirty": False}
    wheel, again = build_wheel(tmp_path / "one", git), build_wheel(tmp_path / "two", git)
    assert wheel.read_bytes() == again.read_bytes()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "site"]
    subprocess.run([*pip, wheel], check=True, timeout=120)
    code = "import kaggle_kit.archive as a, pathlib, json; print(json.dumps([a.__file__, a.provenance(pathlib.Path('/'))['git']]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    where, commit = json.loads(done.stdout)
    assert Path(where).is_relative_to(tmp_path / "site")
    assert commit == git
    shown = subprocess.run(
        [tmp_path / "site" / "bin" / "kk", "--version"], env={"PYTHONPATH": str(tmp_path / "site")}, check=False
    )
    assert shown.returncode == 0
    with zipfile.ZipFile(wheel) as archive:
        assert "kaggle_kit/configs/residual.toml" in archive.namelist()
        assert "kaggle_kit/py.typed" in archive.namelist()


def test_wheel_changes_none_of_the_packages_that_are_there(tmp_path):
    wheel = build_wheel(tmp_path, None)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-index",
        "--ignore-installed",
        "--no-deps",
        "--report",
        "-",
    ]
    report = json.loads(
        subprocess.run([*command, "--quiet", wheel], capture_output=True, check=True, timeout=120).stdout
    )
    assert [row["metadata"]["name"] for row in report["install"]] == ["kaggle_kit"]
    assert load_project(tmp_path, environ={}).settings.wheels.dataset == "kk-wheels"
