"""What fewer digits in the file cost, measured where the right answers are known: on the out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kaggle_kit.archive import RunStore
from kaggle_kit.config import Project, Settings
from kaggle_kit.embeddings import Folds, Pairs
from kaggle_kit.errors import KaggleKitError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.submission import round_digits
from kaggle_kit.workflow.data import training_pairs


def measure_digits(
    project: Project, members: Sequence[Mapping[str, Any]], digits: int | None, *, progress: Progress = SILENCE
) -> dict[str, Any] | None:
    """The loss in ranks when vectors are written with ``digits`` significant digits.

    Args:
        members: the runs averaged, with weights.
        digits: None, and nothing is lost or measured.

    Returns:
        ``digits``; ``mrr`` and ``mrr_rounded`` out of fold in galleries; ``ranked`` captions, of which ``changed`` have another rank,
        ``worst`` places at most. None when the predictions or the training data are not here: sending must not fail for that.
    """
    if digits is None:
        return None
    try:
        loss = _measured(project, members, digits)
    except KaggleKitError as error:
        progress.note(f"what {digits} digits cost cannot be measured here: {error.message.splitlines()[0]}")
        return None
    progress.note(told(loss))
    return loss


def told(loss: Mapping[str, Any]) -> str:
    """A measured loss in a sentence."""
    return (
        f"{loss['digits']} digits: out-of-fold MRR {loss['mrr_rounded']:.5f} instead of {loss['mrr']:.5f} "
        f"({loss['mrr_rounded'] - loss['mrr']:+.5f}); {loss['changed']:,} of {loss['ranked']:,} ranks change, "
        f"by {loss['worst']:,} at most"
    )


def _measured(project: Project, members: Sequence[Mapping[str, Any]], digits: int) -> dict[str, Any]:
    import torch

    from kaggle_kit.metrics import deal_galleries, gallery_similarities, ranks_from_scores, unit

    together, pairs = _out_of_fold(project, members)
    captions = together.covered.nonzero()[0]
    exact = together.predictions[torch.from_numpy(captions)]
    rounded = torch.from_numpy(round_digits(exact.numpy(), digits))
    images, of_caption = unit(torch.from_numpy(pairs.images.copy())), pairs.image_of_caption[captions]
    validation, size = project.settings.validation, project.settings.competition.gallery_size
    before, after = [], []
    for picks, shown in deal_galleries(
        of_caption, gallery_size=size, draws=validation.draws, seed=validation.seed, groups=together.fold_of_image
    ):
        before.append(ranks_from_scores(*gallery_similarities(exact, images, picks, shown)).flatten())
        after.append(ranks_from_scores(*gallery_similarities(rounded, images, picks, shown)).flatten())
    old, new = torch.cat(before).double(), torch.cat(after).double()
    return {
        "digits": digits,
        "mrr": float((1 / old).mean()),
        "mrr_rounded": float((1 / new).mean()),
        "ranked": len(old),
        "changed": int((old != new).sum()),
        "worst": int((old - new).abs().max()),
    }


def _out_of_fold(project: Project, members: Sequence[Mapping[str, Any]]) -> tuple[Any, Pairs]:
    """What the members predict together for captions whose image they never saw, and the training pairs."""
    from kaggle_kit.ensemble import combine_out_of_fold
    from kaggle_kit.training.crossvalidation import out_of_fold

    records = [RunStore(project.models_dir).load(member["run"]) for member in members]
    settings = [Settings.from_dict(record["config"]) for record in records]
    first = replace(project, settings=replace(settings[0], paths=project.settings.paths))
    pairs, _ = training_pairs(first)
    parts = [
        out_of_fold(record.folder, pairs, Folds.load(record.folder), own)
        for record, own in zip(records, settings, strict=True)
    ]
    return combine_out_of_fold(parts, [member["weight"] for member in members]), pairs
