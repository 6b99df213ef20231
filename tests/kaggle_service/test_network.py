"""Trouble on the way: what is tried again, how long, and how it ends."""

from __future__ import annotations

import ssl
import time

import pytest
import requests
import urllib3
from faults import SLUG, answer, drop, hang, quick, rpc_error, trickle, trickle_head

from kaggle_kit.errors import ServiceError
from kaggle_kit.kaggle_service import AnswerLost, KaggleService
from kaggle_kit.kaggle_service.failures import trouble_of


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


@pytest.mark.parametrize("path", ["ListDataFiles", "DownloadDataFile", "/storage/"])
def test_headers_that_trickle_in_end_at_the_deadline(server, tmp_path, path):
    server.fault(path, trickle_head(0.05), times=9)
    service, started = KaggleService(quick(deadline_s=0.4, read_timeout_s=0.3)), time.monotonic()
    with pytest.raises(ServiceError, match=r"no answer within 0\.\d+ s .*deadline"):
        service.files(SLUG) if path == "ListDataFiles" else service.download(
            SLUG, "train/train/train.npz", tmp_path / "train.npz"
        )
    assert time.monotonic() - started < 3


def test_submission_whose_answer_trickles_in_may_have_arrived(server):
    server.fault("CreateSubmission", trickle_head(0.05), times=9)
    with pytest.raises(AnswerLost, match="no answer within"):
        KaggleService(quick(deadline_s=0.3)).create_submission(SLUG, "token", "x")
    assert len(server.asked("CreateSubmission")) == 1


def test_refused_connection_is_told(monkeypatch):
    environ = {"KAGGLE_API_ENDPOINT": "http://127.0.0.1:9", "KAGGLE_API_TOKEN": "KGAT_x"}
    with pytest.raises(ServiceError, match=r"the server at 127\.0\.0\.1:9: the connection was refused"):
        KaggleService(quick(), environ=environ).files(SLUG)


def test_proxies_are_not_asked_for_a_server_on_this_machine(service, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert service.files(SLUG)


@pytest.fixture
def no_tls(server, monkeypatch):
    """The server's port, spoken to with TLS, which it does not know: the secure connection breaks."""
    monkeypatch.setenv("KAGGLE_API_ENDPOINT", server.url.replace("http:", "https:"))
    return server


def test_secure_connection_that_breaks_is_tried_again(no_tls):
    with pytest.raises(ServiceError, match=r"the secure connection broke \(after 4 tries\)"):
        KaggleService(quick()).files(SLUG)


def test_submission_over_a_secure_connection_that_breaks_may_have_arrived(no_tls):
    with pytest.raises(AnswerLost, match="the secure connection broke"):
        KaggleService(quick()).create_submission(SLUG, "token", "x")


def test_certificate_that_is_not_trusted_is_told_at_once():
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
    error = requests.exceptions.SSLError(
        urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.SSLError(inner))
    )
    trouble = trouble_of(error, connect_s=1, read_s=1)
    assert (trouble.permanent, trouble.processed) == (True, False)
    assert "not trusted" in str(trouble)


@pytest.mark.parametrize(
    ("moment", "waits"), [("Mon, 01 Jan 2001 00:00:01 GMT", True), ("Mon, 01 Jan 2001 00:00:00 GMT", False)]
)
def test_retry_after_as_a_date_is_measured_by_the_services_own_clock(server, notes, moment, waits):
    def act(server, exchange, proceed):
        exchange.close_connection = True
        exchange.send_response_only(429)
        for name, value in (
            ("Date", "Mon, 01 Jan 2001 00:00:00 GMT"),
            ("Retry-After", moment),
            ("Content-Length", "0"),
        ):
            exchange.send_header(name, value)
        exchange.end_headers()

    server.fault("ListDataFiles", act)
    KaggleService(quick(backoff_s=0.01), progress=notes).files(SLUG)
    assert any("again in 1 s" in note for note in notes.notes) == waits
