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

    def forward(self, captions: Tensor, share: float | Tensor | None, *purpose: object) -> Tensor:
        """The loss of a batch, mixed pairs held to both of their images; a float32 scalar.

        Args:
            captions: (batch,) int64 on the device, places among the training captions.
            share: how much of a row stays its own; None: rows are not mixed.
            purpose: tells the randomness of one step from that of the next where several processes share a batch.
        """
        # on a CPU five times as quick as an index
        images = self.fold.image.index_select(0, captions)
        targets = self.fold.targets.index_select(0, images)
        inputs, mix = augment(self.fold.inputs.index_select(0, captions), self.train_settings, share)
        with self.hardware.autocast():
            outputs, extras = self.collective.training_forward(self.translator, inputs, *purpose)
        loss = self.loss(outputs, targets, images) if mix is None else self.loss.mixed(outputs, targets, images, mix)
        penalty = self.translator.penalty(extras, outputs, targets, images)
        return loss if penalty is None else loss + penalty
