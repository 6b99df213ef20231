"""How long this notebook's session has run, and how much of it is left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.notebook import ROOT_VARIABLE, RUN_TYPE, in_notebook
from kaggle_kit.settings import RemoteSettings

PROC = Path("/proc")


@dataclass(frozen=True)
class NotebookSession:
    """One session of a notebook.

    Attributes:
        kind: ``Interactive`` or ``Batch``.
        running_s: seconds since it began; None where nothing tells.
        limit_s: seconds after which it is ended.
    """

    kind: str
    running_s: float | None
    limit_s: float

    @property
    def left_s(self) -> float | None:
        """Seconds until it is ended; None where nothing tells."""
        return None if self.running_s is None else max(0.0, self.limit_s - self.running_s)


def notebook_session(
    settings: RemoteSettings, environ: Mapping[str, str] = os.environ, proc: Path = PROC
) -> NotebookSession | None:
    """The session that this runs in; None outside a notebook.

    It began with the oldest of our ancestors that has the variables of a notebook: the variables are given to a session as a whole, and no
    process from before it has them.
    """
    if not in_notebook(environ):
        return None
    ages = [age for pid in _ancestry(proc) if _has_variables(proc / str(pid)) and (age := _age_s(proc / str(pid)))]
    return NotebookSession(environ.get(RUN_TYPE) or "Batch", max(ages, default=None), settings.session_s)


def _ancestry(proc: Path) -> Iterator[int]:
    """This process, its parent, and so on."""
    pid, seen = os.getpid(), set[int]()
    while pid > 0 and pid not in seen:
        yield pid
        seen.add(pid)
        try:
            pid = int(_fields(proc / str(pid))[1])
        except (OSError, ValueError, IndexError):
            return


def _fields(folder: Path) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on (state, parent, …); the name before them may hold anything."""
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _has_variables(folder: Path) -> bool:
    """Whether a process was started with the variables of a notebook; not known for other users' processes."""
    try:
        content = b"\0" + (folder / "environ").read_bytes()
    except OSError:
        return False
    return any(f"\0{name}=".encode() in content for name in (RUN_TYPE, ROOT_VARIABLE))


def _age_s(folder: Path) -> float | None:
    """Seconds since a process was started; None where the system does not tell."""
    try:
        began_s = int(_fields(folder)[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began_s
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return age if age >= 0 else None
