"""``kk submissions``, ``kk final`` and the rarer ways to submit and validate, by commands."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from faults import SECRET, FaultyServer
from played import faulty, records, template, tiny  # noqa: F401  # fixtures

from kaggle_kit.archive.prune import WHAT
from kaggle_kit.cli.commands.submissions import PRUNABLE
from kaggle_kit.cli.commands.submit import FILE_SUFFIXES
from kaggle_kit.files import sha256_of
from kaggle_kit.workflow.submitting import draft


@pytest.fixture
def answer_at_terminal(monkeypatch):
    """Pretend that somebody at a terminal types this."""
    import click

    from kaggle_kit.cli.session import Session

    def answer(yes: bool) -> list[str]:
        asked: list[str] = []
        monkeypatch.setattr(Session, "can_ask", True)
        monkeypatch.setattr(click, "confirm", lambda question, **_: asked.append(question) or yes)
        return asked

    return answer


def steps(chain: list[dict]) -> list[tuple[str, str]]:
    return [(link["step"], link["status"]) for link in chain]


def test_show_follows_an_ensemble_from_the_score_to_the_data(faulty, tiny, kk):  # noqa: F811
    assert kk("train", "--translator", "procrustes", "-q").code == 0
    runs = [row["id"] for row in kk("runs", "list", "--json").json]
    assert kk("ensemble", *runs, "-q").code == 0
    assert kk("submit", "-m", "both", "-q").code == 0
    chain = kk("submissions", "show", "--json").json["chain"]
    same = [(step, "same") for step in ("checkpoint", "checkpoint", "config", "folds", "data")]
    top = [("score", "unknown"), ("file", "same"), ("vectors", "same"), ("ensemble", "unknown")]
    assert steps(chain) == [*top, ("run", "unknown"), *same, ("run", "unknown"), *same, ("data", "same")]
    text = kk("submissions", "show").out
    assert "train.npz" in text
    assert "model.safetensors" in text
    assert "rank" in text


def test_show_names_what_changed_and_what_is_gone(faulty, tiny, kk):  # noqa: F811
    assert kk("submit", "-m", "x", "-q").code == 0
    (record,) = records(tiny)
    (record.folder / "submission.csv").write_text("other")
    checkpoint = next((tiny / "models_archive").rglob("*.safetensors"))
    checkpoint.unlink()
    chain = kk("submissions", "show", "--json").json["chain"]
    assert ("file", "changed") in steps(chain)
    assert ("checkpoint", "gone") in steps(chain)
    assert "changed" in kk("submissions", "show").out


@pytest.mark.parametrize("flags", [(), ("--digits", "3"), ("--zip",), ("--digits", "4", "--zip")])
def test_rebuild_writes_the_very_file_that_was_sent(flags, faulty, tiny, kk):  # noqa: F811
    assert kk("submit", "-m", "x", "-q", *flags).code == 0
    (record,) = records(tiny)
    file = record.folder / record["file"]["name"]
    assert zipfile.is_zipfile(file) == ("--zip" in flags)
    before = sha256_of(file)
    file.unlink()
    outcome = kk("submissions", "rebuild", record.id[:15], "--json")
    assert outcome.json["sha256"] == before == sha256_of(file)
    assert kk("submissions", "rebuild", "-o", "again.out").code == 0
    assert sha256_of(Path("again.out")) == before
    (record.folder / "vectors.npy").unlink()
    assert kk("submissions", "rebuild").code == 8


def test_what_fewer_digits_cost_is_measured_out_of_fold_and_shown(faulty, tiny, kk):  # noqa: F811
    coarse = kk("predict", "--digits", "2", "--json").json["digits_loss"]
    fine = kk("predict", "--digits", "8", "--json").json["digits_loss"]
    assert (coarse["digits"], coarse["ranked"]) == (2, 800)  # 80 images, 10 draws
    assert coarse["changed"] > fine["changed"] == 0
    assert fine["mrr"] == fine["mrr_rounded"] == coarse["mrr"]
    assert coarse["mrr"] == pytest.approx(kk("runs", "show", "--json").json["record"]["cv"]["mrr"])
    outcome = kk("submit", "-m", "x", "--digits", "2")
    assert "2 digits: out-of-fold MRR" in outcome.err
    assert "800 ranks change" in outcome.out
    (tiny / "data" / "train" / "train" / "train.npz").rename(tiny / "elsewhere.npz")
    assert "cannot be measured here" in kk("predict", "--digits", "2").err


def test_file_that_is_sent_as_it_is_cannot_be_rewritten(faulty, tiny, kk):  # noqa: F811
    assert kk("predict", "-q").code == 0
    refused = kk("submit", "submission.csv", "-m", "x", "--digits", "3", "--zip")
    assert refused.code == 2
    assert "--digits, --zip/--no-zip cannot be combined with a file that is sent as it is" in refused.err
    assert kk("submit", "submission.csv", "-m", "x", "-q").code == 0


def test_index_is_made_anew_and_a_broken_record_is_named_and_left(faulty, tiny, kk):  # noqa: F811
    assert kk("submit", "-m", "x", "-q").code == 0
    broken = tiny / "submissions_archive" / "20200101-000000-broken-000000" / "record.json"
    broken.parent.mkdir()
    broken.write_text("{")
    (tiny / "submissions_archive" / "index.sqlite").write_bytes(b"damaged")
    outcome = kk("submissions", "reindex", "--json").json
    assert (outcome["submissions"], outcome["runs"]) == (1, 1)
    assert [one["id"] for one in outcome["broken"]] == [broken.parent.name]
    assert broken.read_text() == "{"
    assert "left out" in kk("submissions", "reindex").out


def test_prune_shows_what_and_how_much_then_asks(faulty, tiny, kk, answer_at_terminal):  # noqa: F811
    assert kk("submit", "-m", "x", "-q").code == 0
    (record,) = records(tiny)
    file = record.folder / "submission.csv"
    rule = ("submissions", "prune", "--keep-newest", "0", "--keep-best", "0")
    assert "nothing to prune" in kk("submissions", "prune").out
    dry = kk(*rule, "--dry-run")
    assert (dry.code, file.exists()) == (0, True)
    assert "1 file, " in dry.out
    nobody = kk(*rule)
    assert (nobody.code, file.exists()) == (2, True)
    assert "--yes" in nobody.err
    asked = answer_at_terminal(False)
    assert (kk(*rule).code, file.exists(), asked) == (0, True, ["Remove them?"])
    answer_at_terminal(True)
    outcome = kk(*rule)
    assert "removed" in outcome.out
    assert not file.exists()
    (after,) = records(tiny)
    assert after["public_score"] == record["public_score"]
    assert kk("submissions", "rebuild").code == 0
    assert kk(*rule, "--yes", "--json").json["removed"] == record["file"]["size"]


def test_what_is_offered_to_prune_is_what_can_go():
    assert PRUNABLE == WHAT


def test_a_file_is_told_from_a_run_by_the_same_endings_as_below():
    assert FILE_SUFFIXES == draft.FILE_SUFFIXES


def test_confirm_sends_nothing_without_a_yes(faulty, tiny, kk, answer_at_terminal):  # noqa: F811
    refused = kk("submit", "-m", "x", "--confirm")
    assert refused.code == 2
    assert "no terminal to ask on" in refused.err
    assert records(tiny) == []
    (asked,) = [answer_at_terminal(False)]
    assert kk("submit", "-m", "x", "--confirm").code == 0
    assert len(asked) == 1
    assert faulty.book.submissions() == []
    answer_at_terminal(True)
    assert kk("submit", "-m", "x", "--confirm").code == 0
    assert len(faulty.book.submissions()) == len(records(tiny)) == 1


@pytest.fixture
def notebooks(template, tiny, tmp_path, monkeypatch, kk):  # noqa: F811
    """A code competition with one notebook, whose third version wrote a submission."""
    assert kk("predict", "-o", "output/submission.csv", "-q").code == 0
    hosted = template.hosted(code_only=True, notebooks={"ann/my-notebook/3": tiny / "output"})
    with FaultyServer(hosted, folder=tmp_path / "server", token=SECRET) as server:
        for name, value in server.environ().items():
            monkeypatch.setenv(name, value)
        yield server


def test_output_of_a_notebook_is_submitted_once_and_scored(notebooks, tiny, kk):  # noqa: F811
    plain = kk("submit", "-m", "x")
    assert plain.code == 4
    assert "--kernel OWNER/SLUG" in plain.err
    kernel = ("submit", "-m", "code", "--kernel", "ann/my-notebook", "--kernel-version")
    outcome = kk(*kernel, "3", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["public_score"] is not None
    assert outcome.json["kernel"] == {"kernel": "ann/my-notebook", "version": 3, "file": "submission.csv"}
    assert "submission.csv of ann/my-notebook, version 3" in kk("submissions", "show").out
    assert kk(*kernel, "3").code == 5
    assert kk(*kernel, "4").code == 8
    assert kk(*kernel, "3", "--file", "other.csv").code == 8
    assert kk("submit", "--kernel", "ann/my-notebook").code == 2
    assert kk(*kernel[:4], "not-a-name", "--kernel-version", "3").code == 2
    assert len(notebooks.book.submissions()) == 1


def test_lost_answer_about_a_notebook_is_found_again(notebooks, tiny, kk):  # noqa: F811
    from faults import lose_answer

    notebooks.fault("CreateCodeSubmission", lose_answer)
    assert kk("submit", "-m", "code", "--kernel", "ann/my-notebook", "--kernel-version", "3").code == 0
    assert len(notebooks.book.submissions()) == 1


def test_any_competition_is_validated_against_its_sample(clean_world, kk):
    Path("sample.csv").write_text("PassengerId,Survived\n892,0\n893,1\n894,0\n")
    Path("mine.csv").write_text("PassengerId,Survived\n892,1\n893,0\n894,1\n")
    good = kk("validate", "mine.csv", "--against", "sample.csv", "--json")
    assert (good.code, good.json["valid"], good.json["rows"]) == (0, True, 3)
    Path("mine.csv").write_text("PassengerId,Survived\n892,1\n894,0\n895,yes\n")
    bad = kk("validate", "mine.csv", "--against", "sample.csv")
    assert bad.code == 3
    assert "895" in bad.out
    assert kk("validate", "mine.csv", "--against", "nowhere.csv").code == 8


def test_final_proposes_two_says_why_and_records_the_choice(faulty, tiny, kk):  # noqa: F811
    assert kk("final").code == 8
    for name in ("ridge", "procrustes", "whitened_ridge"):
        assert kk("train", "--translator", name, "-q").code == 0
        assert kk("submit", "-m", name, "-q").code == 0
    dry = kk("final", "--dry-run", "--json").json
    assert dry["recorded"] is False
    assert all(record["final"] is None for record in records(tiny))
    outcome = kk("final")
    assert outcome.code == 0, outcome.err
    assert "https://www.kaggle.com/competitions/tiny/submissions" in outcome.out
    assert "mean cosine" in outcome.out
    chosen = {one["id"] for one in dry["chosen"]}
    assert len(chosen) == 2
    assert {record.id for record in records(tiny) if record["final"]} == chosen
    assert dry["candidates"][0]["id"] == dry["chosen"][0]["id"]
    other = [record for record in records(tiny) if record.id not in chosen]
    mine = kk("final", str(other[0]["ref"]), "--json").json
    assert mine["chosen"][0]["id"] == other[0].id
    assert {record.id for record in records(tiny) if record["final"]} == {one["id"] for one in mine["chosen"]}
    assert kk("final", other[0].id, other[0].id).code == 2
    assert json.loads(kk("submissions", "show", other[0].id, "--json").out)["final"]["proposed"] is False
