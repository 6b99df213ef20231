"""A training step on a GPU in few kernels: weights, gradients and averages in one stretch of memory each, stages and InfoNCE by kernels.

Of a step under autocast a large card spends less than half the time on the matrix products. The rest is memory traffic: casts of weights
and gradients, LayerNorm with the sums of its gradient, dropout masks, the softmax over scores, the check of the gradients, the optimiser.
Here each of these goes over its data once, gradients of weights stay in bf16, as they come, and products that do not wait for each other
run beside each other.

Source of the scheme: Micikevicius et al., Mixed Precision Training, ICLR 2018 (a float32 master copy of the weights).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from kaggle_kit.kernels import adam, stages
from kaggle_kit.training.rounded import RoundedWeight, linear_arguments
from kaggle_kit.translators.stages import Stage, computed_by

ALIGNED = 64
"""Numbers; each weight begins at a multiple of them, as wide loads ask for."""


@dataclass(kw_only=True)
class _Slot(RoundedWeight):
    """Where a weight lies in its stretch; ``short`` of a vector is empty, its gradient float32.

    Attributes:
        average, square: of its shape, float32.
    """

    average: Tensor
    square: Tensor


class FusedWeights(TorchFunctionMode):
    """Takes over the weights of an optimizer, and is the context in which their gradients are computed.

    In the context ``F.linear`` multiplies with bf16 copies, stages (:mod:`kaggle_kit.translators.stages`) are computed by kernels, and
    gradients stay here. The weights stay where modules and optimizer look for them, as views.

    Args:
        optimizer: ``Adam`` or ``AdamW``, its learning rate a tensor on the device. Its state of a weight is what it would be without
            this class.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        self.optimizer = optimizer
        self._slots: dict[Tensor, _Slot] = {}
        group = optimizer.param_groups[0]
        device = group["params"][0].device
        beta1, beta2 = group["betas"]
        self._form = adam.AdamForm(beta1, beta2, group["eps"], isinstance(optimizer, torch.optim.AdamW))
        self._logs = torch.tensor([math.log(beta1), math.log(beta2)], dtype=torch.float64, device=device)
        self._step = torch.zeros((), device=device)
        self._found = torch.zeros((), device=device)
        weights = [(weight, group["weight_decay"]) for group in optimizer.param_groups for weight in group["params"]]
        self._matrices = self._stretch([pair for pair in weights if pair[0].ndim >= 2], torch.bfloat16, device)
        self._vectors = self._stretch([pair for pair in weights if pair[0].ndim < 2], torch.float32, device)
        self._aside = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._held: list[Tensor] = []
        self.refresh()

    def _stretch(self, weights: list[tuple[Tensor, float]], dtype: torch.dtype, device: torch.device) -> adam.Stretch:
        """Move the weights into one stretch of memory."""
        sizes = [-(-weight.numel() // ALIGNED) * ALIGNED for weight, _ in weights]
        count, matrices = sum(sizes), dtype == torch.bfloat16
        flat, averages, squares = (torch.zeros(count, device=device) for _ in range(3))
        gradients = torch.zeros(count, dtype=dtype, device=device)
        short = torch.zeros(count if matrices else 0, dtype=dtype, device=device)
        start = 0
        for (weight, _), size in zip(weights, sizes, strict=True):
            place = slice(start, start + weight.numel())
            views = [stretch[place].view(weight.shape) for stretch in (flat, gradients, averages, squares)]
            views[0].copy_(weight.detach())
            weight.data = views[0]
            shortened = short[place].view(weight.shape) if matrices else short
            self._slots[weight] = _Slot(gradient=views[1], average=views[2], square=views[3], short=shortened)
            start += size
        decay = weights[0][1] if weights else 0.0  # matrices are one group of the optimizer, vectors another
        as_tensor = torch.full((), decay, device=device)
        return adam.Stretch(flat, averages, squares, gradients, short if matrices else None, as_tensor, decay > 0)

    def __enter__(self) -> Any:
        self._computed = computed_by(self._stage)
        self._computed.__enter__()
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._computed.__exit__(*raised)

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.linear:
            inputs, weight, bias = linear_arguments(*args, **(kwargs or {}))
            if inputs.ndim == 2 and self._knows(inputs.device, weight, bias):
                return _Product.apply(inputs, weight, bias, self)
        return func(*args, **(kwargs or {}))

    def _knows(self, device: torch.device, *weights: Tensor | None) -> bool:
        """Whether autocast would round here, a gradient is wanted, and all weights are among ours."""
        rounds = torch.is_grad_enabled() and torch.is_autocast_enabled(device.type)
        return rounds and all(weight is None or weight in self._slots for weight in weights)

    def _stage(self, stage: Stage, inputs: Tensor, branch_inputs: Tensor | None) -> Tensor | None:
        norm, branch = stage.norm, stage.branch
        vectors = stages.StageVectors(
            stage.layer.bias,
            None if norm is None else norm.weight,
            None if norm is None else norm.bias,
            None if branch is None else branch.bias,
        )
        given = (vectors.bias, vectors.weight, vectors.shift, vectors.other_bias)
        known = self._knows(inputs.device, stage.layer.weight, None if branch is None else branch.weight, *given)
        whole = norm is None or (vectors.weight is not None and vectors.shift is not None)
        there = [vector for vector in given if vector is not None]
        apart = len({id(vector) for vector in there}) == len(there)  # two sums may not be left in one place
        if inputs.ndim != 2 or not (known and whole and apart):
            return None
        form = stages.StageForm(stage.activation or "none", stage.share, 0.0 if norm is None else norm.eps)
        branch_weight = None if branch is None else branch.weight
        return _FusedStage.apply(  # type: ignore[no-any-return]
            inputs, branch_inputs, stage.layer.weight, branch_weight, vectors, form, self
        )

    @torch.no_grad()
    def refresh(self) -> None:
        """Round all weights anew, and take over an optimizer's state that was loaded."""
        for weight, slot in self._slots.items():
            state = self.optimizer.state[weight]
            own = {"step": self._step, "exp_avg": slot.average, "exp_avg_sq": slot.square}
            for name, mine in own.items():
                loaded = state.get(name)
                if loaded is not None and loaded is not mine:
                    mine.copy_(loaded)
                state[name] = mine
            if weight.ndim >= 2:
                slot.take(weight)

    @torch.no_grad()
    def descend(self, loss: Tensor) -> Tensor:
        """Move all weights by their gradients, unless one of these or the loss is not finite; forget the gradients.

        Returns:
            float32 scalar on the device: 1 when the step was skipped, else 0.
        """
        self.together()
        self._held.clear()
        unused = []
        for weight, slot in self._slots.items():
            if weight.grad is not None:  # of a use that is no linear layer's
                slot.gradient.add_(weight.grad) if slot.pending else slot.gradient.copy_(weight.grad)
                weight.grad = None
            elif not slot.pending:
                slot.gradient.zero_()
                unused.append((weight, slot))
            slot.pending = False
        adam.check(self._matrices.gradients, self._vectors.gradients, loss, self._found)
        rate = self.optimizer.param_groups[0]["lr"]
        with _unmoved(unused):
            adam.move(self._matrices, self._vectors, self._form, rate, self._step, self._logs, self._found)
        return adam.conclude(self._step, self._found)

    def forget(self) -> None:
        """Drop all gradients: of a step that broke off."""
        self._held.clear()
        for slot in self._slots.values():
            slot.pending = False

    @property
    def kept(self) -> list[Tensor]:
        """What changes from step to step beside the weights and the optimizer's state."""
        return [self._found, *(() if self._matrices.short is None else (self._matrices.short,))]

    @contextmanager
    def aside(self, *held: Tensor) -> Iterator[None]:
        """What the block computes may run beside what follows, until :meth:`together` or the step; ``held`` stays in memory till then."""
        if self._aside is not None:
            self._aside.wait_stream(torch.cuda.current_stream())
            self._held += held
        with torch.cuda.stream(self._aside):  # nothing where it is None
            yield

    def together(self) -> None:
        """What follows waits for what was computed aside."""
        if self._aside is not None:
            torch.cuda.current_stream().wait_stream(self._aside)

    def short(self, weight: Tensor) -> Tensor:
        """The bf16 copy of a matrix, made anew where somebody else changed the matrix."""
        slot = self._slots[weight]
        if slot.version != weight._version:
            slot.take(weight)
        return slot.short

    def add_product(self, weight: Tensor, outputs: Tensor, inputs: Tensor) -> None:
        """Take up the gradient of one use of a matrix, beside what follows."""
        with self.aside(outputs, inputs):
            self._slots[weight].add(outputs, inputs)

    def add_sum(self, bias: Tensor, rows: Tensor) -> None:
        """Take up the gradient of a bias: the sum of the rows."""
        slot = self._slots[bias]
        total = rows.sum(0, dtype=torch.float32)
        slot.gradient.add_(total) if slot.pending else slot.gradient.copy_(total)
        slot.pending = True

    def places(self, vectors: stages.StageVectors) -> tuple[stages.StageVectors, bool]:
        """Where the gradients of a stage's vectors belong, and whether they are added to what is there; they are pending from now on."""
        given = (vectors.bias, vectors.weight, vectors.shift, vectors.other_bias)
        slots = [None if vector is None else self._slots[vector] for vector in given]
        add = any(slot is not None and slot.pending for slot in slots)
        for slot in slots:
            if slot is not None:
                if add and not slot.pending:
                    slot.gradient.zero_()
                slot.pending = True
        return stages.StageVectors(*(None if slot is None else slot.gradient for slot in slots)), add


@contextmanager
def _unmoved(unused: list[tuple[Tensor, _Slot]]) -> Iterator[None]:
    """Weights without a gradient in this step are left alone, with all that is kept of them, as PyTorch's optimisers do."""
    places = [place for weight, slot in unused for place in (weight.detach(), slot.average, slot.square, slot.short)]
    former = [place.clone() for place in places]
    yield
    for place, kept in zip(places, former, strict=True):
        place.copy_(kept)


class _Product(torch.autograd.Function):
    """``F.linear`` in bf16; the gradients of its weights stay with them."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, fused: FusedWeights) -> Tensor:
        short = inputs.bfloat16()
        ctx.save_for_backward(short)
        ctx.weight, ctx.bias, ctx.fused, ctx.dtype = weight, bias, fused, inputs.dtype
        return F.linear(short, fused.short(weight), None if bias is None else bias.bfloat16())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (inputs,) = ctx.saved_tensors
        fused, weight = ctx.fused, ctx.weight
        gradient = gradient.bfloat16()
        for_inputs = (gradient @ fused.short(weight)).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        fused.add_product(weight, gradient, inputs)
        if ctx.bias is not None:
            fused.add_sum(ctx.bias, gradient)
        return for_inputs, None, None, None


class _FusedStage(torch.autograd.Function):
    """A stage; the gradients of its weights stay with them."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        branch_inputs: Tensor | None,
        weight: Tensor,
        branch_weight: Tensor | None,
        vectors: stages.StageVectors,
        form: stages.StageForm,
        fused: FusedWeights,
    ) -> Tensor:
        short, branch_short, other = inputs.bfloat16(), None, None
        if branch_inputs is not None and branch_weight is not None:
            branch_short = branch_inputs.bfloat16()
            with fused.aside(branch_short):
                other = branch_short @ fused.short(branch_weight).T
        product = short @ fused.short(weight).T
        if other is not None:
            fused.together()
        seed = _draw_seed(short.device) if form.share > 0 else fused._logs  # not read without dropout
        out, memory = stages.forward(product, other, vectors, form, seed)
        ctx.save_for_backward(short, branch_short, product, other, memory.means, memory.scales, memory.seed)
        ctx.weight, ctx.branch_weight, ctx.vectors, ctx.form, ctx.fused = weight, branch_weight, vectors, form, fused
        ctx.dtypes = inputs.dtype, None if branch_inputs is None else branch_inputs.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, branch_inputs, product, other, *memory = ctx.saved_tensors
        fused = ctx.fused
        places, add = fused.places(ctx.vectors)
        for_product, for_other = stages.backward(
            gradient.to(product.dtype).contiguous(), product, other, ctx.vectors, ctx.form,
            stages.StageMemory(*memory), places, add=add,
        )  # fmt: skip
        for_inputs = for_branch = None
        if ctx.needs_input_grad[0]:
            for_inputs = (for_product @ fused.short(ctx.weight)).to(ctx.dtypes[0])
        fused.add_product(ctx.weight, for_product, inputs)
        if for_other is not None:
            if ctx.needs_input_grad[1]:
                for_branch = (for_other @ fused.short(ctx.branch_weight)).to(ctx.dtypes[1])
            fused.add_product(ctx.branch_weight, for_other, branch_inputs)
        return for_inputs, for_branch, None, None, None, None, None


def _draw_seed(device: torch.device) -> Tensor:
    """(1,) int64 from torch's generator of the device, which is part of a state; a recorded step draws a new one each time."""
    return torch.randint(0, 1 << 62, (1,), device=device)
