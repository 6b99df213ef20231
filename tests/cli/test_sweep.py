"""``kk sweep``: trials that are runs, one journal for all processes, stopped and gone on with."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from played import template, tiny  # noqa: F401  # fixtures

import kaggle_kit
from kaggle_kit.archive import RunStore
from kaggle_kit.errors import InterruptedWork
from kaggle_kit.files import read_json
from kaggle_kit.progress import Silence
from kaggle_kit.workflow.project import load_project

RIDGE = """
[sweep.space]
"translator.strength" = { low = 1e-3, high = 10, log = true }
"""
NETWORK = """
translator = "mlp"
[translator]
hidden = 4
[train]
epochs = 3
patience = "none"
checkpoint_minutes = 0
[sweep]
startup_trials = 1
warmup_epochs = 0
sampler = "random"
[sweep.space]
"train.learning_rate" = { low = 1e-6, high = 1e-1, log = true }
""".replace('translator = "mlp"\n[translator]', '[translator]\nname = "mlp"')


@pytest.fixture
def ridge(tiny, write):  # noqa: F811
    return write("ridge.toml", RIDGE)


@pytest.fixture
def network(tiny, write):  # noqa: F811
    return write("network.toml", NETWORK)


def runs_of(folder: Path, name: str):
    """The records of a sweep's runs, by trial."""
    records = RunStore(folder / "models_archive").list(where=lambda run: (run["sweep"] or {}).get("name") == name)
    return sorted(records, key=lambda run: run["sweep"]["trial"])


def test_trials_are_runs_and_the_best_one_can_be_trained_again(ridge, tiny, kk):  # noqa: F811
    outcome = kk("sweep", "ridge.toml", "--trials", "2", "-q", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = outcome.json
    assert [trial["state"] for trial in found["trials"]] == ["done"] * 2
    runs = runs_of(tiny, "ridge")
    assert [run.id for run in runs] == [trial["run"] for trial in found["trials"]]
    assert [run["cv"]["mrr"] for run in runs] == [trial["value"] for trial in found["trials"]]
    assert all(run["config"]["translator"]["strength"] == run["sweep"]["params"]["translator.strength"] for run in runs)
    assert found["best"]["value"] == max(trial["value"] for trial in found["trials"])
    assert dict(found["importances"]) == {"translator.strength": 1.0}
    first = RunStore(tiny / "models_archive").list(where=lambda run: run["name"] == "first")[0]
    assert kk("predict", "-q", "--json").json["run"] == first.id  # a trial is not submitted by accident
    for command in (found["command"].split()[1:], ["train", "--config", found["best_config"]]):
        again = kk(*command, "-q", "--json").json
        assert again["record"]["cv"]["mrr"] == found["best"]["value"]
        assert again["record"]["config_digest"] == runs[found["best"]["number"]]["config_digest"]


def test_trials_are_counted_in_all_and_drawn_alike_again(ridge, tiny, kk):  # noqa: F811
    assert kk("sweep", "ridge.toml", "--trials", "1", "-q").code == 0
    shown = kk("sweep", "ridge.toml", "--show")
    assert "1 trial, 1 done" in shown.out
    assert "kk train --config ridge.toml --set translator.strength=" in shown.out
    assert len(kk("sweep", "ridge.toml", "--trials", "1", "-q", "--json").json["trials"]) == 1
    more = kk("sweep", "ridge.toml", "--trials", "2", "-q", "--json").json["trials"]
    other = kk("sweep", "ridge.toml", "--trials", "2", "-q", "--json", "--name", "again").json["trials"]
    assert [trial["params"] for trial in more] == [trial["params"] for trial in other]
    assert [trial["value"] for trial in more] == [trial["value"] for trial in other]
    assert len({trial["run"] for trial in [*more, *other]}) == 4


def test_first_trial_is_the_settings_as_they_stand_where_the_space_has_them(tiny, write, kk):  # noqa: F811
    write("kind.toml", """
[sweep.space]
translator.name = { choices = ["procrustes", "ridge"] }
translator.strength = { low = 0.01, high = 100, log = true }
""")  # fmt: skip
    trials = kk("sweep", "kind.toml", "--trials", "4", "-q", "--json", "--set", "sweep.seed=3").json["trials"]
    assert trials[0]["params"]["translator.name"] == "ridge"
    for trial in trials:
        has_strength = "translator.strength" in trial["params"]
        assert has_strength == (trial["params"]["translator.name"] == "ridge")
    assert {trial["state"] for trial in trials} == {"done"}
    assert {trial["params"]["translator.name"] for trial in trials} == {"ridge", "procrustes"}


def test_trial_that_falls_behind_is_given_up(network, tiny, kk):  # noqa: F811
    outcome = kk("sweep", "network.toml", "--trials", "5", "--json")
    trials = outcome.json["trials"]
    given_up = [trial for trial in trials if trial["state"] == "pruned"]
    assert given_up
    assert "given up after epoch" in outcome.err
    for trial in given_up:
        run = RunStore(tiny / "models_archive").read(trial["run"])
        assert (run.state, run["failure"], run["cv"]) == ("pruned", None, None)
        assert list(run.folder.glob("*/state*")) == []
        assert trial["value"] == trial["reports"][-1][1]
    done = next(trial for trial in trials if trial["state"] == "done")
    folds = [member["mrr"] for member in runs_of(tiny, "network")[done["number"]]["fold_scores"]]
    assert done["reports"][-2:] == [[4, folds[0]], [5, pytest.approx(sum(folds) / 2)]]
    assert "pruned" in kk("runs", "list").out


class StopAtFold(Silence):
    """A progress that receives a signal when so many epochs of trials are over."""

    def __init__(self, number: int, after: int) -> None:
        self.number, self.left = number, after

    def start(self, what, total=None, unit="", *, done=0.0):
        outer = self

        class Task:
            def update(self, done, **figures):
                outer.left -= unit == "folds"
                if not outer.left:
                    signal.raise_signal(outer.number)

            def finish(self, summary=""):
                pass

        return Task()


@pytest.mark.parametrize(("number", "stopped"), [(signal.SIGTERM, InterruptedWork), (signal.SIGINT, KeyboardInterrupt)])
def test_stopped_sweep_goes_on_with_the_same_trial(number, stopped, network, tiny):  # noqa: F811
    project = load_project(tiny, config="network.toml", overrides={"sweep.pruner": "none"})
    whole = kaggle_kit.sweep(project, name="whole", trials=2)
    with pytest.raises(stopped, match=r"trial 0.*") as caught:
        kaggle_kit.sweep(project, trials=2, progress=StopAtFold(number, 2))
    assert "kk sweep network.toml goes on" in f"{caught.value} {getattr(caught.value, 'hint', '')}"
    left = kaggle_kit.load_sweep(project)
    assert [(trial.state, trial.number) for trial in left.trials] == [("stopped", 0)]
    assert RunStore(tiny / "models_archive").read(left.trials[0].run).state == "interrupted"
    after = kaggle_kit.sweep(project, trials=2)
    assert after.trials[0].run == left.trials[0].run
    assert [trial.value for trial in after.trials] == [trial.value for trial in whole.trials]
    assert [trial.reports for trial in after.trials] == [trial.reports for trial in whole.trials]


def test_time_that_is_over_keeps_the_trial(network, tiny, kk):  # noqa: F811
    outcome = kk("sweep", "network.toml", "--trials", "2", "--timeout", "0.01s", "--json")
    assert (outcome.code, outcome.json["best"]) == (0, None)
    assert [trial["state"] for trial in kk("sweep", "network.toml", "--trials", "1", "--json").json["trials"]] == [
        "done"
    ]


def test_bad_space_names_every_problem_and_tries_nothing(tiny, write, kk):  # noqa: F811
    write("bad.toml", """
[sweep.space]
"train.lerning_rate" = { low = 1e-4, high = 1e-2 }
"train.batch_size" = { low = 0, high = 64.5 }
"train.epochs" = { lo = 3, high = 5 }
"train.optimizer" = { choices = ["adam", "sgd"] }
"train.schedule" = { low = 1, high = 2 }
"train.weight_decay" = { low = 0, high = 0.1, log = true }
"train.mixup" = { low = 0.5, high = 0.5 }
"train.seeds" = { low = 1, high = 3, step = 0 }
"train.patience" = 3
"train.seed" = { choices = [] }
"translator.name" = { choices = ["ridge", "procrustse"] }
"translator.hidden" = { low = 1, high = 3 }
"folds.count" = { low = 2, high = 5 }
""")  # fmt: skip
    outcome = kk("sweep", "bad.toml", "--json")
    assert outcome.code == 2
    assert [problem.removeprefix("sweep.space: ") for problem in outcome.json["error"]["problems"]] == [
        "translator.name: no translator is called 'procrustse'; did you mean procrustes?",
        "train.lerning_rate: no such setting; did you mean train.learning_rate?",
        "train.batch_size: low must be at least 2, not 0",
        "train.batch_size: high must be an integer, not 64.5",
        "train.epochs: no such field 'lo'; did you mean low?",
        "train.epochs: low missing (or choices)",
        "train.optimizer: must be one of adam, adamw, not 'sgd'",
        "train.schedule: is no number; give choices = [...]",
        "train.weight_decay: low must be above 0 with log, not 0.0",
        "train.mixup: low (0.5) must be below high (0.5)",
        "train.seeds: step must be above 0 and of whole numbers, not 0",
        "train.patience: must be { low, high } or { choices = [...] }, not 3",
        "train.seed: choices must be a list of at least one value, not []",
        "translator.hidden: no such setting",
        "folds.count: cannot be tried; a sweep varies data, translator, loss, train",
    ]
    assert not (tiny / "models_archive" / "sweeps").exists()
    write("none.toml", "[train]\nepochs = 2\n")
    nothing = kk("sweep", "none.toml")
    assert (nothing.code, "nothing to try" in nothing.err) == (2, True)


def test_sweep_of_other_settings_is_refused(ridge, tiny, kk, write):  # noqa: F811
    assert kk("sweep", "ridge.toml", "--trials", "1", "-q").code == 0
    other = kk("sweep", "ridge.toml", "--set", "folds.count=3", "--set", "train.threads=2")
    assert (other.code, "folds.count: 2 then, 3 now" in other.err, "train.threads" in other.err) == (2, True, False)
    write("ridge.toml", RIDGE.replace("10", "20"))
    wider = kk("sweep", "ridge.toml")
    assert (wider.code, "--name" in wider.err) == (2, True)


def test_sweep_whose_trials_all_fail_says_so(network, tiny, kk):  # noqa: F811
    flags = ("--set", "train.max_skipped_steps=1", "--set", "train.mixup=0")
    (tiny / "network.toml").write_text(NETWORK.replace("low = 1e-6, high = 1e-1", "low = 1e37, high = 1e38"))
    outcome = kk("sweep", "network.toml", "--trials", "2", "-q", *flags)
    assert outcome.code == 7
    assert "all 2 trials failed, the last with: " in outcome.err
    assert [run.state for run in runs_of(tiny, "network")] == ["failed", "failed"]


def test_unfinished_line_of_the_journal_is_mended_and_a_damaged_one_reported(ridge, tiny, kk):  # noqa: F811
    assert kk("sweep", "ridge.toml", "--trials", "1", "-q").code == 0
    journal = tiny / "models_archive" / "sweeps" / "ridge" / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    assert len(kk("sweep", "ridge.toml", "--trials", "2", "-q", "--json").json["trials"]) == 2
    journal.write_bytes(whole[:40] + b"\n" + whole[40:])
    broken = kk("sweep", "ridge.toml", "--show")
    assert (broken.code, "journal.log is damaged" in broken.err) == (3, True)


def test_sweep_that_was_not_begun_and_optuna_that_is_not_there(ridge, kk, monkeypatch):
    missing = kk("sweep", "ridge.toml", "--show")
    assert (missing.code, "no sweep 'ridge'" in missing.err) == (8, True)
    assert kk("sweep", "ridge.toml", "--name", "../x").code == 2
    monkeypatch.setattr("kaggle_kit.workflow.sweeps.study.find_spec", lambda name: None)
    outcome = kk("sweep", "ridge.toml")
    assert (outcome.code, "pip install optuna" in outcome.err) == (2, True)


def start(*arguments: str) -> subprocess.Popen[str]:
    """``kk`` as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "kaggle_kit", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_killed_sweep_goes_on_with_the_trial_it_was_at(network, tiny, kk):  # noqa: F811
    long = ("sweep", "network.toml", "--set", "train.epochs=30", "--set", "sweep.pruner=none", "-q", "--json")
    whole = kk(*long, "--trials", "2", "--name", "whole").json
    process = start(*long, "--trials", "2")
    archive = tiny / "models_archive"
    patience = time.monotonic() + 300
    while not any((run.folder / "fold-0-seed-0" / "result.json").exists() for run in runs_of(tiny, "network")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = kk("sweep", "network.toml", *long[2:], "--show").json
    states = [trial["state"] for trial in left["trials"]]
    assert states.count("stopped") <= 1
    after = kk(*long, "--trials", "2").json
    assert [trial["value"] for trial in after["trials"]] == [trial["value"] for trial in whole["trials"]]
    assert [trial["params"] for trial in after["trials"]] == [trial["params"] for trial in whole["trials"]]
    assert {trial["run"] for trial in left["trials"]} - {None} <= {trial["run"] for trial in after["trials"]}
    assert len(runs_of(tiny, "network")) == 2
    assert read_json(archive / "sweeps" / "network" / "sweep.json")["name"] == "network"


@pytest.mark.slow
def test_two_processes_share_one_sweep(ridge, tiny, kk):  # noqa: F811
    both = [start("sweep", "ridge.toml", "--trials", "12", "--set", "sweep.pruner=none", "-q") for _ in range(2)]
    said = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    trials = kk("sweep", "ridge.toml", "--show", "--json").json["trials"]
    assert [trial["number"] for trial in trials] == list(range(12))
    assert {trial["state"] for trial in trials} == {"done"}
    runs = runs_of(tiny, "ridge")
    assert [run["sweep"]["trial"] for run in runs] == list(range(12))
    assert len({trial["params"]["translator.strength"] for trial in trials}) == 12
