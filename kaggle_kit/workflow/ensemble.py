"""File several runs as one ensemble, with weights that are equal, given or chosen out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from kaggle_kit.archive import Record, RunStore, provenance
from kaggle_kit.config import Project, Settings
from kaggle_kit.embeddings import Folds, Pairs
from kaggle_kit.errors import DataError, DuplicateError, UsageError
from kaggle_kit.files import hash_of
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.data import training_pairs
from kaggle_kit.workflow.predict import finished_run, share_of
from kaggle_kit.workflow.train import Run


def ensemble(
    project: Project,
    runs: Sequence[str] = (),
    *,
    weights: str | Sequence[float] = "equal",
    from_archive: int | None = None,
    explain: bool = False,
    name: str | None = None,
    progress: Progress = SILENCE,
) -> Run:
    """Average finished runs: unit vectors, weighted; the result can be submitted like a run.

    Args:
        runs: ids, or unique beginnings, of at least two runs.
        from_archive: take the best so many runs of the archive that fit together, instead of ``runs``.
        explain: record what each run scores alone, and what the ensemble would lose without it.
        weights: ``equal``; ``optimised``, chosen on out-of-fold predictions and checked on held-out images; or one number a run.
        name: part of the ensemble's id.

    Raises:
        UsageError: fewer than two runs, or weights that do not fit them.
        DuplicateError: one run twice, or two runs with the same predictions.
        DataError: the runs were trained on different data.
    """
    if from_archive is not None and runs:
        raise UsageError("runs were named, and the archive was asked for", "name runs, or give --from-archive")
    records = [finished_run(project, run) for run in runs] if from_archive is None else _best(project, from_archive)
    _check_members(records)
    weights = _checked_weights(weights, len(records))
    pairs, _ = training_pairs(project, progress=progress)
    parts = [_out_of_fold(project, record, pairs) for record in records]
    chosen, extra, told = _weigh(project, records, parts, pairs, weights, explain=explain)
    return _file(project, records, chosen, extra, told, parts, pairs, name or "ensemble", progress)


def _best(project: Project, most: int) -> list[Record]:
    """The finished runs of the archive with the best CV that share data, competition and folds with the very best.

    Runs whose folds leak look better than they are, and runs on a share of the data are measurements: both are left out.
    """
    competition = project.settings.competition
    finished = RunStore(project.models_dir).list(
        where=lambda one: (
            one["kind"] == "run"
            and one.state == "done"
            and one.belongs_to(competition)
            and not one["leaks"]
            and share_of(one) == 1
        )
    )
    ranked = sorted(finished, key=lambda one: one.standing(competition.gallery_size), reverse=True)
    fitting = [
        one for one in ranked if one["folds"]["digest"] == ranked[0]["folds"]["digest"] and _same_data(one, ranked[0])
    ]
    return _without_repeats(fitting)[:most]


def _same_data(one: Record, other: Record) -> bool:
    return all(one["data"][name] == other["data"][name] for name in ("train_sha256", "captions"))


def _without_repeats(records: Sequence[Record]) -> list[Record]:
    """One run of each configuration: the same settings trained again make the same predictions."""
    return list({one["config_digest"]: one for one in reversed(records)}.values())[::-1]


def _check_members(records: Sequence[Record]) -> None:
    if len(records) < 2:
        raise UsageError("an ensemble needs at least two runs", "kk runs list shows what there is")
    ids = [record.id for record in records]
    for record in records:
        if record.get("kind") == "ensemble":
            raise UsageError(f"{record.id} is an ensemble itself", "name the runs that it is made of")
        if ids.count(record.id) > 1:
            raise DuplicateError(
                f"run {record.id} is named twice", "name each run once; --weights makes one count more"
            )
    first = records[0]
    for record in records[1:]:
        if record["data"]["train_sha256"] != first["data"]["train_sha256"]:
            raise DataError(
                f"runs {first.id} and {record.id} were trained on different data",
                "ensemble runs of one competition and one training file",
            )


def _out_of_fold(project: Project, record: Record, pairs: Pairs) -> Any:
    from kaggle_kit.training.crossvalidation import out_of_fold

    folds = Folds.load(record.folder)
    if record["data"]["captions"] != len(pairs) or record["data"]["train_sha256"] != pairs.file.sha256:
        raise DataError(
            f"run {record.id} was trained on {record['data']['captions']:,} captions of another selection or file, "
            f"here are {len(pairs):,}",
            "use the same [data] settings for all members",
        )
    found = out_of_fold(record.folder, pairs, folds, Settings.from_dict(record["config"]))
    # many members are held at once, and they were saved in half precision anyway
    return replace(found, predictions=found.predictions.half())


def _weigh(
    project: Project,
    records: Sequence[Record],
    parts: Sequence[Any],
    pairs: Pairs,
    weights: str | Sequence[float],
    *,
    explain: bool,
) -> tuple[list[float], dict[str, Any], list[dict[str, float]]]:
    """The weights, what the choice of them is worth on images that did not choose them, and what each run adds."""
    from kaggle_kit.ensemble import contributions, refuse_crossed_folds, refuse_twins
    from kaggle_kit.training.crossvalidation import gallery_score

    gallery_size = project.settings.competition.gallery_size
    refuse_twins([record.id for record in records], parts)
    refuse_crossed_folds(parts, pairs.image_of_caption, gallery_size=gallery_size)
    chosen = _simple_weights(weights, len(records))
    extra: dict[str, Any] = {}
    if chosen is None:
        chosen, extra = _optimised(project, parts, pairs)
    if not explain:
        return chosen, extra, []
    # in the galleries of every CV, so that what a run scores alone is its CV, if it was validated by the settings of now
    return chosen, extra, contributions(parts, chosen, lambda oof: gallery_score(oof, pairs, project.settings).mrr)


def _optimised(project: Project, parts: Sequence[Any], pairs: Pairs) -> tuple[list[float], dict[str, Any]]:
    """Weights that are chosen out of fold, and what the choice is worth."""
    import torch

    from kaggle_kit.ensemble import choose_weights, gallery_scores

    scores = gallery_scores(
        parts,
        torch.from_numpy(pairs.images.copy()),
        pairs.image_of_caption,
        gallery_size=project.settings.competition.gallery_size,
        seed=project.settings.validation.seed,
    )
    choice = choose_weights(scores)
    told = {key: value for key, value in asdict(choice).items() if key != "weights"}
    return list(choice.weights), {**told, "worth_it": choice.worth_it}


def _simple_weights(weights: str | Sequence[float], count: int) -> list[float] | None:
    """Equal or given weights, summing to 1; None when they are to be chosen."""
    if weights == "equal":
        return [1.0 / count] * count
    return None if isinstance(weights, str) else [weight / sum(weights) for weight in weights]


def _checked_weights(weights: str | Sequence[float], count: int) -> str | Sequence[float]:
    if isinstance(weights, str):
        if weights not in ("equal", "optimised"):
            raise UsageError(f"weights must be equal, optimised or numbers, not {weights!r}")
    elif len(weights) != count:
        raise UsageError(f"{len(weights)} weights for {count} runs", "give one weight for each run, in the same order")
    elif any(not weight >= 0 for weight in weights) or not 0 < sum(weights) < float("inf"):
        raise UsageError(f"weights must be 0 or more and not all 0, not {list(weights)}")
    return weights


def _file(
    project: Project,
    records: Sequence[Record],
    weights: Sequence[float],
    extra: dict[str, Any],
    told: Sequence[dict[str, float]],
    parts: Sequence[Any],
    pairs: Pairs,
    name: str,
    progress: Progress,
) -> Run:
    from kaggle_kit.ensemble import combine_out_of_fold
    from kaggle_kit.training.crossvalidation import score_out_of_fold

    used = [(record, weight, part) for record, weight, part in zip(records, weights, parts, strict=True) if weight > 0]
    explained = dict(zip([record.id for record in records], told, strict=False))
    together = combine_out_of_fold([part for _, _, part in used], [weight for _, weight, _ in used])
    cv = _honest(score_out_of_fold(together, pairs, project.settings).to_dict(), extra)
    first = records[0]
    record = {
        "kind": "ensemble",
        "name": name,
        "competition": first["competition"],
        "rehearsal": first["rehearsal"],
        "state": "done",
        "translator": " + ".join(dict.fromkeys(member["translator"] for member, _, _ in used)),
        "loss": "",
        "members": [
            {"run": member.id, "weight": weight, "cv": member.cv, **explained.get(member.id, {})}
            for member, weight, _ in used
        ],
        "left_out": [
            {"run": member.id, "cv": member.cv, **explained.get(member.id, {})}
            for member, weight in zip(records, weights, strict=True)
            if not weight
        ],
        "selection": extra,
        "data": first["data"],
        "folds": first["folds"],
        "leaks": next((member["leaks"] for member, _, _ in used if member["leaks"]), None),
        "seeds": first["seeds"],
        "refit": first["refit"],
        "cv": cv,
        "train_seconds": sum(member.get("train_seconds") or 0.0 for member, _, _ in used),
        "provenance": provenance(project.root),
    }
    store = RunStore(project.models_dir)
    made = store.create(store.reserve(name, hash_of(record["members"])), record)
    _tell_of_better_runs(records, cv, extra, progress)
    progress.note(f"ensemble {made.id}: out-of-fold MRR {cv['mrr']:.4f} ± {cv['error']:.4f}")
    return Run.of(made)


def _honest(cv: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The score of weights that were chosen on these very images, less what the choice gains on images that did not choose them."""
    if not extra or extra["overfitted"]:  # then the weights are equal ones
        return cv
    gained = max(0.0, extra["chosen_mrr"] - extra["held_out_mrr"])
    return {**cv, "mrr_in_sample": cv["mrr"], "mrr": cv["mrr"] - gained}


def _tell_of_better_runs(
    records: Sequence[Record], cv: Mapping[str, Any], extra: Mapping[str, Any], progress: Progress
) -> None:
    if extra and not extra["worth_it"]:
        progress.note(
            "warning: on images that chose neither, the ensemble is no better than its best run alone "
            f"({max(extra['held_out_mrr'], extra['equal_mrr']):.4f}, {extra['best_alone_mrr']:.4f})"
        )
    best = max(records, key=lambda one: one.standing(cv["gallery_size"]))
    if not extra and best.comparable(cv["gallery_size"]) and (best.cv or 0.0) > cv["mrr"]:
        progress.note(
            f"warning: {best.id} alone is better, {best.cv:.4f}: --weights optimised chooses how much each run counts, "
            "--explain shows what each adds"
        )
