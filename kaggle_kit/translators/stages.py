"""A stage of a network: a linear layer and what follows it up to the next one. Training on a GPU may compute it by kernels of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_kit.translators.dropout import dropout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": F.tanh}


@dataclass(frozen=True)
class Stage:
    """Dropout(activation(norm(layer(x)) + branch(y))).

    Attributes:
        layer: of the inputs.
        norm: a LayerNorm of its outputs; None: as they are.
        branch: a second layer, of other inputs, which is added; None: nothing.
        activation: a key of ``ACTIVATIONS``; None: the sum as it is.
        share: of the numbers that are dropped; 0 outside training.
    """

    layer: nn.Linear
    norm: nn.LayerNorm | None = None
    branch: nn.Linear | None = None
    activation: str | None = None
    share: float = 0.0

    def __call__(self, inputs: Tensor, branch_inputs: Tensor | None = None) -> Tensor:
        """(n, d_in) inputs, and (n, d_branch) of the branch where there is one → (n, width)."""
        quick = _quicker(self, inputs, branch_inputs) if _quicker is not None else None
        return self._plain(inputs, branch_inputs) if quick is None else quick

    def _plain(self, inputs: Tensor, branch_inputs: Tensor | None) -> Tensor:
        x = self.layer(inputs)
        if self.norm is not None:
            x = self.norm(x)
        if self.branch is not None:
            x = x + self.branch(branch_inputs)
        if self.activation is not None:
            x = ACTIVATIONS[self.activation](x)
        return dropout(x, self.share) if self.share > 0 else x


Quicker = Callable[[Stage, Tensor, Tensor | None], Tensor | None]
"""Another way to compute a stage; None for one that it does not know."""

_quicker: Quicker | None = None


@contextmanager
def computed_by(quicker: Quicker) -> Iterator[None]:
    """Within the block stages are computed by ``quicker`` where it can."""
    global _quicker  # read in every stage, also while a compiler follows it
    former, _quicker = _quicker, quicker
    try:
        yield
    finally:
        _quicker = former
