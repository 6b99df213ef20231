"""How results look, with what came from outside made harmless and what is missing left out."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kaggle_kit.render import views
from kaggle_kit.workflow.catalogue import CatalogueEntry, Option


def drawn(view: Any, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    for part in view:
        console.print(part)
    return console.file.getvalue()


@dataclass
class Run:
    id: str
    folder: Path
    record: dict[str, Any]


RECORD = {
    "state": "done",
    "translator": "mlp",
    "loss": "cosine",
    "folds": {"count": 5},
    "seeds": 2,
    "cv": {
        "mrr": 0.73214,
        "error": 0.00612,
        "images": 5400,
        "gallery_size": 100,
        "recall_at_1": 0.5,
        "median_rank": 2.0,
    },
    "fold_scores": [{"fold": 0, "seed": 0, "mrr": 0.7, "error": 0.01}],
    "train_seconds": 75.2,
    "data": {"captions": 27000, "images": 5400, "train_sha256": "abcdef0123456789"},
    "hardware": {"name": "2 cores", "device": "cpu", "precision": "fp32"},
    "provenance": {"git": {"commit": "0123456789abcdef", "dirty": True}},
}


def test_run_shows_its_score_and_where_it_came_from():
    text = drawn(views.run(Run("20261123-141503-mlp-1a2b3c", Path("models/x"), RECORD)))
    assert "Run 20261123-141503-mlp-1a2b3c" in text
    assert "0.7321 ± 0.0061 MRR in galleries of 100, out of fold, 5,400 images" in text
    assert "5 x 2 seeds" in text
    assert "R@1 0.5000, median rank 2.0" in text
    assert "27,000 captions of 5,400 images, sha256 abcdef012345" in text
    assert "0123456789ab, with local changes" in text
    assert "1 min 15 s of training" in text


def test_failed_run_says_why_and_has_no_score():
    text = drawn(views.run(Run("x", Path("x"), {"state": "failed", "failure": "loss is NaN\x1b[2J at step 3"})))
    assert "failed: loss is NaN\\x1b[2J at step 3" in text
    assert "cv" not in text


def test_ensemble_lists_its_members():
    members = [{"run": "a", "weight": 0.75, "cv": 0.5}, {"run": "b", "weight": 0.25, "cv": 0.4}]
    text = drawn(views.run(Run("e", Path("e"), {**RECORD, "kind": "ensemble", "members": members})))
    assert text.startswith("Ensemble e")
    assert "0.7500" in text


def test_runs_are_listed_and_an_unfinished_one_has_no_figures():
    text = drawn(views.runs([{"id": "r1", **RECORD}, {"id": "r2", "state": "interrupted", "translator": "ridge"}]))
    assert "0.7321" in text
    assert "interrupted" in text
    assert "ridge" in text


SUBMISSION = {
    "id": "20261123-150200-residual-1a2b3c",
    "competition": "aml-competition",
    "rehearsal": True,
    "state": "failed",
    "error_description": "Submission must have 1500 rows",
    "message": "five [red]folds[/red]",
    "cv": 0.5,
    "cv_error": 0.01,
    "public_score": 0.62,
    "members": [{"run": "r1", "weight": 0.5}, {"run": "r2", "weight": 0.5}],
    "file": {"name": "submission.csv", "size": 28_812_345, "sha256": "f" * 64},
    "vectors": {"rows": 1500, "dimension": 1536},
    "history": [{"state": "built", "at": "2026-11-23T15:02:00Z", "note": ""}],
    "ref": 123,
}


def test_submission_shows_score_reason_and_making():
    text = drawn(views.submission(SUBMISSION))
    assert "(rehearsal)" in text
    assert "failed: Submission must have 1500 rows" in text
    assert "0.62000" in text
    assert "+0.1200" in text
    assert "five [red]folds[/red]" in text
    assert "0.500 x r1, 0.500 x r2" in text
    assert "submission.csv, 28.8 MB, sha256 ffffffffffff" in text
    assert "1,500 x 1,536" in text
    assert "built" in text


def test_submissions_mark_rehearsals():
    assert "aml-competition (rehearsal)" in drawn(views.submissions([SUBMISSION]))


def test_catalogue_shows_options_as_they_are_set():
    entry = CatalogueEntry("loss", "infonce", "One-sided.", None, [Option("temperature", 0.07, "divides similarities")])
    text = drawn(views.catalogue([entry]))
    assert "loss.temperature = 0.07  divides similarities" in text
