"""Every setting of a project: one frozen dataclass a section, one field a setting.

A field is declared once, by :func:`setting`: its default, what it means (with the unit) and the rule that its values obey. The
configuration loader, ``kk config show``, the environment variables and the documentation all read that one declaration.
Options of a translator or a loss are declared the same way, beside their code.
"""

from __future__ import annotations

import dataclasses
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
FRACTION = Rule("must be from 0 up to, not including, 1", lambda value: 0 <= value < 1)


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
    seed: int = setting(0, "seed of the split", at_least(0))
    group: str = setting(
        "all",
        "what a split never parts: all: near copies of an image, and images with an equal caption; images: near copies only",
        one_of("all", "images"),
    )


@dataclass(frozen=True)
class TrainSettings(Section):
    """How a translator is trained by gradient; closed-form translators use the seed and the device only."""

    epochs: int = setting(100, "passes over the training captions at most", at_least(1))
    min_steps: int = setting(0, "optimiser steps at least: epochs are added on small data", at_least(0))
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
    seed: int = setting(0, "seed of weights, batches and dropout; fold and seed number are mixed in", at_least(0))
    seeds: int = setting(1, "translators trained on each fold, each from a seed of its own and averaged", at_least(1))
    device: str = setting("auto", "where to compute", one_of("auto", "cuda", "mps", "cpu"))
    precision: str = setting(
        "auto", "arithmetic of the network; loss and logits are always fp32", one_of("auto", "fp32", "bf16", "fp16")
    )
    threads: int | None = setting(None, "CPU threads; none: as many as cores", at_least(1))
    checkpoint_minutes: float = setting(5.0, "minutes between two saved states inside a fold", at_least(0))
    max_skipped_steps: int = setting(50, "non-finite steps in a row after which a run counts as diverged", at_least(1))


@dataclass(frozen=True)
class ValidationSettings(Section):
    """How predictions are scored on held-out images."""

    draws: int = setting(10, "random draws of one caption an image into galleries", at_least(1))
    seed: int = setting(0, "seed of the draws", at_least(0))


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


def fields_of(section: type) -> Mapping[str, dataclasses.Field[Any]]:
    """The settings of a section by name."""
    return {field.name: field for field in dataclasses.fields(section)}
