"""Train and resume through the archive: what is recorded, what is refused, what a stopped run becomes."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import pytest
import torch

from kaggle_kit.archive import RunStore
from kaggle_kit.embeddings import load_pairs
from kaggle_kit.errors import DataError, DuplicateError, InterruptedWork, MissingError, TrainingError, UsageError
from kaggle_kit.files import read_json, sha256_of
from kaggle_kit.metrics import unit
from kaggle_kit.progress import Silence
from kaggle_kit.training.checkpoints import load_translator
from kaggle_kit.training.state import StateFiles
from kaggle_kit.workflow.ensemble import ensemble
from kaggle_kit.workflow.predict import predict, predict_test
from kaggle_kit.workflow.train import resume, train

NETWORK = {
    "translator.name": "residual_mlp",
    "translator.hidden": 16,
    "train.epochs": 3,
    "train.batch_size": 32,
    "train.patience": "none",
    "train.precision": "fp32",
}


class StopAt(Silence):
    """SIGTERM when the n-th task reports its first epoch."""

    def __init__(self, fold: int) -> None:
        self.tasks, self.fold = 0, fold

    def start(self, what, total=None, unit=""):
        if what.startswith("fold"):
            self.tasks += 1
        outer, number = self, self.tasks

        class Task:
            def update(self, done, **figures):
                if number == outer.fold and figures:
                    os.kill(os.getpid(), signal.SIGTERM)

            def finish(self, summary=""):
                pass

        return Task()


def test_a_run_records_where_it_came_from(project, run):
    record = read_json(run.folder / "run.json")
    assert record["state"] == "done"
    assert record["data"]["train_sha256"] == sha256_of(next(project.data_dir.glob("*/train/train/train.npz")))
    assert record["folds"]["count"] == 2
    assert len(record["folds"]["digest"]) == 64
    assert record["config"]["translator"]["name"] == "ridge"
    assert record["provenance"]["versions"]["torch"]
    for checkpoint in record["checkpoints"]:
        assert sha256_of(run.folder / checkpoint["file"]) == checkpoint["sha256"]
    assert run.cv == record["cv"]["mrr"] > 0.35, "chance in galleries of 10 is 0.29"
    assert 0 < run.cv_error < 0.1
    assert repr(run).startswith(f"<Run {run.id}: cv 0.")


def test_a_run_interrupted_in_its_second_fold_resumes_to_the_bit(make_project):
    project = make_project(**NETWORK)
    whole = train(project)
    with pytest.raises(InterruptedWork, match="stopped by SIGTERM at epoch 2, step 1"):
        train(project, progress=StopAt(2))
    store = RunStore(project.models_dir)
    stopped = store.load()
    assert stopped.state == "interrupted"
    # an hour before the run, half an hour in the fold that was stopped
    store.update(stopped.id, seconds=stopped["seconds"] + 3600)
    states = StateFiles(stopped.folder / "fold-1-seed-0", margin_mb=1, note=print)
    tensors, header = states.load()
    header["position"]["spent_s"] += 1800
    states.save(tensors, header)
    resumed = resume(project)
    assert 3600 < resumed.record["seconds"] < 7200
    assert 1800 < resumed.record["train_seconds"] < 3600
    assert resumed.record["state"] == "done"
    assert resumed.cv == whole.cv
    assert [c["sha256"] for c in _weights(resumed)] == [c["sha256"] for c in _weights(whole)]


def _weights(run):
    """Hashes of the tensors alone: the header names the run."""
    import hashlib

    out = []
    for checkpoint in run.record["checkpoints"]:
        state = load_translator(run.folder / checkpoint["file"]).state_dict()
        digest = hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state)))
        out.append({"sha256": digest.hexdigest()})
    return out


def test_resume_without_an_unfinished_run_says_so(project, run):
    with pytest.raises(MissingError, match="no unfinished run"):
        resume(project)
    assert resume(project, run.id).cv == run.cv, "a finished run is left as it is"


def test_resume_refuses_other_data(make_project, tmp_path):
    project = make_project(**NETWORK)
    with pytest.raises(InterruptedWork):
        train(project, progress=StopAt(1))
    data = project.data_dir / project.settings.competition.slug
    real = data.resolve()
    data.unlink()
    shutil.copytree(real, data)
    from kaggle_kit.embeddings import generate_competition

    generate_competition(data, captions=1200, images=300, text_dim=48, image_dim=16, test=40, seed=4)
    with pytest.raises(DataError, match="was trained on data with sha256"):
        resume(project)


def test_a_diverged_run_is_recorded_as_failed_with_the_reason(make_project):
    project = make_project(
        **{
            **NETWORK,
            "translator.name": "mlp",
            "loss.name": "mse",
            "train.learning_rate": 1e30,
            "train.max_skipped_steps": 2,
        }
    )
    with pytest.raises(TrainingError, match="diverged"):
        train(project)
    record = RunStore(project.models_dir).load()
    assert record.state == "failed"
    assert "diverged at epoch" in record["failure"]


def test_a_run_that_does_not_fit_into_memory_is_recorded_as_failed_and_told(make_project):
    with pytest.raises(TrainingError, match=r"fold 1/2 does not fit into memory: .*allocate") as refused:
        train(make_project(**{**NETWORK, "translator.hidden": 10**12}))
    assert "train.batch_size (now 32" in refused.value.hint
    record = RunStore(make_project().models_dir).load()
    assert (record.state, record["failure"]) == ("failed", refused.value.message)


class Broken(Silence):
    """A fault of something else in the middle of training."""

    def start(self, what, total=None, unit=""):
        if what.startswith("fold 2"):
            raise ZeroDivisionError("of a program that is not ours")
        return super().start(what, total, unit)


def test_a_run_that_ends_with_a_foreign_fault_does_not_pass_for_running(make_project):
    project = make_project(**NETWORK)
    with pytest.raises(ZeroDivisionError):
        train(project, progress=Broken())
    record = RunStore(project.models_dir).load()
    assert (record.state, record["failure"]) == ("failed", "ZeroDivisionError: of a program that is not ours")
    assert resume(project, record.id).record["state"] == "done"


def test_the_prediction_is_the_mean_of_the_folds_unit_vectors(project, run):
    prediction = predict_test(project, run.id)
    text = torch.from_numpy(np.array(prediction.captions.text))
    folds = [load_translator(run.folder / c["file"]).translate(text) for c in run.record["checkpoints"]]
    expected = unit(folds[0] + folds[1])
    assert np.allclose(prediction.vectors, expected.numpy(), atol=1e-6)
    assert prediction.vectors.dtype == np.float32


def test_refits_predict_the_test_together_with_the_folds(make_project, run):
    project = make_project(**{"train.refit": 1})
    refitted = train(project)
    assert refitted.record["cv"] == run.record["cv"]
    assert [c["fold"] for c in refitted.record["checkpoints"]] == [0, 1, None]
    assert [row["fold"] for row in refitted.record["fold_scores"]] == [0, 1]
    prediction = predict_test(project, refitted.id)
    text = torch.from_numpy(np.array(prediction.captions.text))
    total = sum(load_translator(refitted.folder / c["file"]).translate(text) for c in refitted.record["checkpoints"])
    assert np.allclose(prediction.vectors, unit(total).numpy(), atol=1e-6)


def test_refits_are_refused_where_held_out_captions_would_have_to_end_them(make_project):
    project = make_project(**{**NETWORK, "train.refit": 2, "train.restore_best": False, "train.patience": 3})
    with pytest.raises(UsageError, match=r"train\.refit = 2 holds nothing out") as caught:
        train(project)
    assert "train.patience=none" in caught.value.hint
    assert not RunStore(project.models_dir).list()


def test_predict_writes_the_same_bytes_twice(project, run, tmp_path):
    first = predict(project, None, tmp_path / "a.csv")
    second = predict(project, run.id[:15], tmp_path / "b.csv")
    assert first.file.sha256 == second.file.sha256 == sha256_of(tmp_path / "a.csv")
    assert (first.rows, first.dimension, first.run) == (40, 16, run.id)


def test_a_changed_checkpoint_is_refused(project, run, tmp_path):
    one, two = (run.folder / c["file"] for c in run.record["checkpoints"])
    shutil.copy(one, two)
    with pytest.raises(DataError, match="is not the checkpoint that the run recorded"):
        predict(project, run.id, tmp_path / "x.csv")


def test_predict_before_any_run_says_what_to_do(project, tmp_path):
    with pytest.raises(MissingError, match="there is no run yet") as caught:
        predict(project, None, tmp_path / "x.csv")
    assert caught.value.hint == "kk train makes one"


def test_ensembles_average_score_and_predict(make_project, project, run, tmp_path):
    other = train(make_project(**NETWORK))
    both = ensemble(project, [run.id, other.id])
    assert [m["run"] for m in both.record["members"]] == [run.id, other.id]
    parts = [predict_test(project, one.id).vectors for one in (run, other)]
    expected = unit(torch.from_numpy(parts[0] + parts[1])).numpy()
    assert np.allclose(predict_test(project, both.id).vectors, expected, atol=1e-6)
    weighted = ensemble(project, [run.id, other.id], weights=[3, 1])
    assert [m["weight"] for m in weighted.record["members"]] == [0.75, 0.25]


def test_an_ensemble_below_its_best_run_says_so_and_the_newest_is_told_from_the_best(
    make_project, project, run, notes, tmp_path
):
    poor = train(make_project(**{**NETWORK, "train.epochs": 1, "train.learning_rate": 1e-9}))
    both = ensemble(project, [run.id, poor.id], weights=[1, 50], progress=notes)
    assert both.cv < run.cv
    assert f"warning: {run.id} alone is better, {run.cv:.4f}" in notes
    found = predict(project, None, tmp_path / "x.csv", progress=notes)
    assert found.run == both.id
    assert f"the newest run, {both.id} (CV {both.cv:.4f}), is taken; {run.id} has {run.cv:.4f}" in notes


def test_optimised_weights_report_the_score_of_images_that_did_not_choose_them(make_project, project, run):
    other = train(make_project(**NETWORK))
    chosen = ensemble(project, [run.id, other.id], weights="optimised")
    selection = chosen.record["selection"]
    assert sum(m["weight"] for m in chosen.record["members"]) == pytest.approx(1)
    if selection["overfitted"]:
        assert {m["weight"] for m in chosen.record["members"]} == {0.5}
    else:
        assert chosen.cv <= chosen.record["cv"]["mrr_in_sample"]
    assert 0 < selection["held_out_mrr"] < 1


def test_ensembles_refuse_twins_and_misfits(project, run):
    twin = train(project)
    with pytest.raises(DuplicateError, match="is named twice"):
        ensemble(project, [run.id, run.id])
    with pytest.raises(DuplicateError, match="hold the same predictions"):
        ensemble(project, [run.id, twin.id])
    with pytest.raises(UsageError, match="at least two runs"):
        ensemble(project, [run.id])
    with pytest.raises(UsageError, match="1 weights for 2 runs"):
        ensemble(project, [run.id, twin.id], weights=[1.0])


def test_extra_weight_and_dropped_captions_reach_the_training(make_project, clean_world):
    (clean_world / "drop.txt").write_text("\n".join(str(i) for i in range(0, 1200, 2)))
    run = train(make_project(**{"data.drop_captions": "drop.txt"}))
    pairs = load_pairs(next((clean_world / "data").glob("*/train/train/train.npz")))
    assert run.record["cv"]["images"] == len(pairs.images), "dropped captions are still validated on"
    assert run.record["data"]["report"]


def test_the_archives_best_runs_make_an_ensemble_and_say_what_each_adds(make_project, project, run):
    other = train(make_project(**NETWORK))
    train(project)  # the same settings again: no new prediction
    train(make_project(**{"folds.seed": 7}))  # other folds: does not fit
    best = ensemble(project, from_archive=5, explain=True)
    assert {m["run"] for m in best.record["members"]} >= {other.id}
    assert len(best.record["members"]) == 2
    for member in best.record["members"]:
        assert member["alone"] == pytest.approx(member["cv"], abs=1e-3), "in the same galleries"
        assert -1 < member["adds"] < 1
    with pytest.raises(UsageError, match="runs were named, and the archive was asked for"):
        ensemble(project, [run.id, other.id], from_archive=5)


def test_equal_trainings_write_equal_checkpoints_and_are_told_of(make_project, notes):
    project = make_project(**NETWORK)
    first = train(project, progress=notes)
    train(make_project(**{**NETWORK, "train.seed": 7}), progress=notes)
    assert "the same weights are to be expected" not in notes
    second = train(project, progress=notes)
    assert f"run {first.id} was trained with these settings, folds and data" in notes
    assert [c["sha256"] for c in first.record["checkpoints"]] == [c["sha256"] for c in second.record["checkpoints"]]


class Totals(Silence):
    """Remembers what each task was begun with."""

    def __init__(self) -> None:
        self.seen: dict[str, float | None] = {}

    def start(self, what, total=None, unit=""):
        self.seen[what] = total
        return super().start(what, total, unit)


def test_epochs_added_for_steps_at_least_are_shown_as_planned(make_project):
    seen = Totals()
    # 600 captions of a fold in batches of 200: three steps an epoch
    settings = {"train.batch_size": 200, "train.min_steps": 13, "train.epochs": 2}
    run = train(make_project(**{**NETWORK, **settings}), progress=seen)
    assert [seen.seen[f"fold {fold}/2"] for fold in (1, 2)] == [5, 5]
    results = [read_json(path) for path in run.folder.glob("*/result.json")]
    assert [[line["epoch"] for line in result["history"]] for result in results] == [[1, 2, 3, 4, 5]] * 2


def test_a_failed_run_does_not_stand_before_an_interrupted_one(make_project):
    project = make_project(**NETWORK)
    with pytest.raises(InterruptedWork):
        train(project, progress=StopAt(1))
    stopped = RunStore(project.models_dir).load()
    with pytest.raises(TrainingError, match="diverged"):
        train(
            make_project(**{**NETWORK, "train.learning_rate": 1e30, "train.max_skipped_steps": 2, "loss.name": "mse"})
        )
    assert resume(project).id == stopped.id


def test_a_device_that_is_not_there_is_refused_before_anything_is_recorded(make_project):
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    project = make_project(**NETWORK, **{"train.device": "cuda"})
    with pytest.raises(UsageError, match="device cuda is not available here"):
        train(project)
    assert not RunStore(project.models_dir).list()


def test_the_newest_run_is_one_of_the_own_competition(make_project, project, run, tmp_path):
    other = make_project(**{"competition.slug": "another", "paths.data": str(project.data_dir)})
    with pytest.raises(MissingError, match="there is no run yet"):
        predict(other, None, tmp_path / "x.csv")


def test_an_unfinished_run_is_named_where_a_finished_one_is_missing(make_project, tmp_path):
    project = make_project(**NETWORK)
    with pytest.raises(InterruptedWork):
        train(project, progress=StopAt(1))
    with pytest.raises(MissingError, match="no run of small-competition has finished") as caught:
        predict(project, None, tmp_path / "x.csv")
    assert caught.value.hint.startswith("kk train --resume 2")
