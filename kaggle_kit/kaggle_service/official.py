"""The official ``kaggle`` client, imported without what its import does.

``import kaggle`` logs in, calls the network, prints on stdout, creates folders and may exit the process. Only the module with its class
is loaded here, below a stand-in for the package that is gone afterwards: a later ``import kaggle`` works as ever.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from kaggle_kit.errors import UsageError
from kaggle_kit.files import home_folder

_MODULE = "kaggle.api.kaggle_api_extended"

# Read at the import of the client: where it would create a folder, and what makes it print requests with their Authorization header.
_READ_AT_IMPORT = ("VERBOSE", "VERBOSE_OUTPUT", "KAGGLE_API_ENVIRONMENT")


@cache
def official_client_class() -> type:
    """``KaggleApi``, made quiet: no version warning, no verbose mode, no arguments from the environment.

    Raises:
        UsageError: the package is not installed, or one that it needs is not.
    """
    if _MODULE in sys.modules:
        base = sys.modules[_MODULE].KaggleApi
    else:
        with _stand_in(), _harmless_environment() as scratch, redirect_stdout(sys.stderr):
            base = _load().KaggleApi
        _restore_folders(base, scratch)
    quiet = {"already_printed_version_warning": True, "args": [], "get_response_processor": lambda self: None}
    return type("QuietKaggleApi", (base,), quiet)


def official_version() -> str:
    """The version of the installed ``kaggle`` package."""
    return importlib.metadata.version("kaggle")


def _load() -> Any:
    try:
        return importlib.import_module(_MODULE)
    except ImportError as error:
        raise UsageError(
            f"the kaggle package cannot be loaded: {error}", "pip install 'kaggle>=1.8.3,<3' six, then try again"
        ) from error


@contextmanager
def _stand_in() -> Iterator[None]:
    """A package ``kaggle`` without its ``__init__``, for the time of the import."""
    if "kaggle" in sys.modules:
        yield
        return
    spec = importlib.util.find_spec("kaggle")
    if spec is None or spec.submodule_search_locations is None:
        raise UsageError("the kaggle package is not installed", "pip install 'kaggle>=1.8.3,<3' six")
    stub = types.ModuleType("kaggle")
    stub.__spec__, stub.__file__, stub.__path__ = spec, spec.origin, list(spec.submodule_search_locations)
    stub.__version__ = official_version()  # type: ignore[attr-defined]
    sys.modules["kaggle"] = stub
    try:
        yield
    finally:
        del sys.modules["kaggle"]


@contextmanager
def _harmless_environment() -> Iterator[Path]:
    """The environment for the time of the import: a scratch folder for the one that it insists on creating."""
    before = {name: os.environ.get(name) for name in (*_READ_AT_IMPORT, "KAGGLE_CONFIG_DIR")}
    with tempfile.TemporaryDirectory() as scratch:
        for name in _READ_AT_IMPORT:
            os.environ.pop(name, None)
        os.environ["KAGGLE_CONFIG_DIR"] = scratch
        try:
            yield Path(scratch)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _restore_folders(api: Any, scratch: Path) -> None:
    """Undo the scratch folder in the class: a notebook may use the official client after us."""
    if api.config_dir != str(scratch):
        return
    home = home_folder() / ".kaggle"
    fallback = Path(os.environ.get("XDG_CONFIG_HOME") or home_folder() / ".config") / "kaggle"
    api.config_dir = os.environ.get("KAGGLE_CONFIG_DIR") or str(home if home.exists() else fallback)
    api.config = str(Path(api.config_dir) / api.config_file)
