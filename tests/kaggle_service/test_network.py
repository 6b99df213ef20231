"""Trouble on the way: what is tried again, how long, and how it ends."""

from __future__ import annotations

import time

import pytest
from faults import SLUG, answer, drop, hang, quick, rpc_error, trickle

from kaggle_kit.errors import ServiceError
from kaggle_kit.kaggle_service import KaggleService


@pytest.mark.parametrize(
    "fault", [answer(503), answer(500), answer(429, Retry_After="0"), drop], ids=["503", "500", "429", "dropped"]
)
def test_a_call_survives_three_failures(service, server, fault):
    server.fault("ListDataFiles", fault, times=3)
    assert len(service.files(SLUG)) == 5
    assert len(server.asked("ListDataFiles")) == 4


def test_service_that_stays_down_is_given_up_after_the_tries(service, server):
    server.fault("ListDataFiles", rpc_error(503, "maintenance"), times=99)
    with pytest.raises(ServiceError, match=r"answered 503: maintenance \(after 4 tries\)"):
        service.files(SLUG)
    assert len(server.asked("ListDataFiles")) == 4


def test_retry_after_is_waited_for(server, notes):
    server.fault("ListDataFiles", answer(429, Retry_After="1"))
    started = time.monotonic()
    KaggleService(quick(), progress=notes).files(SLUG)
    assert time.monotonic() - started >= 1
    assert any("429" in note and "again in 1 s" in note for note in notes.notes)


def test_retry_after_beyond_the_deadline_is_told_and_not_waited_for(service, server):
    server.fault("ListDataFiles", answer(429, Retry_After="3600"))
    with pytest.raises(ServiceError, match="asks to wait 3600 s, beyond the deadline of 30 s"):
        service.files(SLUG)


def test_hanging_server_costs_the_timeout(server):
    server.fault("ListDataFiles", hang, times=9)
    started = time.monotonic()
    with pytest.raises(ServiceError, match=r"no answer within 0\.1 s \(after 2 tries\)"):
        KaggleService(quick(read_timeout_s=0.1, attempts=2)).files(SLUG)
    assert time.monotonic() - started < 3


def test_answer_that_trickles_in_ends_at_the_deadline(server):
    server.fault("ListDataFiles", trickle(0.1), times=9)
    started = time.monotonic()
    with pytest.raises(ServiceError, match="deadline"):
        KaggleService(quick(deadline_s=0.3)).files(SLUG)
    assert time.monotonic() - started < 3


def test_refused_connection_is_told(monkeypatch):
    environ = {"KAGGLE_API_ENDPOINT": "http://127.0.0.1:9", "KAGGLE_API_TOKEN": "KGAT_x"}
    with pytest.raises(ServiceError, match=r"the server at 127\.0\.0\.1:9: the connection was refused"):
        KaggleService(quick(), environ=environ).files(SLUG)


def test_proxies_are_not_asked_for_a_server_on_this_machine(service, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert service.files(SLUG)
