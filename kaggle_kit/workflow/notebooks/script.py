"""What runs in the notebook: this file is pushed as it stands, with ``JOB`` and ``PACK`` filled in.

Knows the standard library only, as nothing of ours is there before it has unpacked it. It prints nothing itself: the log is what ``kk``
prints. It changes none of the image's packages: what is missing goes into a folder of its own.
"""

import base64
import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TypedDict


class Job(TypedDict, total=False):
    """What is filled in, all of it, when the file is pushed."""

    push: str
    kernel: str
    run: str | None
    command: list[str]
    budget_s: float
    session_s: float
    requires: list[str]
    wheels: str | None


JOB: Job
JOB = {}
PACK = ""

STARTED = time.monotonic()
RESUMABLE = 75
REPORT = "kk-remote.json"


def main() -> int:
    """Train, or go on training; predict when that is done; leave a list of everything with its hash. The exit code."""
    root = Path(os.environ.get("KK_NOTEBOOK_ROOT") or "/")
    working, scratch = root / "kaggle" / "working", Path(tempfile.mkdtemp(prefix="kk-"))
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(PACK)), mode="r:bz2") as pack:
        pack.extractall(scratch, filter="data")
    shutil.copytree(scratch / "project", working, dirs_exist_ok=True)
    install_missing(root / "kaggle" / "input", scratch)
    if JOB["run"]:
        take_over(JOB["run"], root / "kaggle" / "input", working)
    code = kk(JOB["command"], working, scratch, JOB["budget_s"])
    predicted = None
    if code == 0:  # what was kept back for saving is free now
        predicted = kk(["predict", "-o", "submission.csv"], working, scratch, 0.95 * JOB["session_s"])
    leave_report(working, code, predicted)
    return 0 if code in (0, RESUMABLE) else code


def install_missing(inputs: Path, scratch: Path) -> None:
    """Put the packages that the image lacks, and no others, into a folder of ours."""
    names = [re.split(r"[^\w.-]", row, maxsplit=1)[0] for row in JOB["requires"]]
    missing = [row for row, name in zip(JOB["requires"], names, strict=True) if not is_installed(name)]
    if not missing:
        return
    source = []
    if JOB["wheels"]:
        places = [inputs / "datasets" / JOB["wheels"], inputs / JOB["wheels"].rpartition("/")[2]]
        source = ["--no-index", *(f"--find-links={place}" for place in places if place.is_dir())]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(scratch / "site"), *source]
    if subprocess.run([*pip, *missing], check=False).returncode:
        raise SystemExit(
            f"the image lacks {', '.join(missing)}, and they could not be installed: switch the internet on (remote.internet), "
            "or make a data set with kk wheels and name it (remote.wheels)"
        )


def is_installed(name: str) -> bool:
    """Whether the image has a package, in whatever version."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def take_over(run: str, inputs: Path, working: Path) -> None:
    """Copy the run to go on with from the output of the version before, which is attached."""
    kernel = JOB["kernel"]
    places = [
        inputs / "notebooks" / kernel,
        inputs / kernel.rpartition("/")[2],
        *inputs.glob("*"),
        *inputs.glob("*/*/*"),
    ]
    found = next((place for one in places if (place := one / "models_archive" / run).is_dir()), None)
    if found is None:
        raise SystemExit(f"run {run} is not among what is attached below {inputs}")
    shutil.copytree(found, working / "models_archive" / run)


def kk(words: list[str], working: Path, scratch: Path, limit_s: float) -> int:
    """Run a ``kk`` command of the packed code until it ends, or is stopped ``limit_s`` after the session began; its exit code."""
    paths = os.pathsep.join(str(scratch / name) for name in ("code", "site"))
    environ = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen([sys.executable, "-m", "kaggle_kit", *words], cwd=working, env=environ)
    former = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        process.wait(max(1.0, limit_s - (time.monotonic() - STARTED)))
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
    finally:
        signal.signal(signal.SIGTERM, former)
    return process.returncode


def leave_report(working: Path, code: int, predicted: int | None) -> None:
    """Say how it ended and what there is, in one file that is written last and is whole or not there."""
    files = {
        path.relative_to(working).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(working.rglob("*"))
        if path.is_file() and not re.search(r"^\.|\.lock$|\.part$|\.sqlite", path.name)
    }
    runs = sorted({name.split("/")[1] for name in files if re.fullmatch(r"models_archive/[^/]+/run\.json", name)})
    report = {
        "schema": 1,
        "push": JOB["push"],
        "run": JOB["run"] or (runs[-1] if runs else None),
        "exit": code,
        "predicted": predicted,
        "seconds": time.monotonic() - STARTED,
        "files": files,
    }
    draft = working / f".{REPORT}.tmp"
    draft.write_text(json.dumps(report, indent=1))
    draft.replace(working / REPORT)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
