"""A simulated Kaggle notebook: its folders below a root of the test's, its variables and no others, no HOME to write to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SLUG = "tiny"
SETTINGS = f"""
[competition]
slug = "{SLUG}"
gallery_size = 20
[folds]
count = 2
[translator]
name = "ridge"
[train]
threads = 1
[service]
attempts = 2
backoff_s = 0
deadline_s = 20
[submit]
poll_first_s = 0.01
poll_last_s = 0.05
"""


@dataclass(frozen=True)
class Done:
    """How a command in the notebook ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Notebook:
    """One simulated notebook."""

    root: Path
    python: Path = Path(sys.executable)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def working(self) -> Path:
        return self.root / "kaggle" / "working"

    @property
    def input(self) -> Path:
        return self.root / "kaggle" / "input"

    def environ(self) -> dict[str, str]:
        """The variables of a notebook, and of this machine what a process needs to run."""
        own = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "OMP_NUM_THREADS") if name in os.environ}
        return own | {
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(self.root / "no-home" / "root"),  # below a file: nothing can be made there, whoever tries
            "TMPDIR": str(self.root / "tmp"),
            "KK_NOTEBOOK_ROOT": str(self.root),
            "KAGGLE_KERNEL_RUN_TYPE": "Batch",
            **self.variables,
        }

    def kk(self, *words: str, **more: str) -> Done:
        """Run a command in the notebook."""
        done = subprocess.run(
            [self.python, "-m", "kaggle_kit", *words],
            cwd=self.working,
            env={**self.environ(), **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def execute(self, path: Path) -> Done:
        """Execute a notebook in place, as Save & Run All does."""
        scratch = self.root / "tmp"
        kernels = scratch / "kernels" / "simulated"
        kernels.mkdir(parents=True, exist_ok=True)
        words = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (kernels / "kernel.json").write_text(
            json.dumps({"argv": words, "display_name": "Python 3", "language": "python"})
        )
        places = {"JUPYTER_PATH": scratch, "JUPYTER_RUNTIME_DIR": scratch / "run", "IPYTHONDIR": scratch / "ipython"}
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("execute_notebook.py"), path, "simulated"],
            cwd=self.working,
            env={**self.environ(), **{name: str(place) for name, place in places.items()}},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Done(done.returncode, done.stdout, done.stderr)
