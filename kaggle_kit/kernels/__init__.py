"""Kernels for GPUs, in Triton: what lies between the matrix products of a training step, in as few passes over memory as there can be.

A compiler that fuses (``train.compile``) leaves most of a step's time to this traffic: LayerNorm with its column sums, the softmax over
scores, casts of weights and gradients, the check of the gradients, the optimiser. Nothing here is random but what a seed on the device
decides, and all sums are taken in a fixed order.

The modules are imported where :func:`kaggle_kit.kernels.usable` says so; Triton comes with PyTorch for CUDA.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch


@cache
def usable() -> bool:
    """Whether there is a GPU that multiplies bf16 in hardware, and Triton to compile for it."""
    return (
        torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0) and find_spec("triton") is not None
    )
