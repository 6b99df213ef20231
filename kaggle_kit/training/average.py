"""The moving average of a network's weights, kept without asking the device anything."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from kaggle_kit.translators import Translator


class MovingAverage:
    """Exponential moving average of weights and running statistics; the first update copies them.

    ``torch.optim.swa_utils.AveragedModel`` reads its counter from the device in each step, and averages what never changes.

    Args:
        translator: what is averaged; its other buffers do not change in training.
        decay: share of the old average that stays in an update.
    """

    def __init__(self, translator: Translator, decay: float) -> None:
        self.translator = deepcopy(translator).requires_grad_(False)
        self.share = torch.full((), 1.0, device=next(translator.parameters()).device)
        self.later_share = torch.full_like(self.share, 1 - decay)
        self._averaged = _changing(self.translator)

    @torch.no_grad()
    def update(self, translator: Translator, skipped: Tensor) -> None:
        """Take in the weights after a step; ``skipped``, a float32 scalar, is 1 when the step was skipped and nothing changes."""
        share = self.share * (1 - skipped)
        for average, current in zip(self._averaged, _changing(translator), strict=True):
            if average.is_floating_point():
                average.lerp_(current, share.to(average.dtype))
            else:
                average.copy_(current)
        # in place: a recorded step knows its tensors by their address
        self.share.copy_(torch.where(skipped > 0, self.share, self.later_share))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a later process needs to go on."""
        return {"share": self.share, **{f"model.{name}": t for name, t in self.translator.state_dict().items()}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.share.copy_(state["share"])
        self.translator.load_state_dict({name[6:]: t for name, t in state.items() if name.startswith("model.")})


def running_statistics(module: nn.Module) -> list[Tensor]:
    """What normalisation layers gather from batches: the buffers that training changes."""
    return [
        buffer for part in module.modules() if isinstance(part, _NormBase) for buffer in part.buffers(recurse=False)
    ]


def _changing(module: nn.Module) -> list[Tensor]:
    weights: Iterable[Tensor] = module.parameters()
    return [*weights, *running_statistics(module)]
