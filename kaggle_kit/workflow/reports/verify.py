"""Verify a run on its out-of-fold predictions: what they are worth, for which captions, and where they go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kaggle_kit.analysis import verification as figures
from kaggle_kit.analysis.evidence import NOBODY, Evidence, Rankings, gather_evidence, random_others, rank_galleries
from kaggle_kit.analysis.photos import Photos
from kaggle_kit.archive import Record, RunStore
from kaggle_kit.config import Project, Settings
from kaggle_kit.embeddings import Folds, Pairs
from kaggle_kit.embeddings.locate import find_folder
from kaggle_kit.embeddings.lookalikes import normalise_caption
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import DataSettings, VerifySettings
from kaggle_kit.workflow.data import training_pairs
from kaggle_kit.workflow.predict import finished_run, members_of

if TYPE_CHECKING:
    from kaggle_kit.training.crossvalidation import OutOfFold

CANDIDATES = 5
"""Captions named when a text fits several."""


@dataclass(frozen=True)
class Verification:
    """The verification of a run or an ensemble.

    Attributes:
        run: its id.
        captions, images: held out, and judged here.
        gallery_size: of the competition; ``mrr`` of every slice is expected in galleries of that size.
        mrr, error: expected over all galleries that a fold's images can form, all captions counted; the run's CV is a draw from it.
        seed: of the random other images and of the clusters.
        photos: the folder of photos; None when they are not here.
    """

    run: str
    captions: int
    images: int
    gallery_size: int
    mrr: float
    error: float
    seed: int
    photos: str | None
    distances: tuple[figures.Distance, ...]
    by_length: tuple[figures.Slice, ...]
    by_number: tuple[figures.Slice, ...]
    by_domain: tuple[figures.Slice, ...]
    by_fold: tuple[figures.Slice, ...]
    hubs: figures.Hubs
    confusion: figures.Confusion
    gallery_sizes: tuple[figures.GallerySize, ...]
    best: tuple[figures.Case, ...]
    worst: tuple[figures.Case, ...]


@dataclass(frozen=True)
class VerifiedCaption:
    """One caption of a run: its case, and the distances to its true image and to a random other one."""

    run: str
    case: figures.Case
    distances: tuple[figures.Distance, ...]
    photos: str | None


@dataclass(frozen=True)
class Inspection:
    """A run opened for looking at: predictions, rankings and photos; what figures and verification are made from."""

    record: Record
    evidence: Evidence
    rankings: Rankings
    others: np.ndarray
    photos: Photos
    settings: VerifySettings
    gallery_size: int

    @cached_property
    def verification(self) -> Verification:
        """Every figure of the verification."""
        evidence, rankings, wanted, size = self.evidence, self.rankings, self.settings, self.gallery_size
        best, worst = figures.best_and_worst(evidence, rankings, wanted.cases)
        values = figures.expected_reciprocal_rank(rankings.rank, rankings.gallery, size)
        mean, error = figures.mean_by_image(values, evidence.image)
        return Verification(
            run=self.record.id,
            captions=len(evidence),
            images=len(evidence.names),
            gallery_size=min(size, int(rankings.gallery.min())),
            mrr=mean,
            error=error,
            seed=wanted.seed,
            photos=str(self.photos.folder) if self.photos.folder else None,
            distances=figures.distances(evidence, self.others),
            by_length=figures.by_length(evidence, rankings, gallery_size=size),
            by_number=figures.by_number(evidence, rankings, gallery_size=size),
            by_domain=figures.by_domain(
                evidence, rankings, gallery_size=size, domains=wanted.domains, seed=wanted.seed
            ),
            by_fold=figures.by_fold(evidence, rankings, gallery_size=size),
            hubs=figures.hubs(evidence, rankings, most=wanted.cases),
            confusion=figures.confusion(evidence, rankings, self.others, threshold=wanted.lookalike, most=wanted.cases),
            gallery_sizes=figures.gallery_sizes(evidence, rankings),
            best=best,
            worst=worst,
        )

    def position(self, caption: str) -> int:
        """Which of the held-out captions is meant.

        Args:
            caption: a row of the training data counted from 0, a caption's text, or a part of it that no other caption has.

        Raises:
            MissingError: none is, or it was never held out.
            UsageError: several are.
        """
        if caption.strip().isdecimal():
            found = np.flatnonzero(self.evidence.rows == int(caption))
            if not len(found):
                raise MissingError(
                    f"caption {int(caption)} is not among the {len(self.evidence):,} that run {self.record.id} held out",
                    "rows of the training data are counted from 0; a single hold-out has a share of them only",
                )
            return int(found[0])
        return self._position_of_text(normalise_caption(caption))

    def _position_of_text(self, wanted: str) -> int:
        texts = [normalise_caption(text) for text in self.evidence.captions.tolist()]
        equal = [row for row, text in enumerate(texts) if text == wanted]
        found = equal or [row for row, text in enumerate(texts) if wanted and wanted in text]
        if not found:
            raise MissingError(
                f"no held-out caption of run {self.record.id} says {wanted!r}", "--caption ROW works, too"
            )
        if len({texts[row] for row in found}) > 1:
            shown = "\n  ".join(
                f"{self.evidence.rows[row]}: {self.evidence.captions[row]}" for row in found[:CANDIDATES]
            )
            more = f"\n  and {len(found) - CANDIDATES:,} more" if len(found) > CANDIDATES else ""
            raise UsageError(f"{len(found):,} captions say {wanted!r}:\n  {shown}{more}", "give the row of one of them")
        return found[0]


def verify(project: Project, run: str | None = None, *, progress: Progress = SILENCE) -> Verification:
    """Judge a run on captions whose images it never saw.

    Args:
        run: id of a run or ensemble, or the unique beginning of one; the newest finished run when None.

    Returns:
        Distances beside random images, scores by length, number, domain and fold of the captions, hubs, confusions of look-alikes,
        the effect of the gallery's size, best and worst cases.

    Raises:
        MissingError: no such run, it has not finished, or the data is nowhere.
        DataError: the data is no longer that of the run.
    """
    return inspect_run(project, run, progress=progress).verification


def verify_caption(
    project: Project, caption: str, run: str | None = None, *, progress: Progress = SILENCE
) -> VerifiedCaption:
    """What was retrieved for one caption.

    Args:
        caption: its row in the training data counted from 0, its text, or a part of it that no other caption has.
        run: as in :func:`verify`.

    Raises:
        MissingError: no such run or caption.
        UsageError: several captions have that text.
    """
    seen = inspect_run(project, run, progress=progress)
    row = seen.position(caption)
    others = np.full_like(seen.others, NOBODY)
    others[row] = seen.others[row]
    return VerifiedCaption(
        run=seen.record.id,
        case=figures.case(seen.evidence, seen.rankings, row, places=seen.settings.neighbours),
        distances=figures.distances(seen.evidence, others),
        photos=str(seen.photos.folder) if seen.photos.folder else None,
    )


def inspect_run(project: Project, run: str | None = None, *, progress: Progress = SILENCE) -> Inspection:
    """Open a finished run or ensemble for looking at; arguments and errors as in :func:`verify`."""
    record, wanted = finished_run(project, run), project.settings.verify
    members = members_of(record)
    records = [RunStore(project.models_dir).load(member["run"]) for member in members]
    own = Settings.from_dict(records[0]["config"])
    of_run = replace(own, paths=project.settings.paths, data=_with_cache_of(own, project))
    pairs, _ = training_pairs(replace(project, settings=of_run), progress=progress)
    evidence = gather_evidence(_out_of_fold(records, members, pairs), pairs)
    return Inspection(
        record=record,
        evidence=evidence,
        rankings=rank_galleries(evidence, neighbours=wanted.neighbours, progress=progress),
        others=random_others(evidence, wanted.seed),
        photos=find_photos(project),
        settings=wanted,
        gallery_size=own.competition.gallery_size,
    )


def _with_cache_of(own: Settings, project: Project) -> DataSettings:
    """The run's selection of captions, read through this project's cache."""
    here = project.settings.data
    return replace(own.data, cache_gb=here.cache_gb, cache_wait_s=here.cache_wait_s)


def _out_of_fold(records: Sequence[Record], members: Sequence[dict[str, object]], pairs: Pairs) -> OutOfFold:
    from kaggle_kit.ensemble import combine_out_of_fold
    from kaggle_kit.training.crossvalidation import out_of_fold

    for record in records:
        if record["data"]["train_sha256"] != pairs.file.sha256 or record["data"]["captions"] != len(pairs):
            raise DataError(
                f"run {record.id} was trained on other data than is here "
                f"(sha256 {str(record['data']['train_sha256'])[:12]}…, here {pairs.file.sha256[:12]}…)",
                "put the former file back, or train anew with kk train",
            )
    parts = [
        out_of_fold(record.folder, pairs, Folds.load(record.folder), Settings.from_dict(record["config"]))
        for record in records
    ]
    if len(parts) == 1:
        return parts[0]
    return combine_out_of_fold(parts, [float(member["weight"]) for member in members])  # type: ignore[arg-type]


def find_photos(project: Project) -> Photos:
    """The folder of training photos; without them every photo is missing, and figures draw its name instead."""
    competition = project.settings.competition
    if competition.files.images is None:
        return Photos(None)
    return Photos(find_folder(competition.files.images, slug=competition.slug, data_dir=project.data_dir))
