"""One fold over several devices: which rows of a batch are whose, and how the ranks' work becomes that of one process.

Every rank deals the same batches and takes its part of each. Outputs are gathered with their gradients, so that each rank computes the
loss of the *whole* batch: contrasts and hardest negatives are those of one process, whatever the loss. Gradients are averaged over the
ranks before the step, after which all ranks hold the same weights again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kaggle_kit.training.interrupts import StopRequest
from kaggle_kit.training.seeds import derive_seed

if TYPE_CHECKING:
    from kaggle_kit.translators import Translator


class Alone:
    """A process that shares its work with nobody; the base of those that do."""

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def prepare(self, translator: Translator) -> None:
        """Make a prepared translator fit for ``forward`` here."""

    def training_forward(self, translator: Translator, inputs: Tensor, *purpose: object) -> tuple[Tensor, Any]:
        """``translator.training_forward`` of the whole batch; ``purpose`` tells one use of randomness from the next."""
        return translator.training_forward(inputs)

    def forward(self, translator: Translator, inputs: Tensor) -> Tensor:
        """``translator.forward`` of the whole batch, without gradients: each row is computed once, by one rank."""
        return translator(inputs)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the ranks."""


ALONE = Alone()


class Together(Alone):
    """One rank of a process group.

    Args:
        group: the processes; outputs and gradients travel in it.
        control: a group on the CPU in which stops are agreed, so that no step waits for the device; ``group`` when None.
    """

    def __init__(self, group: Any, control: Any = None) -> None:
        self.group, self.control = group, control or group
        self.rank, self.size = group.rank(), group.size()
        self.stop = AgreedStop(StopRequest(), self.any)

    def __deepcopy__(self, memo: dict[int, Any]) -> Together:
        return self  # a layer that is copied for the moving average stays among the same ranks

    def prepare(self, translator: Translator) -> None:
        """Take the first rank's tensors, and let batch norms see the whole batch."""
        import torch.distributed as dist

        for module in list(translator.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm1d):
                    setattr(module, name, SharedBatchNorm.of(child, self))
        for tensor in translator.state_dict().values():
            self.group.broadcast([tensor], dist.BroadcastOptions()).wait()

    def part(self, count: int) -> slice:
        """This rank's rows of a batch of ``count``; none when there are fewer rows than ranks before it."""
        sizes = self._sizes(count)
        start = sum(sizes[: self.rank])
        return slice(start, start + sizes[self.rank])

    def _sizes(self, count: int) -> list[int]:
        """Rows of each rank: as even as can be, each row once."""
        return [count // self.size + (rank < count % self.size) for rank in range(self.size)]

    def training_forward(self, translator: Translator, inputs: Tensor, *purpose: object) -> tuple[Tensor, Any]:
        """Compute this rank's rows and gather everybody's outputs and extras with their gradients."""
        with self._own_randomness(inputs.device, purpose):
            outputs, extras = translator.training_forward(inputs[self.part(len(inputs))])
        gathered = {name: self.gather(extra, len(inputs)) for name, extra in extras.items()}
        return self.gather(outputs, len(inputs)), gathered

    def forward(self, translator: Translator, inputs: Tensor) -> Tensor:
        """Compute this rank's rows and gather everybody's."""
        return self.gather(translator(inputs[self.part(len(inputs))]), len(inputs))

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """This rank's rows (own, …) → everybody's (count, …), in the order of the batch.

        The gradient of a gathered row goes back to the rank that computed it, times the number of ranks: ``average_gradients`` divides
        by it again. So one rule serves the weights, of whose gradient each rank has a part, and the parameters of the loss, of whose
        gradient each rank has the whole.
        """
        return _Gather.apply(rows, self, self._sizes(count))  # type: ignore[no-any-return]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over the ranks, with its gradient."""
        return _Sum.apply(values, self)  # type: ignore[no-any-return]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the ranks, in one message.

        The same numbers arrive everywhere, so clipping, fp16 scaling, skipped steps and divergence are decided alike on all ranks.
        """
        import torch.distributed as dist

        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat, group=self.group)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        self.stop.agree()

    def agreeing(self, stop: StopRequest) -> AgreedStop:
        """``stop`` as all ranks see it: true in the same step on all of them."""
        self.stop = AgreedStop(stop, self.any)
        return self.stop

    def any(self, flag: bool) -> bool:  # noqa: FBT001 (reads as the builtin)
        """Whether it is true on any rank."""
        import torch.distributed as dist

        votes = torch.tensor([float(flag)])
        dist.all_reduce(votes, group=self.control)
        return bool(votes > 0)

    @contextmanager
    def _own_randomness(self, device: torch.device, purpose: tuple[object, ...]) -> Iterator[None]:
        """Dropout of this rank's own: drawn from seed, step and rank, so that a state need not hold every rank's generator.

        Outside, all ranks' generators stay alike, and what is drawn for the whole batch (mixing, noise) is the same everywhere.
        """
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
            torch.manual_seed(derive_seed(0, *purpose, "rank", self.rank, "of", self.size))
            yield


class AgreedStop(StopRequest):
    """A stop that is true on all ranks or on none: a rank that left alone would keep the others waiting for ever."""

    def __init__(self, inner: StopRequest, any_of: Callable[[bool], bool]) -> None:
        super().__init__()
        self.inner, self.any_of, self.agreed = inner, any_of, False
        self.longest = inner.longest

    def agree(self) -> None:
        """Ask all ranks; every rank must."""
        self.agreed = self.any_of(bool(self.inner))

    def __bool__(self) -> bool:
        return self.agreed

    def before(self, *works: str) -> bool:
        """Whether it was agreed to stop; the time left is watched by the process that started the ranks."""
        return self.agreed

    def raise_stop(self, where: str) -> None:
        """Leave, as the inner request does."""
        self.inner.raise_stop(where)


class _Gather(torch.autograd.Function):
    """All ranks' rows; backward hands each rank the gradient of its own."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, among: Together, sizes: list[int]) -> Tensor:
        import torch.distributed as dist

        ctx.among, ctx.sizes = among, sizes
        # a message has one size: short parts are filled up on the way, and cut again before anybody sees them
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        pieces = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(pieces, padded, group=among.group)
        return torch.cat([piece[:size] for piece, size in zip(pieces, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        start = sum(ctx.sizes[: ctx.among.rank])
        own = gradient[start : start + ctx.sizes[ctx.among.rank]]
        return own * ctx.among.size, None, None


class _Sum(torch.autograd.Function):
    """Sum over the ranks; the gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, among: Together) -> Tensor:
        ctx.among = among
        return _summed(values, among)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _summed(gradient, ctx.among), None


def _summed(values: Tensor, among: Together) -> Tensor:
    import torch.distributed as dist

    total = values.clone()
    dist.all_reduce(total, group=among.group)
    return total


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch norm with the mean and variance of the whole batch, on any device (torch's own of this kind needs a GPU)."""

    among: Together
    # there where track_running_stats is True
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    @classmethod
    def of(cls, norm: nn.BatchNorm1d, among: Together) -> SharedBatchNorm:
        """The same layer, its tensors shared with ``norm``."""
        shared = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        shared.weight, shared.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            shared.register_buffer(name, buffer)
        shared.among = among
        return shared.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, features); statistics in float32 over all ranks' rows."""
        if not self.training and self.track_running_stats:
            return super().forward(x)
        wide = x.float()
        ones = wide.new_ones(len(wide), 1).sum(0)
        totals = self.among.sum(torch.cat([wide.sum(0), ones]))
        mean, count = totals[:-1] / totals[-1], totals[-1].detach()
        variance = self.among.sum((wide - mean).square().sum(0)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normed = (wide - mean) * torch.rsqrt(variance + self.eps)
        return (normed if self.weight is None else normed * self.weight + self.bias).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
