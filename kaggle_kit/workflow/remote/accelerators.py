"""Kaggle's accelerators, by the names that people use and by the service's own."""

from __future__ import annotations

import difflib

from kaggle_kit.errors import UsageError

MACHINES = {
    "t4x2": "NvidiaTeslaT4",
    "l4": "NvidiaL4",
    "l4x1": "NvidiaL4X1",
    "a100": "NvidiaTeslaA100",
    "h100": "NvidiaH100",
    "rtx6000": "NvidiaRtxPro6000",
}
"""All but the two T4s are offered by some competitions only."""

NONE = ("cpu", "none")


def machine_of(name: str) -> str | None:
    """The service's name of an accelerator; None for none.

    Raises:
        UsageError: there is none of that name, or it has been retired.
    """
    given = name.strip().lower()
    if given in NONE:
        return None
    own = {machine.lower(): machine for machine in MACHINES.values()}
    if machine := MACHINES.get(given) or own.get(given):
        return machine
    known = [*MACHINES, "cpu"]
    if "p100" in given or given == "t4":
        raise UsageError(
            f"Kaggle offers no {name} any more" if "p100" in given else "Kaggle offers its T4s two at a time",
            "--gpu t4x2",
        )
    near = difflib.get_close_matches(given, [*known, *own], 1)
    raise UsageError(
        f"no accelerator is called {name!r}",
        f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}",
    )
