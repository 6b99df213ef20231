"""What the service refuses, and what a user is told to do about it."""

from __future__ import annotations

import traceback

import pytest
from faults import PAGE, SECRET, SLUG, Notes, answer, quick, rest_error, rpc_error, small_competition
from faults import FaultyServer as Server

from kaggle_kit.errors import CredentialsError, KaggleKitError, MissingError, QuotaError, ServiceError
from kaggle_kit.kaggle_service import KaggleService


def test_without_credentials_the_places_looked_at_are_named(server, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(CredentialsError, match=r"KAGGLE_API_TOKEN.*access_token.*kaggle\.json") as caught:
        KaggleService(quick()).files(SLUG)
    assert caught.value.exit_code == 4
    assert server.requests == []


def test_refused_credentials_are_named_by_their_source(server, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_wrong")
    with pytest.raises(CredentialsError, match=r"from KAGGLE_API_TOKEN \(401: Unauthenticated") as caught:
        KaggleService(quick()).files(SLUG)
    assert "KGAT_wrong" not in "".join(traceback.format_exception(caught.value))
    assert len(server.requests) == 1


def test_a_stale_token_gives_way_to_the_next_source(server, clean_world, monkeypatch, tmp_path):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    folder = tmp_path / "home" / ".kaggle"
    folder.mkdir()
    for name, content in (("access_token", "KGAT_stale"), ("kaggle.json", f'{{"username":"me","key":"{SECRET}"}}')):
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    notes = Notes()
    service = KaggleService(quick(), progress=notes)
    assert service.files(SLUG)
    assert service.credentials.source == "~/.kaggle/kaggle.json"
    assert any("refused the credentials from ~/.kaggle/access_token" in note for note in notes.notes)


def test_rules_not_accepted_are_named_with_their_address(tmp_path, monkeypatch):
    hosted = small_competition(tmp_path / "hosted", entered=False)
    with Server(hosted, folder=tmp_path / "state") as server:
        service = KaggleService(quick(), environ=server.environ())
        with pytest.raises(CredentialsError, match="accept this competition's rules") as caught:
            service.download(SLUG, "train/train/train.npz", tmp_path / "x")
        assert f"competitions/{SLUG}/rules" in caught.value.hint
        assert not (tmp_path / "x.part").exists()
        assert service.files(SLUG), "listing still works"
        with pytest.raises(CredentialsError, match="has not joined") as caught:
            service.require_entered(SLUG)
        assert f"competitions/{SLUG}/rules" in caught.value.hint
        with pytest.raises(CredentialsError, match="may only read"):
            service.submissions(SLUG)


def test_a_mistyped_competition_is_answered_with_the_nearest(service):
    with pytest.raises(MissingError, match="no competition 'demo-competiton'") as caught:
        service.competition("demo-competiton")
    assert f"did you mean {SLUG}?" in caught.value.hint


def test_a_competition_that_cannot_be_seen_is_told_with_the_nearest(service, server):
    server.fault("GetCompetition", rpc_error(403, "Permission 'competitions.get' was denied"))
    with pytest.raises(CredentialsError, match="is not a competition that the account") as caught:
        service.competition("demo-competiton")
    assert f"did you mean {SLUG}?" in caught.value.hint


def test_missing_file_is_told_by_name(service, tmp_path):
    with pytest.raises(MissingError, match=r"no file 'train.csv' in 'demo-competition'"):
        service.download(SLUG, "train.csv", tmp_path / "train.csv")


@pytest.mark.parametrize("shape", [rpc_error, rest_error])
def test_reason_is_read_from_both_shapes_of_errors(service, server, shape):
    server.fault("ListSubmissions", shape(400, "The sky is falling"))
    with pytest.raises(ServiceError, match="The sky is falling"):
        service.submissions(SLUG)


def test_refusal_without_a_reason_lists_known_causes(service, server):
    server.fault("CreateSubmission", answer(400))
    with pytest.raises(ServiceError, match="without a reason") as caught:
        service.create_submission(SLUG, "token", "text")
    assert "deadline" in caught.value.hint


def test_limit_reached_is_a_matter_of_quota(service, server):
    reason = "Submission not allowed: Your team has used its daily Submission allowance (5) today"
    server.fault("CreateSubmission", rpc_error(400, reason))
    with pytest.raises(QuotaError, match="daily Submission allowance") as caught:
        service.create_submission(SLUG, "token", "text")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("status", [200, 403, 500])
def test_an_html_page_is_named_as_such(service, server, status):
    server.fault("ListSubmissions", answer(status, PAGE, "text/html"), times=9)
    with pytest.raises(KaggleKitError, match="HTML page"):
        service.submissions(SLUG)


def test_an_empty_answer_is_an_error(service, server):
    server.fault("GetLeaderboard", answer(200))
    with pytest.raises(ServiceError, match="an empty answer came"):
        service.leaderboard(SLUG)


def test_a_redirect_is_not_followed_with_our_credentials(service, server):
    server.fault("ListDataFiles", answer(302, Location="http://127.0.0.1:1/login"))
    with pytest.raises(ServiceError, match="redirected elsewhere"):
        service.files(SLUG)


def test_a_secret_that_the_service_repeats_is_taken_out(service, server):
    server.fault("ListDataFiles", rpc_error(403, f"token {SECRET} may not"))
    with pytest.raises(CredentialsError, match=r"token \*\*\* may not") as caught:
        service.files(SLUG)
    assert SECRET not in repr(caught.value.to_dict()) + "".join(traceback.format_exception(caught.value))


def test_refusal_behind_a_status_that_says_all_is_well_is_read(service, server):
    server.fault("ListSubmissions", answer(200, b'{"code":403,"message":"Permission denied for you"}'))
    with pytest.raises(CredentialsError, match="403: Permission denied for you"):
        service.submissions(SLUG)
