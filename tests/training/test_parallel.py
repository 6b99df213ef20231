"""Several processes at one run, started by torchrun: the weights of one process, and an end in time when a worker dies.

Starting torch costs seconds a process, so few tests start workers; what ranks compute together is in ``test_collective``.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from small_training import run, weights_of

from kaggle_kit import files
from kaggle_kit.embeddings import fold_pairs
from kaggle_kit.errors import InterruptedWork, TrainingError, UsageError
from kaggle_kit.progress import Silence
from kaggle_kit.training.checkpoints import load_tensors
from kaggle_kit.training.crossvalidation import out_of_fold
from kaggle_kit.training.parallel import choose_crew

WORKER = "kaggle_kit.training.worker"


def workers_of(folder):
    """Process ids of the workers at a run, by their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if WORKER in words and "torch.distributed.run" not in words and str(folder) in words:
            found.append(int(path.parent.name))
    return found


class Watching(Silence):
    """Remembers what was told, and does something when the n-th piece of work begins or, once, when an epoch ends."""

    def __init__(self, *, at_start=0, at_epoch=0, action=None):
        self.at_start, self.at_epoch, self.action = at_start, at_epoch, action
        self.begun, self.updates, self.summaries, self.notes = [], [], [], []

    def note(self, text):
        self.notes.append(text)

    def start(self, what, total=None, unit="", *, done=0.0):
        outer = self
        self.begun.append((what, total, unit))
        if len(self.begun) == self.at_start:
            self.action()

        class Task:
            def update(self, done, **figures):
                outer.updates.append((what, done, figures))
                if done == outer.at_epoch and figures:
                    outer.at_epoch = None  # the other worker's epoch may end before the first is acted on
                    outer.action()

            def finish(self, summary=""):
                outer.summaries.append(summary)

        return Task()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers in /proc")
def test_a_killed_worker_ends_the_others_and_a_resumed_run_has_the_weights_of_one_process(pairs, settings_of, tmp_path):
    def kill():
        os.kill(workers_of(tmp_path / "shared")[0], signal.SIGKILL)

    watch = Watching(at_start=3, action=kill)
    with pytest.raises(InterruptedWork, match=r"worker \d \(process \d+\) was killed by SIGKILL") as caught:
        run(pairs, settings_of(folds=5, workers=2, epochs=30), tmp_path / "shared", progress=watch)
    assert "kk train --resume goes on" in caught.value.hint
    assert workers_of(tmp_path / "shared") == []
    finished = weights_of(tmp_path / "shared")
    assert finished, "what was finished stays finished"
    # the other worker may take one more fold before the end reaches it
    assert {what for what, _, _ in watch.begun} >= {"fold 1/5", "fold 2/5", "fold 3/5"}
    assert all(total == 30 and unit == "epochs" for _, total, unit in watch.begun)
    assert {"loss", "mrr", "samples_per_s"} <= set(watch.updates[-1][2])
    assert not (tmp_path / "shared" / "workers").exists()

    shared = run(pairs, settings_of(folds=5, workers=1, epochs=30), tmp_path / "shared")
    alone = run(pairs, settings_of(folds=5, epochs=30), tmp_path / "alone")
    assert weights_of(tmp_path / "shared") == weights_of(tmp_path / "alone")
    assert finished.items() <= weights_of(tmp_path / "alone").items()
    assert shared.score == alone.score


@pytest.mark.slow
def test_two_processes_train_five_folds_to_the_weights_of_one(pairs, settings_of, tmp_path):
    settings = settings_of(folds=5, seeds=2, ema_decay=0.9, input_dropout=0.1)
    run(pairs, settings, tmp_path / "alone")
    watch = Watching()
    done = run(
        pairs,
        settings_of(folds=5, seeds=2, ema_decay=0.9, input_dropout=0.1, workers=2),
        tmp_path / "shared",
        progress=watch,
    )
    assert weights_of(tmp_path / "shared") == weights_of(tmp_path / "alone")
    assert len(watch.begun) == len(watch.summaries) == 10
    assert done.crew.to_dict() == {"workers": 2, "nnodes": 1, "parallel": "folds"}


@pytest.mark.slow
def test_a_member_that_diverges_in_a_worker_diverges_here(pairs, settings_of, tmp_path):
    with pytest.raises(TrainingError, match=r"training diverged at epoch 1, step \d+: .* not finite") as caught:
        run(pairs, settings_of(learning_rate=1e30, max_skipped_steps=2, workers=2), tmp_path)
    assert "lower train.learning_rate (now 1e+30)" in caught.value.hint
    assert caught.value.exit_code == 7


@pytest.mark.slow
def test_an_error_of_a_worker_is_the_same_here_with_its_traceback(pairs, settings_of, tmp_path):
    (tmp_path / "fold-0-seed-0" / "predictions.npy").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"fold-0-seed-0.predictions\.npy: Is a directory") as caught:
        run(pairs, settings_of(workers=2), tmp_path)
    assert "choose a folder that you may write to" in caught.value.hint
    assert "Traceback (most recent call last)" in str(caught.value.__cause__)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_the_workers_and_any_number_of_them_goes_on(pairs, settings_of, tmp_path, number):
    watch = Watching(at_epoch=2, action=lambda: os.kill(os.getpid(), number))
    settings = settings_of(folds=3, epochs=400, workers=2)
    with pytest.raises(InterruptedWork if number == signal.SIGTERM else KeyboardInterrupt, match="the state is saved"):
        run(pairs, settings, tmp_path / "parts", progress=watch)
    assert len(list((tmp_path / "parts").glob("*/state.safetensors"))) == 2
    assert not weights_of(tmp_path / "parts")
    run(pairs, settings_of(folds=3, epochs=400, workers=3), tmp_path / "parts")
    run(pairs, settings_of(folds=3, epochs=400), tmp_path / "whole")
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_all_at_one_fold_is_training_in_one_process_but_for_rounding(pairs, settings_of, tmp_path, size):
    network = {"name": "residual_mlp", "hidden": 16, "dropout": 0.0, "output_norm": False, "output_activation": False}
    changes = {
        "translator": network,
        "loss": {"name": "infonce_symmetric"},
        "mixup": 0.4,
        "input_noise": 0.1,
        "folds": 2,
    }
    alone = run(pairs, settings_of(**changes), tmp_path / "alone")
    done = run(pairs, settings_of(**changes, parallel="batch", workers=size), tmp_path / "shared")
    assert done.crew.to_dict() == {"workers": size, "nnodes": 1, "parallel": "batch"}
    for name in weights_of(tmp_path / "alone"):
        mine, _ = load_tensors(tmp_path / "shared" / name / "model.safetensors")
        wanted, _ = load_tensors(tmp_path / "alone" / name / "model.safetensors")
        assert all((mine[key] - wanted[key]).abs().max() < 1e-4 for key in wanted)
    assert done.score.mrr == pytest.approx(alone.score.mrr, abs=0.02)
    assert out_of_fold(
        tmp_path / "shared", pairs, fold_pairs(pairs, settings_of(**changes).folds), settings_of(**changes)
    ).covered.all()


@pytest.mark.slow
def test_a_fold_of_all_workers_stopped_and_resumed_has_the_weights_of_an_uninterrupted_one(
    pairs, settings_of, tmp_path
):
    settings = settings_of(folds=2, epochs=40, parallel="batch", workers=2)
    watch = Watching(at_epoch=3, action=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(InterruptedWork, match="the state is saved"):
        run(pairs, settings, tmp_path / "parts", progress=watch)
    run(pairs, settings, tmp_path / "parts")
    run(pairs, settings, tmp_path / "whole")
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")


MACHINE = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from small_training import make_pairs, run
from kaggle_kit.config import Settings
from kaggle_kit.files import read_json
from kaggle_kit.training.interrupts import StopRequest
from kaggle_kit.training.parallel import choose_crew, join_run
from kaggle_kit.progress import SILENCE
settings = Settings.from_dict(read_json(Path(sys.argv[1])))
if settings.cluster.node_rank:
    print(join_run(Path("runs").absolute(), *choose_crew(settings), StopRequest(), SILENCE))
else:
    run(make_pairs(), settings, Path("runs/one").absolute())
"""


def start_machine(number, settings):
    files.write_json(Path(f"machine-{number}.json"), settings.to_dict())
    code = MACHINE.format(here=str(Path(__file__).parents[1]))
    return subprocess.Popen(
        [sys.executable, "-c", code, f"machine-{number}.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["folds", "batch"])
def test_two_machines_train_one_run(pairs, settings_of, clean_world, parallel):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    common = {"nnodes": 2, "rdzv": place, "wait_s": 90.0}
    machines = [
        start_machine(
            number, settings_of(folds=4, parallel=parallel, workers=1, cluster={**common, "node_rank": number})
        )
        for number in range(2)
    ]
    outcomes = [machine.communicate(timeout=120) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outcomes
    assert outcomes[1][0].strip() == str(Path("runs/one").absolute())
    assert len(weights_of(Path("runs/one"))) == 4
    if parallel == "folds":
        run(pairs, settings_of(folds=4), Path("alone"))
        assert weights_of(Path("runs/one")) == weights_of(Path("alone"))


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({"nnodes": 2}, r"2 machines need a place to meet"),
        ({"nnodes": 2, "rdzv": "127.0.0.1:1", "node_rank": 2}, r"no machine 2 among 2"),
        ({"nnodes": 2, "rdzv": "localhost"}, r"must be HOST:PORT, not 'localhost'"),
        ({"nnodes": 2, "rdzv": ":"}, r"must be HOST:PORT, not ':'"),
    ],
)
def test_machines_that_are_not_described_well_are_refused(settings_of, cluster, said):
    with pytest.raises(UsageError, match=said):
        choose_crew(settings_of(cluster=cluster))


def test_workers_on_a_cpu_divide_the_cores_and_closed_forms_share_no_batch(settings_of, monkeypatch):
    crew, hardware = choose_crew(settings_of(workers=1000, threads=None))
    assert (crew.workers, hardware.threads) == (1000, 1)
    crew, _ = choose_crew(settings_of({"name": "ridge"}, parallel="batch", workers=2))
    assert not crew.together
    assert crew.for_members(1).is_one_process
