"""What every translator is: a map from text embeddings to image vectors, learned in closed form or by gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kaggle_kit.metrics import unit
from kaggle_kit.registry import Registry, says_of_itself
from kaggle_kit.settings import Section

BLOCK_ROWS = 2048
"""Captions translated at once: bounds the memory of the hidden layers. Four times as many took a quarter more processor time on a CPU."""


@dataclass(frozen=True)
class FitData:
    """What a translator may look at before it is trained: the training part of one fold, nothing else.

    Attributes:
        text: (captions, d_text) float32, as the file holds them.
        images: (images, d_image) float32, only images that the training captions belong to.
        image_of_caption: (captions,) int64 index into ``images``.
        seed: what every random choice of the preparation derives from.
        weight: (captions,) float32, how much each caption counts; None: all the same.
    """

    text: Tensor
    images: Tensor
    image_of_caption: Tensor
    seed: int
    weight: Tensor | None = None


class Translator(nn.Module):
    """Base of all translators.

    A translator works in four steps, so that whatever depends on the data alone is computed once and not in every training step:
    ``encode_text`` (once a caption) → ``forward`` (the trained part) → loss against ``encode_images`` (once an image), and for a
    prediction ``decode`` back to the space of the image vectors. ``translate`` is all of it. ``prepare`` comes before training, ``finish``
    after it.
    """

    Options: ClassVar[type[Section]] = Section
    closed_form: ClassVar[bool] = False
    recordable: ClassVar[bool] = False
    """Whether a training step does the same work on a GPU each time: nothing depends on Python's side, a counter or NumPy's generator.
    Such a step is recorded once and replayed (:mod:`kaggle_kit.training.recorded`). A subclass that has ``forward``, ``training_forward``
    or ``penalty`` of its own has to say it again."""
    takes_short_inputs: ClassVar[bool] = False
    """Whether inputs go to linear layers alone, which round them in mixed precision, so that they may come rounded; to be said again as
    above."""

    def __init__(self, d_text: int, d_image: int, options: Section) -> None:
        super().__init__()
        self.d_text, self.d_image, self.options = d_text, d_image, options

    def prepare(self, data: FitData) -> None:
        """Set what is computed from the training data instead of learned by gradient; a closed form does all its work here."""

    @property
    def bears_recording(self) -> bool:
        """Whether ``recordable`` is said of its methods."""
        return says_of_itself(type(self), "recordable", "forward", "training_forward", "penalty")

    @property
    def rounds_inputs(self) -> bool:
        """Whether it does nothing with inputs but to round them and give them to linear layers."""
        return says_of_itself(type(self), "takes_short_inputs", "forward", "training_forward")

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) text embeddings as the file holds them → (n, d_in) inputs of ``forward``: unit length by default."""
        return unit(text)

    def encode_images(self, images: Tensor) -> Tensor:
        """(m, d_image) image vectors → (m, d_out) targets of the loss: unit length by default."""
        return unit(images)

    def training_forward(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the loss sees in training: (n, d_out) outputs, and whatever ``penalty`` needs besides."""
        return self(inputs), {}

    def penalty(self, extras: dict[str, Tensor], outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor | None:
        """A term of its own that a translator adds to the loss (a divergence, an auxiliary head); None by default.

        Args:
            extras: from ``training_forward``.
            outputs: (batch, d_out); targets: (batch, d_out); images: (batch,) int64, as the loss gets them.
        """
        return None

    def decode(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """(n, d_out) outputs of ``forward`` for (n, d_in) ``inputs`` → (n, d_image) vectors to be compared with image vectors."""
        return outputs

    def finish(self, data: FitData) -> None:
        """Set what is computed from the training data once the weights are final; nothing by default."""

    @torch.no_grad()
    def translate(self, text: Tensor) -> Tensor:
        """Predict image vectors of unit length, in evaluation mode and blocks of bounded memory.

        Args:
            text: (n, d_text) float32 text embeddings as the file holds them, on any device.

        Returns:
            (n, d_image) float32 unit vectors on the translator's device.
        """
        was_training = self.training
        self.eval()
        device = next(iter(self.state_dict().values())).device
        try:
            blocks = [
                self._translate_block(text[start : start + BLOCK_ROWS].to(device))
                for start in range(0, len(text), BLOCK_ROWS)
            ]
        finally:
            self.train(was_training)
        return torch.cat(blocks) if blocks else torch.zeros(0, self.d_image, device=device)

    def _translate_block(self, text: Tensor) -> Tensor:
        inputs = self.encode_text(text)
        return unit(self.decode(self(inputs), inputs))


translators: Registry[type[Translator]] = Registry("translator")


def build_translator(name: str, d_text: int, d_image: int, options: Mapping[str, Any]) -> Translator:
    """The registered translator ``name``, untrained, its weights drawn from torch's global generator.

    Raises:
        UsageError: no translator has that name.
        ConfigError: an option's value breaks its rule.
    """
    kind = translators[name]
    return kind(d_text, d_image, kind.Options(**options))
