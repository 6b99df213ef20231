"""One process of a run over several devices, as torchrun starts it: ``python -m kaggle_kit.training.worker FOLDER ROLE WAIT_S``.

Takes its orders from the job in the run's folder and tells its news on standard output (see ``channel``). The end of standard input
means: stop, save, leave. It comes when the parent wants so, and just as well when the parent is gone.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import filelock
import torch
import torch.distributed as dist

from kaggle_kit.errors import InterruptedWork, KaggleKitError, UsageError
from kaggle_kit.progress import SILENCE
from kaggle_kit.training.channel import STDIN, Channel
from kaggle_kit.training.collective import Together
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.crossvalidation import member_tasks, train_one
from kaggle_kit.training.interrupts import StopRequest, stop_on_signals
from kaggle_kit.training.job import JOINS, Job, read_job
from kaggle_kit.training.machines import Machines
from kaggle_kit.training.member import MemberTask, finished_member
from kaggle_kit.training.precision import Hardware, choose_hardware


def main(arguments: Sequence[str]) -> int:
    """Work until nothing is left to do or the order to stop comes; the exit code.

    Args:
        arguments: the run's folder and ``leads``, or the folder of all runs and ``joins`` on a machine that joins another's run; then
            for how many seconds to wait for the other machines.
    """
    channel = Channel(int(os.environ["RANK"]))
    with stop_on_signals() as stop:
        try:
            _work(Path(arguments[0]), channel, stop, joins=arguments[1] == JOINS, wait_s=float(arguments[2]))
        except InterruptedWork as error:
            if not stop or type(error) is not InterruptedWork:
                channel.failed(error)
                return error.exit_code
        except KaggleKitError as error:
            channel.failed(error)
            return error.exit_code
        except BaseException as error:  # the parent tells it; nobody else hears of it
            channel.failed(error)
            return 1
    channel.tell("bye")
    return 0


def _work(place: Path, channel: Channel, stop: StopRequest, *, joins: bool, wait_s: float) -> None:
    machines = Machines.of_environment(wait_s)
    run = machines.agree_on_run(place, joins=joins)
    channel.tell("hello", pid=os.getpid(), run=str(run))
    job = read_job(run)
    _watch_parent(stop, job.settings.cluster.grace_s)
    with machines.watched(stop, job.settings.cluster.grace_s):
        hardware = _own_device(job)
        if job.together:
            _train_together(job, hardware, channel, stop)
        else:
            _train_claimed(job, hardware, channel, stop)


def _watch_parent(stop: StopRequest, grace_s: float) -> None:
    """Stop when standard input ends, and leave at all events ``grace_s`` seconds later."""

    def watch() -> None:
        while os.read(STDIN, 1):
            pass
        stop.note(signal.SIGTERM, None)
        time.sleep(grace_s)
        os._exit(InterruptedWork.exit_code)

    threading.Thread(target=watch, daemon=True).start()


def _own_device(job: Job) -> Hardware:
    """The device that is this worker's on its machine."""
    train = job.settings.train
    if job.hardware.device == "cuda":
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if job.together and local >= there:
            raise UsageError(
                f"--parallel batch needs a device for each worker: {os.environ['LOCAL_WORLD_SIZE']} workers, {there} devices",
                f"lower --workers to {there}",
            )
        torch.cuda.set_device(local % there)
    return choose_hardware(job.hardware.device, train.precision, job.hardware.threads)


def _train_claimed(job: Job, hardware: Hardware, channel: Channel, stop: StopRequest) -> None:
    """Train members that no other worker has taken."""
    context = RunContext(job.settings, hardware, job.run, job.header, stop, channel)
    for task in _tasks(job):
        with _claim(job.claims / f"{task.name}.lock") as mine:
            # a member that is another worker's is finished by it, or ends with all of us
            if mine and finished_member(job.run / task.name) is None:
                train_one(task, job.pairs, job.folds, context)


@contextmanager
def _claim(path: Path) -> Iterator[bool]:
    """Whether this worker has the member for itself; the system gives the lock back when a worker dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    with lock:
        yield True


def _train_together(job: Job, hardware: Hardware, channel: Channel, stop: StopRequest) -> None:
    """Train one member after the other with all workers; the first tells about it and writes."""
    together = _meet(hardware, job.settings.cluster.wait_s)
    agreed = together.agreeing(stop)
    context = RunContext(job.settings, hardware, job.run, job.header, agreed, channel, together)
    if not together.leads:
        context = replace(context, progress=SILENCE)
    for task in _tasks(job):
        agreed.agree()  # also holds everybody until the first has written the member before
        train_one(task, job.pairs, job.folds, context)


def _meet(hardware: Hardware, wait_s: float) -> Together:
    """All workers, over NCCL where each has a GPU of its own, else over gloo."""
    on_gpus = hardware.device == "cuda"
    dist.init_process_group("nccl" if on_gpus else "gloo", timeout=timedelta(seconds=wait_s))
    control = dist.new_group(backend="gloo") if on_gpus else dist.group.WORLD
    return Together(dist.group.WORLD, control)


def _tasks(job: Job) -> list[MemberTask]:
    return [task for task in member_tasks(job.settings) if task.name in job.unfinished]


if __name__ == "__main__":
    import sys

    # at once: taking a process group down while others leave may abort, long after all work is on disk
    os._exit(main(sys.argv[1:]))
