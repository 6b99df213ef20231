"""Translators and losses in the project's own files: they do all that built-in ones do, and nothing else is ever run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from other_competitions import QUICK, SOUNDS, kk, sounds  # noqa: F401

from kaggle_kit import files

NETWORK = '''
import kaggle_kit as kk
import torch
from torch import nn


@kk.translator("two_layers")
class TwoLayers(nn.Module):
    """Two layers of my own.

    Args:
        hidden: width of the hidden layer
    """

    def __init__(self, d_text: int, d_image: int, hidden: int = 8, gain: float = 1.0):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d_text, hidden), nn.Tanh(), nn.Linear(hidden, d_image))
        self.gain = gain

    def forward(self, text):
        return self.gain * self.body(text)


@kk.loss("angle")
def angle(outputs, targets, power: float = 1.0):
    """One minus the cosine, to a power."""
    return (1 - torch.cosine_similarity(outputs, targets)).clamp(min=1e-6).pow(power).mean()
'''

CLOSED = '''
import kaggle_kit as kk
import numpy as np


@kk.translator("least_squares")
class LeastSquares:
    """Least squares with a little ridge."""

    def __init__(self, strength: float = 0.1):
        self.strength = strength

    def fit(self, text, images):
        self.mean = text.mean(axis=0)
        x = text - self.mean
        self.map = np.linalg.solve(x.T @ x + self.strength * np.eye(x.shape[1]), x.T @ images)
        self.rows = len(x)

    def predict(self, text):
        return (text - self.mean) @ self.map
'''
OWN = ["--translator", "two_layers", "--loss", "angle", "--epochs", "3", "--set", "train.patience=none"]


@pytest.fixture
def project(sounds, clean_world):  # noqa: F811
    (clean_world / "competitions").mkdir()
    (clean_world / "competitions" / "sound-match.toml").write_text(SOUNDS)
    (clean_world / "kk.toml").write_text('competition = "sound-match"\nplugins = ["network.py", "own/*.py"]\n' + QUICK)
    (clean_world / "own").mkdir()
    (clean_world / "network.py").write_text(NETWORK)
    (clean_world / "own" / "closed.py").write_text(CLOSED)
    return clean_world


def listed(kk) -> dict[str, dict]:  # noqa: F811
    return {entry["name"]: entry for entry in json.loads(kk("translators", "--json").stdout)}


def test_they_are_listed_with_options_and_marked_as_the_projects_own(project, kk):  # noqa: F811
    found = listed(kk)
    assert found["two_layers"]["file"] == "network.py"
    assert found["two_layers"]["summary"] == "Two layers of my own."
    hidden, gain = found["two_layers"]["options"]
    assert hidden == {"name": "hidden", "default": 8, "meaning": "width of the hidden layer"}
    assert (gain["name"], gain["default"]) == ("gain", 1.0)
    assert (found["angle"]["kind"], found["least_squares"]["file"]) == ("loss", "own/closed.py")
    assert found["mlp"]["file"] is None
    assert "this project's own: network.py" in kk("translators").stdout


def test_they_train_ensemble_predict_and_submit_like_built_in_ones(project, kk):  # noqa: F811
    kk("fetch", "-q")
    network = json.loads(kk("train", *OWN, "--set", "translator.hidden=5", "--json", "-q").stdout)["record"]
    closed = json.loads(kk("train", "--translator", "least_squares", "--json", "-q").stdout)["record"]
    assert closed["cv"]["mrr"] > 0.9  # the world is linear
    assert network["plugins"]["translator"]["file"] == "network.py"
    assert (Path("models_archive") / network["id"] / "plugins" / "network.py").read_text() == NETWORK
    kk("ensemble", network["id"], closed["id"], "-q")
    kk("predict", "-o", "mine.csv", "-q")
    assert json.loads(kk("submit", "-m", "own", "--json", "-q").stdout)["state"] == "scored"


@pytest.mark.slow
def test_a_run_by_several_processes_has_the_same_weights(project, kk):  # noqa: F811
    kk("fetch", "-q")
    runs = [json.loads(kk("train", *OWN, *more, "--json", "-q").stdout)["record"] for more in ((), ("--workers", "2"))]
    hashes = [[one["sha256"] for one in run["checkpoints"]] for run in runs]
    assert hashes[0] == hashes[1]


def test_an_interrupted_run_resumes_to_the_same_weights(project, kk):  # noqa: F811
    kk("fetch", "-q")
    whole = json.loads(kk("train", *OWN, "--json", "-q").stdout)["record"]
    kk("train", *OWN, "--time-budget", "0.001s", "-q", code=75)
    resumed = json.loads(kk("train", "--resume", "--time-budget", "1h", "--json", "-q").stdout)["record"]
    assert [one["sha256"] for one in whole["checkpoints"]] == [one["sha256"] for one in resumed["checkpoints"]]


def test_a_configuration_is_compared_anew_once_its_code_changed(project, kk):  # noqa: F811
    kk("fetch", "-q")
    (project / "mine.toml").write_text('translator = "least_squares"\n')
    before, after = [], []
    for runs in (before, after):
        for _ in range(2):
            runs += [row["run"] for row in json.loads(kk("compare", "mine.toml", "mine.toml", "--json", "-q").stdout)]
        (project / "own" / "closed.py").write_text(CLOSED + "# a word more\n")
    assert (len({*before}), len({*after})) == (1, 1)
    assert before != after


def test_code_that_changed_since_is_refused_until_it_is_put_back(project, kk):  # noqa: F811
    kk("fetch", "-q")
    run = json.loads(kk("train", "--translator", "least_squares", "--json", "-q").stdout)
    (project / "own" / "closed.py").write_text(CLOSED.replace("@ self.map\n", "@ -self.map\n"))
    refused = kk("predict", "-q", code=3).stderr
    assert "was trained by own/closed.py with sha256" in refused
    kept = project / "models_archive" / run["id"] / "plugins" / "own" / "closed.py"
    assert str(kept) in refused
    (project / "own" / "closed.py").write_text(kept.read_text())
    kk("predict", "-q")


def test_a_run_does_not_go_on_with_changed_code(project, kk):  # noqa: F811
    kk("fetch", "-q")
    kk("train", *OWN, "--time-budget", "0.001s", "-q", code=75)
    (project / "network.py").write_text(NETWORK + "\n# changed\n")
    assert "was trained by network.py with sha256" in kk("train", "--resume", "-q", code=3).stderr


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("import kaggle_kit\n\nraise ValueError('no luck')\n", "line 3", "ValueError: no luck"),
        ("x = 1\ndef broken(:\n", "line 2", "SyntaxError"),
        ("import no_such_module\n", "line 1", "No module named 'no_such_module'"),
        ("import kaggle_kit as kk\n@kk.translator('mlp')\nclass A:\n    fit = predict = print\n", "line 2", "mlp"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(project, kk, text, where, said):  # noqa: F811
    (project / "network.py").write_text(text)
    shown = kk("translators", code=2).stderr
    assert f"network.py, {where}" in shown
    assert said in shown
    assert "Traceback" not in shown
    assert "Traceback" in kk("translators", "--debug", code=2).stderr


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("self.gain * self.body(text)", "self.gain * self.body(txt)", "network.py, line 21: NameError"),
        ("self.gain * self.body(text)", "self.body(text)[:, :2]", "must give image vectors of shape"),
        ("hidden: int = 8", "hidden: int", "hidden needs a default"),
        ("pow(power).mean()", "pow(power)", "a loss must be one number"),
    ],
)
def test_code_that_fails_in_training_is_named_too(project, kk, was, becomes, said):  # noqa: F811
    kk("fetch", "-q")
    (project / "network.py").write_text(NETWORK.replace(was, becomes))
    assert said in kk("train", *OWN, "-q", code=2).stderr


def test_what_a_checkpoint_cannot_keep_is_refused(project, kk):  # noqa: F811
    kk("fetch", "-q")
    (project / "own" / "closed.py").write_text(CLOSED.replace("self.rows = len(x)", "self.rows = print"))
    refused = kk("train", "--translator", "least_squares", "-q", code=2).stderr
    assert "LeastSquares.fit left rows, builtin_function_or_method" in refused


@pytest.mark.parametrize("name", ["../elsewhere.py", "/tmp/elsewhere.py", "nothing.py", "network.txt", "link.py"])
def test_nothing_outside_the_project_is_run(project, kk, name):  # noqa: F811
    (project.parent / "elsewhere.py").write_text("raise SystemExit('run')\n")
    (project / "network.txt").write_text("")
    (project / "link.py").symlink_to(project.parent / "elsewhere.py")
    (project / "kk.toml").write_text(f'plugins = ["{name}"]\n')
    assert "kk.toml: plugins.files" in kk("translators", code=2).stderr


def test_only_the_projects_own_settings_say_what_is_run(project, kk, monkeypatch):  # noqa: F811
    (project / "fetched.toml").write_text('plugins = ["network.py"]\n')
    assert "only kk.toml says" in kk("train", "--config", "fetched.toml", code=2).stderr
    monkeypatch.setenv("KK_PLUGINS", "network.py")
    assert "only kk.toml says" in kk("leaderboard", code=2).stderr


def test_a_command_that_trains_nothing_runs_no_code(project, kk):  # noqa: F811
    (project / "network.py").write_text("raise ValueError('run')\n")
    kk("leaderboard")
    kk("runs", "list")


def test_fitted_numbers_arrays_and_tensors_survive_the_checkpoint(tmp_path):
    import torch

    import kaggle_kit
    from kaggle_kit.training.checkpoints import load_translator, save_translator
    from kaggle_kit.translators import FitData, build_translator

    @kaggle_kit.translator("keeps_everything")
    class KeepsEverything:
        def fit(self, text, images, seed):
            self.a, self.t, self.i, self.f, self.b = np.eye(2, dtype=np.float16), torch.ones(2), seed, 0.5, True

        def predict(self, text):
            assert (self.a.dtype, self.t.dtype, type(self.i), self.f, self.b) == (
                np.float16, torch.float32, int, 0.5, True,
            )  # fmt: skip
            return text @ self.a.astype(np.float32) + self.t.numpy()

    made = build_translator("keeps_everything", 2, 2, {})
    text = torch.randn(4, 2)
    made.prepare(FitData(text, torch.randn(4, 2), torch.arange(4), seed=3))
    save_translator(tmp_path / "m.safetensors", made, {"translator": "keeps_everything", "options": {}})
    assert torch.equal(load_translator(tmp_path / "m.safetensors").translate(text), made.translate(text))


def test_a_file_edited_during_training_has_no_part_in_the_run(project, kk):  # noqa: F811
    kk("fetch", "-q")
    (project / "own" / "closed.py").write_text(
        CLOSED.replace("self.rows = len(x)", "with open(__file__, 'a') as me: me.write('# edited')")
    )
    before = files.sha256_of(project / "own" / "closed.py")
    run = json.loads(kk("train", "--translator", "least_squares", "--json", "-q").stdout)["record"]
    assert run["plugins"]["translator"]["sha256"] == before
    (project / "own" / "closed.py").write_bytes(
        (project / "models_archive" / run["id"] / "plugins" / "own" / "closed.py").read_bytes()
    )
    kk("predict", "-q")
