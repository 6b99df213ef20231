"""Timed rounds of training: the original notebook's loop, the matrix products alone, and our own training, to be set side by side.

The machine that measures is rarely quiet, so nothing is timed once and nothing alone: the competitors work in turns, round by round, while
the others stand still, and what is compared are the rounds that lay beside each other.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from kaggle_kit.config import Settings
from kaggle_kit.embeddings import DataFile, Folds, Pairs
from kaggle_kit.embeddings.world import World
from kaggle_kit.errors import KaggleKitError
from kaggle_kit.progress import SILENCE
from kaggle_kit.training.channel import Listener
from kaggle_kit.training.memory import keep_freed_memory
from kaggle_kit.training.parallel import child_environment
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
        keep_freed_memory()  # the products alone, and not the system's handing out of pages for their results

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


@dataclass(frozen=True)
class Orders:
    """What a process that takes part is to do.

    Attributes:
        what: ``loop``, ``floor`` or ``training``.
        hardware: where and in which precision.
        samples: captions of a round.
        batch: captions a step.
        d_text, d_image: dimensions.
        settings: of a training; an epoch is a round.
        world: whether the training has the invented world to learn from, and not noise.
        captions_an_image: of a training's data.
    """

    what: str
    hardware: Hardware
    samples: int
    batch: int
    d_text: int
    d_image: int
    settings: Settings | None = None
    world: bool = False
    captions_an_image: int = CAPTIONS_AN_IMAGE

    def to_json(self) -> bytes:
        """One line."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain |= {
            "hardware": self.hardware.to_dict(),
            "settings": None if self.settings is None else self.settings.to_dict(),
        }
        return orjson.dumps(plain)

    @classmethod
    def from_json(cls, line: bytes) -> Orders:
        """The inverse of :meth:`to_json`."""
        plain = orjson.loads(line)
        settings = plain["settings"]
        plain |= {
            "hardware": Hardware(**plain["hardware"]),
            "settings": None if settings is None else Settings.from_dict(settings),
        }
        return cls(**plain)


class Apart:
    """A competitor in a process of its own, as a notebook and ``kk train`` are; it stands still between its rounds. A context manager.

    Competitors that share a process share its memory allocator: which of them gets pages back that it gave away, and which has to ask the
    system for new ones in every step, is then a matter of luck, and on a CPU worth a fifth of the time.

    Attributes:
        samples: captions of a round.
        memory_mb: most memory so far: of the GPU by PyTorch's count, else of the process where the system tells.
        mrr: of a training that has ended, in the held-out galleries.
    """

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.memory_mb: float | None = None
        self.mrr: float | None = None
        self._listener = Listener(SILENCE)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kaggle_kit.training.competitor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=child_environment(orders.hardware.threads),
            start_new_session=True,  # Ctrl-C at a terminal is for this process alone, which ends the others
        )
        self.samples = 0
        self._ask(orders.to_json())

    def round(self) -> float:
        """One round, validation not counted; 0 when training has ended."""
        return (self.figures() or {"samples_per_s": 0.0})["samples_per_s"]

    def figures(self) -> dict[str, float] | None:
        """What the next round came to (samples_per_s; of a training loss, and mrr where it was validated), None when training has ended.

        Raises:
            KaggleKitError: whatever the training raises; the process ended without a word.
        """
        self._ask(b"")
        answer = self._answer()
        self.memory_mb = answer["memory_mb"]
        if answer["event"] == "ended":
            self.mrr = answer["mrr"]
            return None
        return dict(answer["figures"])

    def close(self) -> None:
        """End the process where it stands."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        self._errors.close()

    def __enter__(self) -> Apart:
        """Wait until it is ready; several get ready at the same time.

        Raises:
            KaggleKitError: whatever goes wrong there.
        """
        self.samples = int(self._answer()["samples"])
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended; what it said last tells why
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = orjson.loads(line)
            if event["event"] in ("ready", "round", "ended"):
                return dict(event)
            self._listener.take(line)
            if (error := self._listener.error()) is not None:
                self.close()
                raise error
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines() or ["nothing"]
        self.close()
        raise KaggleKitError(
            f"the process that times the {self.orders.what} ended with exit code {code}; it said last: {said[-1]}",
            "where memory is short, give a smaller --batch or --samples",
        )


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
