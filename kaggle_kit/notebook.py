"""A Kaggle notebook as the rest of the package sees it: how to know one, and its folders.

The one place that names ``/kaggle``. ``KK_NOTEBOOK_ROOT`` moves all of it below another folder: a simulated notebook is a notebook in every
respect, and nothing outside that folder is touched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT_VARIABLE = "KK_NOTEBOOK_ROOT"
RUN_TYPE = "KAGGLE_KERNEL_RUN_TYPE"
"""``Interactive`` or ``Batch``; only Kaggle's notebooks have it."""
KERNELS_PARENT = "JPY_PARENT_PID"
"""Jupyter gives it to its kernels, on Kaggle and elsewhere, and they to what their cells start."""


@dataclass(frozen=True)
class NotebookFolders:
    """The folders of a notebook.

    Attributes:
        root: the folder that holds ``kaggle``; ``/`` on Kaggle.
    """

    root: Path

    @property
    def input(self) -> Path:
        """What is attached, read-only."""
        return self.root / "kaggle" / "input"

    @property
    def working(self) -> Path:
        """What survives the session: the notebook's output."""
        return self.root / "kaggle" / "working"

    @property
    def temp(self) -> Path:
        """Scratch that is thrown away; ``/tmp`` where the image has no ``/kaggle/temp``."""
        temp = self.root / "kaggle" / "temp"
        return temp if temp.is_dir() else self.root / "tmp"

    def competition(self, slug: str) -> tuple[Path, ...]:
        """Where a competition may be mounted, the present way first."""
        return (self.input / "competitions" / slug, self.input / slug)

    def dataset(self, ref: str) -> tuple[Path, ...]:
        """Where the dataset ``owner/slug`` may be mounted, the present way first."""
        return (self.input / "datasets" / ref, self.input / ref.rpartition("/")[2])

    def output_of(self, kernel: str) -> tuple[Path, ...]:
        """Where the output of the notebook ``owner/slug`` may be mounted, the present way first."""
        return (self.input / "notebooks" / kernel, self.input / kernel.rpartition("/")[2])


def in_notebook(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this runs in a Kaggle notebook, or is told to act so."""
    return bool(environ.get(RUN_TYPE) or environ.get(ROOT_VARIABLE))


def notebook_folders(environ: Mapping[str, str] = os.environ) -> NotebookFolders:
    """The folders of the notebook that this runs in; ``KK_NOTEBOOK_ROOT`` moves them."""
    return NotebookFolders(Path(environ.get(ROOT_VARIABLE) or "/"))
