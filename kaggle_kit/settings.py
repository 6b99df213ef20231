"""Every setting of a project: one frozen dataclass a section, one field a setting.

A field is declared once, by :func:`setting`: its default, what it means (with the unit) and the rule that its values obey. The
configuration loader, ``kk config show``, the environment variables and the documentation all read that one declaration.
Options of a translator or a loss are declared the same way, beside their code.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kaggle_kit.errors import ConfigError


@dataclass(frozen=True)
class Rule:
    """What a setting's value must satisfy, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def at_least(bound: float) -> Rule:
    """A number that is ``bound`` or more."""
    return Rule(f"must be at least {bound}", lambda value: value >= bound)


def between(low: float, high: float) -> Rule:
    """A number from ``low`` to ``high``, both included."""
    return Rule(f"must be from {low} to {high}", lambda value: low <= value <= high)


def one_of(*choices: str) -> Rule:
    """One of the named choices."""
    return Rule(f"must be one of {', '.join(choices)}", lambda value: value in choices)


POSITIVE = Rule("must be above 0", lambda value: value > 0)
SHARE = Rule("must be above 0 and at most 1", lambda value: 0 < value <= 1)
FILLED = Rule("must not be empty", lambda value: bool(value.strip()))
SEED = between(0, 2**32 - 1)
"""A seed as NumPy and scikit-learn take it."""
FRACTION = Rule("must be from 0 up to, not including, 1", lambda value: 0 <= value < 1)


class Duration(float):
    """What a setting is annotated with that is given as 90, 90s, 45m or 11h30m; its value is a float of seconds."""


_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_SECONDS = re.compile(r"\d+(?:\.\d+)?")


def duration_of(text: str) -> float:
    """Seconds from ``90``, ``90s``, ``45m``, ``11h30m``.

    Raises:
        ValueError: it is no duration.
    """
    text = text.strip().lower()
    # a number alone is seconds; one behind hours or minutes might be meant for the next smaller unit
    match = _DURATION.fullmatch(f"{text}s" if _SECONDS.fullmatch(text) else text)
    if not match or not any(match.groups()):
        raise ValueError(f"{text!r} is no duration such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def duration_text(seconds: float) -> str:
    """Seconds as :func:`duration_of` reads them, to the second: ``11h30m``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{count}{letter}" for count, letter in ((hours, "h"), (minutes, "m"), (rest, "s")) if count]
    return "".join(parts) or "0s"


def setting(default: Any, meaning: str, rule: Rule | None = None) -> Any:
    """A dataclass field that is a setting: ``default``, its ``meaning`` with the unit, and the ``rule`` for its values.

    A field whose annotation allows None may be left out (``none`` on the command line).
    """
    metadata = {"meaning": meaning, "rule": rule}
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Section:
    """Base of every settings section: checks each field's rule when it is made in code."""

    def __post_init__(self) -> None:
        problems = [
            f"{field.name}: {field.metadata['rule'].words}, not {getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if field.metadata.get("rule")
            and getattr(self, field.name) is not None
            and not field.metadata["rule"].holds(getattr(self, field.name))
        ]
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True)
class Paths(Section):
    """Where things lie; relative paths start at the project's folder."""

    data: str = setting("data", "folder of the competition's files")
    models: str = setting("models_archive", "folder of training runs")
    submissions: str = setting("submissions_archive", "folder of submissions")


@dataclass(frozen=True)
class PluginSettings(Section):
    """The project's own Python files."""

    files: list[str] = setting(
        [], "files of the project with translators and losses of its own (translators/*.py); in kk.toml only"
    )


@dataclass(frozen=True)
class DataSettings(Section):
    """What is done to the captions and images before they are split; nothing by default."""

    drop_noisiest: float = setting(
        0.0, "share of the captions, noisiest first, that are not trained on; they are still validated on", FRACTION
    )
    noise_by: str = setting(
        "centroid",
        "what makes a caption noisy: its distance to the centroid of its image's other captions, or the distance of its "
        "out-of-fold prediction to its image",
        one_of("centroid", "predictions"),
    )
    noise_run: str | None = setting(
        None,
        'finished run whose out-of-fold predictions are meant by noise_by = "predictions", or the beginning of its id',
    )
    drop_captions: str | None = setting(
        None, "file of caption rows (counted from 0, one a line, or .npy) that are not trained on"
    )
    drop_near_test: float | None = setting(
        None,
        "cosine to a test caption from which a training caption counts as its near-duplicate and is not trained on; "
        "none: never",
        between(0, 1),
    )
    share: float = setting(
        1.0,
        "share of the images of a fold's training part that are trained on, a random one; validation stays whole, and a smaller "
        "share is part of a larger one",
        SHARE,
    )
    share_seed: int = setting(0, "seed of that choice", SEED)
    extra: str | None = setting(None, "second npz in the same format, trained on and never validated on")
    extra_weight: float = setting(1.0, "how much an extra caption counts beside one of the competition's", POSITIVE)
    cache_gb: float = setting(20.0, "gigabytes that the cache of read files may take; 0: no cache", at_least(0))
    cache_wait_s: float = setting(
        300.0, "seconds to wait for another process that is reading the same file into the cache", at_least(0)
    )


@dataclass(frozen=True)
class FoldSettings(Section):
    """How captions are split for validation; always by image."""

    count: int = setting(5, "number of folds; 1 is a single hold-out", at_least(1))
    holdout: float = setting(
        0.1, "share of the images held out when count is 1", Rule("must be above 0 and below 1", lambda v: 0 < v < 1)
    )
    seed: int = setting(0, "seed of the split", SEED)
    by: str = setting(
        "images",
        "what a fold holds out: images at random, or text_clusters: clusters of images with alike captions, each held out "
        "whole, which measures the score out of domain",
        one_of("images", "text_clusters"),
    )
    group: str = setting(
        "all",
        "what a split never parts: all: near copies of an image, and images with an equal caption; images: near copies only",
        one_of("all", "images"),
    )
    leaks: str = setting(
        "refuse",
        "what becomes of a split with one image, one caption or near copies of one image on both sides: refuse it, or warn "
        "and mark the run",
        one_of("refuse", "warn"),
    )


@dataclass(frozen=True)
class TrainSettings(Section):
    """How a translator is trained by gradient; closed-form translators use the seed and the device only."""

    epochs: int = setting(100, "passes over the training captions at most", at_least(1))
    min_steps: int = setting(
        0,
        "optimiser steps at least: epochs are added on small data; moot where epochs are named with more force",
        at_least(0),
    )
    batch_size: int = setting(256, "captions in a batch", at_least(2))
    batches: str = setting(
        "captions",
        "what a batch holds: captions drawn at random; images: one random caption of each different image; "
        "grouped: all captions of each of its images",
        one_of("captions", "images", "grouped"),
    )
    optimizer: str = setting("adam", "optimiser", one_of("adam", "adamw"))
    learning_rate: float = setting(1e-4, "peak learning rate", POSITIVE)
    weight_decay: float = setting(0.0, "weight decay (decoupled for adamw)", at_least(0))
    schedule: str = setting("cosine", "course of the learning rate after warm-up", one_of("cosine", "constant"))
    warmup_fraction: float = setting(0.0, "share of all steps in which the rate rises to its peak", FRACTION)
    final_lr_fraction: float = setting(0.0, "last learning rate as a share of the peak (cosine)", between(0, 1))
    clip_norm: float | None = setting(
        None, "gradient norm above which gradients are scaled down; none: never", POSITIVE
    )
    patience: int | None = setting(3, "epochs without improvement after which training stops; none: never", at_least(1))
    validate_every: int = setting(1, "epochs between two validations; the last epoch always has one", at_least(1))
    mixup: float = setting(0.0, "alpha of the Beta(alpha, alpha) by which pairs are mixed; 0: never", at_least(0))
    mixup_after: int = setting(0, "epochs before mixing begins", at_least(0))
    input_dropout: float = setting(0.0, "share of the input numbers dropped in training", FRACTION)
    input_noise: float = setting(
        0.0, "length of the Gaussian noise added to an input, as a share of the input's length", at_least(0)
    )
    ema_decay: float = setting(
        0.0, "decay of the moving average of the weights that is validated and kept; 0: none", FRACTION
    )
    accumulate: int = setting(1, "batches whose gradients are added up before a step", at_least(1))
    monitor: str = setting(
        "loss", "what early stopping and the best weights go by: validation loss or MRR", one_of("loss", "mrr")
    )
    min_delta: float = setting(0.0, "improvement that counts as one", at_least(0))
    restore_best: bool = setting(True, "end with the best epoch's weights, not the last one's")
    seed: int = setting(0, "seed of weights, batches and dropout; fold and seed number are mixed in", SEED)
    seeds: int = setting(1, "translators trained on each fold, each from a seed of its own and averaged", at_least(1))
    refit: int = setting(
        0,
        "translators trained on all images besides, once the epochs are fixed (no early stopping): they predict the test together "
        "with those of the folds, which alone give the out-of-fold score",
        at_least(0),
    )
    parallel: str = setting(
        "folds",
        "what several devices share: folds: each takes whole folds and seeds, the weights are those of one device; batch: all "
        "train one fold, each a part of every batch",
        one_of("folds", "batch"),
    )
    workers: int | None = setting(
        None, "processes that train on this machine, one a device; none: as many as there are CUDA devices", at_least(1)
    )
    device: str = setting("auto", "where to compute", one_of("auto", "cuda", "mps", "cpu"))
    precision: str = setting(
        "auto",
        "arithmetic of the network and of the products behind the scores, which are added up in fp32; the rest of the loss is fp32",
        one_of("auto", "fp32", "bf16", "fp16"),
    )
    compile: bool = setting(
        False,
        "compile network and loss for the GPU before training: a minute or more at the start, for large batches and long training",
    )
    kernels: bool = setting(
        False,
        "instead: compute what lies between the matrix products by kernels of kaggle_kit's own, on one GPU with bf16 in hardware "
        "(checked without a GPU, not yet measured on one)",
    )
    threads: int | None = setting(
        None, "CPU threads of a process; none: as many as cores, divided by the workers", at_least(1)
    )
    checkpoint_minutes: float = setting(
        5.0, "minutes between two saved states inside a fold; new best weights are saved too", at_least(0)
    )
    time_budget: Duration | None = setting(
        None,
        "time that the command may take (45m, 11h30m, seconds): it then saves its state and exits with 75; none: no limit, "
        "but in a notebook the end of its session (remote.session_s)",
        POSITIVE,
    )
    time_margin_s: float = setting(
        60.0,
        "seconds of the time budget kept back for saving, beside the longest step, validation and saving measured so far; "
        "a tenth of the budget at most",
        at_least(0),
    )
    disk_margin_mb: float = setting(64.0, "megabytes that must stay free beside a state that is written", at_least(0))
    max_skipped_steps: int = setting(
        50,
        "non-finite steps in a row after which a run counts as diverged (on a GPU noticed at the end of the epoch)",
        at_least(1),
    )

    def __post_init__(self) -> None:
        """Beside the rules of single settings: two that exclude each other."""
        super().__post_init__()
        if self.compile and self.kernels:
            raise ConfigError(["kernels: takes the place of compile, so set one of the two"])


OF_THE_MOMENT = ("workers", "checkpoint_minutes", "time_budget", "time_margin_s", "disk_margin_mb")
"""Settings of :class:`TrainSettings` that change no weights: a resumed run takes those that are given anew."""

ADDED = {"kernels": False}
"""Settings of :class:`TrainSettings` that came later, and the value that does what was done before: runs from before can go on."""


@dataclass(frozen=True)
class ClusterSettings(Section):
    """Several machines at one run, which see one project folder; and how long processes wait for each other."""

    nnodes: int = setting(1, "machines that train together", at_least(1))
    node_rank: int = setting(
        0, "which of them this is, from 0; the first leads and keeps the run's record", at_least(0)
    )
    rdzv: str | None = setting(None, "HOST:PORT where they meet: an address of the first machine, a free port there")
    wait_s: float = setting(
        600.0, "seconds to wait for the other machines, or for another device's part of a step", POSITIVE
    )
    grace_s: float = setting(
        30.0, "seconds that workers have to save and to end when one of them died or training is to stop", POSITIVE
    )


@dataclass(frozen=True)
class ValidationSettings(Section):
    """How predictions are scored on held-out images."""

    draws: int = setting(10, "random draws of one caption an image into galleries", at_least(1))
    seed: int = setting(0, "seed of the draws", SEED)


@dataclass(frozen=True)
class VerifySettings(Section):
    """How a run is looked at; changes nothing about it."""

    neighbours: int = setting(10, "nearest images that count as retrieved, for hubs and for --caption", at_least(1))
    domains: int = setting(6, "clusters of captions that are scored each by itself", at_least(1))
    lookalike: float = setting(0.9, "cosine from which two different images count as look-alikes", between(-1, 1))
    cases: int = setting(5, "best cases, worst cases, hubs and confused pairs listed", at_least(1))
    seed: int = setting(0, "seed of the random other images, of the clusters and of the sample captions", SEED)


@dataclass(frozen=True)
class SweepSettings(Section):
    """How ``kk sweep`` searches; changes nothing about a run."""

    space: dict[str, Any] = setting(
        {},
        "what is tried, by setting: { low, high, log, step } for numbers, { choices = [...] } for anything",
    )
    sampler: str = setting(
        "tpe", "how values are chosen: learnt from former trials, or at random", one_of("tpe", "random")
    )
    seed: int = setting(0, "seed of the values tried; the number of the trial is mixed in", SEED)
    pruner: str = setting(
        "median",
        "when a trial is given up early: below the median of the others at the same point, by Hyperband, or never",
        one_of("median", "hyperband", "none"),
    )
    startup_trials: int = setting(
        5, "trials drawn at random before the search learns from them and before any is given up", at_least(0)
    )
    warmup_epochs: int = setting(5, "epochs of the first fold in which no trial is given up (median)", at_least(0))


@dataclass(frozen=True)
class SubmitSettings(Section):
    """How a submission is sent and waited for."""

    description: str = setting(
        "{message} (cv {cv}, run {run})",
        "template of the description sent: {message} {cv} {cv_error} {run} {translator} {folds}",
    )
    wait_s: float = setting(600.0, "seconds to wait for the score", at_least(0))
    poll_first_s: float = setting(3.0, "seconds before the first look at the score", at_least(0))
    poll_last_s: float = setting(30.0, "seconds between looks, at most", at_least(0))
    appear_s: float = setting(
        20.0,
        "seconds that a submission whose answer was lost has to appear in the list of submissions before it counts as never arrived",
        at_least(0),
    )
    keep: int = setting(0, "submissions of today to leave unused", at_least(0))
    digits: int | None = setting(
        None, "significant digits written; none: the shortest that are exact in float32", between(2, 9)
    )
    zip: bool = setting(False, "whether the file is sent as a zip")


@dataclass(frozen=True)
class ServiceSettings(Section):
    """Patience with Kaggle's service."""

    endpoint: str | None = setting(
        None, "base URL of another server, without /api/v1 (KAGGLE_API_ENDPOINT is read too)"
    )
    connect_timeout_s: float = setting(10.0, "seconds to wait for a connection", POSITIVE)
    read_timeout_s: float = setting(60.0, "seconds to wait for the next bytes", POSITIVE)
    attempts: int = setting(6, "tries of a call that failed with 429, 5xx or a dropped connection", at_least(1))
    backoff_s: float = setting(1.0, "seconds before the second try; doubled for each further one", at_least(0))
    backoff_max_s: float = setting(
        60.0, "seconds between two tries, at most; a longer Retry-After is obeyed up to the deadline", at_least(0)
    )
    deadline_s: float = setting(
        900.0, "seconds that one call, or a download without any progress, may take with all its tries", POSITIVE
    )
    page_size: int = setting(200, "rows asked for in one page of a list", between(1, 200))
    log_quiet_s: float = setting(
        45.0, "seconds of silence after which the log of a running notebook is opened anew", POSITIVE
    )


@dataclass(frozen=True)
class RemoteSettings(Section):
    """How training runs in Kaggle's notebooks, driven from here."""

    owner: str | None = setting(
        None, "account that the notebooks and data sets belong to; none: that of the credentials"
    )
    gpu: str = setting("t4x2", "accelerator: t4x2, l4, l4x1, a100, h100, rtx6000, Kaggle's own name of one, or cpu")
    internet: bool = setting(True, "whether the notebook reaches the network; without it, missing packages need wheels")
    datasets: list[str] = setting([], "more data sets to attach, as owner/slug")
    wheels: str | None = setting(None, "data set (owner/slug) that kk wheels made, to install missing packages from")
    session_s: float = setting(
        43_200.0, "seconds that one session may take; Kaggle ends CPU and GPU sessions after 12 hours", POSITIVE
    )
    margin_s: float = setting(
        1_800.0, "seconds before the session's end at which training is stopped, to save what there is", at_least(0)
    )
    keep_quota_s: float = setting(
        600.0, "seconds of this week's GPU hours that must be left to start at all", at_least(0)
    )
    pack_mb: float = setting(0.9, "megabytes that the pushed script may have, code and settings included", POSITIVE)
    poll_first_s: float = setting(5.0, "seconds before the second look at a notebook's status", at_least(0))
    poll_last_s: float = setting(60.0, "seconds between looks, at most", at_least(0))
    wait_s: float = setting(50_400.0, "seconds to follow a notebook, its time in the queue included", at_least(0))
    most_pushes: int = setting(10, "sessions that one run may take with --until-done", at_least(1))


@dataclass(frozen=True)
class WheelSettings(Section):
    """The data set of wheels from which an offline notebook installs."""

    dataset: str = setting(
        "kk-wheels", "its name in its URL", Rule("must have 6 to 50 characters", lambda v: 5 < len(v) < 51)
    )
    python: str = setting("3.12", "Python version of the notebooks' image")
    platform: str = setting("manylinux_2_28_x86_64", "platform of the notebooks' image, as wheels are named")
    pip_s: float = setting(600.0, "seconds that pip may take to download", POSITIVE)
    ready_s: float = setting(1_800.0, "seconds to wait until the data set can be attached", at_least(0))
    poll_s: float = setting(10.0, "seconds between two looks whether it can", at_least(0))


def fields_of(section: type) -> Mapping[str, dataclasses.Field[Any]]:
    """The settings of a section by name."""
    return {field.name: field for field in dataclasses.fields(section)}
