"""Timed rounds of training: the original notebook's loop, the matrix products alone, and our own training, to be set side by side.

The machine that measures is rarely quiet, so nothing is timed once and nothing alone: each competitor works one round after the other,
again and again, in one process, and what is compared are the rounds that lay beside each other.
"""

from __future__ import annotations

import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from kaggle_kit.config import Settings
from kaggle_kit.embeddings import DataFile, Folds, Pairs
from kaggle_kit.embeddings.world import World
from kaggle_kit.progress import Silence
from kaggle_kit.training.crossvalidation import CrossValidation, cross_validate
from kaggle_kit.training.precision import Hardware
from kaggle_kit.translators import translators

HIDDEN = 2048
CAPTIONS_AN_IMAGE = 5
HELD_OUT_IMAGES = 10
"""Images that the timed training scores itself on at its end, which takes no part in any round."""


class Competitor(Protocol):
    """Something that can work for one round, of ``samples`` captions."""

    samples: int

    def round(self) -> float:
        """Work one round; samples a second."""


def interleave(competitors: Mapping[str, Competitor], rounds: int, told: Any = None) -> dict[str, list[float]]:
    """Samples a second of every competitor in every round, A B C A B C …

    Args:
        competitors: by name; each has warmed up.
        rounds: how often each works.
        told: called with the number of rounds done after each.
    """
    speeds: dict[str, list[float]] = {name: [] for name in competitors}
    for number in range(rounds):
        for name, competitor in competitors.items():
            speeds[name].append(competitor.round())
        if told is not None:
            told(number + 1)
    return speeds


@dataclass(frozen=True)
class Spread:
    """A figure of several rounds: its median, lowest and highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one figure a round."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def of_ratio(cls, values: Sequence[float], base: Sequence[float]) -> Spread:
        """The spread of the ratios of rounds that lay beside each other."""
        return cls.of([one / other for one, other in zip(values, base, strict=True)])


class ReferenceModel(nn.Module):
    """The original notebook's network: GELU(LN(Linear(Dropout(GELU(LN(Linear(x)))))) + Projection(x))."""

    def __init__(self, d_text: int, d_image: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.fc1, self.norm1 = nn.Linear(d_text, hidden), nn.LayerNorm(hidden)
        self.fc2, self.norm2 = nn.Linear(hidden, d_image), nn.LayerNorm(d_image)
        self.projection, self.dropout = nn.Linear(d_text, d_image), nn.Dropout(0.2)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        hidden = self.dropout(F.gelu(self.norm1(self.fc1(inputs))))
        return F.gelu(self.norm2(self.fc2(hidden)) + self.projection(inputs))


class ReferenceLoop:
    """The original notebook's loop: a DataLoader that collates sample by sample, the image vector of each caption stored with it, both
    sides normalised in every step, Adam not fused, the loss read after every step.

    Args:
        samples: captions of a round.
        hardware: where and in which precision.
        batch: captions a step.
        d_text, d_image: dimensions.
    """

    def __init__(self, samples: int, hardware: Hardware, batch: int, d_text: int, d_image: int) -> None:
        self.hardware, self.samples = hardware, samples
        text = F.normalize(torch.randn(samples, d_text), dim=1)
        image = F.normalize(torch.randn(-(-samples // CAPTIONS_AN_IMAGE), d_image), dim=1)
        image = image.repeat_interleave(CAPTIONS_AN_IMAGE, 0)[:samples]
        self.loader = DataLoader(TensorDataset(text, image), batch_size=batch, shuffle=True)
        self.model = ReferenceModel(d_text, d_image).to(hardware.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        self.scaler = torch.amp.GradScaler(hardware.device, enabled=hardware.scales_gradients)

    def round(self) -> float:
        """One pass over the samples."""
        started = time.perf_counter()
        for text, image in self.loader:
            self._step(text.to(self.hardware.device), image.to(self.hardware.device))
        return self.samples / (time.perf_counter() - started)

    def _step(self, text: Tensor, image: Tensor) -> float:
        self.optimizer.zero_grad()
        with self.hardware.autocast():
            outputs, targets = F.normalize(self.model(text), dim=1), F.normalize(image, dim=1)
            loss = F.cross_entropy(outputs @ targets.T / 0.07, torch.arange(len(text), device=text.device))
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()


class MatrixFloor:
    """The matrix products that one step of the original model cannot do without, and nothing else.

    Args:
        samples: rows of a round, ``batch`` of them at a time.
        hardware: where and in which precision.
        batch: rows of a step.
        d_text, d_image: dimensions.
    """

    def __init__(self, samples: int, hardware: Hardware, batch: int, d_text: int, d_image: int) -> None:
        self.hardware, self.batch, self.steps = hardware, batch, max(1, samples // batch)
        self.samples = batch * self.steps
        self.text, self.hidden = self._noise(batch, d_text), self._noise(batch, HIDDEN)
        self.output, self.target = (self._noise(batch, d_image) for _ in range(2))
        self.enter, self.leave = self._noise(d_text, HIDDEN), self._noise(HIDDEN, d_image)
        self.skip = self._noise(d_text, d_image)

    def _noise(self, rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, device=self.hardware.device, dtype=self.hardware.dtype)

    def round(self) -> float:
        """The products of as many steps as the samples make."""
        synchronize(self.hardware.device)
        started = time.perf_counter()
        for _ in range(self.steps):
            self._products()
        synchronize(self.hardware.device)
        return self.samples / (time.perf_counter() - started)

    def _products(self) -> None:
        text, hidden, output, target = self.text, self.hidden, self.output, self.target
        # forward: both layers, the projection, the logits
        _ = text @ self.enter, hidden @ self.leave, text @ self.skip, (logits := output @ target.T)
        # backward: outputs, the three weights, the hidden layer; inputs and targets need no gradient
        _ = logits @ target, text.T @ output, hidden.T @ output, output @ self.leave.T, text.T @ hidden


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


class _ClosedError(Exception):
    """Nobody asks for further rounds."""


class EngineRounds:
    """Our own training, by the function that trains every run, held after each epoch until it is asked for the next.

    It works in a thread of its own, which stands still between rounds.

    Args:
        pairs: what to train on.
        folds: which images are held out; a single hold-out.
        settings: of the training; an epoch is a round.

    Attributes:
        samples: captions that are trained on.
        result: of the training, once it has ended.
    """

    def __init__(self, pairs: Pairs, folds: Folds, settings: Settings) -> None:
        self.pairs, self.folds, self.settings = pairs, folds, settings
        self.samples = int((folds.fold_of_image[pairs.image_of_caption] < 0).sum())
        self.result: CrossValidation | None = None
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[dict[str, float] | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="kk bench", daemon=True)
        self._thread.start()

    def round(self) -> float:
        """One epoch, validation not counted; 0 when training has ended."""
        return (self.figures() or {"samples_per_s": 0.0})["samples_per_s"]

    def figures(self) -> dict[str, float] | None:
        """What the next epoch came to (samples_per_s, loss, mrr where it was validated), None when training has ended.

        Raises:
            KaggleKitError: whatever the training raises.
        """
        self._asked.put(True)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the training where it stands."""
        self._asked.put(False)
        self._thread.join()

    def __enter__(self) -> EngineRounds:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        try:
            self._wait()
            with tempfile.TemporaryDirectory(prefix="kk-bench-") as folder:
                watch = _Epochs(self)
                self.result = cross_validate(
                    self.pairs, self.folds, self.settings, Path(folder), header={}, progress=watch
                )
            self._answers.put(None)
        except _ClosedError:
            pass
        except BaseException as error:  # raised again where the round was asked for
            self._answers.put(error)

    def _wait(self) -> None:
        if not self._asked.get():
            raise _ClosedError

    def epoch_done(self, figures: dict[str, float]) -> None:
        """Called by the training in its own thread: hand over an epoch, and wait to be asked for the next."""
        self._answers.put(figures)
        self._wait()


class _Epochs(Silence):
    """Hands the epochs of a training to whoever asks for them."""

    def __init__(self, training: EngineRounds) -> None:
        self.training = training

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> _Epochs:  # type: ignore[override]
        return self

    def update(self, done: float, **figures: Any) -> None:
        if "samples_per_s" in figures:
            self.training.epoch_done(figures)

    def finish(self, summary: str = "") -> None:
        pass


def noise_pairs(captions: int, d_text: int, d_image: int, *, captions_an_image: int = CAPTIONS_AN_IMAGE) -> Pairs:
    """Gaussian vectors in the shape of a competition, ``captions`` to train on and a few images more to hold out.

    The held-out images come last; ``hold_out`` makes the folds.
    """
    rng = np.random.default_rng(0)
    held_out = HELD_OUT_IMAGES * captions_an_image
    image_of_caption = np.concatenate(
        [
            np.arange(captions) // captions_an_image,
            -(-captions // captions_an_image) + np.arange(held_out) // captions_an_image,
        ]
    )
    images = int(image_of_caption[-1]) + 1
    vectors = [
        rng.standard_normal(shape, dtype=np.float32) for shape in ((len(image_of_caption), d_text), (images, d_image))
    ]
    return _pairs(vectors[0], vectors[1], image_of_caption)


def made_up_pairs(images: int, d_text: int, d_image: int, *, seed: int = 0) -> Pairs:
    """Captions and images of the invented world (see ``kk demo``), five captions an image: there is something to learn."""
    world, rng = World(d_text, d_image, seed), np.random.default_rng([seed, 1])
    pictures = world.draw_pictures(rng, images)
    vectors = world.image_vectors(pictures, rng)
    image_of_caption = np.repeat(np.arange(images), CAPTIONS_AN_IMAGE)
    said = world.draw_captions(rng, len(image_of_caption))
    return _pairs(world.text_vectors(pictures[image_of_caption], said, rng), vectors, image_of_caption)


def _pairs(text: np.ndarray, images: np.ndarray, image_of_caption: np.ndarray) -> Pairs:
    return Pairs(
        text=text,
        images=images,
        image_of_caption=image_of_caption.astype(np.int32),
        caption_ids=np.arange(1, len(text) + 1),
        captions=np.array([f"caption {number}" for number in range(len(text))]),
        image_names=np.array([f"{number}.jpg" for number in range(len(images))]),
        file=DataFile(Path("made up"), 0, ""),
    )


def hold_out(pairs: Pairs, images: int) -> Folds:
    """The last ``images`` images held out, all others trained on."""
    fold = np.full(len(pairs.images), -1, np.int16)
    fold[-images:] = 0
    return Folds(fold, count=1, seed=0, holdout=images / len(pairs.images))


def closed_form(settings: Settings) -> bool:
    """Whether the translator of the settings is not trained by gradient."""
    return translators[settings.translator.name].closed_form
