"""Which device and arithmetic to train with, by what the hardware does well and not by what it claims."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

from kaggle_kit.errors import UsageError

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Hardware:
    """What a run computes with, as recorded beside its scores."""

    device: str
    name: str
    precision: str
    threads: int

    def to_dict(self) -> dict[str, object]:
        """The record's shape."""
        return asdict(self)

    @property
    def scales_gradients(self) -> bool:
        """Whether gradients are scaled: fp16 underflows without it."""
        return self.precision == "fp16"

    @property
    def defers_checks(self) -> bool:
        """Whether steps are checked on the device and read about once an epoch: waiting for a GPU in each step leaves it idle."""
        return self.device == "cuda"

    @property
    def score_format(self) -> torch.dtype | None:
        """The short format to which vectors are rounded before their scores are multiplied; None: scores are float32 throughout.

        Where products of a short format can be added up in float32: on a GPU from PyTorch 2.8 on, on a CPU in bf16. Of a large batch the
        scores are the largest product there is.
        """
        adds_up_wide = {
            "cuda": hasattr(torch.ops.aten.mm, "dtype"),
            "cpu": self.precision == "bf16",
        }
        return DTYPES[self.precision] if adds_up_wide.get(self.device, False) else None

    @property
    def dtype(self) -> torch.dtype:
        """The number format that the network's matrix products run in."""
        return DTYPES[self.precision] or torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network's matrix products run in the chosen precision."""
        dtype = DTYPES[self.precision]
        return nullcontext() if dtype is None else torch.autocast(self.device, dtype=dtype)


def choose_hardware(device: str = "auto", precision: str = "auto", threads: int | None = None) -> Hardware:
    """Settle device, precision and thread count; sets torch's thread count.

    Raises:
        UsageError: the device is not there, or cannot compute in the precision asked for.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = _choose_device(device)
    return Hardware(chosen, _device_name(chosen), _choose_precision(chosen, precision), torch.get_num_threads())


def _choose_device(device: str) -> str:
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, there in present.items() if there)
    if not present[device]:
        raise UsageError(f"device {device} is not available here", "leave --device at auto, or choose cpu")
    return device


def _choose_precision(device: str, precision: str) -> str:
    if precision != "auto":
        if precision == "bf16" and device == "mps":
            raise UsageError("bf16 is not supported on mps here", "choose --precision fp32 or fp16")
        return precision
    if device == "cuda":
        # torch.cuda.is_bf16_supported() says yes on a T4, which emulates it slowly (pytorch#148322)
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    return "bf16" if device == "cpu" and cpu_has_bf16() else "fp32"


@cache
def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AMX, AVX512-BF16, Arm BF16); only Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next(
        (line.split(":", 1)[1].split() for line in lines if line.lower().startswith(("flags", "features"))), []
    )
    return bool({"amx_bf16", "avx512_bf16", "bf16"} & set(flags))


def _device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return platform.processor() or platform.machine()
