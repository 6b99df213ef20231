"""The training photos, where they are: read small, never from outside their folder."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

THUMBNAIL_PIXELS = 112
JPEG_QUALITY = 72


@dataclass(frozen=True)
class Photos:
    """A folder of photos by name.

    Attributes:
        folder: where they lie; None: there are none, and every photo is missing.
    """

    folder: Path | None

    def path(self, name: str) -> Path | None:
        """The photo called ``name``, None when it is not in the folder."""
        if self.folder is None or not name or "\0" in name:
            return None
        path = self.folder / name
        try:
            inside = path.resolve().is_relative_to(self.folder.resolve())
            return path if inside and path.is_file() else None
        except OSError:  # a name longer than a file's may be
            return None

    def read(self, name: str, pixels: int) -> np.ndarray | None:
        """The photo in at most ``pixels`` a side, (height, width, 3) uint8; None when it is missing or no picture."""
        picture = self._open(name, pixels)
        return None if picture is None else np.asarray(picture)

    def thumbnail(self, name: str) -> bytes | None:
        """The photo as a small JPEG of a few kilobytes; None when it is missing or no picture."""
        picture = self._open(name, THUMBNAIL_PIXELS)
        if picture is None:
            return None
        target = io.BytesIO()
        picture.save(target, "JPEG", quality=JPEG_QUALITY, optimize=True)
        return target.getvalue()

    def _open(self, name: str, pixels: int) -> Any:
        from PIL import Image, ImageOps, UnidentifiedImageError

        path = self.path(name)
        if path is None:
            return None
        try:
            with Image.open(path) as picture:
                picture.draft("RGB", (pixels, pixels))
                small = ImageOps.exif_transpose(picture).convert("RGB")
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
            return None
        small.thumbnail((pixels, pixels))
        return small
