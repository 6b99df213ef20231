"""The two final submissions: proposed from CV, public score and how much they differ, and the choice recorded.

Each submission's private score is estimated from its public score and its CV, the CV moved by what public scores lie above CV on
average. The first choice has the highest estimate. The second is the one that adds most to the expected better of the two: nearly as
good, and not wrong in the same places, told by the mean cosine between the vectors of both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.archive.ids import timestamp, utc_now
from kaggle_kit.config import Project
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.progress import SILENCE, Progress

FINALS = 2
MOST_CANDIDATES = 30
"""Best estimates that are compared with the first choice; further down nothing adds to it."""
USUAL_SPREAD = 0.01
"""Standard deviation of public minus private score on 1,500 rows."""
USUAL_COUNTS = 5
"""As many submissions' worth as that is believed, beside what the archive itself shows."""


@dataclass(frozen=True)
class Candidate:
    """A scored submission as a final one.

    Attributes:
        estimate: of the private score.
        cosine: mean cosine between its vectors and the first choice's; None when one of them is not kept.
        expected: expected better score of the pair with the first choice; None for the first choice itself.
        why: what speaks for a chosen one; empty for others.
    """

    id: str
    ref: int | str
    message: str
    public_score: float
    cv: float | None
    estimate: float
    cosine: float | None = None
    expected: float | None = None
    why: str = ""


@dataclass(frozen=True)
class FinalChoice:
    """The two submissions to select, all candidates beside them, and where they are selected.

    Attributes:
        chosen: the choice, best estimate first.
        candidates: every scored submission, best estimate first.
        link: the competition's page of submissions, the only place where they can be selected; None for a rehearsal.
        proposed: chosen here, not by the user.
        recorded: the choice stands in the records.
        offset: how much public scores lie above CV on average; None when no submission has both.
    """

    chosen: list[Candidate]
    candidates: list[Candidate]
    link: str | None
    proposed: bool
    recorded: bool
    offset: float | None

    def to_dict(self) -> dict[str, Any]:
        """The choice as plain data."""
        return asdict(self)


def final(
    project: Project, picks: Sequence[str] = (), *, record: bool = True, progress: Progress = SILENCE
) -> FinalChoice:
    """Propose the two final submissions, or take those picked, and record the choice.

    Args:
        picks: ids, unique beginnings, or Kaggle's numbers of the submissions to choose; none: propose.
        record: write the choice into the records.

    Raises:
        MissingError: no scored submission, or none of that name.
        UsageError: more than two picks, or one twice.
    """
    store, competition = SubmissionStore(project.submissions_dir), project.settings.competition
    records = store.list(where=lambda one: one.belongs_to(competition) and _is_scored(one))
    if not records:
        raise MissingError(
            f"no submission to {competition.slug} has a score yet", "kk submit makes one, kk sync fetches scores"
        )
    cvs = {one.id: one.cv if one.comparable(competition.gallery_size) else None for one in records}
    offset, spread = _offset(records, cvs)
    candidates = sorted(
        (_candidate(one, cvs[one.id], offset) for one in records), key=lambda one: one.estimate, reverse=True
    )
    by_id = {one.id: one for one in records}
    first = _picked(store, picks[0], by_id) if picks else candidates[0].id
    candidates = _compared(store, by_id, candidates, first, spread)
    names = [first, *_second(store, picks, candidates, first, by_id)]
    chosen = [
        _explained(one, offset, spread, len(candidates)) for name in names for one in candidates if one.id == name
    ]
    if record:
        _record(store, records, chosen, proposed=not picks)
        progress.note(f"recorded as the final choice: {', '.join(names)}")
    link = None if competition.rehearsal else f"https://www.kaggle.com/competitions/{competition.slug}/submissions"
    return FinalChoice(chosen, candidates, link, not picks, record, offset)


def _is_scored(record: Record) -> bool:
    return record.state == "scored" and record["public_score"] is not None and record["ref"] is not None


def _offset(records: Sequence[Record], cvs: Mapping[str, float | None]) -> tuple[float | None, float]:
    """How much public scores lie above CV on average, and the standard deviation around that.

    Args:
        records: scored submissions.
        cvs: their CVs by id; None where there is none that can stand beside the others.
    """
    differences = np.array([one["public_score"] - cv for one in records if (cv := cvs[one.id]) is not None])
    if not len(differences):
        return None, USUAL_SPREAD
    squares = USUAL_COUNTS * USUAL_SPREAD**2 + float(((differences - differences.mean()) ** 2).sum())
    return float(differences.mean()), math.sqrt(squares / (USUAL_COUNTS + len(differences) - 1))


def _candidate(record: Record, cv: float | None, offset: float | None) -> Candidate:
    public = record["public_score"]
    estimate = public if cv is None or offset is None else (public + cv + offset) / 2
    return Candidate(record.id, record["ref"], record["message"] or "", public, cv, estimate)


def _compared(
    store: SubmissionStore, records: dict[str, Record], candidates: list[Candidate], first: str, spread: float
) -> list[Candidate]:
    """The candidates with their cosine to the first choice and what the pair of both is expected to reach."""
    best = next(one for one in candidates if one.id == first)
    own = _vectors(store, records[first])
    return [
        one
        if one.id == first or place >= MOST_CANDIDATES
        else _beside(one, best, own, _vectors(store, records[one.id]), spread)
        for place, one in enumerate(candidates)
    ]


def _beside(one: Candidate, best: Candidate, own: Any, other: Any, spread: float) -> Candidate:
    cosine = _mean_cosine(own, other)
    # without vectors nothing is known of the difference, and none is assumed
    return replace(
        one,
        cosine=cosine,
        expected=expected_better(best.estimate, one.estimate, spread, 1.0 if cosine is None else cosine),
    )


def _vectors(store: SubmissionStore, record: Record) -> np.ndarray | None:
    try:
        return store.vectors(record)[1]
    except (MissingError, DataError):
        return None


def _mean_cosine(one: np.ndarray | None, other: np.ndarray | None) -> float | None:
    """Mean over rows of the cosine between (n, d) and (n, d); None when they cannot be compared."""
    if one is None or other is None or one.shape != other.shape:
        return None
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(np.mean(np.einsum("nd,nd->n", one, other) / np.where(lengths > 0, lengths, 1.0)))


def expected_better(one: float, other: float, spread: float, correlation: float) -> float:
    """Expected maximum of two normal variables of means ``one`` and ``other``, both of standard deviation ``spread`` (Clark, 1961)."""
    distance = spread * math.sqrt(max(0.0, 2 * (1 - correlation)))
    if distance == 0:
        return max(one, other)
    z = (one - other) / distance
    below = 0.5 * (1 + math.erf(z / math.sqrt(2)))
    return one * below + other * (1 - below) + distance * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _picked(store: SubmissionStore, name: str, records: dict[str, Record]) -> str:
    by_number = [one.id for one in records.values() if str(one["ref"]) == name]
    found = by_number[0] if by_number else store.load(name).id
    if found not in records:
        raise UsageError(
            f"submission {found} has no score, or is of another competition", "kk leaderboard shows those that have"
        )
    return found


def _second(
    store: SubmissionStore, picks: Sequence[str], candidates: list[Candidate], first: str, records: dict[str, Record]
) -> list[str]:
    if len(picks) > FINALS:
        raise UsageError(f"{len(picks)} submissions named; {FINALS} can be final")
    if len(picks) == FINALS:
        second = _picked(store, picks[1], records)
        if second == first:
            raise UsageError(f"submission {first} is named twice")
        return [second]
    others = [one for one in candidates if one.id != first and one.expected is not None]
    return [max(others, key=lambda one: (one.expected, one.estimate)).id] if others else []


def _explained(one: Candidate, offset: float | None, spread: float, count: int) -> Candidate:
    basis = f"public {one.public_score:.5f}"
    if one.cv is not None and offset is not None:
        basis += f", CV {one.cv:.4f} (public scores lie {offset:+.4f} from CV on average)"
    if one.expected is None:
        return replace(one, why=f"estimate {one.estimate:.5f} from {basis}, first of {count}")
    alike = "its vectors are not kept: how much it differs is unknown"
    if one.cosine is not None:
        alike = f"mean cosine {one.cosine:.4f} to the first"
    pair = f"the better of both is expected at {one.expected:.5f} (spread {spread:.4f})"
    return replace(one, why=f"estimate {one.estimate:.5f} from {basis}; {alike}: {pair}")


def _record(store: SubmissionStore, records: Sequence[Record], chosen: Sequence[Candidate], *, proposed: bool) -> None:
    """Mark the chosen ones, and no others."""
    whys = {one.id: one.why for one in chosen}
    for record in records:
        if record.id in whys:
            mark = {"at": timestamp(utc_now()), "why": whys[record.id], "proposed": proposed}
            store.update(record.id, final=mark)
        elif record.get("final"):
            store.update(record.id, final=None)
