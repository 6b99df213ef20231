"""What a step of training makes smaller: from the places of a batch's captions to its loss."""

from __future__ import annotations

from torch import Tensor, nn

from kaggle_kit.settings import TrainSettings
from kaggle_kit.training.augment import augment
from kaggle_kit.training.collective import Alone
from kaggle_kit.training.fold import EncodedFold
from kaggle_kit.training.losses import Loss
from kaggle_kit.training.precision import Hardware
from kaggle_kit.translators import Translator


class Objective(nn.Module):
    """The loss of a batch: gather, augment, translate, compare. Nothing in it looks at a result, so that it can be recorded and compiled.

    Args:
        translator, loss: what is trained.
        fold: the data, on the device.
        train: what is done to inputs.
        hardware: the precision of the network.
        collective: the processes that compute a batch together.
    """

    def __init__(
        self,
        translator: Translator,
        loss: Loss,
        fold: EncodedFold,
        train: TrainSettings,
        hardware: Hardware,
        collective: Alone,
    ) -> None:
        super().__init__()
        self.translator, self.loss = translator, loss
        self.fold, self.train_settings, self.hardware, self.collective = fold, train, hardware, collective
        self.inputs, self.targets = self._inputs(), self._targets()

    def _inputs(self) -> Tensor:
        """The inputs as batches are cut from them: rounded once where the first layers would do nothing but round them."""
        train, inputs = self.train_settings, self.fold.inputs
        as_they_are = not (train.mixup or train.input_noise or train.input_dropout)
        short = inputs.is_cuda and self.translator.rounds_inputs and as_they_are
        return inputs.to(self.hardware.dtype) if short else inputs

    def _targets(self) -> Tensor:
        """The targets as batches are cut from them: rounded once where nothing but rounded scores is made of them."""
        rounded, targets = self.loss.rounded, self.fold.targets
        alone = type(self.translator).penalty is Translator.penalty and not self.train_settings.mixup
        short = rounded is not None and targets.is_cuda and self.loss.rounds_targets and alone
        return targets.to(rounded) if short else targets

    def forward(self, captions: Tensor, share: float | Tensor | None, *purpose: object) -> Tensor:
        """The loss of a batch, mixed pairs held to both of their images; a float32 scalar.

        Args:
            captions: (batch,) int64 on the device, places among the training captions.
            share: how much of a row stays its own; None: rows are not mixed.
            purpose: tells the randomness of one step from that of the next where several processes share a batch.
        """
        # on a CPU five times as quick as an index
        images = self.fold.image.index_select(0, captions)
        targets = self.targets.index_select(0, images)
        inputs, mix = augment(self.inputs.index_select(0, captions), self.train_settings, share)
        with self.hardware.autocast():
            outputs, extras = self.collective.training_forward(self.translator, inputs, *purpose)
        loss = self.loss(outputs, targets, images) if mix is None else self.loss.mixed(outputs, targets, images, mix)
        penalty = self.translator.penalty(extras, outputs, targets, images)
        return loss if penalty is None else loss + penalty
