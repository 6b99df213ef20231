"""Training steps recorded once as CUDA graphs and replayed: a small batch's step is some hundred short kernels, and starting each of
them from Python takes longer than it runs.

Source: Nguyen et al., Accelerating PyTorch with CUDA Graphs, PyTorch blog, 2021; ``torch.cuda.graph``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

Share = float | Tensor | None
Step = Callable[[Tensor, Share], tuple[Tensor, Tensor]]
"""A whole optimiser step: places of captions and a mixing share to loss and "skipped", all of them on the device."""

MOST_SIZES = 4
"""Sizes of batches that are recorded; further ones, of batches whose size varies, are computed as they come."""

WARM_UPS = 3
"""Steps before a recording, in which libraries allocate, choose kernels and compile; the last of them must not wait for the device."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    captions: Tensor
    share: Share
    loss: Tensor
    skipped: Tensor


class RecordedSteps:
    """Computes steps by replaying recordings, one for each size of batch. A recording changes nothing that is trained.

    A step that cannot be recorded, because it waits for the device, is computed as it comes; ``refused`` says why.

    Args:
        step: computes one step. It must do the same work on the device each time.
        changing: the tensors that a step changes, those included that the first step makes.
        scaler: of the gradients.
    """

    def __init__(self, step: Step, changing: Callable[[], list[Tensor]], scaler: torch.amp.GradScaler) -> None:
        self.step, self.changing, self.scaler = step, changing, scaler
        self.refused: str | None = None
        self._recordings: dict[tuple[int, bool], _Recording] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, captions: Tensor, share: Share) -> tuple[Tensor, Tensor]:
        """Compute a step: (batch,) int64 captions and a float32 scalar, both on the device."""
        key = (len(captions), share is not None)
        if key not in self._recordings and len(self._recordings) < MOST_SIZES and self.refused is None:
            self._try_recording(key, captions, share)
        found = self._recordings.get(key)
        if found is None:
            return self.step(captions, share)
        found.captions.copy_(captions)
        if isinstance(found.share, Tensor) and isinstance(share, Tensor):
            found.share.copy_(share)
        found.graph.replay()
        return found.loss.clone(), found.skipped.clone()

    def _try_recording(self, key: tuple[int, bool], captions: Tensor, share: Share) -> None:
        try:
            # a recording that breaks off leaves torch on the stream that it was recorded on
            with torch.cuda.stream(torch.cuda.current_stream()), self._unchanged():
                self._recordings[key] = self._record(
                    captions.clone(), share.clone() if isinstance(share, Tensor) else share
                )
        except RuntimeError as error:
            self.refused = str(error).splitlines()[0]
            _end_capture()

    def _record(self, captions: Tensor, share: Share) -> _Recording:
        aside = torch.cuda.Stream(priority=-1)  # before what is computed beside it
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS - 1):
                self.step(captions, share)
            with _waiting_forbidden():
                self.step(captions, share)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"):
            loss, skipped = self.step(captions, share)
        return _Recording(graph, captions, share, loss, skipped)

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Whatever the block trains is as before afterwards, the generators included; what it made is zero, as at the start."""
        # detached: a clone that autograd knows keeps the weight's node alive on the stream it was made on, and no recording bears that
        former = {id(tensor): (tensor, tensor.detach().clone()) for tensor in self.changing()}
        generators, scale = (torch.get_rng_state(), torch.cuda.get_rng_state()), self.scaler.state_dict()
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor in self.changing():
                    kept = former.get(id(tensor))
                    tensor.zero_() if kept is None else tensor.copy_(kept[1])
                    tensor.grad = None  # a step that broke off left it
            if scale:
                self.scaler.load_state_dict(scale)
            torch.set_rng_state(generators[0])
            torch.cuda.set_rng_state(generators[1])


def _end_capture() -> None:
    """After a recording that broke off torch's generator still believes in it, until another one ends well."""
    with torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode="thread_local"):
        torch.zeros(1, device="cuda")


@contextmanager
def _waiting_forbidden() -> Iterator[None]:
    """A step that waits for the device raises instead, while nothing is recorded yet that it could break off."""
    former = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        # it says of itself that it does not see everything; what it misses breaks the recording off
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(former)
