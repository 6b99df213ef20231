"""Sending a file and submitting it: nothing is lost, nothing is done twice."""

from __future__ import annotations

import pytest
from faults import (
    PAGE,
    SECRET,
    SLUG,
    answer,
    drop,
    drop_upload_after,
    hang,
    lose_answer,
    quick,
    rpc_error,
    submission_bytes,
)

from kaggle_kit.errors import CredentialsError, ServiceError
from kaggle_kit.kaggle_service import AnswerLost, KaggleService

UPLOADS = "/storage/uploads/"


@pytest.fixture
def path(tmp_path, hosted):
    file = tmp_path / "submission.csv"
    file.write_bytes(submission_bytes(hosted) * 200)
    return file


def stored(server, token):
    return server.book.place(server.book.upload(token)).read_bytes()


def test_upload_arrives_whole_and_its_token_is_told_first(service, server, path):
    tokens = []
    token = service.upload(path, SLUG, on_token=lambda token: tokens.append((token, len(server.asked(UPLOADS)))))
    assert tokens == [(token, 0)]
    assert stored(server, token) == path.read_bytes()
    assert server.book.submissions() == []
    assert "Authorization" not in server.asked(UPLOADS)[0].headers


@pytest.mark.parametrize("fault", [answer(503), answer(429, Retry_After="0"), drop], ids=["503", "429", "drop"])
def test_upload_survives_a_fault_before_the_first_byte(service, server, path, fault):
    server.fault(UPLOADS, fault, times=2)
    token = service.upload(path, SLUG)
    assert stored(server, token) == path.read_bytes()


def test_upload_dropped_on_the_way_goes_on_where_it_stopped(service, server, path):
    server.fault(UPLOADS, drop_upload_after(100_000))
    token = service.upload(path, SLUG)
    assert stored(server, token) == path.read_bytes()
    _, question, rest = server.asked(UPLOADS)
    size = path.stat().st_size
    assert question.headers["Content-Range"] == f"bytes */{size}"
    assert rest.headers["Content-Range"] == f"bytes 100000-{size - 1}/{size}"


def test_storage_that_cannot_resume_gets_all_of_it_again(service, server, path):
    server.fault(UPLOADS, drop_upload_after(100_000))
    server.fault(UPLOADS, answer(200))  # takes the question for an empty file
    token = service.upload(path, SLUG)
    assert stored(server, token) == path.read_bytes()
    assert "Content-Range" not in server.asked(UPLOADS)[-1].headers


def test_upload_that_arrived_though_the_answer_was_lost_is_not_sent_again(service, server, path):
    server.fault(UPLOADS, lose_answer)
    token = service.upload(path, SLUG)
    assert stored(server, token) == path.read_bytes()
    assert len(server.asked(UPLOADS)) == 2


def test_expired_upload_link_is_replaced_by_a_new_one(service, server, path):
    tokens = []
    server.fault(UPLOADS, answer(403, PAGE, "text/html"))
    token = service.upload(path, SLUG, on_token=tokens.append)
    assert len(tokens) == 2
    assert tokens[-1] == token
    assert stored(server, token) == path.read_bytes()


def test_upload_that_never_works_is_given_up_and_nothing_is_submitted(service, server, path):
    server.fault(UPLOADS, drop, times=99)
    with pytest.raises(ServiceError, match=r"sending submission.csv failed: .* dropped \(after 4 tries\)") as caught:
        service.upload(path, SLUG)
    assert "signature" not in str(caught.value)
    assert server.book.submissions() == []


def test_hanging_storage_costs_the_timeout(server, path):
    server.fault(UPLOADS, hang, times=99)
    with pytest.raises(ServiceError, match=r"no answer within 0\.1 s"):
        KaggleService(quick(read_timeout_s=0.1, attempts=2)).upload(path, SLUG)


def test_empty_file_can_be_sent(service, server, tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    token = service.upload(tmp_path / "empty.csv", SLUG)
    assert server.book.upload(token).size == 0


@pytest.mark.parametrize(
    "fault",
    [
        lose_answer,
        answer(500),
        answer(503),
        answer(504),
        answer(200),
        answer(200, PAGE, "text/html"),
        answer(200, b"{}"),
    ],
    ids=["lost", "500", "503", "504", "empty", "page", "no ref"],
)
def test_lost_answer_to_a_submission_is_told_and_never_repeated(service, server, path, fault):
    token = service.upload(path, SLUG)
    server.fault("CreateSubmission", fault)
    with pytest.raises(AnswerLost, match="whether there is one is not known") as caught:
        service.create_submission(SLUG, token, "a try")
    assert caught.value.exit_code == 6
    assert len(server.asked("CreateSubmission")) == 1


def test_submission_whose_answer_was_lost_can_be_found_by_its_description(service, server, path):
    token = service.upload(path, SLUG)
    server.fault("CreateSubmission", lose_answer)
    with pytest.raises(AnswerLost, match="dropped"):
        service.create_submission(SLUG, token, "kk 1234")
    assert [row.description for row in service.submissions(SLUG)] == ["kk 1234"]


def test_hanging_submission_is_an_answer_lost(server, path):
    service = KaggleService(quick(read_timeout_s=0.1))
    token = service.upload(path, SLUG)
    server.fault("CreateSubmission", hang)
    with pytest.raises(AnswerLost, match=r"no answer within 0\.1 s"):
        service.create_submission(SLUG, token, "a try")
    assert len(server.asked("CreateSubmission")) == 1


def test_submission_refused_for_too_many_requests_is_tried_again(service, server, path):
    token = service.upload(path, SLUG)
    server.fault("CreateSubmission", answer(429, Retry_After="0"), times=2)
    assert service.create_submission(SLUG, token, "a try") == 56_000_001
    assert len(server.book.submissions()) == 1


def test_submission_without_a_connection_did_not_happen():
    environ = {"KAGGLE_API_ENDPOINT": "http://127.0.0.1:9", "KAGGLE_API_TOKEN": "KGAT_x"}
    with pytest.raises(ServiceError, match="connection was refused") as caught:
        KaggleService(quick(), environ=environ).create_submission(SLUG, "token", "text")
    assert not isinstance(caught.value, AnswerLost)


def test_read_only_token_is_told(service, server):
    server.fault("CreateSubmission", rpc_error(403, "Permission 'competitions.participate' was denied"))
    with pytest.raises(CredentialsError, match="has not joined 'demo-competition', or its token may only read"):
        service.create_submission(SLUG, "token", "text")


def test_server_that_was_given_another_name_gets_no_answer(server):
    environ = {"KAGGLE_API_ENDPOINT": server.url.replace("127.0.0.1", "127.0.0.2"), "KAGGLE_API_TOKEN": SECRET}
    with pytest.raises((ServiceError, CredentialsError), match=r"127\.0\.0\.2|own name"):
        KaggleService(quick(), environ=environ).files(SLUG)


def test_storage_that_says_that_it_has_less_gets_all_of_it_again(service, server, path):
    server.fault(UPLOADS, answer(200, b'{"size":"5"}'))
    token = service.upload(path, SLUG)
    assert stored(server, token) == path.read_bytes()


def test_answer_about_the_upload_that_breaks_off_is_no_answer(service, server, path):
    def cut(server, exchange, proceed):
        exchange.close_connection = True
        exchange.send_response(200)
        exchange.send_header("Content-Length", "40")
        exchange.end_headers()
        exchange.wfile.write(b'{"s')

    server.fault(UPLOADS, drop_upload_after(100_000))
    server.fault(UPLOADS, cut)
    token = service.upload(path, SLUG)
    assert stored(server, token) == path.read_bytes()


def test_upload_token_of_any_length_is_handed_on_as_it_came(service, server, path):
    long = "t" * 5_000

    def start(server, exchange, proceed):
        upload = server.book.announce("submission.csv", path.stat().st_size)
        exchange.read_json()
        exchange.send_json({"token": long, "createUrl": server._upload_link(upload.token)})

    server.fault("StartSubmissionUpload", start)
    assert service.upload(path, SLUG) == long
