"""The command ``kk``: finds its sub-commands lazily, and is the one place where an error becomes an exit code."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import select
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from kaggle_kit.cli.completion import complete_by_name
from kaggle_kit.cli.options import common_options
from kaggle_kit.cli.session import Session
from kaggle_kit.cli.signals import Terminated, end_well_on_signals
from kaggle_kit.errors import EXIT_CODES, NO_SPACE, DiskFullError, InterruptedWork, KaggleKitError, UsageError
from kaggle_kit.notebook import KERNELS_PARENT

COMMANDS = (
    "init",
    "fetch",
    "data",
    "train",
    "remote",
    "wheels",
    "notebook",
    "predict",
    "submit",
    "leaderboard",
    "sync",
    "validate",
    "ensemble",
    "compare",
    "verify",
    "sweep",
    "plot",
    "report",
    "runs",
    "submissions",
    "final",
    "translators",
    "config",
    "completion",
    "cache",
    "bench",
    "doctor",
    "demo",
    "rehearse",
)
"""The commands in the order of a competition; each is ``kaggle_kit.cli.commands.<name>.command``."""

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_NO_COMMAND = {"-h", "--help", "--version"}
"""Options that are answered without a command."""


class Described(click.Command):
    """A command with the common options, whose help ends in examples."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **attributes: Any) -> None:
        attributes["context_settings"] = {**_SETTINGS, **(attributes.get("context_settings") or {})}
        super().__init__(*arguments, **attributes)
        self.examples = tuple(examples)
        self.params += common_options()
        complete_by_name(self.params)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an error says which command it was."""
        try:
            return super().parse_args(context, args)
        except click.UsageError as error:
            error.ctx = error.ctx or context
            raise

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, line by line as they stand."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Family(Described, click.Group):
    """A command with commands inside, the nearest of which is suggested for a mistyped one.

    Args:
        default: the command that is meant where none is named; without it, help is.
    """

    command_class = Described

    def __init__(self, *arguments: Any, default: str | None = None, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.default = default

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; without a command, do what is meant by that."""
        if context.resilient_parsing:  # the shell asks what could come next
            return super().parse_args(context, args)
        if self.default is not None and all(one.startswith("-") for one in args) and not {*args} & _NO_COMMAND:
            args = [*args, self.default]
        if not args:
            click.echo(self.get_help(context))
            context.exit()
        return super().parse_args(context, args)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            UsageError: there is none of that name.
        """
        name = arguments[0]
        if name.startswith("-") or self.get_command(context, name):
            return super().resolve_command(context, arguments)
        names = self.list_commands(context)
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {context.command_path} {near[0]}?" if near else f"commands: {', '.join(names)}"
        raise UsageError(f"{context.command_path} has no command {name!r}", hint)


class Root(Family):
    """``kk`` itself; without a command it says where one stands."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; none is no reason for help."""
        return Described.parse_args(self, context, args)

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command called ``name``, imported now and not before."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"kaggle_kit.cli.commands.{name}").command
        return command

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples and the exit codes."""
        super().format_epilog(context, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])

    def main(self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command line and exit with its code; with ``standalone_mode`` off the code is returned."""
        arguments = list(sys.argv[1:] if args is None else args)
        # asked for before parsing, because what goes wrong in parsing is to be JSON too
        session = Session(json="--json" in arguments)
        extra |= {"prog_name": "kk", "obj": session}
        try:
            code = super().main(arguments, standalone_mode=False, **extra)
            code = code if isinstance(code, int) else 0
        except BaseException as error:  # the one place that may: everything ends here
            code = _end(error, session)
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, context: click.Context) -> Any:
        """Run the command, and make sure that what it wrote arrived.

        click takes every broken pipe for a closed stdout and exits without a word: another one must not pass for it.
        """
        try:
            result = super().invoke(context)
            sys.stdout.flush()
            return result
        except BrokenPipeError as error:
            if _stdout_is_closed():
                return 0
            raise _unexpected(error) from error


def _end(error: BaseException, session: Session) -> int:
    """Tell what ended the command, and the exit code for it."""
    if isinstance(error, SystemExit):
        # click's way out when nobody reads the help any more; a reader that has seen enough (| head) is no error
        return 0 if _stdout_is_closed() else _exit_code(error)
    if session.debug:
        session.screen.close()
        traceback.print_exception(error, file=sys.stderr)
    translated = _translated(error)
    session.screen.error(translated)
    return translated.exit_code


def _translated(error: BaseException) -> KaggleKitError:
    """Any error as one of ours."""
    if isinstance(error, KaggleKitError):
        return error
    if isinstance(error, click.Abort | KeyboardInterrupt):
        stopped = error.__cause__ or error  # click puts an error of its own around it
        if isinstance(stopped, Terminated):
            return InterruptedWork("stopped by SIGTERM", str(stopped) or "run the same command again to go on")
        return _Stopped("stopped by Ctrl-C", str(stopped))
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "kk"
        return UsageError(error.format_message(), f"{path} --help shows how it is used")
    if isinstance(error, click.ClickException):
        return UsageError(error.format_message())
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        where = f" while writing {error.filename}" if error.filename else ""
        return DiskFullError(f"disk full{where} ({error.strerror})", "free some space, then run the same command again")
    return _unexpected(error)


def _unexpected(error: BaseException) -> KaggleKitError:
    words = str(error).splitlines() or [""]
    what = f"{type(error).__name__}: {words[0]}".removesuffix(": ")
    return KaggleKitError(f"unexpected {what}", "run again with --debug to see where, and report it")


def _exit_code(error: SystemExit) -> int:
    return error.code if isinstance(error.code, int) else int(error.code is not None)


class _Stopped(KaggleKitError):
    """The user pressed Ctrl-C."""

    exit_code = 130
    kind = "stopped"


def _stdout_is_closed() -> bool:
    """Whether nobody reads stdout any more; if so, nothing is written there from now on."""
    try:
        descriptor = sys.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, 0)
        closed = any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no poll on this system, or no real file
        return False
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return closed


def _end_lines_plainly() -> None:
    """Have the terminal that a notebook's cell gave us add no carriage return to each line: they would stay in the notebook."""
    import termios  # there is a terminal of this kind on the systems that have it only

    with suppress(OSError, termios.error):
        modes = termios.tcgetattr(1)
        modes[1] &= ~termios.ONLCR
        termios.tcsetattr(1, termios.TCSANOW, modes)


@click.group(
    cls=Root,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND] [ARGS]...",  # older versions of click leave the brackets out
    examples=(
        "kk                                       where one stands, and the sensible next command",
        "kk demo                                  the whole loop, without a Kaggle account",
        "kk fetch && kk train --folds 5           download the data, train a translator",
        'kk submit --message "default, 5 folds"   predict, validate, upload, wait for the score',
        "kk leaderboard                           every submission with its CV and its score",
    ),
)
@click.pass_context
def cli(context: click.Context) -> None:
    """From a Kaggle competition on text-to-image embedding translation to a scored, archived submission.

    A project is a folder with a kk.toml; without one the defaults for aml-competition are in force. Settings come from
    flags, then KK_* variables, then --config, then kk.toml, then the translator's recipe, then defaults.
    """
    if context.invoked_subcommand is None:
        from kaggle_kit import render, whereabouts

        session = context.ensure_object(Session)
        session.show(whereabouts(session.project()), render.whereabouts)


def _open_closed_streams() -> None:
    """Give streams that whoever started us closed (``>&-``) a place, or the first file that is opened would get what is printed."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            mode = "r" if name == "stdin" else "w"
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115  # for as long as the process lives


def main() -> None:
    """Entry point of ``kk`` and ``python -m kaggle_kit``."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows a question mark
    if os.environ.get(KERNELS_PARENT) and os.name == "posix":
        _end_lines_plainly()
    end_well_on_signals()
    cli.main()
