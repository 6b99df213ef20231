"""Every call, made by the real client to a real server, and answers that leave out what they can."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from faults import SECRET, SLUG, answer, quick, submission_bytes

from kaggle_kit.errors import QuotaError, ServiceError
from kaggle_kit.kaggle_service import KaggleService


def reply(document):
    return answer(200, json.dumps(document).encode())


def scored(service, ref):
    for _ in range(500):
        row = service.submission(ref)
        if row is not None and row.status != "PENDING":
            return row
        time.sleep(0.01)
    raise AssertionError("never scored")


def submit(service, tmp_path, content, description="a try"):
    path = tmp_path / "submission.csv"
    path.write_bytes(content)
    return service.create_submission(SLUG, service.upload(path, SLUG), description)


def test_competition_is_described(service):
    info = service.competition(SLUG)
    assert (info.slug, info.title, info.entered, info.max_daily_submissions) == (SLUG, "Demo competition", True, 3)
    assert info.deadline is None


def test_entered_is_unknown_when_the_server_does_not_say(service, server):
    server.fault("GetCompetition", reply({"title": "x", "deadline": "2026-12-01T23:59:00.1234567Z"}))
    info = service.competition(SLUG)
    assert info.entered is None
    assert info.max_daily_submissions is None
    assert info.deadline == datetime(2026, 12, 1, 23, 59, 0, 123456, tzinfo=UTC)


def test_files_of_every_page_are_listed(service, server):
    one_by_one = KaggleService(quick(page_size=1))
    assert [file.name for file in one_by_one.files(SLUG)] == [file.name for file in service.files(SLUG)]
    assert len(server.asked("ListDataFiles")) == 5 + 1
    assert {file.name: file.size for file in service.files(SLUG)}["train/train/train.npz"] == 400_004


def test_pages_that_repeat_without_end_are_given_up(service, server):
    server.fault("ListDataFiles", reply({"files": [{"name": "a"}], "nextPageToken": "again"}), times=9)
    with pytest.raises(ServiceError, match="repeats its pages"):
        service.files(SLUG)


@pytest.mark.parametrize("document", [{}, {"files": None}, {"files": []}, []])
def test_a_list_that_is_left_out_is_empty(service, server, document):
    server.fault("ListDataFiles", reply(document))
    assert service.files(SLUG) == []


def test_a_right_submission_scores_one_and_leads_the_board(service, server, hosted, tmp_path):
    ref = submit(service, tmp_path, submission_bytes(hosted), "residual (cv 0.9)")
    row = scored(service, ref)
    assert (row.status, row.public_score, row.private_score) == ("COMPLETE", 1.0, None)
    assert (row.description, row.file_name, row.error_description) == ("residual (cv 0.9)", "submission.csv", "")
    assert service.submissions(SLUG) == [row]
    assert [(place.rank, place.team, place.score) for place in service.leaderboard(SLUG)] == [
        (1, "rehearsal team", 1.0),
        (2, "rivals", 0.5),
    ]
    assert service.competition(SLUG).user_rank == 1


def test_limits_count_down_and_the_service_refuses_at_zero(service, hosted, tmp_path):
    for used in range(3):
        limits = service.limits(SLUG)
        assert (limits.used_today, limits.allowed_now) == (used, 3 - used)
        submit(service, tmp_path, submission_bytes(hosted))
    assert service.limits(SLUG).allowed_now == 0
    with pytest.raises(QuotaError, match=r"daily Submission allowance \(3\)") as caught:
        submit(service, tmp_path, submission_bytes(hosted))
    assert "midnight UTC" in caught.value.hint


@pytest.mark.parametrize(
    ("document", "used", "allowed"),
    [
        ({}, 0, 3),
        ({"numToday": 1, "numAllowedNow": 2}, 1, 2),
        ({"numToday": 3}, 3, 0),
        ({"numToday": 1, "limitedByTotal": True}, 1, 0),
    ],
)
def test_limits_that_are_left_out_follow_from_the_rest(service, server, document, used, allowed):
    server.fault("GetSubmissionLimits", reply(document))
    limits = service.limits(SLUG)
    assert (limits.used_today, limits.allowed_now) == (used, allowed)
    assert limits.resets.hour == 0
    assert limits.resets > datetime.now(UTC)


def test_limits_are_counted_when_the_server_has_no_such_call(service, server, hosted, tmp_path):
    scored(service, submit(service, tmp_path, submission_bytes(hosted)))
    scored(service, submit(service, tmp_path, b"id,wrong\n"))
    server.fault("GetSubmissionLimits", answer(404, b'{"error":{"code":404,"message":"Not found"}}'))
    limits = service.limits(SLUG)
    assert (limits.used_today, limits.allowed_now, limits.per_day) == (1, 2, 3)


@pytest.mark.parametrize(
    ("row", "status", "score"),
    [
        ({"ref": 1}, "PENDING", None),
        ({"ref": 1, "status": "complete", "publicScore": "0.5"}, "COMPLETE", 0.5),
        ({"ref": "1", "status": "SubmissionStatus.ERROR", "publicScore": ""}, "ERROR", None),
        ({"ref": 1, "publicScore": 0.25}, "COMPLETE", 0.25),
        ({"ref": 1, "status": "COMPLETE", "publicScore": ""}, "COMPLETE", None),
        ({"ref": 1, "status": None, "date": "yesterday", "publicScore": "NaN"}, "PENDING", None),
    ],
)
def test_submissions_are_read_whatever_is_left_out(service, server, row, status, score):
    server.fault("GetSubmission", reply(row))
    got = service.submission(1)
    assert (got.ref, got.status, got.public_score) == (1, status, score)


def test_a_submission_that_is_not_to_be_seen_is_none(service):
    assert service.submission(99) is None


def test_a_submission_is_looked_for_in_the_list_when_it_is_not_shown_alone(service, server, hosted, tmp_path):
    ref = submit(service, tmp_path, submission_bytes(hosted))
    scored(service, ref)
    server.fault("GetSubmission", answer(404), times=2)
    assert service.submission(ref) is None
    assert service.submission(ref, SLUG).ref == ref


def test_submission_with_an_error_tells_the_reason_in_full(service, tmp_path):
    row = scored(service, submit(service, tmp_path, b"id,embeddings\n1,[0]\n"))
    assert row.status == "ERROR"
    assert row.error_description == "ERROR: Unexpected Column: 'embeddings' (Line 1, Column 2)"


def test_control_characters_from_outside_do_not_get_through(service, server):
    server.fault("GetLeaderboard", reply({"submissions": [{"teamName": "a\x1b[31mb\u202e", "score": "1"}]}))
    assert "\x1b" not in service.leaderboard(SLUG)[0].team


def test_code_submission_names_kernel_version_and_file(service, server):
    server.fault("CreateCodeSubmission", reply({"message": "ok", "ref": 7}))
    assert service.create_code_submission(SLUG, "owner/notebook", 3, "submission.csv", "try") == 7


def test_nothing_is_imported_or_sent_before_the_first_call(server):
    KaggleService(quick())
    assert server.requests == []


def test_no_answer_brings_a_secret_back(service, server):
    row = {"ref": 1, "status": "ERROR", "errorDescription": f"bad token {SECRET}"}
    server.fault("ListSubmissions", answer(200, json.dumps({"submissions": [row]}).encode()))
    [submission] = service.submissions(SLUG)
    assert submission.error_description == "bad token ***"
