"""How timings look in a terminal."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import duration, size
from kaggle_kit.render.views import View, heading, line


def benchmark(result: Any) -> View:
    """Samples a second of each competitor, and what ours is worth beside them."""
    hardware, precision = result.hardware, result.hardware.precision
    yield heading(f"{hardware.name} ({hardware.device}), {precision}, {hardware.threads} threads, batch {result.batch}")
    rows = [_row("original loop, fp32", result.reference_fp32, None)]
    if precision != "fp32":
        rows.append(_row(f"original loop, {precision}", result.reference_same_dtype, None))
    rows += [
        _row(f"ours, same network, {precision}", result.ours, result.ratio),
        _row(f"bare matrix products, {precision}", result.floor, None),
    ]
    translator = result.translator
    if translator.seconds is None:
        rows.append(_row(f"{translator.name}, batch {translator.batch}", translator.samples_per_s, None))
    yield Grid(
        (
            Column("what", "", least=20),
            Column("median", "samples/s", right=True),
            Column("low", "lowest", right=True, order=1),
            Column("high", "highest", right=True, order=1),
            Column("ratio", "against the loop", right=True),
        ),
        rows,
    )
    share, ratio = result.floor_share, result.ratio_fp32
    yield line(f"{share.median:.0%} of the floor ({share.low:.0%} to {share.high:.0%})")
    if precision != "fp32":
        yield line(f"{ratio.median:.2f} times the original loop in fp32 ({ratio.low:.2f} to {ratio.high:.2f})")
    if translator.seconds is not None:
        yield line(f"{translator.name}: fitted in {duration(translator.seconds)}")
    if result.time_to is not None:
        yield line(_time_to(result.time_to, translator.name))
    yield Text(_conditions(result), style="dim")


def _row(what: str, speed: Any, ratio: Any) -> dict[str, str]:
    shown = {name: f"{getattr(speed, name):,.0f}" for name in ("median", "low", "high")}
    against = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio is not None else ""
    return {"what": what, **shown, "ratio": against}


def _time_to(found: Any, translator: str) -> str:
    what = f"{translator} to a validation MRR of {found.mrr:g} on {found.captions:,} made-up captions"
    if found.reached:
        return f"{what}: {duration(found.seconds)}, {found.epochs} epochs"
    return f"{what}: not reached, {found.best_mrr:.4f} after {duration(found.seconds)}, {found.epochs} epochs"


def _conditions(result: Any) -> str:
    rounds = len(result.rounds["ours"])
    memory = f"; peak memory {size(result.peak_memory_mb * 1e6)}" if result.peak_memory_mb else ""
    return f"median of {rounds} rounds of {result.samples:,} captions in turns, {result.d_text} to {result.d_image} dimensions{memory}"
