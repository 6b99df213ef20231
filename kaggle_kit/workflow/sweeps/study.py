"""What a sweep has found so far: its journal on disk, read into plain results. Optuna is imported when it is needed."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit import files
from kaggle_kit.archive.records import hold_lock
from kaggle_kit.config import Project, literal
from kaggle_kit.config.model import CHOICES
from kaggle_kit.errors import DataError, DiskFullError, InterruptedWork, MissingError, UsageError, storage_errors

if TYPE_CHECKING:
    import optuna

FOLDER, JOURNAL, IDENTITY, BEST, NEXT_LOCK = "sweeps", "journal.log", "sweep.json", "best.toml", "next.lock"
STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
_LOCK_WAIT_S = 120.0
_TRAINED = ("data", "folds", "translator", "loss", "train", "validation")


@dataclass(frozen=True)
class SweepTrial:
    """One trial of a sweep.

    Attributes:
        number: counted from 0.
        state: ``done``, ``pruned`` (given up early), ``failed``, ``running``, ``stopped`` (the next call goes on with it) or ``waiting``.
        value: out-of-fold MRR; of a pruned trial, the last value that it reported; None when there is none.
        params: the values tried, by setting.
        run: the run's id in the archive; None when it has none yet.
        reports: (point, MRR) pairs: epochs of the first fold, then, after the last possible epoch, the mean of the finished folds.
        seconds: from its start to its end, pauses included; None while it is not finished.
        failure: why it failed.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    run: str | None
    reports: list[tuple[int, float]] = field(default_factory=list)
    seconds: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Sweep:
    """A sweep and its trials.

    Attributes:
        name: its folder's name below ``models_archive/sweeps``.
        folder: where the journal and ``best.toml`` lie.
        trials: in the order of their numbers.
        importances: (setting, share) pairs, the most important first, shares summing to 1; empty with fewer than two finished trials.
        best: the trial with the highest MRR; None when none is finished.
        command: ``kk train`` with the best trial's values.
        best_config: the TOML that ``kk train --config`` takes; None when there is no best trial.
    """

    name: str
    folder: Path
    trials: list[SweepTrial]
    importances: list[tuple[str, float]]
    best: SweepTrial | None
    command: str | None
    best_config: Path | None

    def count(self, *states: str) -> int:
        """How many trials are in one of ``states``."""
        return sum(trial.state in states for trial in self.trials)


def load_sweep(project: Project, name: str | None = None) -> Sweep:
    """What a sweep has found so far.

    Args:
        name: the sweep's; that of the project's configuration file, or the only one there is, when None.

    Raises:
        MissingError: there is no such sweep.
        UsageError: several sweeps and no name, or Optuna is not installed.
        DataError: its journal is damaged.
    """
    require_optuna()
    return Journal.open(project, name or _only_name(project)).sweep()


def default_name(project: Project) -> str | None:
    """The name of the sweep that the project's configuration file is for: the file's name without its ending."""
    return Path(project.config).stem if project.config else None


def _only_name(project: Project) -> str:
    if name := default_name(project):
        return name
    names = sorted(path.parent.name for path in (project.models_dir / FOLDER).glob(f"*/{IDENTITY}"))
    if not names:
        raise MissingError(f"no sweep in {project.models_dir / FOLDER}", "kk sweep CONFIG begins one")
    if len(names) > 1:
        raise UsageError(f"there are {len(names)} sweeps: {', '.join(names)}", "name one of them")
    return names[0]


def require_optuna() -> None:
    """Refuse to go on where Optuna is not installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("optuna") is None:
        raise UsageError(
            "a sweep needs Optuna, which is not installed",
            'pip install optuna, or install kaggle_kit with its extra: pip install ".[sweep]"',
        )


@contextmanager
def optuna_quiet() -> Iterator[Any]:
    """Optuna, its notes and its warnings about what is experimental silenced: we say ourselves what happens."""
    require_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        yield optuna


class Journal:
    """The folder of a sweep: who it is, what it asks, and the journal that processes and machines share.

    Args:
        project: with the settings that the trials start from.
        folder: the sweep's.
        identity: content of ``sweep.json``.
        study: Optuna's, on the journal.
    """

    def __init__(self, project: Project, folder: Path, identity: Mapping[str, Any], study: optuna.Study) -> None:
        self.project, self.folder, self.identity, self.study = project, folder, identity, study

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.folder.name

    @classmethod
    def open(cls, project: Project, name: str) -> Journal:
        """The journal of a sweep that was begun.

        Raises:
            MissingError: there is none of that name.
            DataError: it is damaged.
        """
        folder = folder_of(project, name)
        try:
            identity = files.read_json(folder / IDENTITY)
        except MissingError:
            raise MissingError(
                f"no sweep {name!r} in {folder.parent}", "kk sweep CONFIG begins one; --name names another"
            ) from None
        return cls(project, folder, identity, _study(folder))

    @classmethod
    def begin(cls, project: Project, name: str, asked: Mapping[str, Any]) -> Journal:
        """The journal of a sweep, made now unless it exists, when it asks the same as before.

        Args:
            asked: the space and the settings that hold for all trials; what makes the trials comparable.

        Raises:
            UsageError: there is a sweep of that name that asks something else.
        """
        folder = folder_of(project, name)
        with hold_lock(folder / NEXT_LOCK, _LOCK_WAIT_S, f"the sweep {name}"):
            if not (folder / IDENTITY).exists():
                files.write_json(folder / IDENTITY, {"name": name, "id": secrets.token_hex(4), **asked})
            _mend(folder / JOURNAL)
            journal = cls.open(project, name)
        _check_same(journal, asked)
        return journal

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold off the other processes of the sweep for a moment."""
        with hold_lock(self.folder / NEXT_LOCK, _LOCK_WAIT_S, f"the sweep {self.name}"), self.writing():
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Translate what can go wrong with the journal.

        Raises:
            DiskFullError: no space left.
            DataError: a line of it cannot be read.
        """
        with storage_errors(self.folder / JOURNAL, "writing"), _readable(self.folder), optuna_quiet():
            yield

    def claim(self, number: int) -> ExitStack | None:
        """The lock of a trial, which the system gives back when its process dies; None when another process holds it."""
        claim = ExitStack()
        try:
            claim.enter_context(hold_lock(self.folder / "locks" / f"{number}.lock", 0.0, f"trial {number}"))
        except DiskFullError:
            raise
        except InterruptedWork:
            return None
        return claim

    def trials(self) -> list[SweepTrial]:
        """Every trial, by number."""
        with _readable(self.folder), optuna_quiet():
            trials = [_plain(trial) for trial in self.study.get_trials(deepcopy=False)]
        return [replace(trial, state="stopped") if self._is_left(trial) else trial for trial in trials]

    def _is_left(self, trial: SweepTrial) -> bool:
        """Whether a trial is unfinished, but no process is at work on it."""
        claim = self.claim(trial.number) if trial.state == "running" else None
        if claim is None:
            return False
        claim.close()
        return True

    def sweep(self) -> Sweep:
        """What was found so far."""
        trials = self.trials()
        best = best_of(trials)
        config = self.folder / BEST
        return Sweep(
            self.name,
            self.folder,
            trials,
            _importances(self.study, trials),
            best,
            train_command(self.project, best.params) if best else None,
            config if best and config.exists() else None,
        )

    def write_best(self) -> None:
        """Bring ``best.toml`` up to date."""
        best = best_of(self.trials())
        if best is not None and self.project.vary is not None:
            text = _best_text(self.name, best, self.project.vary(best.params))
            files.write_bytes(self.folder / BEST, text.encode())


def folder_of(project: Project, name: str) -> Path:
    """The folder of the sweep ``name``.

    Raises:
        UsageError: it is no plain name.
    """
    if not name or name.startswith(".") or Path(name).name != name:
        raise UsageError(f"{name!r} cannot be the name of a sweep", "give a name that a folder can have")
    return project.models_dir / FOLDER / name


def best_of(trials: Sequence[SweepTrial]) -> SweepTrial | None:
    """The finished trial with the highest value, the earliest of equals."""
    done = [trial for trial in trials if trial.state == "done" and trial.value is not None]
    return max(done, key=lambda trial: (trial.value, -trial.number), default=None)


def train_command(project: Project, params: Mapping[str, Any]) -> str:
    """``kk train`` with the values of a trial on top of what was given for the sweep."""
    given = {
        key: _shown(value)
        for key, value in ((row.key, row.value) for row in project.rows())
        if project.origins.get(key, "").startswith("--") and key not in params
    }
    words = ["kk", "train", *(["--config", project.config] if project.config else [])]
    for key, value in {**given, **{key: _shown(value) for key, value in params.items()}}.items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)


def _shown(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(_shown(inner) for inner in value)
    return "none" if value is None else repr(value) if isinstance(value, float) else str(value)


def _best_text(name: str, best: SweepTrial, varied: Project) -> str:
    """The settings of the best trial as TOML: what was said somewhere, neither defaults nor the recipe's, which hold without being said."""
    lines = [f"# Trial {best.number} of the sweep {name}: out-of-fold MRR {best.value:.4f}, run {best.run}"]
    rows = varied.rows()
    for section in _TRAINED:
        said = [row for row in rows if row.key.startswith(f"{section}.") and _was_said(varied, section, row)]
        if said:
            lines += ["", f"[{section}]", *(f"{row.key.partition('.')[2]} = {literal(row.value)}" for row in said)]
    return "\n".join(lines) + "\n"


def _was_said(varied: Project, section: str, row: Any) -> bool:
    """Whether a file, a variable or a flag gave the setting; the name of a choice goes with its options."""
    said = row.origin != "default" and not row.origin.startswith("recipe ")
    return said or (section in CHOICES and row.key == f"{section}.name")


def _study(folder: Path) -> optuna.Study:
    """Optuna's study on the folder's journal; trials are to be as good as possible: ``maximize``."""
    with optuna_quiet() as optuna, storage_errors(folder / JOURNAL, "opening"), _readable(folder):
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        # the lock is a link to the path: a relative one would lead nowhere
        storage = JournalStorage(JournalFileBackend(str((folder / JOURNAL).absolute())))
        return optuna.create_study(storage=storage, study_name=folder.name, direction="maximize", load_if_exists=True)


def _mend(path: Path) -> None:
    """Cut off a last line that was never finished, because its writer was killed or the disk was full."""
    if not path.exists() or _ends_whole(path):
        return
    with optuna_quiet(), storage_errors(path, "mending"):
        from optuna.storages.journal import JournalFileSymlinkLock

        lock = JournalFileSymlinkLock(str(path.absolute()))
        lock.acquire()  # nobody is in the middle of a line now
        try:
            content = path.read_bytes()
            os.truncate(path, content.rfind(b"\n") + 1)
        finally:
            lock.release()


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 1))
        return file.read() in (b"", b"\n")


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (json.JSONDecodeError, AssertionError) as error:
        raise DataError(
            f"{folder / JOURNAL} is damaged: {error}",
            "its runs stay in the archive; kk sweep CONFIG --name another begins anew",
        ) from error


def _check_same(journal: Journal, asked: Mapping[str, Any]) -> None:
    """Refuse to mix trials that cannot be compared."""
    changed = []
    for part, new in json.loads(files.to_json(asked)).items():
        old = journal.identity.get(part, {})
        for key in dict.fromkeys([*old, *new]):
            if old.get(key) != new.get(key):
                changed.append(f"{key}: {_told(old.get(key))} then, {_told(new.get(key))} now")
    if changed:
        raise UsageError(
            "\n".join([f"the sweep {journal.name} was begun with other settings", *changed]),
            "set them as they were, or begin another sweep with --name",
        )


def _told(value: Any) -> str:
    return "not there" if value is None else json.dumps(value)


def _plain(trial: optuna.trial.FrozenTrial) -> SweepTrial:
    ends = trial.datetime_complete, trial.datetime_start
    return SweepTrial(
        number=trial.number,
        state=STATES[trial.state.name],
        value=trial.value,
        params=dict(trial.params),
        run=trial.user_attrs.get("run"),
        reports=sorted(trial.intermediate_values.items()),
        seconds=(ends[0] - ends[1]).total_seconds() if ends[0] and ends[1] else None,
        failure=trial.user_attrs.get("failure"),
    )


def _importances(study: optuna.Study, trials: Sequence[SweepTrial]) -> list[tuple[str, float]]:
    """How much of the differences between finished trials each setting explains.

    Source: Watanabe et al., PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces, IJCAI 2023.
    """
    values = {trial.value for trial in trials if trial.state == "done"}
    if len(values) < 2:
        return []
    with optuna_quiet() as optuna:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except (RuntimeError, ValueError):  # too few trials, or no setting that all of them share
            return []
    return list(found.items())
