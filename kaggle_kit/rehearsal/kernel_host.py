"""Runs pushed scripts for real, each as a process of its own in a simulated notebook.

A version has a root of its own, with ``kaggle/input`` (what is attached), ``kaggle/working`` (what it leaves) and ``kaggle/temp`` below;
no HOME that can be written to; the variables of a notebook and no others; and an end, after which it is killed. It is a simulation, not a
jail: the script runs as the user who runs the server, and only who knows the server's token can push one.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from kaggle_kit.files import read_json, write_json
from kaggle_kit.notebook import ROOT_VARIABLE, RUN_TYPE, NotebookFolders

OWNER = "rehearsal"
"""The one account that there is."""

TIME_IS_UP = "Your notebook was stopped because it exceeded the max allowed execution duration."
BROKEN_PROXY = "http://127.0.0.1:9"
"""The discard port: nobody answers."""


@dataclass(frozen=True)
class KernelRules:
    """What sessions may do.

    Attributes:
        session_limit_s: seconds after which a session is ended; a push may ask for fewer.
        grace_s: seconds between asking a session to end and killing it.
        gpu_hours: hours on accelerators a week.
        tell_sessions: answers carry the number by which a session can be cancelled.
    """

    session_limit_s: float = 43_200.0
    grace_s: float = 10.0
    gpu_hours: float = 30.0
    tell_sessions: bool = False


@dataclass
class Version:
    """One version of a script: what was pushed, how far its session got, what it printed."""

    kernel: str
    number: int
    session: int
    folder: Path
    pushed: dict[str, Any]
    state: str = "QUEUED"
    message: str = ""
    asked: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def folders(self) -> NotebookFolders:
        """The folders of its notebook."""
        return NotebookFolders(self.folder / "root")

    @property
    def finished(self) -> bool:
        """Nothing will change any more."""
        return self.state in ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")

    @property
    def accelerated(self) -> bool:
        """It runs, or would run, on an accelerator whose hours are counted."""
        return bool(self.pushed.get("machineShape") or self.pushed.get("enableGpu"))

    def outputs(self) -> dict[str, Path]:
        """The files that it left, by their relative names."""
        working = self.folders.working
        return {
            path.relative_to(working).as_posix(): path
            for path in sorted(working.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }

    def save(self) -> None:
        """Write what a later server has to know."""
        fields = {name: value for name, value in vars(self).items() if name != "folder"}
        write_json(self.folder / "version.json", {"schema": 1, **fields})


class KernelHost:
    """The scripts of one server and the sessions that run them, one after another.

    Args:
        folder: where versions lie; those of an earlier server are taken up, unfinished ones as failed.
        mounts: gives the folders to attach, by their place below ``kaggle/input``, for what was pushed.
        environ: gives the variables that lead a session with internet to this server.
        rules: what sessions may do.
    """

    def __init__(
        self,
        folder: Path,
        mounts: Callable[[Version], Mapping[str, Path]],
        environ: Callable[[], Mapping[str, str]],
        rules: KernelRules,
    ) -> None:
        self.rules = rules
        self.changed = threading.Condition()
        self.versions: list[Version] = []
        self._folder = folder
        self._mounts = mounts
        self._environ = environ
        self._queue: queue.Queue[Version | None] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._worker = threading.Thread(target=self._work, name="notebooks", daemon=True)
        self._load()

    def _load(self) -> None:
        for path in sorted(self._folder.glob("*/*/*/version.json")):
            document = read_json(path)
            document.pop("schema")
            version = Version(folder=path.parent, **document)
            if not version.finished:
                version.state, version.message = "ERROR", "The server was stopped."
            self.versions.append(version)
        self.versions.sort(key=lambda version: version.session)

    def start(self) -> None:
        """Begin to run what is pushed."""
        self._worker.start()

    def close(self) -> None:
        """End whatever runs."""
        self._closing = True
        self._queue.put(None)
        with self.changed:
            if self._process is not None:
                _signal(self._process, signal.SIGKILL)
        self._worker.join(timeout=30)

    # -- versions ----------------------------------------------------------------------------------------------------

    def push(self, kernel: str, pushed: dict[str, Any]) -> Version:
        """Save a version and queue its session."""
        with self.changed:
            number = max((one.number for one in self.versions if one.kernel == kernel), default=0) + 1
            session = len(self.versions) + 1
            version = Version(kernel, number, session, self._folder / kernel / str(number), pushed, asked=time.time())
            version.folder.mkdir(parents=True)
            version.save()
            self.versions.append(version)
        self._queue.put(version)
        return version

    def version(self, kernel: str, number: int | None = None) -> Version | None:
        """A version of ``owner/slug``; the newest when no number is given."""
        found = [one for one in self.versions if one.kernel == kernel and number in (None, one.number)]
        return found[-1] if found else None

    def output_of(self, kernel: str) -> Version | None:
        """The newest version of ``owner/slug`` whose session has ended."""
        return next((one for one in reversed(self.versions) if one.kernel == kernel and one.finished), None)

    def used_s(self) -> float:
        """Seconds on accelerators so far."""
        now = time.time()
        return sum((one.ended or now) - one.started for one in self.versions if one.accelerated and one.started)

    def cancel(self, session: int) -> str:
        """Stop a session; why it cannot be, else an empty text."""
        version = next((one for one in self.versions if one.session == session), None)
        if version is None:
            return "No such session."
        with self.changed:
            if version.finished:
                return "The session has ended already."
            version.state = "CANCEL_REQUESTED" if version.started else "CANCEL_ACKNOWLEDGED"
            version.save()
            self.changed.notify_all()
            if version.started and self._process is not None:
                _signal(self._process, signal.SIGTERM)
        return ""

    # -- sessions ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (version := self._queue.get()) is not None and not self._closing:
            if version.state != "QUEUED":
                continue
            try:
                self._run(version)
            except Exception as error:  # whatever a pushed script does to its session, the server goes on
                self._end(version, "ERROR", f"The session could not be started: {type(error).__name__}")

    def _run(self, version: Version) -> None:
        _lay_out(version, self._mounts(version))
        script = version.folder / "script.py"
        script.write_text(str(version.pushed.get("text", "")), encoding="utf-8")
        with self.changed:
            if self._closing:
                return
            process = self._process = subprocess.Popen(
                [sys.executable, str(script)],
                cwd=version.folders.working,
                env=self._variables(version),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            version.state, version.started = "RUNNING", time.time()
            version.save()
            self.changed.notify_all()
        readers = [
            threading.Thread(target=self._read, args=(version, stream, name), daemon=True)
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for reader in readers:
            reader.start()
        in_time = self._wait(version, process)
        for reader in readers:
            reader.join(timeout=10)
        _token_file(version).unlink(missing_ok=True)
        self._conclude(version, process.returncode, in_time=in_time)

    def _wait(self, version: Version, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the end of a session, or make one; whether it ended by itself."""
        asked = version.pushed.get("sessionTimeoutSeconds")
        limit_s = min(self.rules.session_limit_s, float(asked) if asked else self.rules.session_limit_s)
        in_time = True
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            in_time = False
            _signal(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.rules.grace_s)
        _signal(process, signal.SIGKILL)  # whatever it left running ends with it
        process.wait()
        return in_time

    def _conclude(self, version: Version, code: int, *, in_time: bool) -> None:
        if version.state == "CANCEL_REQUESTED":
            self._end(version, "CANCEL_ACKNOWLEDGED", "")
        elif self._closing:
            self._end(version, "ERROR", "The server was stopped.")
        elif not in_time:
            self._end(version, "ERROR", TIME_IS_UP)
        elif code:
            self._end(version, "ERROR", f"Your notebook failed: it ended with exit code {code}.")
        else:
            self._end(version, "COMPLETE", "")

    def _end(self, version: Version, state: str, message: str) -> None:
        with self.changed:
            version.state, version.message, version.ended = state, message, time.time()
            self._process = None
            version.save()
            self.changed.notify_all()

    def _read(self, version: Version, stream: IO[bytes], name: str) -> None:
        with stream:
            for line in stream:
                passed, data = time.time() - version.started, line.decode("utf-8", "replace")
                with self.changed:
                    version.log.append({"stream_name": name, "time": passed, "data": data})
                    self.changed.notify_all()

    def _variables(self, version: Version) -> dict[str, str]:
        """The environment of a session: a notebook's variables, and of this machine only what a process needs to run."""
        root = version.folders.root
        own = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS") if name in os.environ}
        own |= {
            "LANG": "C.UTF-8",
            "HOME": str(root / "no-home" / "root"),  # below a file: nothing can be made there, whoever tries
            "TMPDIR": str(root / "tmp"),
            "PYTHONUNBUFFERED": "1",
            "PYTHONUSERBASE": str(root / "no-home" / ".local"),
            ROOT_VARIABLE: str(root),
            RUN_TYPE: "Batch",
            "KAGGLE_URL_BASE": "https://www.kaggle.com",
            "KAGGLE_DOCKER_IMAGE": "rehearsal",
            "KAGGLE_KERNEL_INTEGRATIONS": "",
        }
        if not version.pushed.get("enableInternet"):
            names = ("http_proxy", "https_proxy", "all_proxy")
            return own | {name: BROKEN_PROXY for lower in names for name in (lower, lower.upper())}
        served = self._environ()
        token = _token_file(version)
        token.parent.mkdir(parents=True)
        token.write_text(served["KAGGLE_API_TOKEN"])
        token.chmod(0o600)
        return own | {
            "KAGGLE_API_ENDPOINT": served["KAGGLE_API_ENDPOINT"],
            "KAGGLE_API_V1_TOKEN": str(token),
            "KAGGLE_DATA_PROXY_URL": served["KAGGLE_API_ENDPOINT"],
        }


def _token_file(version: Version) -> Path:
    """Where a session with internet finds what it logs in with."""
    return version.folders.root / "etc" / "secrets" / "kaggle" / "api-v1-token"


def _lay_out(version: Version, mounts: Mapping[str, Path]) -> None:
    """Make the folders of a notebook and attach what was asked for."""
    folders = version.folders
    for folder in (folders.working, folders.root / "kaggle" / "temp", folders.root / "tmp", folders.input):
        folder.mkdir(parents=True, exist_ok=True)
    (folders.root / "no-home").write_bytes(b"")
    for place, source in mounts.items():
        mount = folders.input / place
        mount.parent.mkdir(parents=True, exist_ok=True)
        mount.symlink_to(source)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a session and all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
