"""What the shell proposes for an argument: ids from the archives, shipped configurations, translators; nothing heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from kaggle_kit.errors import KaggleKitError, UsageError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_KK_COMPLETE"
_DEFINED = re.compile(r"^@(?:\w+\.)?(translator|loss|translators\.register|losses\.register)\(\s*\"([\w-]+)\"", re.M)
_PACKAGE = Path(__file__).parent.parent


def script(command: click.Command, shell: str) -> str:
    """What a shell has to read once to complete ``kk``."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}", f"shells: {', '.join(SHELLS)}")
    complete = kind(command, {}, "kk", VARIABLE)
    return complete.source_template % complete.source_vars()


class Proposed(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions of click only
    """Any text, with proposals for the shell."""

    name = "text"

    def __init__(self, propose: Callable[[], Iterable[str]], *, files: bool = False) -> None:
        self._propose, self._files = propose, files

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text as it is."""
        return value if value is None else str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What begins with what was typed; files where nothing does and a file makes sense."""
        try:
            found = [name for name in self._propose() if name.startswith(incomplete)]
        except (KaggleKitError, OSError):  # a broken project has no proposals, and the shell no place for errors
            found = []
        items = [CompletionItem(name) for name in dict.fromkeys(found)]
        return items or ([CompletionItem(incomplete, type="file")] if self._files else [])


def complete_by_name(parameters: Sequence[click.Parameter]) -> None:
    """Give every argument and option of a known name, whatever its command, the proposals for it."""
    for parameter in parameters:
        proposed = PROPOSALS.get(parameter.name or "")
        if proposed is not None and isinstance(parameter.type, click.types.StringParamType):
            parameter.type = proposed


def _runs() -> list[str]:
    return _records("models_dir", "run.json")


def _submissions() -> list[str]:
    return _records("submissions_dir", "record.json")


def _records(folder: str, file: str) -> list[str]:
    """Ids of an archive's records, newest first."""
    place: Path = getattr(_project(), folder)
    return sorted((path.parent.name for path in place.glob(f"*/{file}")), reverse=True)


def _project() -> Any:
    from kaggle_kit.config import load_project

    return load_project()


def _configs() -> list[str]:
    from kaggle_kit.config import shipped_configs

    return list(shipped_configs())


def _competitions() -> list[str]:
    from kaggle_kit.config import find_root

    folders = (find_root() / "competitions", _PACKAGE / "competitions")
    return sorted({path.stem for folder in folders for path in folder.glob("*.toml")})


def _defined(kind: str, places: Sequence[str]) -> list[str]:
    """Names that decorators give in the package's sources and the project's own files, which are read and not run."""
    from kaggle_kit.plugins import find_plugins

    project = _project()
    own = [project.root / name for name in find_plugins(project.root, project.settings.plugins.files)]
    files = [file for place in places for file in sorted(_PACKAGE.glob(place))]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in [*files, *own]]
    return sorted({name for text in texts for what, name in _DEFINED.findall(text) if what.startswith(kind)})


PROPOSALS: dict[str, Proposed] = {
    "run": Proposed(_runs),
    "runs": Proposed(_runs),
    "resume": Proposed(_runs),
    "target": Proposed(_runs, files=True),
    "targets": Proposed(lambda: [*_runs(), *_configs()], files=True),
    "submission": Proposed(_submissions),
    "submissions": Proposed(_submissions),
    "config": Proposed(_configs, files=True),
    "competition": Proposed(_competitions),
    "translator": Proposed(lambda: _defined("translator", ["translators/*.py"])),
    "loss": Proposed(lambda: _defined("loss", ["training/losses.py"])),
}
"""What is proposed, by the name of the argument or option."""
