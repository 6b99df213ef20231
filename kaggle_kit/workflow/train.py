"""Train a run: every fold and seed, scored out of fold, recorded as it goes, resumable at any moment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.archive import Record, RunStore, provenance
from kaggle_kit.archive.ids import HASH_DIGITS
from kaggle_kit.archive.records import hold_lock
from kaggle_kit.cells import facts_table
from kaggle_kit.config import Project, Settings, with_effect
from kaggle_kit.embeddings import Folds, Lookalikes, Pairs, find_leaks, find_lookalikes, fold_pairs, sum_leaks
from kaggle_kit.errors import (
    DataError,
    DiskFullError,
    InterruptedWork,
    KaggleKitError,
    MissingError,
    UsageError,
)
from kaggle_kit.files import hash_of, write_bytes
from kaggle_kit.plugins import Plugin, refuse_changed
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import OF_THE_MOMENT
from kaggle_kit.training.interrupts import Deadline, stop_on_signals
from kaggle_kit.workflow.data import training_pairs
from kaggle_kit.workflow.session_clock import notebook_session

JOINED_POLL_S = 0.5
FREE_SPACE = "free some space, then "


@dataclass(frozen=True)
class Run:
    """A training run (or an ensemble of runs) in the archive.

    Attributes:
        id: date, name and hash; unique in the archive.
        folder: where its files lie.
        record: the content of its ``run.json``.
    """

    id: str
    folder: Path
    record: dict[str, Any]

    @classmethod
    def of(cls, record: Record) -> Run:
        """The run that a record of the archive tells of."""
        return cls(record.id, record.folder, record.to_dict())

    @property
    def cv(self) -> float | None:
        """Out-of-fold MRR in galleries of what would be submitted; None while the run is unfinished."""
        return (self.record.get("cv") or {}).get("mrr")

    @property
    def cv_error(self) -> float | None:
        """Standard error of ``cv`` over images."""
        return (self.record.get("cv") or {}).get("error")

    def __repr__(self) -> str:
        score = f"cv {self.cv:.4f} ± {self.cv_error:.4f}" if self.cv is not None else self.record.get("state", "")
        return f"<Run {self.id}: {score}>"

    def _repr_html_(self) -> str:
        """The run for a notebook."""
        folds = self.record.get("folds") or {}
        return facts_table(
            {
                "run": self.id,
                "state": self.record.get("state"),
                "translator": self.record.get("translator"),
                "folds": folds.get("count"),
                "cv": f"{self.cv:.4f} ± {self.cv_error:.4f}" if self.cv is not None else None,
                "folder": self.folder,
            }
        )


def train(
    project: Project,
    *,
    name: str | None = None,
    sweep: Mapping[str, Any] | None = None,
    started: float | None = None,
    progress: Progress = SILENCE,
) -> Run:
    """Train the translator that the project's settings select, on all folds and seeds, with every device that is there.

    On a machine of number ``cluster.node_rank`` above 0 nothing is started: it lends its devices to the run of the first machine.

    Args:
        name: part of the run's id; the translator's name when None.
        sweep: what the record of a trial says about its sweep: ``name``, ``id``, ``trial`` (its number), ``params``.
        started: what ``time.monotonic`` showed when the work began that ``train.time_budget`` is for; now when None.

    Raises:
        MissingError: the data is nowhere.
        DataError: the data is not what it should be, too small for the folds, or a split would leak.
        TrainingError: training diverged; the run is recorded as failed.
        InterruptedWork, KeyboardInterrupt: stopped; ``resume`` goes on.
    """
    from kaggle_kit.training.crossvalidation import member_tasks
    from kaggle_kit.training.parallel import choose_crew

    settings, deadline = project.settings, _deadline(project.settings, started)
    _tell_idle_epochs(project, progress)
    # refuse before recording
    choose_crew(settings)
    _refuse_refit_without_end(settings)
    if settings.cluster.node_rank:
        return _join(project, deadline, progress)
    pairs, report = training_pairs(project, progress=progress)
    lookalikes = find_lookalikes(pairs)
    folds = fold_pairs(pairs, settings.folds, lookalikes=lookalikes)
    leaks = refuse_leaks(pairs, folds, settings, lookalikes=lookalikes, progress=progress)
    _check_galleries(pairs, folds, settings, progress)
    label = name or settings.translator.name
    store = RunStore(project.models_dir)
    content = hash_of([settings.digest(), folds.digest, pairs.file.sha256])
    run_id = store.reserve(label, content)
    folds.save(store.folder_of(run_id))
    _keep_plugins(store.folder_of(run_id), settings)
    made = {**_new_record(project, label, pairs, report, folds), "leaks": leaks, "sweep": sweep}
    _tell_equal_run(store, content, made, progress)
    store.create(run_id, made)
    progress.note(
        f"run {run_id}: {len(member_tasks(settings))} trainings on {len(pairs):,} captions "
        f"of {len(pairs.images):,} images"
    )
    return _Training(store, run_id, settings, pairs, folds, deadline, progress).finish()


def _tell_equal_run(store: RunStore, content: str, made: Mapping[str, Any], progress: Progress) -> None:
    """Say so when a finished run began with the same settings, folds and data: people train again by mistake more often than on purpose."""
    closing = content[:HASH_DIGITS]  # not the id's: of two runs in one second, the second has another
    for one in store.list(where=lambda one: one.state == "done" and one.id.endswith(closing)):
        former = store.load(one.id)
        equal = [former.get(key) == made[key] for key in ("config_digest", "plugins", "refit")]
        same_data = former["folds"]["digest"], former["data"]["train_sha256"]
        if all(equal) and same_data == (made["folds"]["digest"], made["data"]["train_sha256"]):
            progress.note(
                f"run {former.id} was trained with these settings, folds and data: the same weights are to be expected "
                "from the same versions; --set train.seed=N gives others"
            )
            return


def without_refits(project: Project) -> Project:
    """The project for a run that is measured and not submitted: out-of-fold scores come from the folds alone."""
    settings = project.settings
    return replace(project, settings=replace(settings, train=replace(settings.train, refit=0)))


def _refuse_refit_without_end(settings: Settings) -> None:
    """A refit has no held-out captions to tell when to stop, or which epoch was best.

    Raises:
        UsageError: the settings would need them.
    """
    from kaggle_kit.translators import translators

    train = settings.train
    if train.refit and not translators[settings.translator.name].closed_form and (train.patience or train.restore_best):
        raise UsageError(
            f"train.refit = {train.refit} holds nothing out that early stopping or the best epoch could go by",
            "--set train.patience=none --set train.restore_best=false fixes the epochs; --set train.refit=0 goes without",
        )


def _deadline(settings: Settings, started: float | None) -> Deadline | None:
    """When the work has to have ended: by the time budget or the end of a notebook's session; None where neither is known."""
    train, deadlines = settings.train, []
    if train.time_budget is not None:
        deadlines.append(Deadline(train.time_budget, train.time_margin_s, started=started))
    session = notebook_session(settings.remote)
    if session is not None and session.left_s:
        deadlines.append(Deadline(session.left_s, max(train.time_margin_s, settings.remote.margin_s)))
    return min(deadlines, key=Deadline.left_s, default=None)


def resume(
    project: Project, run: str | None = None, *, started: float | None = None, progress: Progress = SILENCE
) -> Run:
    """Go on with a run that was stopped: finished members stay, the unfinished one goes on from its state.

    The run's own settings are in force, not the project's, but for workers, time budget, saving and margins where the project gives
    them, and for the machines. The time budget begins anew.

    Args:
        run: id or unique beginning of one; the newest unfinished run when None.
        started: as in :func:`train`.

    Raises:
        MissingError: there is no such run, or no unfinished one.
        DataError: the data is no longer that of the run.
    """
    if project.settings.cluster.node_rank:
        return _join(project, _deadline(project.settings, started), progress)
    store = RunStore(project.models_dir)
    record = _unfinished(store) if run is None else store.load(run)
    if record.get("kind") == "ensemble":
        raise UsageError(f"{record.id} is an ensemble, there is nothing to resume")
    settings = _settings_of(record, project)
    deadline = _deadline(settings, started)
    pairs, _ = training_pairs(replace(project, settings=settings), progress=progress)
    if pairs.file.sha256 != record["data"]["train_sha256"]:
        raise DataError(
            f"run {record.id} was trained on data with sha256 {record['data']['train_sha256'][:12]}…, "
            f"{pairs.file.path} has {pairs.file.sha256[:12]}…",
            "put the former file back, or start a new run with kk train",
        )
    _refuse_changed_plugins(record)
    folds = Folds.load(record.folder)
    if folds.digest != record["folds"]["digest"]:
        raise DataError(f"the folds of run {record.id} were changed", "start a new run with kk train")
    refuse_leaks(pairs, folds, settings, progress=progress)
    return _Training(store, record.id, settings, pairs, folds, deadline, progress).finish()


def _plugins_of(settings: Settings) -> dict[str, Plugin]:
    """The project's own files that define the chosen translator and loss, by what they define."""
    from kaggle_kit.training.losses import losses
    from kaggle_kit.translators import translators

    found = {
        "translator": translators.entry(settings.translator.name).plugin,
        "loss": losses.entry(settings.loss.name).plugin,
    }
    return {kind: plugin for kind, plugin in found.items() if plugin is not None}


def recorded_plugins(settings: Settings) -> dict[str, Any]:
    """What a run that is trained now records of them."""
    return {kind: plugin.to_dict() for kind, plugin in _plugins_of(settings).items()}


def _keep_plugins(folder: Path, settings: Settings) -> None:
    """Copy the files into the run's folder: what trained it can be read, and put back, however the project goes on."""
    from kaggle_kit.training.checkpoints import PLUGINS

    for plugin in _plugins_of(settings).values():
        write_bytes(folder / PLUGINS / plugin.name, plugin.path.read_bytes())


def _refuse_changed_plugins(record: Record) -> None:
    """Refuse to go on with other code than the run began with.

    Raises:
        DataError: a file was changed.
    """
    from kaggle_kit.training.checkpoints import PLUGINS

    now = _plugins_of(Settings.from_dict(record["config"]))
    for kind, recorded in (record.get("plugins") or {}).items():
        kept = record.folder / PLUGINS / recorded["file"]
        refuse_changed(recorded, now.get(kind), f"the {kind} of run {record.id}", str(kept))


def _join(project: Project, deadline: Deadline | None, progress: Progress) -> Run:
    """Lend this machine's devices to the run that the first machine leads; the run as it then stands."""
    from kaggle_kit.training.parallel import choose_crew, join_run

    crew, hardware = choose_crew(project.settings)
    with stop_on_signals(deadline) as stop:
        folder = join_run(project.models_dir, crew, hardware, stop, progress)
    store, patience = RunStore(project.models_dir), time.monotonic() + project.settings.cluster.wait_s
    # the first machine still scores the run and records how it ended
    while (record := store.read(folder.name)).state == "running" and time.monotonic() < patience:
        time.sleep(JOINED_POLL_S)
    return Run.of(record)


def _settings_of(record: Record, project: Project) -> Settings:
    """The run's settings, with the folders of the project and what it gives of the settings that change no weights."""
    settings = Settings.from_dict(record["config"])
    given = {
        name: getattr(project.settings.train, name)
        for name in OF_THE_MOMENT
        if project.origins.get(f"train.{name}", "default") != "default"
    }
    of_project = project.settings
    of_here = {name: getattr(of_project, name) for name in ("paths", "cluster", "remote")}
    return replace(settings, train=replace(settings.train, **given), **of_here)


def refuse_leaks(
    pairs: Pairs,
    folds: Folds,
    settings: Settings,
    *,
    lookalikes: Lookalikes | None = None,
    progress: Progress = SILENCE,
) -> dict[str, Any] | None:
    """Check every split before it is trained on; what leaks where ``folds.leaks`` lets it (see ``sum_leaks``), None where nothing does.

    Raises:
        DataError: one image, one caption or near copies of one image stand on both sides of a split.
    """
    leaking = [one for one in find_leaks(pairs, folds, lookalikes=lookalikes) if one.leaks]
    if not leaking:
        return None
    found = sum_leaks(leaking)
    told = describe_leaks(found)
    if settings.folds.leaks == "refuse":
        raise DataError(
            told, "--set folds.group=all keeps look-alikes together; --set folds.leaks=warn trains all the same, marked"
        )
    progress.note(f"warning: {told}")
    return found


def _tell_idle_epochs(project: Project, progress: Progress) -> None:
    """Tell that epochs given on the command line change nothing of a translator that is solved at once."""
    from kaggle_kit.translators import translators

    name = project.settings.translator.name
    if translators[name].closed_form and project.origins.get("train.epochs", "").startswith("--"):
        progress.note(f"warning: {name} is solved in closed form, there are no epochs: --epochs changes nothing")


def _check_galleries(pairs: Pairs, folds: Folds, settings: Settings, progress: Progress) -> None:
    """Tell where folds hold fewer images than a gallery of the competition: the CV is then of smaller, easier galleries.

    Raises:
        DataError: a fold holds a single image; whatever is predicted comes first there.
    """
    from kaggle_kit.metrics import dealt_size

    wanted = settings.competition.gallery_size
    held_out = pairs.image_of_caption[folds.fold_of_image[pairs.image_of_caption] >= 0]
    size = dealt_size(wanted, held_out, folds.fold_of_image)
    if size >= wanted:
        return
    fold = int(np.bincount(folds.fold_of_image[np.unique(held_out)]).argmin())
    more = "take fewer folds (--folds)" if settings.folds.count > 1 else "hold out more (--set folds.holdout=…)"
    if size < 2:
        raise DataError(f"fold {fold + 1} holds out a single image: there is nothing to rank it among", more)
    progress.note(
        f"warning: fold {fold + 1} holds out {size} images, fewer than a gallery of {wanted}: the CV is of galleries of {size}, "
        f"which are easier, and does not rank with those of {wanted}"
    )


def describe_leaks(found: dict[str, Any]) -> str:
    """One sentence with the counts, and the first examples below it."""
    words = {
        "shared_images": "{:,} images on both sides",
        "equal_images": "{:,} held-out images with a copy in training",
        "near_images": "{:,} held-out images with a near copy in training",
        "equal_captions": "{:,} held-out captions with the words of a training caption",
    }
    counts = [text.format(found[kind]) for kind, text in words.items() if found[kind]]
    return "\n  ".join([f"the folds leak: {', '.join(counts)}", *found["examples"]])


def _unfinished(store: RunStore) -> Record:
    """The newest run that was stopped; one that failed would fail again, so it must be named."""
    unfinished = store.list(where=lambda one: one["kind"] == "run" and one.state in ("running", "interrupted"))
    if not unfinished:
        raise MissingError(f"no unfinished run in {store.folder}", "kk train starts one, kk runs list shows all")
    return unfinished[0]


def _new_record(project: Project, label: str, pairs: Pairs, report: dict[str, Any], folds: Folds) -> dict[str, Any]:
    from kaggle_kit.translators import translators

    settings = project.settings
    return {
        "kind": "run",
        "name": label,
        "competition": settings.competition.slug,
        "rehearsal": settings.competition.rehearsal,
        "state": "running",
        "translator": settings.translator.name,
        "loss": None if translators[settings.translator.name].closed_form else settings.loss.name,
        "config": settings.to_dict(),
        "plugins": recorded_plugins(settings),
        "config_digest": settings.digest(),
        "origins": {key: origin for key, origin in project.origins.items() if origin != "default"},
        "data": {
            "train_file": pairs.file.path.name,
            "train_sha256": pairs.file.sha256,
            "captions": len(pairs),
            "images": len(pairs.images),
            "d_text": pairs.text.shape[1],
            "d_image": pairs.images.shape[1],
            "report": report,
        },
        "folds": {
            "count": settings.folds.count,
            "by": settings.folds.by,
            "digest": folds.digest,
            "seed": settings.folds.seed,
        },
        "seeds": settings.train.seeds,
        "refit": settings.train.refit,
        "provenance": provenance(project.root),
        "cv": None,
    }


@dataclass(frozen=True)
class _Training:
    """What is left to do of a run that stands in the archive."""

    store: RunStore
    run_id: str
    settings: Settings
    pairs: Pairs
    folds: Folds
    deadline: Deadline | None
    progress: Progress

    def finish(self) -> Run:
        """Train what is unfinished and record how it ended, whatever way that is."""
        store, run_id = self.store, self.run_id
        with _training_lock(store, run_id), _outcome_recorded(store, run_id) as seconds:
            record = store.update(run_id, state="running", failure=None)
            results = self._results()
            if record.get("pruned"):
                results["pruned"] = []  # what was thrown away to save space is there again
            run = Run.of(store.update(run_id, state="done", seconds=seconds(), **results))
        self.progress.note(f"run {run_id}: out-of-fold MRR {run.cv:.4f} ± {run.cv_error:.4f}")
        return run

    def _results(self) -> dict[str, Any]:
        """The fields that a finished run adds to its record."""
        from kaggle_kit.training.crossvalidation import cross_validate, member_tasks
        from kaggle_kit.training.member import WEIGHTS

        record = self.store.read(self.run_id)
        done = cross_validate(
            self.pairs,
            self.folds,
            self.settings,
            record.folder,
            header=_header_of(record),
            deadline=self.deadline,
            progress=self.progress,
        )
        tasks = member_tasks(self.settings)
        return {
            "cv": done.scores.to_dict(),
            "fold_scores": [
                {"fold": m.fold, "seed": m.seed_number, "mrr": m.mrr, "error": m.error}
                for m in done.members
                if m.fold is not None
            ],
            "checkpoints": [
                {"fold": m.fold, "seed": m.seed_number, "file": f"{task.name}/{WEIGHTS}", "sha256": m.checkpoint_sha256}
                for task, m in zip(tasks, done.members, strict=True)
            ],
            "hardware": {**done.hardware.to_dict(), **done.crew.to_dict()},
            "train_seconds": sum(m.seconds for m in done.members),
        }


def _header_of(record: Record) -> dict[str, Any]:
    """The origin that each checkpoint carries: nothing that differs between two equal trainings, whose files are then equal."""
    return {
        "config": with_effect(record["config"]),
        "folds": record["folds"]["digest"],
        "train_sha256": record["data"]["train_sha256"],
        "versions": record["provenance"].get("versions"),
        "git": record["provenance"].get("git"),
    }


@contextlib.contextmanager
def _training_lock(store: RunStore, run_id: str) -> Iterator[None]:
    """One process a run; the system gives the lock back when the process dies."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(store.folder_of(run_id) / "training.lock", 0.0, run_id))
        except InterruptedWork:
            raise UsageError(
                f"run {run_id} is being trained by another process", "wait until it has ended, or start another run"
            ) from None
        yield


@contextlib.contextmanager
def _outcome_recorded(store: RunStore, run_id: str) -> Iterator[Callable[[], float]]:
    """A run that is left by an exception says so in its record: interrupted when it can go on, else failed.

    Yields:
        what tells the seconds that the run has taken so far, in this and in earlier calls.
    """
    begun, before = time.monotonic(), store.read(run_id)["seconds"] or 0.0

    def seconds() -> float:
        return before + time.monotonic() - begun

    try:
        yield seconds
    except InterruptedWork as error:
        error.hint = f"{FREE_SPACE if isinstance(error, DiskFullError) else ''}kk train --resume {run_id}"
        with contextlib.suppress(DiskFullError):  # a record that stays at "running" can be resumed as well
            store.update(run_id, state="interrupted", seconds=seconds())
        raise
    except KeyboardInterrupt as stopped:
        store.update(run_id, state="interrupted", seconds=seconds())
        raise type(stopped)(*(f"{text}: kk train --resume {run_id}" for text in stopped.args)) from None
    except KaggleKitError as error:
        store.update(run_id, state="failed", failure=error.message, seconds=seconds())
        raise
    except Exception as error:
        store.update(run_id, state="failed", failure=f"{type(error).__name__}: {error}", seconds=seconds())
        raise
