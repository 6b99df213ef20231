"""The commands' help as Markdown: ``python -m kaggle_kit.cli.reference > docs/commands.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from kaggle_kit.cli.root import cli

WIDTH = 100
_HEAD = """# Commands

Made by `python -m kaggle_kit.cli.reference > docs/commands.md`; a test compares it with the commands.
"""


def reference() -> str:
    """The help of every command, in the order of ``kk --help``."""
    return _HEAD + "".join(f"\n## {path}\n\n```text\n{text}\n```\n" for path, text in pages(cli, "kk"))


def pages(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Each command's path and help page, a family's before its members'."""
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **_page_settings(command))
    yield path, command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            if member is not None:
                yield from pages(member, f"{path} {name}", context)


def _page_settings(command: click.Command) -> dict[str, Any]:
    """The command's own settings, at a width that no terminal changes."""
    return {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}


if __name__ == "__main__":
    sys.stdout.write(reference())
