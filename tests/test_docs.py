"""The documentation cannot lie: the reference is what the commands print, and every command is explained."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from kaggle_kit.cli.reference import pages, reference
from kaggle_kit.cli.root import COMMANDS, cli
from kaggle_kit.errors import EXIT_CODES

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COMMAND_FILES = ROOT / "kaggle_kit" / "cli" / "commands"
PAGES = dict(pages(cli, "kk"))


def command_at(path: str) -> click.Command:
    """The command that is called ``path``."""
    command: click.Command = cli
    for name in path.split()[1:]:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)  # type: ignore[assignment]
    return command


def test_reference_is_what_the_commands_print():
    stored = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert stored == reference(), "run: python -m kaggle_kit.cli.reference > docs/commands.md"


@pytest.mark.parametrize("path", PAGES)
def test_command_has_help_with_an_example(path):
    command = command_at(path)
    assert command.help, f"{path} has no help"
    assert command.help.strip().splitlines()[0].endswith("."), f"{path}: the first line is no sentence"
    assert any(line.startswith("kk") for line in command.examples), f"{path} has no example"


@pytest.mark.parametrize("path", PAGES)
def test_every_example_names_a_real_command_and_real_options(path):
    for example in command_at(path).examples:
        for call in example.split("  ")[0].split(" && "):
            words = call.partition(" > ")[0].split()
            command = cli
            while len(words) > 1 and isinstance(command, click.Group):
                command = command.get_command(click.Context(command), words.pop(1))
                assert command is not None, call
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            given = {word for word in words if word.startswith("-") and not word.startswith("--=")}
            assert given <= known, f"{call}: {given - known}"


@pytest.mark.parametrize("path", PAGES)
def test_every_option_is_explained(path):
    for option in command_at(path).params:
        if isinstance(option, click.Option):
            assert option.help, f"{path} {option.opts[0]}"
            assert option.help.rstrip("] ").endswith((".", "residual_mlp")) or "default:" in option.help, option.help


@pytest.mark.parametrize("path", PAGES)
def test_every_command_has_the_common_options(path):
    names = {name for option in command_at(path).params for name in option.opts}
    assert {"--json", "-q", "--quiet", "--debug", "--version"} <= names
    assert "-h, --help" in PAGES[path]


def test_each_command_has_a_file_of_its_own():
    files = {file.stem for file in COMMAND_FILES.glob("*.py")} - {"__init__"}
    assert files == set(COMMANDS)


def test_exit_codes_stand_in_the_help():
    page = " ".join(PAGES["kk"].split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in page


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_appears_in_the_readme(command):
    assert f"kk {command}" in README.read_text(encoding="utf-8")


def test_readme_lists_every_exit_code():
    text = README.read_text(encoding="utf-8")
    assert all(str(code) in text for code in EXIT_CODES)
