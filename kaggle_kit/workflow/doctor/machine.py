"""What ``kk doctor`` looks at on the machine: Python, packages, processor, devices, precision, memory, disk."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit.archive import RunStore, provenance
from kaggle_kit.config import Project
from kaggle_kit.embeddings import find_file
from kaggle_kit.embeddings.cache import cache_folder
from kaggle_kit.embeddings.npz import NpzFile
from kaggle_kit.errors import DiskFullError, KaggleKitError, TrainingError, UsageError
from kaggle_kit.notebook import in_notebook, notebook_folders
from kaggle_kit.progress import size
from kaggle_kit.version import VERSION
from kaggle_kit.workflow.doctor.diagnosis import BAD, GOOD, WARNING, Check, Finding, Surroundings

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAME = "kaggle_kit"
FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "amx_fp16", "asimd", "sve", "bf16", "i8mm")
"""Of a processor's many features those that matrix products gain from."""

LEAST_MEMORY = 2 * 10**9
LEAST_FREE = 2 * 10**9
"""Bytes below which a warning is due when no earlier run tells what one takes."""

OUTPUT_LIMIT, OUTPUT_FILES = 20 * 10**9, 500
"""What a notebook may leave behind; more files are awkward to list."""


# --- Python and its packages


def python(around: Surroundings) -> Iterator[Finding]:
    """The interpreter and our own version."""
    git = provenance(Path(__file__).parent, argv=())["git"]
    commit = f", commit {git['commit'][:10]}" if git else ""
    yield Finding(
        "python",
        GOOD,
        f"{platform.python_version()} at {sys.executable}; kaggle_kit {VERSION}{commit}",
        facts={"python": platform.python_version(), "executable": sys.executable, "kaggle_kit": VERSION},
    )


def packages(around: Surroundings) -> Iterator[Finding]:
    """Versions, and what does not fit our requirements or those of what we require."""
    ours = _requirements(NAME)
    if ours is None:
        text = "kaggle_kit was imported from a folder, it is not installed: what it requires is not known"
        yield Finding("packages", WARNING, text, "pip install it to have its requirements checked")
        return
    needed = [row for row in ours if _applies(row)]
    versions = {row.name: _version(row.name) for row in needed}
    problems = list(_problems(needed))
    if not any(status == BAD for status, _, _ in problems):
        said = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield Finding("packages", GOOD, said, facts={"versions": versions})
    for status, text, remedy in problems:
        yield Finding("packages", status, text, remedy, UsageError.exit_code if status == BAD else 0)
    yield from _extras(ours)


def _requirements(package: str) -> list[Requirement] | None:
    """What an installed package requires, extras included; None when it is not installed."""
    from packaging.requirements import Requirement

    try:
        return [Requirement(row) for row in importlib.metadata.requires(package) or []]
    except importlib.metadata.PackageNotFoundError:
        return None


def _applies(row: Requirement, extra: str = "") -> bool:
    return row.marker is None or row.marker.evaluate({"extra": extra})


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits(version: str, row: Requirement) -> bool:
    from packaging.version import InvalidVersion

    try:
        return row.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True


def _problems(needed: list[Requirement]) -> Iterator[tuple[str, str, str]]:
    """What is missing or does not fit, ours first, then down to the last of what they require: status, text, remedy."""
    waiting = [(NAME, row) for row in needed]
    seen: set[str] = set()
    while waiting:
        owner, row = waiting.pop(0)
        version, own = _version(row.name), owner == NAME
        name = re.sub(r"[-_.]+", "-", row.name).lower()
        if version is None:
            status = BAD if own else WARNING
            yield status, f"{row.name} is missing: {owner} requires {_shown(row)}", f"pip install '{_shown(row)}'"
        elif not _fits(version, row):
            status = BAD if own else WARNING
            text = f"{row.name} {version} is installed, and {owner} requires {_shown(row)}"
            yield status, text, f"pip install '{_shown(row)}'"
        if name not in seen:
            seen.add(name)
            waiting += [(row.name, one) for one in _requirements(row.name) or [] if _applies(one)]


def _shown(row: Requirement) -> str:
    return f"{row.name}{row.specifier}"


def _extras(ours: list[Requirement]) -> Iterator[Finding]:
    """What optional features need."""
    extras = sorted(
        {found for row in ours for found in re.findall(r'extra == "([^"]+)"', str(row.marker or ""))} - {"dev"}
    )
    lacking = []
    for extra in extras:
        for row in (row for row in ours if not _applies(row) and _applies(row, extra)):
            version = _version(row.name)
            if version is None:
                lacking.append(f"{row.name} (extra {extra})")
            elif not _fits(version, row):
                text = f"{row.name} {version} is installed, and the extra {extra} requires {_shown(row)}"
                yield Finding("packages", WARNING, text, f"pip install '{_shown(row)}'")
    if lacking:
        yield Finding("packages", GOOD, f"optional and not installed: {', '.join(lacking)}")


# --- processor and memory


def processor(around: Surroundings) -> Iterator[Finding]:
    """What the CPU can do, and how many threads will use it."""
    import torch

    facts = _cpu_facts()
    usable, threads = _usable_cores(), around.project.settings.train.threads or torch.get_num_threads()
    model = facts.get("model name") or platform.processor() or platform.machine()
    flags = (facts.get("flags") or facts.get("features") or facts.get("Features") or "").split()
    features = [name for name in FEATURES if name in flags]
    said = f"{model}, {usable:g} of {os.cpu_count()} cores usable, {threads} thread{'s' if threads > 1 else ''}"
    said += f", {' '.join(features)}" if features else ""
    known = {"model": model, "cores": os.cpu_count(), "usable": usable, "threads": threads, "features": features}
    if threads > max(1, usable):
        remedy = f"--set train.threads={max(1, int(usable))}, or OMP_NUM_THREADS={max(1, int(usable))}"
        yield Finding("cpu", WARNING, f"{said}: more threads than cores slow each other down", remedy, facts=known)
    else:
        yield Finding("cpu", GOOD, said, facts=known)


def _cpu_facts() -> dict[str, str]:
    """The first processor in ``/proc/cpuinfo``."""
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return {}


def _usable_cores() -> float:
    """Cores that this process may run on: by affinity, and by the quota of its control group."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            return min(float(affinity), round(int(quota) / int(period), 2))
    return float(affinity)


def memory(around: Surroundings) -> Iterator[Finding]:
    """Main memory that is left."""
    left = _memory_left()
    if left is None:
        yield Finding("memory", GOOD, "this system does not tell how much memory is left")
        return
    text, facts = f"{size(left)} available", {"available": left}
    if left < LEAST_MEMORY:
        yield Finding(
            "memory", WARNING, text, "close other programs, or train fewer folds at once (--workers 1)", facts=facts
        )
    else:
        yield Finding("memory", GOOD, text, facts=facts)


def _memory_left() -> int | None:
    """Bytes that can still be taken, by the system and by the control group."""
    found = []
    with suppress(OSError, ValueError, AttributeError):
        match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        found.append(int(match.group(1)) * 1024)  # type: ignore[union-attr]
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        used = int((group / "memory.current").read_text())
        found.append(max(0, int((group / "memory.max").read_text()) - used))
    return min(found, default=None)


# --- devices


def devices(around: Surroundings) -> Iterator[Finding]:
    """Every device: what it is, and whether it really computes."""
    import torch

    yield from _no_gpu(around)
    for index in range(torch.cuda.device_count()):
        yield _gpu(index)
    if torch.backends.mps.is_available():
        yield _launched("device mps", "mps", platform.machine(), {})
    yield _launched("device cpu", "cpu", "", {})


def _no_gpu(around: Surroundings) -> Iterator[Finding]:
    """Why there is no GPU, where one is to be expected."""
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return
    card = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()
    if card and torch.version.cuda is None:
        text = f"there is an NVIDIA card, and torch {torch.__version__} was built without CUDA"
        yield Finding("gpu", WARNING, text, "install the torch for CUDA (pytorch.org says which)")
    elif card:
        text = f"there is an NVIDIA card, and torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use it"
        yield Finding("gpu", WARNING, text, "nvidia-smi shows whether the driver is new enough")
    elif in_notebook(around.environ):
        yield Finding(
            "gpu", WARNING, "this notebook has no GPU", "Settings > Accelerator > GPU T4 x2 (or kk remote --gpu t4x2)"
        )
    else:
        yield Finding("gpu", GOOD, "none; training runs on the CPU")


def _gpu(index: int) -> Finding:
    import torch

    try:
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:
        return Finding(
            f"cuda:{index}", BAD, f"cannot be used: {_first_line(error)}", "nvidia-smi", UsageError.exit_code
        )
    capability = f"{properties.major}.{properties.minor}"
    said = f"{properties.name}, capability {capability}, {size(free)} of {size(total)} free"
    facts = {"name": properties.name, "capability": capability, "free": free, "total": total}
    return _launched(f"device cuda:{index}", f"cuda:{index}", said, facts)


def _launched(check: str, device: str, said: str, facts: Mapping[str, Any]) -> Finding:
    """Have a device multiply two matrices whose product is known, and hold its answer against it."""
    import torch

    ones = (torch.arange(64 * 64).reshape(64, 64) % 3 == 0).float()
    known = (ones.long() @ ones.long().T).float()
    before = f"{said}: " if said else ""
    try:
        answer = (ones.to(device) @ ones.to(device).T).cpu()
    except RuntimeError as error:
        text = f"{before}it does not compute: {_first_line(error)}"
        remedy = "this torch has no code for that card: choose another (GPU T4 x2), or --device cpu"
        return Finding(check, BAD, text, remedy, UsageError.exit_code, facts)
    if not torch.equal(answer, known):
        text = f"{before}a product of small matrices came out wrong"
        return Finding(
            check, BAD, text, "do not trust this device: choose another with --device", TrainingError.exit_code, facts
        )
    return Finding(check, GOOD, f"{before}computes, result checked", facts=facts)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def precision(around: Surroundings) -> Iterator[Finding]:
    """Which arithmetic training would choose, and why."""
    from kaggle_kit.training.precision import choose_hardware

    train = around.project.settings.train
    hardware = choose_hardware(train.device, train.precision)
    why = _why(hardware.device, hardware.precision) if train.precision == "auto" else "asked for by train.precision"
    text = f"{hardware.precision} on {hardware.device}: {why}"
    facts = {"device": hardware.device, "precision": hardware.precision, "why": why}
    if _is_emulated(hardware.device, hardware.precision):
        yield Finding(
            "precision", WARNING, f"{text}, and emulated here: slow", "leave --precision at auto", facts=facts
        )
    else:
        yield Finding("precision", GOOD, text, facts=facts)


def _why(device: str, chosen: str) -> str:
    import torch

    if device == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        if chosen == "bf16":
            return f"capability {capability} multiplies bf16 in hardware"
        return f"capability {capability} is below 8.0, where bf16 is only emulated; gradients are scaled"
    if device == "cpu":
        return "the CPU multiplies bf16 in hardware" if chosen == "bf16" else "the CPU has no bf16 in hardware"
    return "bf16 is not supported on mps"


def _is_emulated(device: str, chosen: str) -> bool:
    import torch

    from kaggle_kit.training.precision import cpu_has_bf16

    if chosen != "bf16":
        return chosen == "fp16" and device == "cpu"
    return not cpu_has_bf16() if device == "cpu" else torch.cuda.get_device_capability() < (8, 0)


# --- disk


def disk(around: Surroundings) -> Iterator[Finding]:
    """Space, and the right to write, where a run leaves something."""
    project = around.project
    run, earlier = _largest_run(project)
    what = f"the largest earlier run took {size(run)}" if earlier else "no earlier run tells what one takes"
    yield _room("project", project.models_dir, 2 * run if earlier else LEAST_FREE, what, bad=True)
    if project.settings.data.cache_gb:
        needed = _cached_bytes(project, around.environ)
        what = f"the embeddings take {size(needed)}" if needed else "no data yet to tell what it takes"
        yield _room("cache", cache_folder(around.environ), needed, what, bad=False)
    yield _room("temporary files", Path(tempfile.gettempdir()), 10**8, "little is needed", bad=False)
    if in_notebook(around.environ):
        yield _output(notebook_folders(around.environ).working)


def _room(name: str, folder: Path, needed: int, what: str, *, bad: bool) -> Finding:
    """Whether there is room in a folder that may not be there yet."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    facts = {"folder": str(folder), "free": free, "needed": needed}
    text, check = f"{folder}: {size(free)} free; {what}", f"disk: {name}"
    remedy = "KK_CACHE_DIR names another folder" if name == "cache" else "free some space, or choose another folder"
    try:
        if there.is_dir():
            tempfile.TemporaryFile(dir=there).close()
        else:
            raise NotADirectoryError(20, "it is a file")
    except OSError as error:
        text = f"{folder} cannot be written to: {error.strerror}"
        return Finding(check, BAD if bad else WARNING, text, remedy, UsageError.exit_code if bad else 0, facts)
    if bad and free < min(needed, 10**8):
        return Finding(check, BAD, text, remedy, DiskFullError.exit_code, facts)
    return Finding(check, WARNING if free < needed else GOOD, text, remedy if free < needed else "", facts=facts)


def _largest_run(project: Project) -> tuple[int, bool]:
    """Bytes of the largest run among the newest, and whether there is one."""
    sizes: list[int] = []
    with suppress(OSError, UsageError):  # a folder that cannot be listed is told of where the room in it is
        runs = RunStore(project.models_dir).list(where=lambda run: run.state == "done")[:5]
        sizes = [_bytes_in(run.folder)[0] for run in runs]
    return max(sizes, default=0), bool(sizes)


def _bytes_in(folder: Path) -> tuple[int, int]:
    """Bytes and files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files), len(files)


def _cached_bytes(project: Project, environ: Mapping[str, str]) -> int:
    """What the training file's embeddings take in the cache; 0 when the file is not to be had."""
    competition = project.settings.competition
    keys = competition.train_keys
    with suppress(KaggleKitError):
        train_file, _ = competition.embedding_files
        path = find_file(train_file, slug=competition.slug, data_dir=project.data_dir, environ=environ)
        npz = NpzFile(path)
        return sum(npz.header(key).nbytes for key in (keys.caption_embeddings, keys.image_embeddings))
    return 0


def _output(working: Path) -> Finding:
    """What the notebook would leave behind by now."""
    taken, count = _bytes_in(working)
    counted = f"{count} file{'s' if count != 1 else ''}"
    text = f"{working}: {size(taken)} in {counted} so far; {size(OUTPUT_LIMIT)} are kept"
    facts = {"bytes": taken, "files": count}
    if taken > 0.75 * OUTPUT_LIMIT or count > OUTPUT_FILES:
        return Finding(
            "disk: output", WARNING, text, "kk runs prune wins space back; delete what need not be kept", facts=facts
        )
    return Finding("disk: output", GOOD, text, facts=facts)


CHECKS: dict[str, Check] = {
    "python": python,
    "packages": packages,
    "cpu": processor,
    "memory": memory,
    "devices": devices,
    "precision": precision,
    "disk": disk,
}
