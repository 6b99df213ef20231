"""The project's own Python files, with translators and losses in them: found, run once, and remembered with their hash.

Only files inside the project's folder that its ``kk.toml`` names are ever run: never one named by a configuration from elsewhere, by a
run's record or by a checkpoint, and never a copy that lies in an archive.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.errors import DataError, KaggleKitError, UsageError
from kaggle_kit.files import sha256_of

WORKERS_VARIABLE = "KAGGLE_KIT_PLUGINS"
"""How the processes that train for a project learn of its files."""


@dataclass(frozen=True)
class Plugin:
    """A file of the project that was run.

    Attributes:
        root: the project's folder.
        name: the file as the project calls it, relative to ``root``.
        sha256: of its content when it was run.
    """

    root: Path
    name: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.root / self.name

    def to_dict(self) -> dict[str, str]:
        """What records and checkpoints say of it."""
        return {"file": self.name, "sha256": self.sha256}


_running: ContextVar[Plugin | None] = ContextVar("running", default=None)
_declared: tuple[Path, tuple[str, ...]] | None = None
_pending = True
_run: dict[Path, Plugin] = {}


def running() -> Plugin | None:
    """The file that is being run, and registers what it defines; None outside of one."""
    return _running.get()


def find_plugins(root: Path, names: Sequence[str]) -> list[str]:
    """The files that ``names`` (relative paths, ``*`` allowed) stand for, relative to ``root``.

    Raises:
        ValueError: a name leads out of the project, or to no Python file; the message is a sentence.
    """
    found: list[str] = []
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"must be a path inside the project, not {name!r}")
        files = sorted(root.glob(name)) if name.strip() else []
        files = [file for file in files if file.is_file() and file.suffix == ".py"]
        if not files:
            raise ValueError(f"no Python file {name!r} in {root}")
        for file in files:
            if not file.resolve().is_relative_to(root.resolve()):
                raise ValueError(f"must be a path inside the project; {name!r} leads to {file.resolve()}")
            found.append(file.relative_to(root).as_posix())
    return list(dict.fromkeys(found))


def declare(root: Path, names: Sequence[str]) -> None:
    """Name the files of the project that is worked with from now on; they are run when something asks for what they define."""
    global _declared, _pending
    _declared, _pending = (root, tuple(names)), True


def environment() -> dict[str, str]:
    """What a process that trains for this one needs in its environment."""
    if _declared is None or not _declared[1]:
        return {}
    return {WORKERS_VARIABLE: json.dumps([str(_declared[0]), list(_declared[1])])}


def run_declared(environ: Mapping[str, str] = os.environ) -> None:
    """Run the declared files, once for each time that a project is loaded; one that did not change since is not run again.

    What is edited while a run trains has no part in it.

    Raises:
        UsageError: a file cannot be read, or fails; with the line.
    """
    global _pending
    declared = _declared
    if not _pending or running() is not None:
        return
    if declared is None and (text := environ.get(WORKERS_VARIABLE)):
        root, names = json.loads(text)
        declared = (Path(root), tuple(names))
    root, files = declared or (Path(), ())
    for name in files:
        _run_file(root, name)
    _pending = False


def _run_file(root: Path, name: str) -> None:
    path = root / name
    try:
        plugin = Plugin(root, name, sha256_of(path))
    except OSError as error:
        raise UsageError(f"plugin {path} cannot be read: {error.strerror}", "see plugins in kk.toml") from None
    if _run.get(path) == plugin:
        return
    spec = importlib.util.spec_from_file_location(f"kk_plugin_{path.stem}_{plugin.sha256[:8]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and type hints look their module up
    token = _running.set(plugin)
    try:
        with own_errors(plugin):
            spec.loader.exec_module(module)
    finally:
        _running.reset(token)
    _run[path] = plugin


@contextlib.contextmanager
def own_errors(plugin: Plugin) -> Iterator[None]:
    """Whatever the project's own code raises becomes an error that names its file and line.

    Raises:
        UsageError: with the line; the exception itself is its cause.
    """
    try:
        yield
    except KaggleKitError:
        raise
    except (Exception, SystemExit) as error:
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(plugin.path) else None
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(plugin.path)
        ]
        line = line or (lines[-1] if lines else None)
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        where = f"{plugin.name}, line {line}" if line else plugin.name
        raise UsageError(
            f"{where}: {type(error).__name__}: {said}", f"look at {plugin.path}; --debug shows the whole way there"
        ) from error


def refuse_changed(recorded: Mapping[str, str], now: Plugin | None, what: str, kept: str) -> None:
    """Refuse code that is not the code that trained something.

    Args:
        recorded: ``file`` and ``sha256`` as the record or checkpoint has them.
        now: the file that defines it here; None when the package itself does.
        what: what was trained, for the message.
        kept: where a copy of the former file lies.

    Raises:
        DataError: the hashes differ.
    """
    if now is not None and now.sha256 == recorded["sha256"]:
        return
    found = "the package's own code" if now is None else f"sha256 {now.sha256[:12]}…"
    raise DataError(
        f"{what} was trained by {recorded['file']} with sha256 {recorded['sha256'][:12]}…; here is {found}",
        f"the file that trained it is kept as {kept}: put it back, or train anew with kk train",
    )
