"""The state of an unfinished fold on disk: the newest two, each whole or not there, each checked when it is read."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor

from kaggle_kit import files
from kaggle_kit.errors import DataError, DiskFullError, storage_errors
from kaggle_kit.progress import size
from kaggle_kit.training.checkpoints import load_tensors, pack_tensors

STATE, PREVIOUS = "state.safetensors", "state.previous.safetensors"
SCHEMA = 2


class StateFiles:
    """Where a member keeps its state.

    Args:
        folder: the member's.
        margin_mb: megabytes that must stay free beside what is written.
        note: where a person is told that an older state had to do.
    """

    def __init__(self, folder: Path, *, margin_mb: float, note: Callable[[str], None]) -> None:
        self.folder, self.margin_bytes, self.note = folder, round(margin_mb * 1e6), note
        self.newest, self.previous = folder / STATE, folder / PREVIOUS

    def save(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Write a state; the one before it stays beside it.

        Raises:
            DiskFullError: too little space; the states written before are untouched.
        """
        digest = _digest(tensors, header)
        content = pack_tensors(tensors, {"schema": SCHEMA, "sha256": digest, "state": header})
        self._check_space(len(content))
        with files.atomic_writer(self.newest) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if self.newest.is_file():
                os.replace(self.newest, self.previous)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors (on the CPU) and header of the newest state that is whole; None when none was ever written.

        Raises:
            DataError: every state there is damaged.
        """
        damage: DataError | None = None
        for path in (self.newest, self.previous):
            if not path.is_file():
                continue
            try:
                found = _read(path)
            except DataError as error:
                damage = damage or error
                continue
            if damage is not None:
                self.note(f"{damage.message}; going on from the state before it, {path.name}")
            return found
        if damage is not None:
            raise damage
        return None

    def remove(self) -> None:
        """Delete the states, and what killed processes left of files that they were writing."""
        for path in (self.newest, self.previous, *self.folder.glob(".*.tmp")):
            path.unlink(missing_ok=True)

    def _check_space(self, count: int) -> None:
        with storage_errors(self.folder, "making"):
            self.folder.mkdir(parents=True, exist_ok=True)
        needed, free = count + self.margin_bytes, shutil.disk_usage(self.folder).free
        if free < needed:
            kept = "; the state before it is untouched" if self.newest.is_file() else ""
            raise DiskFullError(
                f"too little space to save the state in {self.folder}: {size(needed)} needed, "
                f"{size(self.margin_bytes)} of them as a margin (train.disk_margin_mb), {size(free)} free{kept}",
                "free some space, then kk train --resume goes on",
            )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, outer = load_tensors(path)
    if outer.get("schema") != SCHEMA:
        raise DataError(f"{path} is a state of another version of kaggle_kit", "delete it and run kk train --resume")
    if _digest(tensors, outer["state"]) != outer["sha256"]:
        raise DataError(
            f"checkpoint {path} is damaged: its content is not what was written", "delete it and run kk train --resume"
        )
    return tensors, outer["state"]


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """SHA-256 of header and tensors: safetensors itself does not notice a changed number."""
    digest = hashlib.sha256(orjson.dumps(header, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY, default=str))
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
