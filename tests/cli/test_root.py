"""Every way a command can end: exit code, stdout and stderr."""

from __future__ import annotations

import errno
import json

import click
import pytest
from separate_streams import cli_runner

from kaggle_kit import errors
from kaggle_kit.cli.options import Duration, Weights
from kaggle_kit.cli.root import Described, Root
from kaggle_kit.errors import EXIT_CODES

OURS = [
    errors.UsageError,
    errors.ConfigError,
    errors.DataError,
    errors.SubmissionError,
    errors.CredentialsError,
    errors.QuotaError,
    errors.DuplicateError,
    errors.ServiceError,
    errors.TrainingError,
    errors.MissingError,
    errors.InterruptedWork,
    errors.DiskFullError,
]


class Failing(Root):
    """``kk`` with one command, ``fail``, that raises what the test wants."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(name="kk")
        self.error = error

    def list_commands(self, context):
        return ["fail"]

    def get_command(self, context, name):
        return Described("fail", callback=self.fail) if name == "fail" else None

    def fail(self):
        raise self.error


def ended(error, *arguments):
    result = cli_runner().invoke(Failing(error), ["fail", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_each_family_of_errors_has_its_code_and_no_traceback(kind):
    error = kind(["a: bad"]) if kind is errors.ConfigError else kind("7 of 5 rows", "look at the rows")
    code, out, err = ended(error)
    assert code == kind.exit_code
    assert code in EXIT_CODES
    assert out == ""
    assert err == f"Error: {error.message}\nHint: {error.hint}\n"


def test_error_with_json_is_one_object_on_stdout():
    code, out, err = ended(errors.QuotaError("none left", "wait"), "--json")
    assert code == 5
    assert json.loads(out) == {
        "ok": False,
        "error": {"code": 5, "kind": "quota", "message": "none left", "hint": "wait"},
    }
    assert err == "Error: none left\nHint: wait\n"


def test_unexpected_error_is_one_line_and_says_how_to_see_more():
    code, out, err = ended(ZeroDivisionError("division by zero"))
    assert (code, out) == (1, "")
    assert err == (
        "Error: unexpected ZeroDivisionError: division by zero\nHint: run again with --debug to see where, and report it\n"
    )


def test_unexpected_error_without_words_has_its_name():
    assert "Error: unexpected KeyError\n" in ended(KeyError())[2]


def test_debug_shows_the_traceback_of_an_error():
    code, _, err = ended(errors.DataError("bad"), "--debug")
    assert code == 3
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("Error: bad\n")


def test_ctrl_c_is_130():
    code, out, err = ended(KeyboardInterrupt())
    assert (code, out) == (130, "")
    assert err.strip() == "Error: stopped by Ctrl-C"


def test_ctrl_c_with_json_is_an_object_too():
    code, out, _ = ended(KeyboardInterrupt(), "--json")
    assert (code, json.loads(out)["error"]["code"]) == (130, 130)


def test_broken_connection_is_not_taken_for_a_closed_pipe():
    code, _, err = ended(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert code == 1
    assert "BrokenPipeError" in err


def test_click_error_is_a_usage_error():
    assert ended(click.ClickException("no"))[0] == 2


def test_escape_sequences_in_an_error_do_nothing():
    assert "\x1b" not in ended(errors.DataError("team \x1b[2J", "\x1b]0;title\x07"))[2]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("1h0m5s", 3605), ("0", 0)],
)
def test_durations_are_understood(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 minutes", "5m1h", "-3"])
def test_other_texts_are_no_durations(text):
    with pytest.raises(click.BadParameter, match="is no duration such as 90s, 10m or 1h30m"):
        Duration().convert(text, None, None)


def test_weights_are_words_or_numbers():
    assert Weights().convert("equal", None, None) == "equal"
    assert Weights().convert("0.5,0.25, 0.25", None, None) == [0.5, 0.25, 0.25]
    with pytest.raises(click.BadParameter, match="is neither equal, optimised nor numbers"):
        Weights().convert("half", None, None)
