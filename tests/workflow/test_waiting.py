"""Waiting for a score, and what later looks at the service bring."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from kaggle_kit.archive import SubmissionStore
from kaggle_kit.progress import Silence
from kaggle_kit.rehearsal.hosted import Rival
from kaggle_kit.submission import write_submission
from kaggle_kit.workflow import pauses
from kaggle_kit.workflow.submitting.submit import submit
from kaggle_kit.workflow.submitting.sync import sync


class Watching(Silence):
    """Remembers how often the waiting line moved, and may do something then."""

    def __init__(self, action=lambda: None):
        self.moved, self.ended, self.lines, self.action = 0, 0, [], action

    def start(self, what, total=None, unit=""):
        outer = self

        class Task:
            def update(self, done, **figures):
                if what == "waiting for the score":
                    outer.moved += 1
                    outer.action()

            def finish(self, summary=""):
                outer.ended += what == "waiting for the score"

        return Task()

    def note(self, text):
        self.lines.append(text)


def test_the_line_moves_between_two_looks_and_ends(make_project, run, serve, connect, monkeypatch):
    monkeypatch.setattr(pauses, "GLANCE_S", 0.02)
    server = serve()
    score, asked = server.score, []
    monkeypatch.setattr(server, "score", asked.append)

    def decide():
        if watching.moved == 5 and asked:
            score(asked.pop())

    watching = Watching(decide)
    patient = make_project(**{"submit.poll_first_s": 0.3})
    assert submit(patient, run.id, message="m", service=connect(server), progress=watching).state == "scored"
    assert watching.moved >= 5  # in one pause of 0.3 s
    assert watching.ended == 1


def test_rank_and_effect_on_the_best_are_told(project, run, serve, connect, world, tmp_path, notes):
    service = connect(serve(rivals=(Rival("a", 0.99), Rival("b", 0.0))))
    record = submit(project, run.id, message="m", service=service, progress=notes)
    assert record["rank"] == {"rank": 2, "teams": 3}
    assert "rank 2 of 3, the first score" in notes
    write_submission(tmp_path / "a.csv", world.ids, np.asarray(world.answers, dtype=np.float32))
    better = submit(project, tmp_path / "a.csv", message="perfect", service=service, progress=notes)
    assert better["rank"]["rank"] == 1
    assert f"rank 1 of 3, the best so far (was {record['public_score']:.5f})" in notes


def test_ctrl_c_leaves_the_score_to_sync(project, run, serve, connect, monkeypatch):
    server = serve()
    score, asked = server.score, []
    monkeypatch.setattr(server, "score", asked.append)

    def press():
        raise KeyboardInterrupt

    watching, service = Watching(press), connect(server)
    with pytest.raises(KeyboardInterrupt):
        submit(project, run.id, message="m", service=service, progress=watching)
    assert any("kk sync fetches its score" in line for line in watching.lines)
    store = SubmissionStore(project.submissions_dir)
    assert store.load().state == "sent"
    score(asked.pop())
    assert sync(project, service=service).updated == [store.load().id]
    assert store.load().state == "scored"


def test_a_sync_meanwhile_does_not_disturb_the_wait(project, run, serve, connect, monkeypatch):
    server = serve()
    score, asked = server.score, []
    monkeypatch.setattr(server, "score", asked.append)
    service = connect(server)

    def sync_elsewhere():
        if asked:
            score(asked.pop())
            assert sync(project, service=connect(server)).updated

    record = submit(project, run.id, message="m", service=service, progress=Watching(sync_elsewhere))
    assert record.state == "scored"
    assert [entry["state"] for entry in record["history"]].count("scored") == 1


def test_sync_reads_every_page_and_fills_private_scores_after_the_deadline(
    make_project, run, serve, connect, world, tmp_path
):
    project = make_project(**{"service.page_size": 1})
    server = serve(public_share=0.5)
    service = connect(server, project)
    first = submit(project, run.id, message="m", service=service)
    write_submission(tmp_path / "a.csv", world.ids, np.asarray(world.answers, dtype=np.float32))
    submit(project, tmp_path / "a.csv", message="perfect", service=service)
    assert first["private_score"] is None
    server.competition = replace(server.competition, deadline=datetime.now(UTC) - timedelta(hours=1))
    assert len(sync(project, service=service).updated) == 2
    scores = [record["private_score"] for record in SubmissionStore(project.submissions_dir).list()]
    assert scores[0] == 1.0
    assert None not in scores
