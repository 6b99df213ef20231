"""How fast this machine trains: ours beside the original notebook's loop and the bare matrix products, and time to a given MRR."""

from __future__ import annotations

import contextlib
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from kaggle_kit.config import Project, Settings, shipped_configs
from kaggle_kit.embeddings.npz import NpzFile
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.data import find_train

if TYPE_CHECKING:
    from kaggle_kit.settings import TrainSettings
    from kaggle_kit.training.bench import Apart, Competitor, Orders, Spread
    from kaggle_kit.training.precision import Hardware

DIMENSIONS = 1024, 1536
"""Of the real competition, where no data is."""

BATCH = 256
LEAST_BATCHES = 4
MOST_SAMPLES = 100 * BATCH
ROUND_S = 4.0
"""What a round of the reference loop should take about, within the bounds above."""

ORIGINAL = "residual"
"""The shipped configuration with the original notebook's network, loss and optimiser."""

TIMED_S = 45.0
FEWEST_ROUNDS, MOST_ROUNDS = 3, 11
"""Where nobody says how many rounds: as many as fit into the time, within these."""

NEVER = 10**6


@dataclass(frozen=True)
class TranslatorSpeed:
    """How fast the chosen translator trains with its own recipe.

    Attributes:
        name: the translator.
        samples_per_s: over the rounds.
        batch: captions a step; None for a closed form.
        seconds: of the one fit of a closed form; None for the others.
    """

    name: str
    samples_per_s: Spread
    batch: int | None
    seconds: float | None


@dataclass(frozen=True)
class TimeTo:
    """How long the chosen recipe took to a validation MRR on made-up data.

    Attributes:
        mrr: the goal.
        reached: whether it came there.
        seconds: preparation, training and validation until then, or until training ended.
        epochs: passes until then.
        best_mrr: highest so far.
        captions: trained on and held out together.
    """

    mrr: float
    reached: bool
    seconds: float
    epochs: int
    best_mrr: float
    captions: int


@dataclass(frozen=True)
class Benchmark:
    """Samples a second of training, side by side; every spread is the median, lowest and highest of the rounds.

    Attributes:
        reference_fp32: the original notebook's loop as it is, in fp32.
        reference_same_dtype: the same loop in the precision of ours.
        ours: our training of the same network with the same loss, batch and precision.
        floor: the bare matrix products of its steps in that precision.
        ratio: ours to the reference in the same precision, round by round.
        ratio_fp32: ours to the reference in fp32.
        floor_share: ours to the floor.
        rounds: samples a second of each round, by competitor.
        translator: the chosen translator with its own recipe.
        time_to: time to a validation MRR, None where it was not asked for.
        peak_memory_mb: of our training, on the device; of its process on a CPU. None where nobody tells.
    """

    hardware: Hardware
    batch: int
    samples: int
    d_text: int
    d_image: int
    reference_fp32: Spread
    reference_same_dtype: Spread
    ours: Spread
    floor: Spread
    ratio: Spread
    ratio_fp32: Spread
    floor_share: Spread
    rounds: Mapping[str, Sequence[float]]
    translator: TranslatorSpeed
    time_to: TimeTo | None
    peak_memory_mb: float | None

    def to_dict(self) -> dict[str, Any]:
        """One flat document: the medians under the names ``…_samples_per_s``, the spreads beside them."""
        spreads = {
            "reference_fp32_samples_per_s": self.reference_fp32,
            "reference_same_dtype_samples_per_s": self.reference_same_dtype,
            "samples_per_s": self.ours,
            "floor_samples_per_s": self.floor,
            "ratio": self.ratio,
            "ratio_fp32": self.ratio_fp32,
            "floor_share": self.floor_share,
        }
        return {
            **{name: spread.median for name, spread in spreads.items()},
            "device": self.hardware.device,
            "device_name": self.hardware.name,
            "dtype": self.hardware.precision,
            "batch": self.batch,
            "threads": self.hardware.threads,
            "samples": self.samples,
            "d_text": self.d_text,
            "d_image": self.d_image,
            "spread": {name: {"low": spread.low, "high": spread.high} for name, spread in spreads.items()},
            "rounds": {name: list(values) for name, values in self.rounds.items()},
            "translator": asdict(self.translator),
            "time_to": None if self.time_to is None else asdict(self.time_to),
            "peak_memory_mb": self.peak_memory_mb,
        }


def bench(
    project: Project,
    *,
    batch: int | None = None,
    rounds: int | None = None,
    samples: int | None = None,
    time_to: float | None = None,
    images: int = 1200,
    progress: Progress = SILENCE,
) -> Benchmark:
    """Time training on this machine: the original loop, the matrix products and ours in turns, each in a process of its own.

    Noise in the shape of the competition is trained on: of the data's dimensions where it is there, else of the real one's.

    Args:
        batch: captions a step of all of them; None: 256, and the recipe's own for the chosen translator.
        rounds: how often each works; None: as often as three quarters of a minute allow, 3 to 11 times.
        samples: captions of a round; None: about as many as the original loop trains on in four seconds.
        time_to: a validation MRR to be reached by the chosen translator on made-up data.
        images: images of that data, five captions each; a tenth is held out.

    Raises:
        UsageError: a number that makes no sense; the device is not there.
        TrainingError: training diverged.
    """
    from kaggle_kit.training.bench import interleave
    from kaggle_kit.training.fusable import why_without_kernels
    from kaggle_kit.training.precision import choose_hardware

    _check(batch=batch, rounds=rounds, samples=samples, time_to=time_to, images=images)
    train = project.settings.train
    hardware = choose_hardware(train.device, train.precision, train.threads)
    progress.note(f"timing {hardware.name} ({hardware.device}, {hardware.precision}, {hardware.threads} threads)")
    if train.kernels and (reason := why_without_kernels(train, hardware)) is not None:
        progress.note(f"train.kernels changes nothing here: {reason}")
    size = _size(project, hardware, batch or BATCH, samples)
    original, chosen = _original_settings(train, batch=size.batch), project.settings
    if batch is not None:
        chosen = replace(chosen, train=replace(chosen.train, batch_size=batch))
    with contextlib.ExitStack() as stack:
        competitors = _start(stack, original, chosen, size, hardware, rounds or MOST_ROUNDS)
        rounds = _warm_up(competitors, rounds)
        watch = progress.start("timing", rounds, "rounds")
        speeds = interleave(competitors, rounds, watch.update)
        memory_mb = competitors["ours"].memory_mb
    watch.finish()
    return _result(
        size,
        hardware,
        speeds,
        translator=_translator(chosen, speeds.pop("translator", None), size, hardware),
        time_to=None if time_to is None else _time_to(chosen, time_to, images, size, hardware, progress),
        peak_memory_mb=memory_mb,
    )


def _start(
    stack: contextlib.ExitStack, original: Settings, chosen: Settings, size: _Size, hardware: Hardware, rounds: int
) -> dict[str, Apart]:
    """All competitors, waiting for their first round; a closed form is none of them."""
    from kaggle_kit.training.bench import Apart, closed_form

    orders = _yardsticks(size, hardware)
    orders["ours"] = _training(original, size, hardware, rounds, least=1)
    if not closed_form(chosen):
        orders["translator"] = _training(chosen, size, hardware, rounds)
    started = {name: Apart(some) for name, some in orders.items()}
    for competitor in started.values():
        stack.callback(competitor.close)  # all of them, also when one does not get ready
    return {name: stack.enter_context(competitor) for name, competitor in started.items()}


def _warm_up(competitors: Mapping[str, Competitor], rounds: int | None) -> int:
    """One round of each that does not count, because it pays for set-up; how many rounds are to follow."""
    seconds = sum(competitor.samples / competitor.round() for competitor in competitors.values())
    return rounds or max(FEWEST_ROUNDS, min(MOST_ROUNDS, int(TIMED_S / seconds)))


@dataclass(frozen=True)
class _Size:
    samples: int
    batch: int
    d_text: int
    d_image: int


def _check(**numbers: float | None) -> None:
    least = {"batch": 2, "rounds": 1, "samples": 2, "time_to": 0, "images": 20}
    for name, value in numbers.items():
        if value is not None and value < least[name]:
            raise UsageError(f"{name} must be at least {least[name]}, not {value}")


def _size(project: Project, hardware: Hardware, batch: int, samples: int | None) -> _Size:
    """Dimensions of the data where there is some; samples in whole batches, measured where nobody says how many."""
    from kaggle_kit.training.bench import ReferenceLoop

    d_text, d_image = _dimensions(project)
    if samples is None:
        probe = ReferenceLoop(2 * batch, replace(hardware, precision="fp32"), batch, d_text, d_image)
        probe.round()
        samples = max(LEAST_BATCHES * batch, min(MOST_SAMPLES, int(ROUND_S * probe.round())))
    if samples < batch:
        raise UsageError(f"{samples} samples make no batch of {batch}", "give a smaller --batch, or more --samples")
    return _Size(samples // batch * batch, batch, d_text, d_image)


def _dimensions(project: Project) -> tuple[int, int]:
    """Of text and image vectors, from the training file's headers; those of the real competition where there is none."""
    keys = project.settings.competition.train_keys
    try:
        file = NpzFile(find_train(project))
        shapes = [file.header(key).shape for key in (keys.caption_embeddings, keys.image_embeddings)]
    except (MissingError, DataError, UsageError):  # no file, no embeddings in it, or a competition without any
        return DIMENSIONS
    return (shapes[0][1], shapes[1][1]) if all(len(shape) == 2 for shape in shapes) else DIMENSIONS


def _yardsticks(size: _Size, hardware: Hardware) -> dict[str, Orders]:
    """The original loop in fp32 and in our precision, once where they are the same; and the matrix products."""
    from kaggle_kit.training.bench import Orders

    shape = (size.samples, size.batch, size.d_text, size.d_image)
    found = {"reference_fp32": Orders("loop", replace(hardware, precision="fp32"), *shape)}
    if hardware.precision != "fp32":
        found["reference_same_dtype"] = Orders("loop", hardware, *shape)
    return {**found, "floor": Orders("floor", hardware, *shape)}


def _original_settings(chosen: TrainSettings, *, batch: int) -> Settings:
    """The shipped recipe of the original notebook, whatever the project says, but for what speed alone depends on."""
    found = Settings.from_dict(tomllib.loads(shipped_configs()[ORIGINAL].read_text(encoding="utf-8")))
    train = replace(found.train, batch_size=batch, compile=chosen.compile, kernels=chosen.kernels)
    return replace(found, train=train)


def _training(
    settings: Settings, size: _Size, hardware: Hardware, rounds: int, *, least: int = LEAST_BATCHES
) -> Orders:
    """Training on noise, in ``least`` or more batches of the recipe's size: a warm-up and ``rounds`` epochs, of which none is validated."""
    from kaggle_kit.training.bench import CAPTIONS_AN_IMAGE, Orders

    batch = settings.train.batch_size
    captions = batch * max(least, size.samples // batch)
    train = replace(
        _on(settings, hardware),
        epochs=rounds + 2, min_steps=0, patience=None, validate_every=NEVER, checkpoint_minutes=NEVER,
    )  # fmt: skip
    # a batch of different images is a quarter of all images at most, so each has one caption then
    each = 1 if train.batches == "images" else CAPTIONS_AN_IMAGE
    settings = replace(settings, train=train, folds=replace(settings.folds, count=1))
    return Orders(
        "training", hardware, captions, batch, size.d_text, size.d_image, settings=settings, captions_an_image=each
    )


def _on(settings: Settings, hardware: Hardware) -> TrainSettings:
    """How one translator of the recipe is trained, in this process, on the hardware that was settled."""
    return replace(
        settings.train,
        seeds=1, refit=0, workers=1, parallel="folds",
        device=hardware.device, precision=hardware.precision, threads=hardware.threads,
    )  # fmt: skip


def _translator(settings: Settings, speeds: Sequence[float] | None, size: _Size, hardware: Hardware) -> TranslatorSpeed:
    """The chosen translator's figures; a closed form is fitted now, once."""
    from kaggle_kit.training.bench import Apart, Spread

    name = settings.translator.name
    if speeds is not None:
        return TranslatorSpeed(name, Spread.of(speeds), settings.train.batch_size, None)
    with Apart(_training(settings, size, hardware, 1)) as training:
        started = time.perf_counter()
        training.figures()
        seconds = time.perf_counter() - started
    return TranslatorSpeed(name, Spread.of([training.samples / seconds]), None, seconds)


def _time_to(
    settings: Settings, goal: float, images: int, size: _Size, hardware: Hardware, progress: Progress
) -> TimeTo:
    """Train the recipe on the invented world until a validation reaches the goal, or to its end."""
    from kaggle_kit.training.bench import CAPTIONS_AN_IMAGE, Apart, Orders

    captions = images * CAPTIONS_AN_IMAGE
    train = replace(_on(settings, hardware), validate_every=1)
    fold = replace(settings, train=train, folds=replace(settings.folds, count=1))
    orders = Orders(
        "training", hardware, captions, train.batch_size, size.d_text, size.d_image, settings=fold, world=True
    )
    watch = progress.start(f"training to an MRR of {goal:g}", None, "epochs")
    with Apart(orders) as training:
        best, epochs, started = 0.0, 0, time.perf_counter()
        while best < goal and (figures := training.figures()) is not None:
            best, epochs = max(best, figures.get("mrr", 0.0)), epochs + 1
            watch.update(epochs, **figures)
        best = max(best, training.mrr or 0.0)
        seconds = time.perf_counter() - started
    watch.finish()
    return TimeTo(goal, best >= goal, seconds, epochs, best, captions)


def _result(
    size: _Size,
    hardware: Hardware,
    speeds: Mapping[str, Sequence[float]],
    *,
    translator: TranslatorSpeed,
    time_to: TimeTo | None,
    peak_memory_mb: float | None,
) -> Benchmark:
    from kaggle_kit.training.bench import Spread

    fp32, ours = speeds["reference_fp32"], speeds["ours"]
    same = speeds.get("reference_same_dtype", fp32)
    return Benchmark(
        hardware=hardware,
        batch=size.batch,
        samples=size.samples,
        d_text=size.d_text,
        d_image=size.d_image,
        reference_fp32=Spread.of(fp32),
        reference_same_dtype=Spread.of(same),
        ours=Spread.of(ours),
        floor=Spread.of(speeds["floor"]),
        ratio=Spread.of_ratio(ours, same),
        ratio_fp32=Spread.of_ratio(ours, fp32),
        floor_share=Spread.of_ratio(ours, speeds["floor"]),
        rounds=speeds,
        translator=translator,
        time_to=time_to,
        peak_memory_mb=peak_memory_mb,
    )
