"""A run over several devices and machines: ``torchrun`` as a sub-process, its news told here, its failures raised here.

Workers are started anew, never forked: a notebook's kernel that has used its GPU can start them. They take stops from the end of their
standard input, which comes even when this process is killed. Nobody outlives a dead worker by more than ``cluster.grace_s`` seconds.
"""

from __future__ import annotations

import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import torch

from kaggle_kit import plugins
from kaggle_kit.config import Settings
from kaggle_kit.errors import InterruptedWork, KaggleKitError, UsageError
from kaggle_kit.progress import Progress
from kaggle_kit.settings import ClusterSettings
from kaggle_kit.training.channel import Listener
from kaggle_kit.training.interrupts import GO_ON, StopRequest
from kaggle_kit.training.job import JOINS, LEADS, Job, handed_over
from kaggle_kit.training.precision import Hardware, choose_hardware
from kaggle_kit.translators import translators

POLL_S = 0.2
"""Seconds between two looks at a stop that was asked for; news of the workers are told when they come."""

LOOPBACK = "127.0.0.1"
_LOOPBACK_DEVICE = {"linux": "lo", "darwin": "lo0"}
_ENDING = "ending of the workers"


@dataclass(frozen=True)
class Crew:
    """The processes that train a run.

    Attributes:
        workers: how many on this machine.
        together: whether all share each batch (``train.parallel = "batch"``); else each takes whole members.
        cluster: the other machines, and patience.
    """

    workers: int
    together: bool
    cluster: ClusterSettings

    @property
    def is_one_process(self) -> bool:
        """Whether there is nothing to start: this process trains by itself."""
        return self.workers == 1 and self.cluster.nnodes == 1

    @property
    def words(self) -> str:
        """What a person is told of them after the hardware; empty for one process."""
        if self.is_one_process:
            return ""
        machines = f" on each of {self.cluster.nnodes} machines" if self.cluster.nnodes > 1 else ""
        return (
            f", {self.workers} workers{machines}, {'all at one fold' if self.together else 'each at a fold of its own'}"
        )

    def for_members(self, count: int) -> Crew:
        """No more workers than ``count`` members can use."""
        if self.together or self.cluster.nnodes > 1:
            return self
        return replace(self, workers=max(1, min(self.workers, count)))

    def to_dict(self) -> dict[str, object]:
        """The record's shape."""
        return {
            "workers": self.workers,
            "nnodes": self.cluster.nnodes,
            "parallel": "batch" if self.together else "folds",
        }


def choose_crew(settings: Settings) -> tuple[Crew, Hardware]:
    """The workers that the settings ask for, and what each computes with; sets torch's thread count.

    On a CPU the workers divide the cores unless ``train.threads`` says otherwise.

    Raises:
        UsageError: the machines are not described well, or the device cannot do what is asked for.
    """
    train, cluster = settings.train, settings.cluster
    _check(cluster)
    hardware = choose_hardware(train.device, train.precision, train.threads)
    workers = train.workers or (torch.cuda.device_count() if hardware.device == "cuda" else 1)
    together = train.parallel == "batch" and not translators[settings.translator.name].closed_form
    if together and hardware.device != "cpu" and workers > _devices(hardware):
        raise UsageError(
            f"train.parallel = batch needs a device for each worker: {workers} workers, {_devices(hardware)} devices",
            "lower --workers, or choose --parallel folds",
        )
    if workers > 1 and train.threads is None and hardware.device == "cpu":
        hardware = choose_hardware("cpu", train.precision, max(1, hardware.threads // workers))
    return Crew(workers, together, cluster), hardware


def _devices(hardware: Hardware) -> int:
    return torch.cuda.device_count() if hardware.device == "cuda" else 1


def _check(cluster: ClusterSettings) -> None:
    if cluster.nnodes > 1 and cluster.rdzv is None:
        raise UsageError(
            f"{cluster.nnodes} machines need a place to meet",
            "add --rdzv HOST:PORT, an address of the first machine and a free port there",
        )
    host, _, port = (cluster.rdzv or "").rpartition(":")
    if cluster.nnodes > 1 and not (host and port.isascii() and port.isdigit()):
        raise UsageError(
            f"cluster.rdzv must be HOST:PORT, not {cluster.rdzv!r}",
            "for example --rdzv 192.168.1.10:29500, the same on each machine",
        )
    if cluster.node_rank >= cluster.nnodes:
        raise UsageError(
            f"there is no machine {cluster.node_rank} among {cluster.nnodes}; they are counted from 0",
            "give --nnodes the number of machines",
        )


def train_in_parallel(job: Job, crew: Crew, stop: StopRequest, progress: Progress) -> None:
    """Train the job's unfinished members with the crew; their files are then in the run's folder.

    Raises:
        TrainingError: a member diverged.
        KaggleKitError: a worker failed; the others were ended, what was finished is kept.
        InterruptedWork, KeyboardInterrupt: asked to stop, or a worker was killed; a later call goes on.
    """
    with handed_over(job), _torchrun(job.run, LEADS, crew, job.hardware.threads) as torchrun:
        _Foreman(torchrun, crew, stop, progress).oversee()


def join_run(models: Path, crew: Crew, hardware: Hardware, stop: StopRequest, progress: Progress) -> Path:
    """Take part, with this machine's devices, in the run that another machine leads.

    Args:
        models: the folder of runs, which all machines must see.

    Returns:
        The run's folder.

    Raises:
        Everything that ``train_in_parallel`` raises.
    """
    with _torchrun(models, JOINS, crew, hardware.threads) as torchrun:
        foreman = _Foreman(torchrun, crew, stop, progress)
        foreman.oversee()
    if foreman.listener.run is None:
        raise KaggleKitError("the workers ended before they learned which run to join", "start all machines again")
    return foreman.listener.run


@dataclass
class _Torchrun:
    """The started process, the pipes to and from it, and the file that takes its standard error."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    errors: IO[bytes]

    def said(self) -> str:
        """The end of what it said on standard error."""
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 20_000))
        return self.errors.read().decode(errors="replace")


@contextmanager
def _torchrun(folder: Path, role: str, crew: Crew, threads: int) -> Iterator[_Torchrun]:
    """Start the workers; however the block ends, none of them stays behind."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            _command(folder, role, crew),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(crew, threads),
            start_new_session=True,  # Ctrl-C at a terminal is this process's alone: workers are told to save first
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield _Torchrun(process, process.stdin, process.stdout, errors)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe.close()


def _command(folder: Path, role: str, crew: Crew) -> list[str]:
    cluster = crew.cluster
    if cluster.nnodes == 1:
        meeting = ["--rdzv-endpoint", f"{LOOPBACK}:0", "--rdzv-id", secrets.token_hex(8), "--local-addr", LOOPBACK]
    else:
        meeting = ["--rdzv-endpoint", str(cluster.rdzv), "--rdzv-id", "kaggle_kit"]
        meeting += ["--rdzv-conf", f"join_timeout={cluster.wait_s:.0f}"]
    # fmt: off
    return [
        sys.executable, "-m", "torch.distributed.run",
        "--nnodes", str(cluster.nnodes), "--nproc-per-node", str(crew.workers), "--max-restarts", "0",
        "--rdzv-backend", "c10d", *meeting,
        "-m", "kaggle_kit.training.worker", str(folder.absolute()), role, str(cluster.wait_s),
    ]
    # fmt: on


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment for one that it starts: with the thread count, and the package where it is not installed."""
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **plugins.environment(),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _environment(crew: Crew, threads: int) -> dict[str, str]:
    environment = child_environment(threads)
    if crew.cluster.nnodes == 1 and sys.platform in _LOOPBACK_DEVICE:
        # a machine whose own name does not resolve (many notebooks) would keep gloo waiting
        environment.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK_DEVICE[sys.platform])
    return environment


class _Foreman:
    """Listens to the workers, passes stops on, and sees to it that all have ended in time."""

    def __init__(self, torchrun: _Torchrun, crew: Crew, stop: StopRequest, progress: Progress) -> None:
        self.torchrun, self.process = torchrun, torchrun.process
        self.crew, self.stop = crew, stop
        self.listener = Listener(progress)
        self.kill_at: float | None = None
        self.heard_all = False
        self.news: queue.Queue[bytes | None] = queue.Queue()
        budget = stop.deadline.budget_s if stop.deadline else float("inf")
        stop.longest[_ENDING] = min(crew.cluster.grace_s, 0.1 * budget)
        threading.Thread(target=self._read, daemon=True).start()

    def oversee(self) -> None:
        """Until all workers have ended; then raise what they failed with, if they did."""
        try:
            while not self._over():
                if self.stop.before(_ENDING) or self.listener.failures or self.process.poll() is not None:
                    self._end_all()
            self._end_all()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(self._left_s())
        finally:
            if not self.heard_all:
                self._kill()
        self._raise_outcome()

    def _read(self) -> None:
        for line in self.torchrun.stdout:
            self.news.put(line)
        self.news.put(None)

    def _over(self) -> bool:
        """Take the next line, if one comes soon; True when no more will, or the time to end is over."""
        try:
            line = self.news.get(timeout=POLL_S)
        except queue.Empty:
            return self._left_s() == 0
        if line is not None:
            self.listener.take(line)
        self.heard_all = line is None
        return self.heard_all

    def _left_s(self) -> float | None:
        """Seconds that workers still have to end; None when nobody asked them to."""
        return None if self.kill_at is None else max(0.0, self.kill_at - time.monotonic())

    def _end_all(self) -> None:
        """Ask the workers, once, to save and leave."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.crew.cluster.grace_s
            with suppress(OSError):
                self.torchrun.stdin.close()

    def _kill(self) -> None:
        """End what has not ended by itself."""
        for worker, pid in self.listener.pids.items():
            if worker not in self.listener.left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _raise_outcome(self) -> None:
        error = self.listener.error()
        killed = self._killed()
        if error is not None and (type(error) is not KaggleKitError or killed is None):
            raise error
        if self.stop:
            self.stop.raise_stop(" and ".join(self.listener.in_training) or "the start of the workers")
        if killed is not None:
            raise killed
        if self.process.returncode:
            raise KaggleKitError(
                f"the workers ended with code {self.process.returncode}: {_last_line(self.torchrun.said())}",
                "run again with --debug, and report it",
            )
        if self.listener.in_training:
            raise InterruptedWork("another machine of the run ended", GO_ON)

    def _killed(self) -> InterruptedWork | None:
        """The error for a worker that was killed from outside, by torchrun's report; None when none was."""
        report = self.torchrun.said()
        for rank, code, pid in re.findall(r"rank\s*: (\d+).*?exitcode\s*: (-?\d+) \(pid: (\d+)\)", report, re.DOTALL):
            number = -int(code)
            if number > 0 and number != signal.SIGTERM and int(rank) not in self.listener.left:
                doing = self.listener.work_of(int(rank))
                return InterruptedWork(
                    f"worker {rank} (process {pid}) was killed by {signal.Signals(number).name}"
                    f"{f' while it trained {doing}' if doing else ''}; what was finished is kept",
                    f"{GO_ON}; if memory ran out, with fewer --workers",
                )
        return None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "they said nothing"
