"""The functions of a notebook: those of the library, in the current folder's project unless another one is given.

``kk.fetch(); run = kk.train(translator="mlp", folds=5); kk.submit(run, message="…")`` is what ``kk fetch``, ``kk train`` and ``kk submit``
do. In a notebook they show how far they are, as commands do.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from kaggle_kit.config import Project, setting_key

if TYPE_CHECKING:
    from kaggle_kit.progress import Progress
    from kaggle_kit.workflow.train import Run

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class InProject(Protocol[P, R_co]):
    """A function that works in a project: in the one that is given first, else in that of the current folder."""

    @overload
    def __call__(self, project: Project, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


def needs_project(value: Any) -> bool:
    """Whether something of the library is a function whose first argument is a project, and must be given."""
    if not inspect.isfunction(value):
        return False
    first = next(iter(inspect.signature(value).parameters.values()), None)
    return first is not None and first.name == "project" and first.default is first.empty


def in_project(function: Callable[Concatenate[Project, P], R_co], *, choices: bool = False) -> InProject[P, R_co]:
    """``function`` without the need to name a project; runs and records may stand for their ids.

    Args:
        choices: translators and losses matter to it (see ``load_project``).
    """
    shows_progress = "progress" in inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> R_co:
        if not (args and isinstance(args[0], Project)) and "project" not in kwargs:
            from kaggle_kit.workflow.project import load_project

            args = (load_project(check_choices=choices), *args)
        if shows_progress and "progress" not in kwargs:
            kwargs["progress"] = _progress()
        return function(*map(_by_id, args), **{name: _by_id(one) for name, one in kwargs.items()})

    return cast("InProject[P, R_co]", call)


def train(
    project: Project | None = None,
    *,
    config: Path | str | None = None,
    name: str | None = None,
    sweep: Mapping[str, Any] | None = None,
    started: float | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Train a translator on folds and score it out of fold, as ``kk train`` does::

        run = kk.train(translator="mlp", folds=5, epochs=20, hidden=1024)

    Args:
        project: where; that of the current folder when None.
        config: a TOML file of settings, or the name of a shipped one (``residual``, ``fast``); it brings its translator and loss, and
            settings that the project was loaded with hold over its others.
        name: part of the run's id; the translator's name when None.
        sweep, started: as in :func:`kaggle_kit.workflow.train.train`.
        progress: told how far it is; shown in a notebook when None.
        settings: any setting by the last part of its key (``epochs``, ``learning_rate``, ``folds``), by all of it with two underscores
            (``data__share``), or an option of the translator or the loss by its name.

    Raises:
        UsageError: no setting, or several, go by such a name.
        ConfigError, MissingError, DataError, TrainingError, InterruptedWork: as in the function of the library.
    """
    from kaggle_kit.workflow.compare import given_directly
    from kaggle_kit.workflow.project import load_project
    from kaggle_kit.workflow.train import train as library_train

    if project is None or config is not None or settings:
        overrides = _overrides(settings, project or load_project(config=config, check_choices=False))
        if project is None or config is not None:
            kept = given_directly(project) if project is not None else {}
            project = load_project(project.root if project else None, config=config, overrides={**kept, **overrides})
        else:
            project = project.vary(overrides) if project.vary else load_project(project.root, overrides=overrides)
    progress = progress or _progress()
    return library_train(project, name=name, sweep=sweep, started=started, progress=progress)


def _overrides(settings: Mapping[str, Any], base: Project) -> dict[str, Any]:
    """Settings by dotted key; a name that no setting has is an option of the translator or the loss."""
    overrides: dict[str, Any] = {}
    options = _options_of_choices(settings, base)
    for given, value in settings.items():
        key = options.get(given) or setting_key(given)
        if isinstance(value, Mapping) and key in ("translator.name", "loss.name"):
            kind = key.partition(".")[0]
            overrides |= {f"{kind}.{option}": inner for option, inner in value.items()}
        else:
            overrides[key] = value
    return overrides


def _options_of_choices(settings: Mapping[str, Any], base: Project) -> dict[str, str]:
    """The dotted key of each option of the translator and the loss that are named, or are those of ``base``."""
    from kaggle_kit.settings import fields_of
    from kaggle_kit.workflow.schemas import training_schemas

    schemas = training_schemas()
    keys: dict[str, str] = {}
    for kind, known in (("loss", schemas.losses), ("translator", schemas.translators)):
        chosen = settings.get(kind, getattr(base.settings, kind).name)
        name = str(chosen.get("name") if isinstance(chosen, Mapping) else chosen)
        if name in known:
            keys |= {option: f"{kind}.{option}" for option in fields_of(known[name].options)}
    return keys


def _by_id(value: Any) -> Any:
    """The id of a run or record; a list of them as ids; anything else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(_by_id(one) for one in value)
    return value.id if hasattr(value, "id") and hasattr(value, "folder") and not isinstance(value, Project) else value


def _progress() -> Progress:
    """Shown in a notebook; silent in a script, which has a screen of its own."""
    from kaggle_kit.progress import SILENCE
    from kaggle_kit.render.progress import in_kernel
    from kaggle_kit.render.screen import show_progress

    return show_progress() if in_kernel() else SILENCE
