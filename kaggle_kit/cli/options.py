"""Options that several commands have, and options that are settings of the project."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from kaggle_kit.cli.session import Session
from kaggle_kit.settings import duration_of
from kaggle_kit.version import VERSION

Decorator = Callable[[Any], Any]

PRESETS = ("default", "fast")


def common_options() -> list[click.Parameter]:
    """The options of every command."""
    return [
        _flag("--json", "json", "Print one JSON document on stdout, errors too; people's text goes to stderr."),
        _flag(["-q", "--quiet"], "quiet", "No progress and no notes."),
        _flag("--debug", "debug", "Show the traceback of an error."),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
        ),
    ]


def settings_options(command: Any) -> Any:
    """``--config`` and ``--set``: any setting, for commands that load a project."""
    return click.option(
        "--config", metavar="FILE", expose_value=False, callback=_config,
        help="Settings in a TOML file of yours, or a shipped one by name.",
    )(set_option(command))  # fmt: skip


def set_option(command: Any) -> Any:
    """``--set``: any setting."""
    return click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", expose_value=False, callback=_set,
        help="Any setting by its dotted key (kk config show lists them); may be repeated.",
    )(command)  # fmt: skip


def config_argument(command: Any) -> Any:
    """``CONFIG``: the file of settings, for a command that makes no sense without one."""
    return click.argument("config", metavar="CONFIG", expose_value=False, callback=_config)(command)


def preset_option(command: Any) -> Any:
    """``--preset``: a shipped configuration for a purpose, instead of ``--config``."""
    return click.option(
        "--preset", type=click.Choice(PRESETS), expose_value=False, callback=_config,
        help="The recipe: default for the best score, fast for one in two minutes on two cores.",
    )(command)  # fmt: skip


def setting_option(*flags: str, key: str, help: str = "", **attributes: Any) -> Decorator:  # noqa: A002
    """An option that is the setting ``key``; its meaning, variable and default come from the declaration."""

    attributes = {"metavar": "TEXT", **attributes}
    return click.option(
        *flags, expose_value=False, callback=_override(key, flags), help=_described(key, help), **attributes
    )


def submitting_options(*, dry_run: str, confirm: str, force: str) -> Decorator:
    """What a command that submits has; the texts say what the three do there."""
    return _stack(
        click.option(
            "-m",
            "--message",
            type=Words(),
            default="",
            metavar="TEXT",
            help="What is new about it; stands in the history.",
        ),
        click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the score."),
        click.option("--dry-run", is_flag=True, help=dry_run),
        click.option("--confirm", is_flag=True, help=confirm),
        click.option("--force", is_flag=True, help=force),
    )


def sparing_options(*, newest: str, best: str, old: str) -> Decorator:
    """What pruning leaves alone; the texts say of what."""
    count, days = click.IntRange(min=0), click.FloatRange(min=0)
    return _stack(
        click.option("--keep-newest", type=count, default=10, show_default=True, metavar="N", help=newest),
        click.option("--keep-best", type=count, default=5, show_default=True, metavar="N", help=best),
        click.option("--older-than", type=days, default=0.0, show_default=True, metavar="DAYS", help=old),
    )


def removing_options(command: Any) -> Any:
    """``--dry-run`` and ``--yes``: whether what was planned is removed."""
    return _stack(
        click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
    )(command)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """Seconds from ``90``, ``90s``, ``10m``, ``1h30m``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, or a usage error."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return duration_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Words(click.ParamType):  # type: ignore[type-arg]
    """Text for people, which records keep: what a terminal of another encoding sent cannot be kept."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """``value``, once it is text."""
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = text.encode(errors="surrogateescape").decode(errors="replace")
            self.fail(f"{shown!r} is not text in UTF-8: is the terminal's encoding another one?", param, ctx)
        return text


class Weights(click.ParamType):  # type: ignore[type-arg]
    """``equal``, ``optimised``, or numbers with commas between them."""

    name = "weights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | list[float]:
        """The word, or the numbers; or a usage error."""
        if not isinstance(value, str) or value in ("equal", "optimised"):
            return value  # type: ignore[no-any-return]
        try:
            return [float(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is neither equal, optimised nor numbers such as 0.5,0.3,0.2", param, ctx)


class Shares(click.ParamType):  # type: ignore[type-arg]
    """Numbers above 0 and at most 1, with commas between them."""

    name = "shares"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """The numbers, or a usage error."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            shares = [float(part) for part in value.split(",")]
        except ValueError:
            shares = []
        if not shares or not all(0 < share <= 1 for share in shares):
            self.fail(f"{value!r} is no list of shares such as .1,.25,.5,1", param, ctx)
        return shares


def _stack(*options: Decorator) -> Decorator:
    """Several options as one; help shows them in this order."""
    return lambda command: functools.reduce(lambda inner, option: option(inner), reversed(options), command)


def _flag(names: str | list[str], attribute: str, help_text: str) -> click.Option:
    """A switch that is remembered in the session."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.ensure_object(Session), attribute, True)

    declarations = [names] if isinstance(names, str) else names
    return click.Option(
        [*declarations, f"{attribute}_"], is_flag=True, expose_value=False, callback=remember, help=help_text
    )


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    session = context.ensure_object(Session)
    if session.json:
        from kaggle_kit.render.plain import document

        click.echo(document({"kaggle_kit": VERSION}), nl=False)
    else:
        click.echo(f"kk {VERSION}")
    context.exit()


def _config(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Both --config and --preset name a file of settings; one of them at most."""
    session = context.ensure_object(Session)
    if value is not None and session.config is not None:
        raise click.UsageError("--preset and --config exclude each other; leave one of them out", context)
    session.config = value if value is not None else session.config


def _set(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
    for given in values:
        key, equals, value = given.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"{given!r} is not KEY=VALUE, such as train.epochs=20", context, parameter)
        context.ensure_object(Session).override(key.strip(), value.strip(), "--set")


def _override(key: str, flags: tuple[str, ...]) -> Callable[[click.Context, click.Parameter, Any], None]:
    flag = next(name for name in flags if name.startswith("--"))

    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is not None:
            context.ensure_object(Session).override(key, value, flag)

    return remember


def _described(key: str, text: str) -> str:
    """The help of a setting's option: what it means, how else it can be given, what it is when nobody says."""
    from kaggle_kit.config.layers import all_keys

    declared = all_keys()[key]
    meaning = text or declared.meaning[:1].upper() + declared.meaning[1:] + "."
    default = (
        "none"
        if declared.default is None
        else f"{declared.default:g}"
        if declared.annotation is float
        else declared.default
    )
    return f"{meaning}  [{key}, KK_{key.replace('.', '_').upper()}; default: {default}]"
