"""kaggle_kit: from a Kaggle competition on text-to-image embedding translation to a scored, archived submission.

What ``kk`` does, a notebook does with the same functions, in the project of the current folder::

    import kaggle_kit as kk

    kk.fetch()
    run = kk.train(translator="mlp", folds=5, epochs=20)
    kk.submit(run, message="the baseline, 5 folds")
    kk.leaderboard()

``project = kk.load_project(overrides={"folds.count": 5})`` makes a project that can be given first to each of them.
Each name is imported when it is first used, so that ``import kaggle_kit`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kaggle_kit.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from kaggle_kit.api import in_project as _in_project
    from kaggle_kit.api import train as train
    from kaggle_kit.archive import PruneRule as PruneRule
    from kaggle_kit.archive import RunPruneRule as RunPruneRule
    from kaggle_kit.config import Project as Project
    from kaggle_kit.config import Settings as Settings
    from kaggle_kit.embeddings import load_pairs as load_pairs
    from kaggle_kit.embeddings import load_test as load_test
    from kaggle_kit.errors import KaggleKitError as KaggleKitError
    from kaggle_kit.rehearsal.demo import demo as demo
    from kaggle_kit.rehearsal.made_up import write_competition as write_competition
    from kaggle_kit.rehearsal.rehearse import rehearse as _rehearse
    from kaggle_kit.render.screen import show_progress as show_progress
    from kaggle_kit.training.own import loss as loss
    from kaggle_kit.translators.own import translator as translator
    from kaggle_kit.workflow.bench import bench as _bench
    from kaggle_kit.workflow.cache import cached_files as _cached_files
    from kaggle_kit.workflow.cache import clear_cache as _clear_cache
    from kaggle_kit.workflow.catalogue import catalogue as catalogue
    from kaggle_kit.workflow.compare import compare as _compare
    from kaggle_kit.workflow.compare import learning_curve as _learning_curve
    from kaggle_kit.workflow.describe import describe_data as _describe_data
    from kaggle_kit.workflow.doctor.checkup import doctor as doctor
    from kaggle_kit.workflow.ensemble import ensemble as _make_ensemble
    from kaggle_kit.workflow.expect import calibration as _calibration
    from kaggle_kit.workflow.fetch import fetch as _fetch
    from kaggle_kit.workflow.final import final as _final
    from kaggle_kit.workflow.history import history as _leaderboard
    from kaggle_kit.workflow.history import public_board as _public_board
    from kaggle_kit.workflow.history import run_history as _run_history
    from kaggle_kit.workflow.init import init as init
    from kaggle_kit.workflow.keep import plan_prune as _plan_prune
    from kaggle_kit.workflow.keep import plan_prune_runs as _plan_prune_runs
    from kaggle_kit.workflow.keep import prune as _prune
    from kaggle_kit.workflow.keep import rebuild_submission as _rebuild_submission
    from kaggle_kit.workflow.keep import reindex as _reindex
    from kaggle_kit.workflow.keep import submission_chain as _submission_chain
    from kaggle_kit.workflow.notebooks.file import make_notebook as _make_notebook
    from kaggle_kit.workflow.notebooks.wheels import make_wheels as _make_wheels
    from kaggle_kit.workflow.predict import predict as _predict
    from kaggle_kit.workflow.project import load_project as load_project
    from kaggle_kit.workflow.records import list_runs as _list_runs
    from kaggle_kit.workflow.records import list_submissions as _list_submissions
    from kaggle_kit.workflow.records import load_run as _load_run
    from kaggle_kit.workflow.records import load_submission as _load_submission
    from kaggle_kit.workflow.remote.drive import list_kernels as _list_kernels
    from kaggle_kit.workflow.remote.drive import remote_cancel as _remote_cancel
    from kaggle_kit.workflow.remote.drive import remote_list as _remote_list
    from kaggle_kit.workflow.remote.drive import remote_logs as _remote_logs
    from kaggle_kit.workflow.remote.drive import remote_pull as _remote_pull
    from kaggle_kit.workflow.remote.drive import remote_status as _remote_status
    from kaggle_kit.workflow.remote.drive import remote_submit as _remote_submit
    from kaggle_kit.workflow.remote.drive import remote_train as _remote_train
    from kaggle_kit.workflow.reports.plot import plot as _plot
    from kaggle_kit.workflow.reports.plot import plots as plots
    from kaggle_kit.workflow.reports.report import report as _report
    from kaggle_kit.workflow.reports.verify import verify as _verify
    from kaggle_kit.workflow.reports.verify import verify_caption as _verify_caption
    from kaggle_kit.workflow.submitting.code_submission import submit_notebook as _submit_notebook
    from kaggle_kit.workflow.submitting.submit import submit as _submit
    from kaggle_kit.workflow.submitting.sync import sync as _sync
    from kaggle_kit.workflow.sweeps.study import Sweep as Sweep
    from kaggle_kit.workflow.sweeps.study import load_sweep as _load_sweep
    from kaggle_kit.workflow.sweeps.sweep import sweep as _sweep
    from kaggle_kit.workflow.train import Run as Run
    from kaggle_kit.workflow.train import resume as _resume
    from kaggle_kit.workflow.validate import validate as _validate
    from kaggle_kit.workflow.whereabouts import whereabouts as _whereabouts

    bench = _in_project(_bench)
    cached_files = _in_project(_cached_files)
    calibration = _in_project(_calibration)
    clear_cache = _in_project(_clear_cache)
    compare = _in_project(_compare)
    describe_data = _in_project(_describe_data)
    fetch = _in_project(_fetch)
    final = _in_project(_final)
    leaderboard = _in_project(_leaderboard)
    learning_curve = _in_project(_learning_curve)
    list_kernels = _in_project(_list_kernels)
    list_runs = _in_project(_list_runs)
    list_submissions = _in_project(_list_submissions)
    load_run = _in_project(_load_run)
    load_submission = _in_project(_load_submission)
    load_sweep = _in_project(_load_sweep)
    make_ensemble = _in_project(_make_ensemble)
    make_notebook = _in_project(_make_notebook)
    make_wheels = _in_project(_make_wheels)
    plan_prune = _in_project(_plan_prune)
    plan_prune_runs = _in_project(_plan_prune_runs)
    plot = _in_project(_plot)
    predict = _in_project(_predict)
    prune = _in_project(_prune)
    public_board = _in_project(_public_board)
    rebuild_submission = _in_project(_rebuild_submission)
    rehearse = _in_project(_rehearse)
    reindex = _in_project(_reindex)
    remote_cancel = _in_project(_remote_cancel)
    remote_list = _in_project(_remote_list)
    remote_logs = _in_project(_remote_logs)
    remote_pull = _in_project(_remote_pull)
    remote_status = _in_project(_remote_status)
    remote_submit = _in_project(_remote_submit)
    remote_train = _in_project(_remote_train)
    report = _in_project(_report)
    resume = _in_project(_resume)
    run_history = _in_project(_run_history)
    submission_chain = _in_project(_submission_chain)
    submit = _in_project(_submit)
    submit_notebook = _in_project(_submit_notebook)
    sweep = _in_project(_sweep)
    sync = _in_project(_sync)
    validate = _in_project(_validate)
    verify = _in_project(_verify)
    verify_caption = _in_project(_verify_caption)
    whereabouts = _in_project(_whereabouts)

_PLACES = {
    "KaggleKitError": "errors:KaggleKitError",
    "Project": "config:Project",
    "PruneRule": "archive:PruneRule",
    "Run": "workflow.train:Run",
    "RunPruneRule": "archive:RunPruneRule",
    "Settings": "config:Settings",
    "Sweep": "workflow.sweeps.study:Sweep",
    "bench": "workflow.bench:bench",
    "cached_files": "workflow.cache:cached_files",
    "calibration": "workflow.expect:calibration",
    "catalogue": "workflow.catalogue:catalogue",
    "compare": "workflow.compare:compare",
    "clear_cache": "workflow.cache:clear_cache",
    "demo": "rehearsal.demo:demo",
    "describe_data": "workflow.describe:describe_data",
    "doctor": "workflow.doctor.checkup:doctor",
    "fetch": "workflow.fetch:fetch",
    "final": "workflow.final:final",
    "init": "workflow.init:init",
    "learning_curve": "workflow.compare:learning_curve",
    "leaderboard": "workflow.history:history",
    "list_kernels": "workflow.remote.drive:list_kernels",
    "list_runs": "workflow.records:list_runs",
    "list_submissions": "workflow.records:list_submissions",
    "load_pairs": "embeddings:load_pairs",
    "load_project": "workflow.project:load_project",
    "load_run": "workflow.records:load_run",
    "load_submission": "workflow.records:load_submission",
    "load_sweep": "workflow.sweeps.study:load_sweep",
    "load_test": "embeddings:load_test",
    "loss": "training.own:loss",
    "make_ensemble": "workflow.ensemble:ensemble",
    "make_notebook": "workflow.notebooks.file:make_notebook",
    "make_wheels": "workflow.notebooks.wheels:make_wheels",
    "plan_prune": "workflow.keep:plan_prune",
    "plan_prune_runs": "workflow.keep:plan_prune_runs",
    "plot": "workflow.reports.plot:plot",
    "plots": "workflow.reports.plot:plots",
    "report": "workflow.reports.report:report",
    "predict": "workflow.predict:predict",
    "prune": "workflow.keep:prune",
    "public_board": "workflow.history:public_board",
    "rebuild_submission": "workflow.keep:rebuild_submission",
    "rehearse": "rehearsal.rehearse:rehearse",
    "reindex": "workflow.keep:reindex",
    "remote_cancel": "workflow.remote.drive:remote_cancel",
    "remote_list": "workflow.remote.drive:remote_list",
    "remote_logs": "workflow.remote.drive:remote_logs",
    "remote_pull": "workflow.remote.drive:remote_pull",
    "remote_status": "workflow.remote.drive:remote_status",
    "remote_submit": "workflow.remote.drive:remote_submit",
    "remote_train": "workflow.remote.drive:remote_train",
    "resume": "workflow.train:resume",
    "run_history": "workflow.history:run_history",
    "show_progress": "render.screen:show_progress",
    "submission_chain": "workflow.keep:submission_chain",
    "submit": "workflow.submitting.submit:submit",
    "submit_notebook": "workflow.submitting.code_submission:submit_notebook",
    "sweep": "workflow.sweeps.sweep:sweep",
    "sync": "workflow.submitting.sync:sync",
    "train": "api:train",
    "translator": "translators.own:translator",
    "validate": "workflow.validate:validate",
    "verify": "workflow.reports.verify:verify",
    "verify_caption": "workflow.reports.verify:verify_caption",
    "whereabouts": "workflow.whereabouts:whereabouts",
    "write_competition": "rehearsal.made_up:write_competition",
}

_OF_CHOICES = ("bench", "compare", "learning_curve", "make_notebook", "rehearse", "remote_train", "resume", "sweep")
"""Functions to which the options of translators and losses matter."""

__all__ = ["__version__", *_PLACES]  # noqa: PLE0604  (the keys are strings)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'kaggle_kit' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(importlib.import_module(f"kaggle_kit.{module}"), attribute)
    from kaggle_kit.api import in_project, needs_project

    if needs_project(value):
        value = in_project(value, choices=name in _OF_CHOICES)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
