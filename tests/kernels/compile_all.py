"""Compiles every kernel for the GPUs named, without one: ``python compile_all.py 80 90``. Prints a line a kernel: capability, name,
registers of a thread, bytes of its stack.

It runs in a process of its own, in which Triton does not interpret.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from kaggle_kit.kernels import adam, scores, stages

SHORT, LONG, FLOAT, WHOLE = "*bf16", "*fp32", "fp32", "i32"
NAMES = {
    SHORT: "product other out gradient for_product for_other rows scores targets outputs for_rows for_outputs short matrices",
    FLOAT: "share epsilon most",
    WHOLE: "width product_stride other_stride gradient_stride stride target_stride count vector_count blocks number programs",
    "*i64": "seeds",
    "*fp64": "logs",
}
TYPES = {name: kind for kind, names in NAMES.items() for name in names.split()}
"""Of arguments by their names; all others point to float32."""


def variants():
    """Kernels with their constants, warps, and types that go by something else than the name."""
    for norm, bias, other, drops, activation in itertools.product(
        (False, True), (False, True), (False, True), (False, True), range(5)
    ):
        if activation not in (0, 2) and (not norm or other):
            continue  # the others differ in a line alone
        kind = {"NORM": norm, "BIAS": bias, "OTHER": other, "OTHER_BIAS": other and bias, "ACTIVATION": activation}
        kind |= {"DROPS": drops, "BLOCK": 2048}
        yield stages._forward, kind, stages.FORWARD_WARPS, {}
        yield stages._backward, kind, stages.BACKWARD_WARPS, {"rows": WHOLE}
    for norm, add in itertools.product((False, True), repeat=2):
        kind = {"SECOND": True, "NORM": norm, "INNER": norm, "ADD": add, "ROWS": 512, "COLUMNS": stages.COLUMNS_A_SUM}
        yield stages._summed, kind, 4, {}
    yield scores._scaled, {"BLOCK": 2048}, 4, {}
    yield scores._unscaled, {"BLOCK": 2048}, 4, {}
    yield scores._one_way, {"BLOCK": 4096}, 8, {}
    yield scores._row_sums, {"BLOCK": 4096}, 8, {}
    yield scores._both_ways, {"BLOCK": 4096}, 8, {"weight": FLOAT}
    part = {"ROWS": scores.ROWS_A_PART, "COLUMNS": scores.COLUMNS_A_PART}
    yield scores._column_parts, part, 8, {}
    yield scores._column_sums, {"PARTS": 16, "COLUMNS": scores.COLUMNS_A_PART}, 4, {}
    yield adam._check, {"BLOCK": adam.CHECKED}, 8, {}
    yield adam._conclude, {}, 4, {}
    for decays, decoupled in itertools.product((False, True), repeat=2):
        kind = {"DECAYS": decays, "VECTORS_DECAY": False, "DECOUPLED": decoupled, "BETA_1": 0.9, "BETA_2": 0.999}
        yield adam._adam, {**kind, "EPSILON": 1e-8, "BLOCK": adam.MOVED}, 4, {"gradients": SHORT}


def compiled(kernel, constants, warps, types, target):
    assert isinstance(kernel, JITFunction)
    names = [name for name in kernel.arg_names if name not in constants]
    known = {**TYPES, **types}
    signature = {name: known.get(name, LONG) for name in names} | dict.fromkeys(constants, "constexpr")
    # as at run time, where memory begins at multiples of 16 bytes and most sizes are multiples of 16
    even = [name for name in names if signature[name] == WHOLE or signature[name].startswith("*")]
    aligned = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in even}
    source = ASTSource(kernel, signature, constants, aligned)
    return triton.compile(source, target=target, options={"num_warps": warps})


def resources(cubin):
    """Registers of a thread, and bytes of its stack, where registers that do not suffice are kept."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        tool = triton.knobs.nvidia.cuobjdump.path
        said = subprocess.run([tool, "--dump-resource-usage", file], capture_output=True, text=True, check=True).stdout
    return re.search(r"REG:(\d+) STACK:(\d+)", said).groups()


if __name__ == "__main__":
    for capability in map(int, sys.argv[1:]):
        for kernel, constants, warps, types in variants():
            found = compiled(kernel, constants, warps, types, GPUTarget("cuda", capability, 32))
            print(capability, kernel.__name__, *resources(found.asm["cubin"]))
