"""Search for better hyper-parameters: trials that are runs, given up early where they fall behind, shared by processes and machines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit.archive import Record, RunStore
from kaggle_kit.config import Project, Settings
from kaggle_kit.errors import (
    ConfigError,
    DataError,
    DiskFullError,
    InterruptedWork,
    KaggleKitError,
    TrainingError,
)
from kaggle_kit.files import hash_of
from kaggle_kit.progress import SILENCE, Progress, Task
from kaggle_kit.workflow.schemas import training_schemas
from kaggle_kit.workflow.sweeps.space import Parameter, draw, read_space
from kaggle_kit.workflow.sweeps.study import Journal, Sweep, default_name, optuna_quiet, require_optuna
from kaggle_kit.workflow.train import Run, resume, train, without_refits

if TYPE_CHECKING:
    import optuna

    from kaggle_kit.training.interrupts import StopRequest
    from kaggle_kit.training.member import MemberResult

_FIXED = ("competition", "data", "folds", "translator", "loss", "train", "validation")
"""Sections that must stay as they are while a sweep goes on, but for what it tries."""

_FREE = ("device", "precision", "threads", "checkpoint_minutes")
"""Settings of [train] that may differ from machine to machine."""


def sweep(
    project: Project,
    *,
    name: str | None = None,
    trials: int = 50,
    timeout_s: float | None = None,
    progress: Progress = SILENCE,
) -> Sweep:
    """Try values of the project's ``[sweep.space]``, each trial a run in the archive, until ``trials`` are finished in all.

    Called again, or by another process or machine on the same folder, it goes on with the same sweep: what a process that stopped has
    left is taken up where it was. The first trial is the settings as they stand, when the space contains them.

    Args:
        name: the sweep's; that of the configuration file when None.
        trials: how many are to be finished (done, pruned or failed), by all processes and calls together.
        timeout_s: seconds after which this call ends; the trial in progress is kept for the next one.

    Raises:
        ConfigError: the space is wrong; every problem is named.
        UsageError: Optuna is not installed, or there is a sweep of that name that asks something else.
        InterruptedWork, KeyboardInterrupt: stopped; the trial in progress is kept, the next call goes on.
        TrainingError: every trial failed.
    """
    from kaggle_kit.training.interrupts import stop_on_signals

    require_optuna()
    parameters = read_space(project, training_schemas())
    journal = Journal.begin(project, name or default_name(project) or "sweep", _asked(project.settings, parameters))
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    again = f"kk sweep {project.config or 'CONFIG'}" + (f" --name {name}" if name else "")
    worker = _Worker(journal, parameters, trials, ends, again, progress)
    with stop_on_signals() as stop:
        worker.work(stop)
    return journal.sweep()


def _asked(settings: Settings, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """What all trials of a sweep have in common."""
    tried = {parameter.key for parameter in parameters}
    free = {f"train.{name}" for name in _FREE} | tried
    parts = {section: table for section, table in settings.to_dict().items() if section in _FIXED}
    fixed = {
        f"{section}.{key}": value
        for section, table in parts.items()
        for key, value in table.items()
        if f"{section}.{key}" not in free and f"{section}.name" not in tried
    }
    return {"space": {parameter.key: parameter.to_dict() for parameter in parameters}, "fixed": fixed}


class _GivenUp(KaggleKitError):
    """The pruner gave the trial up."""


class _TimeUp(InterruptedWork):
    """The time of this call is over."""


@dataclass(frozen=True)
class _Trial:
    """A trial that this process works on, and the lock that says so."""

    trial: optuna.Trial
    params: dict[str, Any]
    claim: ExitStack

    @property
    def number(self) -> int:
        """Counted from 0."""
        return self.trial.number


class _Worker:
    """One process at work on a sweep."""

    def __init__(
        self,
        journal: Journal,
        parameters: Sequence[Parameter],
        wanted: int,
        ends: float | None,
        again: str,
        progress: Progress,
    ) -> None:
        self.journal, self.study, self.project = journal, journal.study, journal.project
        self.parameters, self.wanted, self.ends, self.again, self.progress = parameters, wanted, ends, again, progress
        self.store = RunStore(self.project.models_dir)
        self.last_epoch = _last_epoch(self.project, parameters)

    def work(self, stop: StopRequest) -> None:
        """Do trials until there are enough, the time is over or somebody asks to stop."""
        with optuna_quiet() as optuna:
            self.study.pruner = self._pruner(optuna)
        self._begin()
        while not self._time_is_up():
            if stop:
                self._stopped(stop, "between two trials")
            trial = self._next(optuna)
            if trial is None:
                break
            with trial.claim:
                try:
                    self._do(trial, stop)
                except _TimeUp:
                    self.progress.note(f"the time is over; trial {trial.number} is kept, {self.again} goes on")
                    break
        self.journal.write_best()
        self._check_some_success()

    def _begin(self) -> None:
        """Let the first trial be the settings as they stand, when the space contains them."""
        start = {parameter.key: parameter.start for parameter in self.parameters}
        with self.journal.alone():
            if not self.study.get_trials(deepcopy=False) and all(
                parameter.start is not None for parameter in self.parameters
            ):
                self.study.enqueue_trial(start)

    def _next(self, optuna: Any) -> _Trial | None:
        """A trial whose process has stopped, else a new one; None when enough are finished or at work."""
        with self.journal.alone():
            known = self.study.get_trials(deepcopy=False)
            for frozen in known:
                if frozen.state.name == "RUNNING" and (claim := self.journal.claim(frozen.number)):
                    self.progress.note(f"trial {frozen.number} was left unfinished: going on with it")
                    return self._drawn(optuna.trial.Trial(self.study, frozen._trial_id), claim)
            if sum(frozen.state.name != "WAITING" for frozen in known) >= self.wanted:
                return None
            self.study.sampler = self._sampler(optuna, len(known))
            trial = self.study.ask()
            claim = self.journal.claim(trial.number)
            if claim is None:
                raise DataError(
                    f"trial {trial.number} of the sweep is new, but another process holds it",
                    f"remove {self.journal.folder / 'locks'} while no sweep runs",
                )
            return self._drawn(trial, claim)

    def _drawn(self, trial: optuna.Trial, claim: ExitStack) -> _Trial:
        return _Trial(trial, draw(self.parameters, trial, self.project), claim)

    def _sampler(self, optuna: Any, number: int) -> optuna.samplers.BaseSampler:
        """What draws the values of trial ``number``: the same ones again after the same former trials, different ones in each process."""
        settings = self.project.settings.sweep
        seed = int(hash_of([settings.seed, number])[:8], 16)
        if settings.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.startup_trials, constant_liar=True)

    def _pruner(self, optuna: Any) -> optuna.pruners.BasePruner:
        settings = self.project.settings.sweep
        if settings.pruner == "none":
            return optuna.pruners.NopPruner()
        if settings.pruner == "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=1, max_resource=self.last_epoch + self.project.settings.folds.count
            )
        warmup = min(settings.warmup_epochs, self.last_epoch)
        return optuna.pruners.MedianPruner(n_startup_trials=settings.startup_trials, n_warmup_steps=warmup)

    def _do(self, trial: _Trial, stop: StopRequest) -> None:
        """Train a trial's run, or go on with it, and tell the sweep how it ended."""
        watch = _Watch(self, trial, stop)
        try:
            run = self._trained(trial, watch)
        except _GivenUp as given_up:
            assert watch.run is not None
            self._tell(watch, "PRUNED", given_up.message)
            self.store.update(watch.run.id, state="pruned", failure=None)
            _remove_states(watch.run.folder)
        except (TrainingError, ConfigError) as error:
            self._tell(watch, "FAIL", f"failed: {error.message.splitlines()[0]}", failure=error.message)
        except _TimeUp:
            raise
        except DiskFullError as full:
            full.hint = f"free some space, then {self.again} goes on with trial {trial.number}"
            raise
        except InterruptedWork as error:
            raise InterruptedWork(f"trial {trial.number}: {error.message}", f"{self.again} goes on") from None
        except KeyboardInterrupt as stopped:
            raise type(stopped)(f"trial {trial.number} is kept: {self.again} goes on") from None
        except KaggleKitError:
            raise  # not the trial's fault: it is taken up when the reason is gone
        except Exception as error:  # a fault that would come again: the trial must not stand in the way of the others
            failure = f"{type(error).__name__}: {error}"
            self._tell(watch, "FAIL", f"failed: {failure.splitlines()[0]}", failure=failure)
            if watch.run is not None:
                self.store.update(watch.run.id, state="failed", failure=failure)
            raise
        else:
            self._tell(watch, "COMPLETE", f"MRR {run.cv:.4f}", value=run.cv)

    def _trained(self, trial: _Trial, watch: _Watch) -> Run:
        """The trial's finished run, trained from nothing or from where it was left."""
        assert self.project.vary is not None
        varied = without_refits(self.project.vary(trial.params))
        label = {
            "name": self.journal.name,
            "id": self.journal.identity["id"],
            "trial": trial.number,
            "params": trial.params,
        }
        record = self.run_of(trial.number)
        if record is None:
            return train(varied, name=f"{self.journal.name}-{trial.number}", sweep=label, progress=watch)
        if record.state == "done":
            return Run.of(record)
        return resume(varied, record.id, progress=watch)

    def run_of(self, number: int) -> Record | None:
        """The run of a trial, None before it has one."""
        mine = (self.journal.identity["id"], number)
        found = self.store.list(
            where=lambda one: ((one["sweep"] or {}).get("id"), (one["sweep"] or {}).get("trial")) == mine
        )
        return self.store.read(found[0].id) if found else None

    def _tell(
        self, watch: _Watch, state: str, note: str, *, value: float | None = None, failure: str | None = None
    ) -> None:
        """Write into the journal how a trial ended, and say it."""
        trial = watch.trial
        with self.journal.alone(), optuna_quiet() as optuna:
            if failure:
                trial.trial.set_user_attr("failure", failure)
            record = self.run_of(trial.number)
            if record is not None and trial.trial.user_attrs.get("run") != record.id:
                trial.trial.set_user_attr("run", record.id)
            self.study.tell(trial.trial, value, state=optuna.trial.TrialState[state])
        if state == "COMPLETE":
            self.journal.write_best()
        tried = ", ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
        watch.end(f"trial {trial.number}: {note} ({tried})")

    def _time_is_up(self) -> bool:
        return self.ends is not None and time.monotonic() >= self.ends

    def check_time(self) -> None:
        """Leave the trial in progress when the time of this call is over."""
        if self._time_is_up():
            raise _TimeUp("the time is over")

    def _stopped(self, stop: StopRequest, where: str) -> None:
        try:
            stop.raise_stop(where)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{self.again} goes on") from None
        except InterruptedWork:
            raise InterruptedWork(f"stopped by SIGTERM {where}", f"{self.again} goes on") from None

    def _check_some_success(self) -> None:
        trials = self.journal.trials()
        if trials and all(trial.state == "failed" for trial in trials) and len(trials) >= self.wanted:
            raise TrainingError(
                f"all {len(trials)} trials failed, the last with: {trials[-1].failure}",
                "kk sweep CONFIG --show lists them; narrow the space and begin another sweep with --name",
            )


class _Watch:
    """The progress of a trial: shows it, reports to the sweep and leaves the training when the trial is given up."""

    def __init__(self, worker: _Worker, trial: _Trial, stop: StopRequest) -> None:
        self.worker, self.trial, self.stop = worker, trial, stop
        self.run: Record | None = None
        self.shown: Task | None = None
        self.members: list[Path] = []
        self.seeds = self.folds = 1
        self.reported: set[int] = set()

    def note(self, text: str) -> None:
        """What training says of itself would drown what the sweep says."""

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Watch a piece of work; that of a fold is reported to the sweep."""
        if self.stop:
            self.stop.raise_stop("the start of a fold")
        if unit != "epochs":
            return self.worker.progress.start(what, total, unit, done=done)
        first = self.run is None
        if first:
            self._find_run()
            self.shown = self.worker.progress.start(
                f"trial {self.trial.number}", self.folds, "folds", done=self.share()
            )
        return _Fold(self, total or 1.0, epochs=first and not self._finished_folds())

    def show(self, folds: float, **figures: Any) -> None:
        """``folds`` are finished, the last in part."""
        if self.shown is not None:
            self.shown.update(folds, **figures)

    def end(self, summary: str) -> None:
        """The trial is over."""
        if self.shown is None:
            self.worker.progress.note(summary)
        else:
            self.shown.finish(summary)

    def _find_run(self) -> None:
        from kaggle_kit.training.crossvalidation import member_tasks

        self.run = self.worker.run_of(self.trial.number)
        assert self.run is not None
        settings = Settings.from_dict(self.run["config"])
        self.members = [self.run.folder / task.name for task in member_tasks(settings)]
        self.seeds, self.folds = settings.train.seeds, settings.folds.count
        with self.worker.journal.writing():
            frozen = self.trial.trial
            self.reported = set(frozen.study.trials[frozen.number].intermediate_values)
            if frozen.user_attrs.get("run") != self.run.id:
                frozen.set_user_attr("run", self.run.id)
            self._check_data(self.run)

    def _check_data(self, run: Record) -> None:
        """All trials of a sweep are measured on the same images, on whatever machine."""
        study = self.worker.study
        mine = {"train_sha256": run["data"]["train_sha256"], "folds": run["folds"]["digest"]}
        theirs = study.user_attrs.get("data")
        if theirs is None:
            study.set_user_attr("data", mine)
        elif theirs != mine:
            raise DataError(
                f"the other trials of the sweep were trained on a file with sha256 {theirs['train_sha256'][:12]}… "
                f"and folds {theirs['folds'][:12]}…, this one on {mine['train_sha256'][:12]}… and {mine['folds'][:12]}…",
                "put the former file back, or begin another sweep with --name",
            )

    def _results(self) -> list[MemberResult | None]:
        from kaggle_kit.training.member import finished_member

        return [finished_member(folder) for folder in self.members]

    def share(self) -> float:
        """How many folds are finished; each seed is a part of one."""
        return sum(result is not None for result in self._results()) / self.seeds

    def _finished_folds(self) -> list[float]:
        """MRR of each finished fold, the mean of its seeds."""
        scores = [None if result is None else result.mrr for result in self._results()]
        folds = [scores[first : first + self.seeds] for first in range(0, len(scores), self.seeds)]
        # of translators that are finished, all have a score: a trial has no refits
        return [
            sum(known) / self.seeds
            for fold in folds
            if len(known := [mrr for mrr in fold if mrr is not None]) == len(fold)
        ]

    def epoch(self, number: int, mrr: float) -> None:
        """An epoch of the first fold was validated."""
        if number <= self.worker.last_epoch:
            self._report(number, mrr)
        self._check()

    def fold(self) -> None:
        """A translator is finished, and with it perhaps its fold."""
        done = self._finished_folds()
        if done:
            self._report(self.worker.last_epoch + len(done), sum(done) / len(done))
        if len(done) < self.folds:
            self._check()

    def _report(self, point: int, mrr: float) -> None:
        if point not in self.reported:
            self.reported.add(point)
            with self.worker.journal.writing():
                self.trial.trial.report(mrr, point)

    def _check(self) -> None:
        """Leave when the time is over or the trial is worse than it should be by now."""
        self.worker.check_time()
        with self.worker.journal.writing():
            given_up = self.trial.trial.should_prune()
        if given_up:
            point, last = max(self.reported), self.worker.last_epoch
            where = f"after epoch {point} of the first fold" if point <= last else f"after fold {point - last}"
            raise _GivenUp(f"given up {where}")


class _Fold:
    """One fold (or seed of it) being trained."""

    def __init__(self, watch: _Watch, total: float, *, epochs: bool) -> None:
        self.watch, self.total, self.epochs = watch, total, epochs
        self.before = watch.share()

    def update(self, done: float, **figures: Any) -> None:
        """An epoch is over."""
        part = min(1.0, done / self.total) / self.watch.seeds
        self.watch.show(self.before + part, **figures)
        if self.epochs and figures.get("mrr") is not None:
            self.watch.epoch(int(done), float(figures["mrr"]))

    def finish(self, summary: str = "") -> None:
        """The fold is over."""
        self.watch.show(self.watch.share())
        self.watch.fold()


def _last_epoch(project: Project, parameters: Sequence[Parameter]) -> int:
    """The last epoch that a trial may have: finished folds are counted from there on, so that equal points mean equal work."""
    from kaggle_kit.translators import translators

    tried = {parameter.key: parameter for parameter in parameters}
    named = tried.get("translator.name")
    names = named.choices if named else (project.settings.translator.name,)
    if all(translators[name].closed_form for name in names):
        return 0
    epochs = tried.get("train.epochs")
    if epochs is None:
        return project.settings.train.epochs
    return max(epochs.choices) if epochs.choices else int(epochs.high or 0)


def _remove_states(folder: Path) -> None:
    """What a run that will not go on would have gone on from."""
    for path in folder.glob("*/state*"):
        path.unlink(missing_ok=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
