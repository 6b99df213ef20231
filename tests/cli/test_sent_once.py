"""No submission is made twice: where the list of submissions lags, where descriptions are cut, where the archive is another one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from faults import Act, FaultyServer, answer, lose_answer, rpc_error
from played import faulty, records, template, tiny  # noqa: F401  # fixtures

from kaggle_kit.archive import SubmissionStore
from kaggle_kit.rehearsal.exchange import Exchange

EMPTY = answer(200, b'{"submissions":[]}')
ALWAYS = 1000
SEND = ("submit", "-m", "the first one of the day")


def changed(change: Callable[[dict], None]) -> Act:
    """Answer as usual, after ``change`` to the answer's document."""

    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        plain = exchange.send_json

        def send_json(document, *arguments, **options):
            change(document)
            plain(document, *arguments, **options)

        exchange.send_json = send_json  # type: ignore[method-assign]
        try:
            proceed()
        finally:
            del exchange.send_json  # type: ignore[method-assign]

    return act


def descriptions(cut: Callable[[str], str]) -> Act:
    def change(document: dict) -> None:
        for row in document.get("submissions", []):
            row["description"] = cut(row["description"])

    return changed(change)


def only(folder: Path):
    (record,) = records(folder)
    return record


def test_one_that_the_service_counts_and_does_not_list_yet_stays_open(faulty, tiny, kk):  # noqa: F811
    faulty.fault("CreateSubmission", lose_answer)
    hidden = faulty.fault("ListSubmissions", EMPTY, times=ALWAYS)
    outcome = kk(*SEND)
    assert outcome.code == 75
    assert "counts 1 submissions today and lists 0" in outcome.err
    assert "--force" in outcome.err
    assert only(tiny).state == "sending"
    again = kk(*SEND)
    assert again.code == 5
    assert "whether it arrived is not known" in again.err
    hidden.times = 0
    assert kk(*SEND).code == 0
    assert only(tiny).state == "scored"
    assert len(faulty.book.submissions()) == 1


def test_one_that_counted_as_never_arrived_and_turned_up_is_not_sent_again(faulty, tiny, kk):  # noqa: F811
    faulty.fault("CreateSubmission", lose_answer)
    hidden = faulty.fault("ListSubmissions", EMPTY, times=ALWAYS)
    faulty.fault("GetSubmissionLimits", answer(200, b'{"numAllowedNow":5}'), times=ALWAYS)
    assert kk(*SEND).code == 6
    assert (only(tiny).state, only(tiny)["sent_at"]) == ("valid", None)
    hidden.times = 0
    assert kk(*SEND).code == 0
    arrived = faulty.book.submissions()[0]
    assert only(tiny)["ref"] == arrived.ref
    assert abs(datetime.fromisoformat(only(tiny)["sent_at"]) - arrived.moment) < timedelta(seconds=1), (
        "not the time of now"
    )
    assert len(faulty.book.submissions()) == 1


def test_one_that_really_never_arrived_is_sent_again(faulty, tiny, kk):  # noqa: F811
    faulty.fault("CreateSubmission", answer(503), times=1)
    assert kk(*SEND).code == 6
    assert kk(*SEND).code == 0
    assert only(tiny).state == "scored"
    assert len(faulty.book.submissions()) == 1


@pytest.mark.parametrize("cut", [lambda text: text[:60], lambda text: text[:60] + "..."])
def test_one_whose_description_was_cut_is_found(cut, faulty, tiny, kk):  # noqa: F811
    faulty.fault("CreateSubmission", lose_answer)
    faulty.fault("ListSubmissions", descriptions(cut), times=ALWAYS)
    assert kk(*SEND).code == 0
    assert len(faulty.book.submissions()) == 1
    assert kk("sync", "--json").json["adopted"] == []


def test_one_shown_without_a_description_may_be_it(faulty, tiny, kk):  # noqa: F811
    faulty.fault("CreateSubmission", lose_answer)
    faulty.fault("ListSubmissions", descriptions(lambda text: ""), times=ALWAYS)
    outcome = kk(*SEND)
    assert outcome.code == 75
    assert "without a description" in outcome.err


def test_the_same_vectors_are_refused_where_the_archive_is_another_one(faulty, tiny, kk):  # noqa: F811
    assert kk(*SEND).code == 0
    shutil.rmtree(tiny / "submissions_archive")
    refused = kk(*SEND)
    assert refused.code == 5
    assert f"submission {faulty.book.submissions()[0].ref}" in refused.err
    assert len(faulty.book.submissions()) == 1
    assert kk(*SEND, "--force").code == 0
    assert len(faulty.book.submissions()) == 2


def test_a_submission_listed_twice_is_adopted_once(faulty, tiny, kk):  # noqa: F811
    assert kk(*SEND).code == 0
    shutil.rmtree(tiny / "submissions_archive")
    faulty.fault("ListSubmissions", changed(lambda document: document.update(submissions=document["submissions"] * 2)))
    assert len(kk("sync", "--json").json["adopted"]) == 1
    assert len(records(tiny)) == 1


def test_merged_archives_show_a_submission_once_and_the_senders_record_counts(faulty, tiny, kk):  # noqa: F811
    """One machine sends without waiting, another adopts it with its score; both archives are merged with git."""
    assert kk(*SEND, "--no-wait").code == 0
    sender = only(tiny)
    shutil.move(tiny / "submissions_archive", tiny / "laptop")
    faulty.book.decide(sender["ref"], status="COMPLETE", public_score=0.5)
    assert len(kk("sync", "--json").json["adopted"]) == 1
    shutil.copytree(tiny / "laptop", tiny / "submissions_archive", dirs_exist_ok=True)
    assert len(list((tiny / "submissions_archive").glob("*/record.json"))) == 2
    assert [row["id"] for row in kk("leaderboard", "--json").json] == [sender.id]
    assert kk("sync").code == 0
    (row,) = kk("leaderboard", "--json").json
    assert (row["id"], row["public_score"]) == (sender.id, 0.5)
    assert row["cv"] is not None
    assert [one["id"] for one in kk("final", "--json").json["chosen"]] == [sender.id]
    every = SubmissionStore(tiny / "submissions_archive").every(where=lambda one: True)
    assert sorted(json.dumps(one["public_score"]) for one in every) == ["0.5", "0.5"]


def test_board_is_shown_with_a_token_that_may_only_read(faulty, tiny, kk):  # noqa: F811
    assert kk(*SEND).code == 0
    faulty.fault("ListSubmissions", rpc_error(403, "Permission 'competitions.participate' was denied"), times=ALWAYS)
    outcome = kk("leaderboard", "--public", "--json")
    assert outcome.code == 0
    assert [row["own"] for row in outcome.json].count(True) == 1
    assert "told by its rank" in outcome.err


def test_sync_names_a_submission_that_the_service_does_not_list(faulty, tiny, kk):  # noqa: F811
    assert kk(*SEND, "--no-wait").code == 0
    faulty.fault("ListSubmissions", EMPTY, times=ALWAYS)
    assert "does not list submission" in kk("sync").err
