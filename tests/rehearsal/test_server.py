"""What only the server's side shows: who gets in, days, deadlines, restarts."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import requests
from faults import SECRET, SLUG, quick, small_competition, submission_bytes

from kaggle_kit.errors import QuotaError, ServiceError
from kaggle_kit.kaggle_service import KaggleService
from kaggle_kit.rehearsal.server import RehearsalServer

FILES = "/api/v1/competitions.CompetitionApiService/ListDataFiles"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)

    def __call__(self):
        return self.now


def client(server):
    return KaggleService(quick(), environ=server.environ())


def submit(service, path, content):
    path.write_bytes(content)
    ref = service.create_submission(SLUG, service.upload(path, SLUG), "a try")
    for _ in range(500):
        row = service.submission(ref)
        if row.status != "PENDING":
            return row
        time.sleep(0.01)
    raise AssertionError("never scored")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": f"Bearer {SECRET}"}, 200),
        ({"Authorization": f"Bearer {SECRET}", "Host": "evil.example.org"}, 403),
        ({"Authorization": f"Bearer {SECRET}", "Host": "127.0.0.1"}, 403),
    ],
)
def test_only_who_knows_the_token_and_the_name_gets_in(server, headers, status):
    answer = requests.post(server.url + FILES, json={"competitionName": SLUG}, headers=headers, timeout=5)
    assert answer.status_code == status


def test_user_name_and_key_get_in_too(server):
    answer = requests.post(server.url + FILES, json={"competitionName": SLUG}, auth=("me", SECRET), timeout=5)
    assert answer.status_code == 200


def test_it_listens_on_loopback_only(server):
    assert server.url.startswith("http://127.0.0.1:")
    assert server.environ() == {"KAGGLE_API_ENDPOINT": server.url, "KAGGLE_API_TOKEN": SECRET}


def test_token_is_random_unless_it_is_given(hosted, tmp_path):
    one, two = RehearsalServer(hosted, folder=tmp_path / "1"), RehearsalServer(hosted, folder=tmp_path / "2")
    assert one.token != two.token
    assert one.token.startswith("KGAT_")


def test_links_expire_and_cannot_be_forged(hosted, tmp_path):
    with RehearsalServer(hosted, folder=tmp_path / "s", token=SECRET, link_lifetime_s=-1) as server:
        address = server.url + FILES.replace("ListDataFiles", "DownloadDataFile")
        body = {"competitionName": SLUG, "fileName": "train/train/train.npz"}
        answer = requests.post(address, json=body, auth=("me", SECRET), allow_redirects=False, timeout=5)
        for link in (answer.headers["Location"], answer.headers["Location"].replace("expires=1", "expires=9")):
            expired = requests.get(link, timeout=5)
            assert (expired.status_code, "html" in expired.headers["Content-Type"]) == (403, True)


@pytest.mark.parametrize("name", ["../state.json", "/etc/passwd", "train", "nothing.txt"])
def test_only_listed_files_are_served(server, name):
    address = server.url + FILES.replace("ListDataFiles", "DownloadDataFile")
    body = {"competitionName": SLUG, "fileName": name}
    answer = requests.post(address, json=body, auth=("me", SECRET), allow_redirects=False, timeout=5)
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [b"not json", b"[]", b'"text"'])
def test_call_without_a_json_object_is_refused(server, body):
    answer = requests.post(server.url + FILES, data=body, auth=("me", SECRET), timeout=5)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "Invalid JSON")


def test_the_day_ends_at_midnight_utc(tmp_path):
    clock = Clock()
    hosted = small_competition(tmp_path / "hosted", max_daily_submissions=1)
    with RehearsalServer(hosted, folder=tmp_path / "s", clock=clock) as server:
        service = client(server)
        submit(service, tmp_path / "a.csv", submission_bytes(hosted))
        with pytest.raises(QuotaError, match=r"\(2 hours from now\)"):
            submit(service, tmp_path / "a.csv", submission_bytes(hosted))
        clock.now += timedelta(hours=2)
        assert submit(service, tmp_path / "a.csv", submission_bytes(hosted)).status == "COMPLETE"


def test_submissions_in_error_do_not_count(hosted, tmp_path):
    with RehearsalServer(hosted, folder=tmp_path / "s") as server:
        service = client(server)
        for _ in range(5):
            assert submit(service, tmp_path / "a.csv", b"wrong").status == "ERROR"
        assert service.limits(SLUG).allowed_now == 3


def test_private_score_is_shown_after_the_deadline_and_no_more_is_taken(tmp_path):
    clock = Clock()
    hosted = small_competition(tmp_path / "hosted", deadline=clock.now + timedelta(hours=1), public_share=0.5)
    with RehearsalServer(hosted, folder=tmp_path / "s", clock=clock) as server:
        service = client(server)
        row = submit(service, tmp_path / "a.csv", submission_bytes(hosted))
        assert (row.public_score, row.private_score) == (1.0, None)
        clock.now += timedelta(hours=2)
        assert service.submission(row.ref).private_score == 1.0
        with pytest.raises(ServiceError, match="deadline of this competition has passed"):
            submit(service, tmp_path / "a.csv", submission_bytes(hosted))


@pytest.mark.parametrize(
    ("rule", "reason"),
    [({"submissions_disabled": True}, "Submissions are disabled"), ({"code_only": True}, "from Notebooks")],
)
def test_competition_that_takes_no_files_says_so(tmp_path, rule, reason):
    hosted = small_competition(tmp_path / "hosted", **rule)
    with RehearsalServer(hosted, folder=tmp_path / "s") as server:
        service = client(server)
        info = service.competition(SLUG)
        assert (info.submissions_disabled, info.code_only) == ("submissions_disabled" in rule, "code_only" in rule)
        with pytest.raises(ServiceError, match=reason):
            submit(service, tmp_path / "a.csv", submission_bytes(hosted))


def test_file_that_did_not_arrive_cannot_be_submitted(hosted, tmp_path):
    with RehearsalServer(hosted, folder=tmp_path / "s") as server:
        service = client(server)
        with pytest.raises(ServiceError, match="uploaded file was not found"):
            service.create_submission(SLUG, "no such token", "a try")


def test_restarted_server_goes_on_where_it_stopped(hosted, tmp_path):
    with RehearsalServer(hosted, folder=tmp_path / "s") as server:
        first = submit(client(server), tmp_path / "a.csv", submission_bytes(hosted))

    class Unscored(RehearsalServer):
        def score(self, submission):
            pass

    with Unscored(hosted, folder=tmp_path / "s") as server:
        service = client(server)
        path = tmp_path / "a.csv"
        ref = service.create_submission(SLUG, service.upload(path, SLUG), "left unscored")
        assert ref == first.ref + 1
        assert service.submission(ref).status == "PENDING"
    with RehearsalServer(hosted, folder=tmp_path / "s") as server:
        service = client(server)
        rows = service.submissions(SLUG)
        for _ in range(500):
            if rows[0].status == "COMPLETE":
                break
            time.sleep(0.01)
            rows = service.submissions(SLUG)
        assert [(row.ref, row.status) for row in rows] == [(ref, "COMPLETE"), (first.ref, "COMPLETE")]


def test_official_command_can_ask_who_it_is(server):
    address = f"{server.url}/api/v1/security.OAuthService/IntrospectToken"
    answer = requests.post(address, json={"token": SECRET}, auth=("me", SECRET), timeout=5)
    assert answer.json() == {"active": True, "username": "rehearsal"}
