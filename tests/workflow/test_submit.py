"""Submit: once, validated, found again after any interruption; against a real server, through the real client."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch

from kaggle_kit.archive import RunStore, SubmissionStore, basis_of
from kaggle_kit.errors import (
    CredentialsError,
    DuplicateError,
    InterruptedWork,
    MissingError,
    QuotaError,
    ServiceError,
    SubmissionError,
    UsageError,
)
from kaggle_kit.files import sha256_of
from kaggle_kit.metrics import retrieval_ranks
from kaggle_kit.submission import write_submission
from kaggle_kit.workflow.expect import calibration
from kaggle_kit.workflow.history import history, public_board
from kaggle_kit.workflow.predict import predict, predict_test
from kaggle_kit.workflow.submitting.code_submission import submit_notebook
from kaggle_kit.workflow.submitting.submit import submit
from kaggle_kit.workflow.submitting.sync import sync


@pytest.fixture
def store(project):
    return SubmissionStore(project.submissions_dir)


def test_a_submission_is_scored_and_everything_about_it_is_filed(project, run, service, notes, world, store):
    record = submit(project, None, message="first try", service=service, progress=notes)
    vectors = torch.from_numpy(predict_test(project, run.id).vectors)
    galleries = zip(
        vectors.split(10), torch.from_numpy(world.answers).split(10), strict=True
    )  # in the order of the ids
    ranks = torch.cat([retrieval_ranks(rows, answers, torch.arange(10)) for rows, answers in galleries])
    expected = float((1 / ranks.double()).mean())
    assert record["public_score"] == pytest.approx(expected, abs=1e-5)
    assert record.state == "scored"
    assert (record["cv"], record["cv_error"]) == (run.cv, run.cv_error)
    assert record["members"] == [{"run": run.id, "weight": 1.0}]
    assert record["file"]["sha256"] == sha256_of(store.file_of(record))
    assert [entry["state"] for entry in record["history"]] == [
        "built", "valid", "sending", "sending", "sent", "scored",
    ]  # fmt: skip
    assert record["description"].startswith(f"first try (cv {run.cv:.4f}, run {run.id})")
    assert f"public score {record['public_score']:.5f}" in notes
    assert "5 of 5 submissions left today" in notes


def test_what_predict_writes_is_what_submit_sends(project, run, service, tmp_path, store):
    record = submit(project, run.id, message="m", service=service)
    assert predict(project, run.id, tmp_path / "mine.csv").file.sha256 == record["file"]["sha256"]
    file = store.file_of(record)
    before = file.read_bytes()
    file.unlink()
    assert store.rebuild_submission_csv(record.id).read_bytes() == before


def test_the_same_vectors_are_sent_once_unless_forced(project, run, service):
    submit(project, run.id, message="one", service=service)
    with pytest.raises(DuplicateError, match="these vectors were submitted before"):
        submit(project, run.id, message="two", service=service)
    again = submit(project, run.id, message="two", force=True, service=service)
    assert again.state == "scored"
    assert len(service.submissions(project.settings.competition.slug)) == 2


def test_a_file_with_fewer_digits_is_the_same_submission(make_project, project, run, service, tmp_path):
    submit(project, run.id, message="one", service=service)
    predict(project, run.id, tmp_path / "short.csv", digits=8)
    with pytest.raises(DuplicateError, match="submitted before"):
        submit(project, tmp_path / "short.csv", message="short", service=service)


def test_a_dry_run_sends_nothing_and_its_record_is_used_later(project, run, service, store, notes):
    dry = submit(project, run.id, message="dry", dry_run=True, service=service, progress=notes)
    assert dry.state == "valid"
    assert service.submissions(project.settings.competition.slug) == []
    assert "nothing was sent" in notes
    again = submit(project, run.id, message="", dry_run=True, service=service)
    assert (again.id, again["message"]) == (dry.id, "dry"), "a dry run changes no record that is there"
    sent = submit(project, run.id, message="wet", service=service)
    assert sent.id == dry.id
    assert sent["message"] == "wet"
    assert len(store.list()) == 1


def test_a_file_is_validated_and_sent_byte_for_byte(project, world, service, tmp_path, store):
    path = tmp_path / "mine.csv"
    write_submission(path, world.ids, np.asarray(world.answers, dtype=np.float32))
    record = submit(project, path, message="perfect", service=service)
    assert record["public_score"] == 1.0
    assert store.file_of(record).read_bytes() == path.read_bytes()


def test_an_invalid_file_is_refused_before_any_call(project, serve, connect, tmp_path, world):
    service = connect(serve())
    path = tmp_path / "bad.csv"
    write_submission(path, world.ids[:-1], np.asarray(world.answers[:-1], dtype=np.float32))
    with pytest.raises(SubmissionError, match="not a valid submission"):
        submit(project, path, message="bad", service=service)
    assert service.submissions(project.settings.competition.slug) == []
    with pytest.raises(MissingError, match="no such file"):
        submit(project, "nowhere.csv", message="x", service=service)


@pytest.mark.parametrize(
    ("rules", "error", "words"),
    [
        ({"entered": False}, CredentialsError, "you have not entered"),
        ({"submissions_disabled": True}, CredentialsError, "takes no submissions"),
        ({"code_only": True}, CredentialsError, "from notebooks only"),
        ({"max_daily_submissions": 1}, QuotaError, "no submissions left today"),
    ],
)
def test_preflight_refuses_before_the_upload(project, run, serve, connect, tmp_path, world, rules, error, words):
    server = serve(**rules)
    service = connect(server)
    if "max_daily_submissions" in rules:
        write_submission(tmp_path / "a.csv", world.ids, np.asarray(world.answers, dtype=np.float32))
        submit(project, tmp_path / "a.csv", message="uses it up", service=service)
    before = len(server.book.submissions())
    with pytest.raises(error, match=words):
        submit(project, run.id, message="m", service=service)
    assert len(server.book.submissions()) == before


def test_keep_saves_some_for_the_evening(make_project, project, run, service):
    keeping = make_project(**{"submit.keep": 5})
    with pytest.raises(QuotaError, match="5 submissions left today and 5 to keep"):
        submit(keeping, run.id, message="m", service=service)


def test_after_the_deadline_nothing_is_sent_unless_forced(project, run, serve, connect, notes):
    server = serve(deadline=datetime.now(UTC) - timedelta(days=1))
    service = connect(server)
    with pytest.raises(CredentialsError, match="the deadline of small-competition was"):
        submit(project, run.id, message="late", service=service)
    assert server.book.submissions() == []
    with pytest.raises(ServiceError, match="deadline of this competition has passed"):
        submit(project, run.id, message="late", force=True, service=service, progress=notes)
    assert "trying a late submission" in notes


@pytest.fixture
def service_of_notebook(project, run, serve, connect, tmp_path):
    """A code competition with one notebook, whose third version wrote the run's submission."""
    predict(project, run.id, tmp_path / "output/submission.csv")
    return connect(serve(code_only=True, notebooks={"ann/notebook/3": tmp_path / "output"}))


def test_a_leaking_run_sent_by_a_notebook_keeps_its_mark(project, run, service_of_notebook):
    runs = RunStore(project.models_dir)
    leaking = runs.update(run.id, leaks={"equal_captions": 11})
    record = submit_notebook(
        project, "ann/notebook", 3, message="m", run=leaking.to_dict(), service=service_of_notebook
    )
    assert record.state == "scored"
    assert record["leaks"] == {"equal_captions": 11}
    assert (record["basis"], record["train_seconds"]) == (basis_of(leaking), leaking["train_seconds"])
    assert history(project).rows[0]["leaks"] is True
    (point,) = calibration(project).calibration.points
    assert point.leaks


def test_a_notebooks_output_is_expected_and_tried_dry_as_a_file_is(project, run, service_of_notebook, notes, store):
    for number in range(6):
        cv = run.cv + 0.01 * number
        scored = {"state": "scored", "ref": number + 1, "cv": cv, "public_score": cv, "basis": basis_of(run.record)}
        store.create(f"earlier-{number}", {"competition": project.settings.competition.slug, **scored})
    sent = (project, "ann/notebook", 3)
    dry = submit_notebook(*sent, message="m", run=run.record, dry_run=True, service=service_of_notebook, progress=notes)
    assert dry.state == "valid"
    assert f"expected {run.cv:.3f}" in notes
    assert "dry run: valid, and it could be submitted now; nothing was sent" in notes
    declined = submit_notebook(*sent, message="m", confirm=lambda record: False, service=service_of_notebook)
    assert (declined.id, declined.state) == (dry.id, "valid")
    assert service_of_notebook.submissions(project.settings.competition.slug) == []


def test_a_notebooks_output_that_had_arrived_is_not_sent_again(project, service_of_notebook, store, notes):
    sent = submit_notebook(project, "ann/notebook", 3, message="m", service=service_of_notebook)
    store.update(sent, {"state": "sending", "ref": None, "public_score": None})
    again = submit_notebook(project, "ann/notebook", 3, message="m", service=service_of_notebook, progress=notes)
    assert (again.id, again.state, again["ref"]) == (sent.id, "scored", sent["ref"])
    assert "had been sent before it was interrupted" in notes


def test_without_waiting_the_score_comes_with_sync(project, run, service, store):
    record = submit(project, run.id, message="m", wait=False, service=service)
    assert record.state == "sent"
    result = sync(project, service=service)
    while result.awaited:
        result = sync(project, service=service)
    assert store.read(record.id).state == "scored"


def test_a_score_that_never_comes_leaves_the_record_sent(make_project, run, serve, connect, monkeypatch):
    impatient = make_project(**{"submit.wait_s": 0.1})
    server = serve()
    monkeypatch.setattr(server, "score", lambda submission: None)
    with pytest.raises(InterruptedWork, match="has no score after") as caught:
        submit(impatient, run.id, message="m", service=connect(server))
    assert "kk sync" in caught.value.hint
    assert SubmissionStore(impatient.submissions_dir).load().state == "sent"


def test_an_error_of_the_scorer_is_kept_in_full(make_project, run, serve, connect, world):
    other_columns = make_project(**{"competition.submission.embedding_column": "vector"})
    with pytest.raises(SubmissionError, match="as an error: ERROR: Unexpected Column: 'vector'"):
        submit(other_columns, run.id, message="m", service=connect(serve()))
    record = SubmissionStore(other_columns.submissions_dir).load()
    assert record.state == "failed"
    assert record["error_description"]


def test_a_submission_killed_before_it_was_asked_for_is_sent_once(project, run, service, store):
    """As after kill -9 between upload and request: the record says sending, nothing was asked."""
    dry = submit(project, run.id, message="m", dry_run=True, service=service)
    store.advance(dry, "sending", note="uploading", changes={"upload": {"token": "t"}})
    record = submit(project, run.id, message="m", service=service)
    assert record.state == "scored"
    assert len(service.submissions(project.settings.competition.slug)) == 1


def test_a_submission_killed_after_it_was_asked_for_is_found_and_not_repeated(project, run, service, store, notes):
    """As after kill -9 between the service's answer and the note of it."""
    sent = submit(project, run.id, message="m", service=service)
    lost = {"state": "sending", "ref": None, "public_score": None, "upload": {"asked": True}}
    store.update(sent, lost)
    result = sync(project, service=service, progress=notes)
    assert result.settled == [sent.id]
    healed = store.read(sent.id)
    assert (healed.state, healed["ref"]) == ("scored", sent["ref"])
    assert "did arrive" in notes


def test_sync_adopts_what_was_submitted_elsewhere(project, run, service, store, world, tmp_path):
    slug = project.settings.competition.slug
    path = tmp_path / "web.csv"
    write_submission(path, world.ids, np.asarray(world.answers, dtype=np.float32))
    ref = service.create_submission(slug, service.upload(path, slug), "from the web page")
    result = sync(project, service=service)
    (record,) = store.list()
    assert result.adopted == [record.id]
    assert (record["ref"], record["message"]) == (ref, "from the web page")
    assert sync(project, service=service).adopted == []


def test_two_at_once_make_one_submission_and_one_refusal(project, run, service, serve, connect, store):
    with store.sending(project.settings.competition.slug), pytest.raises(DuplicateError, match="is under way"):
        submit(project, run.id, message="m", service=service)
    outcomes = []

    def attempt():
        try:
            outcomes.append(submit(project, run.id, message="m", service=service).state)
        except DuplicateError:
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "scored"]
    assert len(service.submissions(project.settings.competition.slug)) == 1


def test_the_description_is_plain_and_filled_from_the_template(make_project, run, service):
    fancy = make_project(**{"submit.description": "{message} | {translator}/{folds} [{cv}]"})
    record = submit(fancy, run.id, message="größer\x1b[31m <b>", service=service)
    assert record["description"].startswith(f"gr er 31m b ridge 2 {run.cv:.4f}")
    for template in ("{mesage}", "{message[x]}"):
        wrong = make_project(**{"submit.description": template})
        with pytest.raises(UsageError, match="cannot be filled in"):
            submit(wrong, run.id, message="m", force=True, service=service)


def test_the_history_shows_cv_beside_the_scores_and_the_board_marks_the_own_team(project, run, service):
    record = submit(project, run.id, message="first", service=service)
    table = history(project)
    (row,) = table.rows
    assert row["difference"] == pytest.approx(record["public_score"] - run.cv)
    assert (row["message"], row["translator"], row["folds"], row["status"]) == ("first", "ridge", 2, "scored")
    assert table.to_frame().shape[0] == 1
    board = public_board(project, service=service)
    assert [r["own"] for r in board.rows].count(True) == 1


def test_rehearsals_are_left_out_of_the_history_and_have_their_own(project, store):
    for name, rehearsal in (("real", False), ("played", True)):
        fields = {"competition": project.settings.competition.slug, "rehearsal": rehearsal, "message": name}
        store.create(name, fields)
    assert [row["message"] for row in history(project).rows] == ["real"]
    assert [row["message"] for row in history(project, rehearsals=True).rows] == ["played"]


def test_a_rehearsals_folder_never_calls_kaggle(make_project, run):
    over = make_project(**{"competition.rehearsal": True})
    with pytest.raises(UsageError, match="is a rehearsal; its server ran inside"):
        submit(over, run.id, message="m")
    with pytest.raises(UsageError, match="is a rehearsal"):
        sync(over)
