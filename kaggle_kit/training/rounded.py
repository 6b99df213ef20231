"""Weights of linear layers kept in bf16 beside their float32 originals while a network trains on a CPU.

Under autocast each step rounds every weight anew, widens every gradient, looks at it, and reads it once more to move the weight: half of
what a CPU does beside the matrix products is this traffic through memory. Here the optimiser works through a weight piece by piece: the
gradient is widened, the weight moved and rounded again while the piece is in the cache; and no step asks the system for memory.

The numbers are those of autocast and the fused optimiser. Source of the scheme: Micikevicius et al., Mixed Precision Training, ICLR 2018
(a float32 master copy of the weights).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

PIECE = 1 << 19
"""Of float32 numbers with their gradient and both averages eight megabytes."""


@dataclass(kw_only=True)
class RoundedWeight:
    """A weight's copy in bf16, and the sum of its gradients since the last step.

    Attributes:
        short: (out, in) bf16, the copy.
        gradient: the same.
        version: of the weight when it was rounded: PyTorch counts changes in place.
        pending: whether ``gradient`` holds one.
    """

    short: Tensor
    gradient: Tensor
    version: int = -1
    pending: bool = False

    @torch.no_grad()
    def take(self, weight: Tensor) -> None:
        """Round the weight anew."""
        self.short.copy_(weight)
        self.version = weight._version

    def add(self, outputs: Tensor, inputs: Tensor) -> None:
        """Take up the gradient of one use: (n, out) of the layer's outputs, (n, in) its inputs."""
        if self.pending:
            self.gradient.addmm_(outputs.T, inputs)
        else:
            torch.mm(outputs.T, inputs, out=self.gradient)
        self.pending = True


@dataclass(kw_only=True)
class _Rounded(RoundedWeight):
    """One that is moved piece by piece.

    Attributes:
        pieces: of the weight, its two averages, the gradient and the copy; cut once, because cutting takes as long as moving a small one.
    """

    pieces: list[tuple[Tensor, ...]] = field(default_factory=list)


class RoundedWeights(TorchFunctionMode):
    """A context in which ``F.linear``, and with it ``nn.Linear``, multiplies with rounded copies and leaves gradients with them.

    Weights that are float32 and trained have a copy from their first use on. A weight that somebody else changes is rounded anew when it is
    used next; whoever loads the optimizer's state calls :meth:`refresh`.

    Args:
        optimizer: ``Adam`` or ``AdamW``, fused. Its state of a weight is what it would be without this class.
        piece: numbers of a weight that are moved at a time.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, piece: int = PIECE) -> None:
        super().__init__()
        self.optimizer = optimizer
        self._move = torch._fused_adamw_ if isinstance(optimizer, torch.optim.AdamW) else torch._fused_adam_
        self._trained = {weight for group in optimizer.param_groups for weight in group["params"]}
        self._rounded: dict[Tensor, _Rounded] = {}
        self._piece = torch.empty(piece)

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.linear:
            inputs, weight, bias = linear_arguments(*args, **(kwargs or {}))
            rounded = self._of(weight) if _multiplies_bf16(inputs) else None
            if rounded is not None:
                return _Linear.apply(inputs, weight, bias, rounded)
        return func(*args, **(kwargs or {}))

    def _of(self, weight: Tensor) -> _Rounded | None:
        if weight not in self._trained or weight.dtype != torch.float32 or not weight.is_contiguous():
            return None
        if weight not in self._rounded:
            short = weight.detach().bfloat16()
            self._rounded[weight] = _Rounded(short=short, gradient=torch.empty_like(short), version=weight._version)
        rounded = self._rounded[weight]
        if rounded.version != weight._version:
            rounded.take(weight)
        return rounded

    @torch.no_grad()
    def refresh(self) -> None:
        """Round all weights anew, and look at the optimizer's state anew."""
        for weight, rounded in self._rounded.items():
            rounded.take(weight)
            rounded.pieces = []

    def collect(self) -> list[Tensor]:
        """The gradients that wait here, bf16; a weight that was used otherwise, too, has all of its gradient in ``grad``."""
        for weight, rounded in self._rounded.items():
            if rounded.pending and weight.grad is not None:
                weight.grad += rounded.gradient
                rounded.pending = False
        return [rounded.gradient for rounded in self._rounded.values() if rounded.pending]

    @torch.no_grad()
    def step(self) -> None:
        """After the optimizer's step: move the weights whose gradients wait here as it would, and round those that it moved."""
        for group in self.optimizer.param_groups:
            for weight in group["params"]:
                rounded = self._rounded.get(weight)
                if rounded is not None and rounded.pending:
                    self._step(weight, rounded, group)
                elif rounded is not None and weight.grad is not None:
                    rounded.take(weight)

    def forget(self) -> None:
        """Drop all gradients."""
        for rounded in self._rounded.values():
            rounded.pending = False

    def _step(self, weight: Tensor, rounded: _Rounded, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self._state(weight), group["betas"]
        if not rounded.pieces:
            tensors = (weight, state["exp_avg"], state["exp_avg_sq"], rounded.gradient, rounded.short)
            rounded.pieces = list(zip(*(tensor.view(-1).split(len(self._piece)) for tensor in tensors), strict=True))
        state["step"] += 1
        for some, average, squares, gradient, short in rounded.pieces:
            # the operation under torch.optim's fused optimisers, which themselves count a step each time they are called
            self._move(
                [some], [self._piece[: len(some)].copy_(gradient)], [average], [squares], [], [state["step"]],
                lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=group["weight_decay"], eps=group["eps"],
                amsgrad=False, maximize=False,
            )  # fmt: skip
            short.copy_(some)
        rounded.version = weight._version

    def _state(self, weight: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.optimizer.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        return state


def linear_arguments(
    input: Tensor,  # noqa: A002  # the name that ``F.linear`` is called with
    weight: Tensor,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Inputs, weight and bias of a call of ``F.linear``, however they were given."""
    return input, weight, bias


def _multiplies_bf16(inputs: Tensor) -> bool:
    """Whether autocast would round here, and a gradient is wanted."""
    return inputs.ndim >= 2 and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")


class _Linear(torch.autograd.Function):
    """``F.linear`` under bf16 autocast with a rounded weight; that weight's gradient stays with it."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, rounded: _Rounded) -> Tensor:
        short = inputs.bfloat16()
        ctx.save_for_backward(short)
        ctx.rounded, ctx.dtype, ctx.bias_dtype = rounded, inputs.dtype, None if bias is None else bias.dtype
        return F.linear(short, rounded.short, None if bias is None else bias.bfloat16())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (inputs,) = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        for_inputs = gradient @ ctx.rounded.short if ctx.needs_input_grad[0] else None
        ctx.rounded.add(rows, inputs.flatten(0, -2))
        for_bias = rows.sum(0).to(ctx.bias_dtype) if ctx.needs_input_grad[2] else None
        return None if for_inputs is None else for_inputs.to(ctx.dtype), None, for_bias, None
