"""Nobody in: the planted token stands nowhere, files keep the user's umask, and what came from outside is harmless."""

from __future__ import annotations

import json
import os
import stat
import threading

import pytest
from faults import SECRET, FaultyServer, answer, rpc_error
from played import faulty, holding, records, template, tiny  # noqa: F401  # fixtures

from kaggle_kit.rehearsal.hosted import Rival

EVIL = "\x1b[31mred\x07 [bold]markup[/bold] <script>alert(1)</script> \u202eevil"


@pytest.mark.slow
def test_the_token_stands_nowhere_whatever_was_done(faulty, tiny, kk, monkeypatch, tmp_path):  # noqa: F811
    """In all commands, failing and succeeding: output, traces, records, logs, caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = tmp_path / "home" / ".kaggle"
    home.mkdir(mode=0o700)
    (home / "access_token").write_text(SECRET)
    (home / "access_token").chmod(0o600)
    commands = [
        ["fetch"], ["fetch", "--verify"], ["fetch", "--file", "no/such.npz"], ["train", "--translator", "procrustes"],
        ["predict"], ["predict", "-o", "nowhere/x.csv"], ["validate", "submission.csv"], ["validate", "none.csv"],
        ["submit", "-m", f"message with {SECRET[-12:]}"], ["submit", "-m", "again"], ["submit", "-m", "x", "--dry-run"],
        ["submit", "-m", "x", "--kernel", "a/b", "--kernel-version", "1"],
        ["sync"], ["leaderboard"], ["leaderboard", "--sync"], ["leaderboard", "--public"], ["leaderboard", "--csv"],
        ["runs", "list"], ["runs", "show"], ["runs", "show", "none"], ["ensemble", "a", "b"], ["final"],
        ["submissions", "list"], ["submissions", "show"], ["submissions", "rebuild"], ["submissions", "reindex"],
        ["submissions", "prune", "--dry-run"], ["config", "show", "--origin"], ["translators"], ["rehearse", "--hide", "20"],
        ["sync", "--set", f"service.endpoint=http://user:{SECRET}@example.org"],
        ["sync", "--set", f"service.endpont={SECRET}"[:30]],
    ]  # fmt: skip
    codes = set()
    for broken in (False, True):
        if broken:
            echo = f"you sent {SECRET} and that is wrong".encode()
            faulty.fault("api/v1", rpc_error(500, echo.decode()), times=12)
            faulty.fault("api/v1", answer(403, echo, "text/plain"), times=1000)
        for command in commands:
            for flags in (["--debug"], ["--debug", "--json"]):
                outcome = kk(*command, *flags)
                codes.add(outcome.code)
                assert SECRET not in outcome.out + outcome.err, command
    assert {0, 2, 4, 5, 6, 8} <= codes
    assert holding(SECRET, tiny) == []
    places = (tmp_path / "cache", tmp_path / "home" / ".cache", tmp_path / "home" / ".config")
    assert [path for place in places if place.exists() for path in holding(SECRET, place)] == []
    assert [path.name for path in holding(SECRET, tmp_path / "home")] == ["access_token"]


def test_processes_that_need_no_credentials_get_none(faulty, tiny, kk, monkeypatch, tmp_path):  # noqa: F811
    """git is asked for the commit: a stand-in for it writes down its environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\nenv >> {tmp_path}/environment\nexit 1\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert kk("submit", "-m", "x", "-q").code == 0
    environment = (tmp_path / "environment").read_text()
    assert "GIT_OPTIONAL_LOCKS=0" in environment
    assert SECRET not in environment
    assert "KAGGLE" not in environment


@pytest.mark.parametrize(("umask", "others"), [(0o077, 0), (0o022, 0o044), (0o002, 0o044)])
def test_files_follow_the_umask_and_records_are_never_writable_by_the_group(faulty, tiny, kk, umask, others):  # noqa: F811
    before = os.umask(umask)
    try:
        assert kk("submit", "-m", "x", "-q").code == 0
    finally:
        os.umask(before)
    made = [path for path in (tiny / "submissions_archive").rglob("*") if path.is_file()]
    assert {path.name for path in made} >= {"record.json", "vectors.npy", "submission.csv"}
    for path in made:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & ~umask == mode, path
        if path.name == "record.json":
            assert mode & 0o077 == others & ~umask, oct(mode)


def test_what_came_from_outside_moves_no_terminal_and_marks_up_nothing(template, tiny, kk, tmp_path, monkeypatch):  # noqa: F811
    hosted = template.hosted(rivals=(Rival(EVIL, 0.9),), team=f"team {EVIL}", title=EVIL)
    with FaultyServer(hosted, folder=tmp_path / "server", token=SECRET) as server:
        for name, value in server.environ().items():
            monkeypatch.setenv(name, value)
        assert kk("submit", "-m", EVIL).code == 0
        server.book.decide(server.book.submissions()[0].ref, status="ERROR", error=EVIL)
        said = []
        for command in (["sync"], ["leaderboard"], ["leaderboard", "--public"], ["submissions", "show"],
                        ["submissions", "list"], ["leaderboard", "--json"], ["submissions", "show", "--json"]):  # fmt: skip
            outcome = kk(*command)
            assert outcome.code == 0, outcome.err
            said.append(outcome.out + outcome.err)
    for text in said:
        assert not set(text) & {"\x1b", "\x07"}, ascii(text)
        assert "\u202e" not in text or text.startswith(("{", "[")), ascii(text)  # JSON is for programs
    assert "[bold]markup" in said[1]
    assert "[bold]markup[/bold]" in said[2]
    assert EVIL in json.loads(said[-1])["message"]
    from kaggle_kit import leaderboard, load_project

    page = leaderboard(load_project(check_choices=False))._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.slow
def test_two_commands_at_once_make_one_submission_and_one_clear_refusal(faulty, tiny, installed):  # noqa: F811
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(installed("submit", "-m", "x", "-q"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.code for outcome in outcomes) == [0, 5]
    refused = max(outcomes, key=lambda outcome: outcome.code)
    assert "is under way" in refused.err or "were submitted before" in refused.err
    assert len(faulty.book.submissions()) == 1
    assert len(records(tiny)) == 1
