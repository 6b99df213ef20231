"""Weights and states on disk: safetensors with a JSON header, written atomically, nothing pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from kaggle_kit import files
from kaggle_kit.errors import DataError, MissingError
from kaggle_kit.plugins import refuse_changed
from kaggle_kit.translators import Translator, build_translator, translators

HEADER = "kaggle_kit"
PLUGINS = "plugins"
"""Folder of a run with copies of the project's own files that it was trained by: for people, never run."""


def pack_tensors(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    """Named tensors and a JSON ``header`` as the content of one safetensors file: equal content, equal bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {
        HEADER: orjson.dumps(header, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS).decode()
    }
    return safetensors.torch.save(plain, metadata)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON ``header`` to one safetensors file, atomically."""
    files.write_bytes(path, pack_tensors(tensors, header))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What ``save_tensors`` wrote: the tensors on the CPU and the header.

    Raises:
        MissingError: there is no such file.
        DataError: the file is damaged.
    """
    if not path.is_file():
        raise MissingError(f"no checkpoint at {path}", "kk runs show RUN lists what a run holds")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = orjson.loads((file.metadata() or {}).get(HEADER, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, orjson.JSONDecodeError) as error:
        raise DataError(f"checkpoint {path} is damaged: {error}", "delete it and run kk train --resume") from None


def save_translator(path: Path, translator: Translator, header: dict[str, Any]) -> None:
    """Write a trained translator; ``header`` must name it (``translator``) with its complete ``options``."""
    dimensions = {"d_text": translator.d_text, "d_image": translator.d_image}
    save_tensors(path, translator.state_dict(), {**header, **dimensions})


def load_translator(path: Path, device: str = "cpu") -> Translator:
    """The translator in a checkpoint, in evaluation mode.

    Raises:
        MissingError: there is no such file.
        DataError: the file is damaged, its tensors are not those of the translator that it names, or the project's own translator was
            changed since.
    """
    tensors, header = load_tensors(path)
    if plugin := header.get("plugin"):
        kept = path.parents[1] / PLUGINS / plugin["file"]
        refuse_changed(
            plugin, translators.entry(header["translator"]).plugin, f"checkpoint {path.parent.name}", str(kept)
        )
    try:
        with torch.random.fork_rng(devices=[]):
            translator = build_translator(
                header["translator"], header["d_text"], header["d_image"], header.get("options", {})
            )
        translator.load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError) as error:
        raise DataError(f"checkpoint {path} does not hold the translator that it names: {error}") from None
    return translator.to(device).eval()
