"""Every fault of the service against every command that meets it: exit code, what to do, archive, no second submission.

Each cell runs the command with ``--debug`` through the real client against a server that misbehaves, then once more against the healed
server: whatever happened, there is one submission for one intent, one record of it, and the planted token stands nowhere.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults import (
    PAGE,
    SECRET,
    FaultyServer,
    answer,
    drop,
    drop_after,
    drop_upload_after,
    hang,
    lose_answer,
    rest_error,
    rpc_error,
)
from played import faulty, holding, records, template, tiny  # noqa: F401  # fixtures

LIMIT = (
    "Submission not allowed: Your team has used its daily Submission allowance (5) today, please try again tomorrow UTC"
)
RULES = "You must accept this competition's rules before you'll be able to download files."
SCOPE = "Permission 'competitions.participate' was denied"
ALWAYS = 1000
HANG = ("--set", "service.read_timeout_s=0.2", "--set", "service.attempts=2")

Plan = Callable[[FaultyServer, str], object]


def always(act) -> Plan:
    return lambda server, route: server.fault(route, act, times=ALWAYS)


def often(times: int, act) -> Plan:
    return lambda server, route: server.fault(route, act, times=times)


def scored(**outcome: object) -> Plan:
    """The server's scorer decides this, whatever was sent; nothing: it never decides."""

    def plan(server: FaultyServer, route: str) -> None:
        server.score = lambda submission: outcome and server.book.decide(submission.ref, **outcome)

    return plan


FAULTS: dict[str, Plan] = {
    "401": always(rest_error(401, "Unauthenticated")),
    "403 rules": always(rpc_error(403, RULES)),
    "403 scope": always(rpc_error(403, SCOPE)),
    "404": always(rpc_error(404, "Not found")),
    "400 limit": always(rpc_error(400, LIMIT)),
    "400 empty": always(answer(400)),
    "429 then well": often(1, answer(429, b"slow down", "text/plain", Retry_After="0.05")),
    "429 for long": always(answer(429, b"slow down", "text/plain", Retry_After="3600")),
    "500": always(rpc_error(500, "Internal error")),
    "503 x3 then well": often(3, answer(503, b"busy", "text/plain")),
    "HTML page": always(answer(200, PAGE, "text/html")),
    "empty body": always(answer(200)),
    "refused": lambda server, route: None,
    "hang": always(hang),
    "dropped once": often(1, drop),
    "dropped always": always(drop),
    "mid-file drop": often(2, drop_after(9_000)),
    "mid-upload drop": often(2, drop_upload_after(3_000)),
    "mid-upload always": always(drop_upload_after(0)),
    "answer lost": often(1, lose_answer),
    "ERROR": scored(status="ERROR", error="Evaluation Exception: \x1b[31mId 7 [bold]is[/bold] missing"),
    "no score": scored(),
    "empty score": scored(status="COMPLETE"),
}


@dataclass(frozen=True)
class Cell:
    """One fault at one place of one command.

    ``sent``: submissions at the server when the command has failed; ``state``: of the one record then, None when there is none.
    """

    fault: str
    at: str
    code: int
    words: str
    sent: int = 0
    state: str | None = None
    extra: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.fault} @ {self.at}".rstrip("@ $")


LIST, DOWNLOAD, STORAGE = "ListDataFiles", "DownloadDataFile", "storage/files"
FETCH = (
    Cell("401", LIST, 4, "make a new token at https://www.kaggle.com/settings/api"),
    Cell("401", DOWNLOAD, 4, "make a new token"),
    Cell("403 rules", DOWNLOAD, 4, "accept the rules at https://www.kaggle.com/competitions/tiny/rules"),
    Cell("403 scope", LIST, 4, "join at https://www.kaggle.com/competitions/tiny/rules"),
    Cell("404", LIST, 8, "check the name at https://www.kaggle.com/competitions/tiny"),
    Cell("404", DOWNLOAD, 8, "no file"),
    Cell("400 empty", LIST, 6, "without a reason (400, empty answer)"),
    Cell("429 then well", LIST, 0, "downloaded"),
    Cell("429 then well", DOWNLOAD, 0, "downloaded"),
    Cell("429 for long", LIST, 6, "wait some minutes, then run the same command again"),
    Cell("500", LIST, 6, "run the same command again later"),
    Cell("500", DOWNLOAD, 6, "run the same command again later"),
    Cell("503 x3 then well", LIST, 0, "downloaded"),
    Cell("503 x3 then well", STORAGE, 0, "downloaded"),
    Cell("HTML page", LIST, 6, "a login page or proxy in between?"),
    Cell("HTML page", STORAGE, 6, "check the network, then run the same command again"),
    Cell("empty body", LIST, 6, "an empty answer came"),
    Cell("empty body", STORAGE, 6, "run the same command again"),
    Cell("refused", "", 6, "the connection was refused"),
    Cell("hang", LIST, 6, "no answer within 0.2 s", extra=HANG),
    Cell("dropped once", LIST, 0, "downloaded"),
    Cell("dropped always", LIST, 6, "the connection was dropped"),
    Cell("mid-file drop", STORAGE, 0, "downloaded"),
)

PRE, START, PUT, CREATE, LOOK = (
    "GetCompetition", "StartSubmissionUpload", "storage/uploads", "CreateSubmission", "GetSubmission$",
)  # fmt: skip
SUBMIT = (
    Cell("401", PRE, 4, "make a new token", state="valid"),
    Cell("401", CREATE, 4, "make a new token", state="failed"),
    Cell("403 rules", PRE, 4, "accept the rules at", state="valid"),
    Cell("403 rules", CREATE, 4, "accept the rules at", state="failed"),
    Cell("403 scope", START, 4, "or make a token with full permissions", state="valid"),
    Cell("403 scope", CREATE, 4, "or make a token with full permissions", state="failed"),
    Cell("404", PRE, 8, "no competition 'tiny'", state="valid"),
    Cell("404", CREATE, 8, "no competition 'tiny'", state="failed"),
    Cell("400 limit", CREATE, 5, "the limit is reset in", state="failed"),
    Cell("400 empty", CREATE, 6, "known causes: the deadline has passed", state="failed"),
    Cell("429 then well", PRE, 0, "public score", sent=1, state="scored"),
    Cell("429 then well", CREATE, 0, "public score", sent=1, state="scored"),
    Cell("429 then well", LOOK, 0, "public score", sent=1, state="scored"),
    Cell("429 for long", PRE, 6, "wait some minutes", state="valid"),
    Cell("429 for long", CREATE, 6, "wait some minutes", state="failed"),
    Cell("500", PRE, 6, "run the same command again later", state="valid"),
    Cell("500", START, 6, "run the same command again later", state="valid"),
    Cell("500", CREATE, 6, "it is not in the list of submissions; submit again", state="valid"),
    Cell("503 x3 then well", PRE, 0, "public score", sent=1, state="scored"),
    Cell("503 x3 then well", PUT, 0, "public score", sent=1, state="scored"),
    Cell("503 x3 then well", CREATE, 6, "it is not in the list of submissions; submit again", state="valid"),
    Cell("503 x3 then well", LOOK, 0, "public score", sent=1, state="scored"),
    Cell("HTML page", PRE, 6, "a login page or proxy in between?", state="valid"),
    Cell("HTML page", CREATE, 6, "submit again", state="valid"),
    Cell("empty body", PRE, 6, "an empty answer came", state="valid"),
    Cell("empty body", CREATE, 6, "submit again", state="valid"),
    Cell("refused", "", 6, "the connection was refused", state="valid"),
    Cell("hang", PRE, 6, "no answer within 0.2 s", state="valid", extra=HANG),
    Cell("hang", PUT, 6, "no answer within 0.2 s", state="valid", extra=HANG),
    Cell("hang", CREATE, 6, "submit again", state="valid", extra=HANG),
    Cell("dropped once", PRE, 0, "public score", sent=1, state="scored"),
    Cell("dropped once", CREATE, 6, "submit again", state="valid"),
    Cell("dropped always", START, 6, "the connection was dropped", state="valid"),
    Cell("mid-upload drop", PUT, 0, "public score", sent=1, state="scored"),
    Cell("mid-upload always", PUT, 6, "the connection was dropped", state="valid"),
    Cell("answer lost", PUT, 0, "public score", sent=1, state="scored"),
    Cell("answer lost", CREATE, 0, "public score", sent=1, state="scored"),
    Cell("ERROR", "", 3, r"Evaluation Exception:  [31mId 7 [bold]is[/bold] missing", sent=1, state="failed"),
    Cell("no score", "", 75, "it is recorded as sent; kk sync fetches the score", sent=1, state="sent",
         extra=("--wait-for", "0.2s")),
    Cell("500", LOOK, 75, "kk sync fetches the score", sent=1, state="sent", extra=("--wait-for", "0.2s")),
    Cell("empty score", "", 0, "the service shows no score", sent=1, state="scored"),
)  # fmt: skip

ROWS = "ListSubmissions"
SYNC = (
    Cell("401", ROWS, 4, "make a new token", 1, "sent"),
    Cell("403 rules", ROWS, 4, "accept the rules at", 1, "sent"),
    Cell("403 scope", ROWS, 4, "or make a token with full permissions", 1, "sent"),
    Cell("404", ROWS, 8, "no competition 'tiny'", 1, "sent"),
    Cell("400 empty", ROWS, 6, "without a reason (400, empty answer)", 1, "sent"),
    Cell("429 then well", ROWS, 0, "", 1, "scored"),
    Cell("429 for long", ROWS, 6, "wait some minutes", 1, "sent"),
    Cell("500", ROWS, 6, "run the same command again later", 1, "sent"),
    Cell("503 x3 then well", ROWS, 0, "", 1, "scored"),
    Cell("HTML page", ROWS, 6, "a login page or proxy in between?", 1, "sent"),
    Cell("empty body", ROWS, 6, "an empty answer came", 1, "sent"),
    Cell("refused", "", 6, "the connection was refused", 1, "sent"),
    Cell("hang", ROWS, 6, "no answer within 0.2 s", 1, "sent", extra=HANG),
    Cell("dropped once", ROWS, 0, "", 1, "scored"),
    Cell("dropped always", ROWS, 6, "the connection was dropped", 1, "sent"),
    Cell("ERROR", "", 0, "", 1, "failed"),
    Cell("no score", "", 0, "", 1, "sent"),
    Cell("empty score", "", 0, "", 1, "scored"),
)


@pytest.fixture
def strike(faulty, monkeypatch):  # noqa: F811
    """Plan a cell's fault; the returned function takes it away again."""
    url, score = faulty.environ()["KAGGLE_API_ENDPOINT"], faulty.score

    def plan(cell: Cell) -> Callable[[], None]:
        FAULTS[cell.fault](faulty, cell.at)
        if cell.fault == "refused":
            monkeypatch.setenv("KAGGLE_API_ENDPOINT", f"http://127.0.0.1:{free_port()}")

        def heal() -> None:
            faulty.faults.clear()
            faulty.score = score
            monkeypatch.setenv("KAGGLE_API_ENDPOINT", url)

        return heal

    return plan


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def check(outcome, cell: Cell, *, told: str) -> None:
    """The exit code, the advice, the traceback for --debug only with an error, and no secret."""
    assert outcome.code == cell.code, outcome.err
    assert cell.words in told, told
    assert ("Traceback" in outcome.err) == (cell.code != 0)
    assert "unexpected" not in outcome.err
    assert SECRET not in outcome.out + outcome.err
    assert "\x1b" not in outcome.out + outcome.err


@pytest.mark.parametrize("cell", FETCH, ids=str)
def test_fetch(cell, template, faulty, strike, clean_world, kk):  # noqa: F811
    (clean_world / "kk.toml").write_text((template.folder / "kk.toml").read_text())
    heal = strike(cell)
    outcome = kk("fetch", "--debug", *cell.extra)
    check(outcome, cell, told=outcome.out + outcome.err)
    heal()
    assert kk("fetch").code == 0
    for path in (template.folder / "data").rglob("*.npz"):
        (fetched,) = (clean_world / "data").rglob(path.name)
        assert fetched.read_bytes() == path.read_bytes()
    assert kk("fetch", "--verify").code == 0
    assert holding(SECRET, clean_world.parent / "work") == []


@pytest.mark.parametrize("cell", SUBMIT, ids=str)
def test_submit(cell, faulty, strike, tiny, kk):  # noqa: F811
    heal = strike(cell)
    outcome = kk("submit", "-m", "try", "--debug", *cell.extra)
    check(outcome, cell, told=outcome.err)
    assert len(faulty.book.submissions()) == cell.sent
    # 429 is said before anything was done: the one answer after which it may be asked again
    if not cell.fault.startswith("429"):
        assert len(faulty.asked("CreateSubmission")) <= 1
    assert [one.state for one in records(tiny)] == ([cell.state] if cell.state else [])
    heal()
    healing = kk("submit", "-m", "try", "--debug")
    assert healing.code == (0 if cell.sent == 0 else 5), healing.err  # not sent: sent now; sent: never again
    settle(faulty, tiny, kk)


@pytest.mark.parametrize("command", ["sync", "leaderboard --sync"])
@pytest.mark.parametrize("cell", SYNC, ids=str)
def test_sync(command, cell, faulty, strike, tiny, kk):  # noqa: F811
    score, faulty.score = faulty.score, lambda submission: None
    assert kk("submit", "-m", "try", "--no-wait").code == 0
    faulty.score = score
    heal = strike(cell)
    for submission in faulty.book.submissions():
        faulty.score(submission)
    outcome = kk(*command.split(), "--debug", *cell.extra)
    check(outcome, cell, told=outcome.err)
    (record,) = records(tiny)
    assert record.state == cell.state
    if cell.fault == "ERROR":
        assert "is[/bold] missing" in record["error_description"]
    heal()
    settle(faulty, tiny, kk)


def settle(server: FaultyServer, folder: Path, kk) -> None:
    """The healed service is asked again: one submission, one record with an end, no secret anywhere."""
    for submission in server.book.submissions():
        if submission.status == "PENDING":
            server.score(submission)
    assert kk("sync", "--debug").code == 0
    (record,) = records(folder)
    (submission,) = server.book.submissions()
    assert record.state in ("scored", "failed")
    assert record["ref"] == submission.ref
    assert kk("leaderboard", "--json").json[0]["ref"] == submission.ref
    assert holding(SECRET, folder) == []
