"""The parts of a report: records, tables and verification as facts and sortable tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kaggle_kit.analysis import page as pages
from kaggle_kit.analysis.page import (
    Cell,
    Picture,
    Section,
    Strip,
    Table,
    Thumbnails,
    fact_list,
    number_cell,
    text_cell,
)
from kaggle_kit.archive import SORTS, HistoryTable, Link, Record
from kaggle_kit.config import Settings
from kaggle_kit.version import commit_text

NEWEST, BEST = 150, 50
"""Rows of a history on a page: so many of the newest, and of the best."""
HISTORY = (
    ("created", "When (UTC)"), ("message", "Message"), ("translator", "Translator"), ("folds", "#Folds"), ("cv", "#CV"),
    ("gallery_size", "#Gallery"), ("public_score", "#Public"), ("private_score", "#Private"), ("difference", "#Difference"),
    ("rank", "#Rank"), ("status", "Status"), ("id", "Submission"),
)  # fmt: skip
RUNS = (
    ("created", "When (UTC)"), ("id", "Run"), ("translator", "Translator"), ("loss", "Loss"), ("folds", "#Folds"),
    ("seeds", "#Seeds"), ("cv", "#CV"), ("gallery_size", "#Gallery"), ("train_seconds", "#Seconds"),
    ("public_score", "#Public"), ("status", "Status"),
)  # fmt: skip
_WHOLE = ("folds", "seeds", "gallery_size", "rank", "train_seconds")

Facts = tuple[tuple[str, str], ...]


def kind_of(record: Record) -> str:
    """``run`` or ``ensemble``."""
    return "ensemble" if record["kind"] == "ensemble" else "run"


# --- the history


def competition_facts(submissions: HistoryTable, runs: HistoryTable, top: Mapping[str, Any] | None) -> Facts:
    """How many of everything, and the best."""
    best = submissions.best
    return fact_list(
        {
            "submissions": f"{len(submissions):,}",
            "scored": f"{sum(row['public_score'] is not None for row in submissions.rows):,}",
            "best public score": f"{best['public_score']:.5f}, {best['message'] or best['id']}" if best else None,
            "runs": f"{len(runs):,}",
            "best CV": f"{top['cv']:.4f}, {top['id']}" if top else None,
        }
    )


def history_tables(title: str, table: HistoryTable, columns: Sequence[tuple[str, str]], by: str) -> tuple[Table, ...]:
    """The newest rows and the best ones by the order ``by``, the very best standing out; nothing for an empty history."""
    if not table.rows:
        return ()
    figure = SORTS[by][0][-1]
    best = [row for row in table.sorted(by).rows if row.get(figure) is not None][:BEST]
    newest = sorted(table.rows, key=lambda row: str(row["created"]), reverse=True)[:NEWEST]
    kept = {id(row): row for row in (*best, *newest)}.values()
    rows = sorted(kept, key=lambda row: str(row["created"]), reverse=True)
    strong = frozenset(place for place, row in enumerate(rows) if best and row is best[0])
    galleries = {row["gallery_size"] for row in rows if row["gallery_size"]}
    used = [
        (key, name)
        for key, name in columns
        if any(row.get(key) not in (None, "") for row in rows) and (key != "gallery_size" or len(galleries) > 1)
    ]
    left = len(table.rows) - len(rows)
    note = f"The {NEWEST} newest and the {BEST} best are shown; {left:,} others are left out." if left else ""
    cells = [[_history_cell(row, key) for key, _ in used] for row in rows]
    return (pages.table(title, [name for _, name in used], cells, strong=strong, note=note),)


def _history_cell(row: Mapping[str, Any], key: str) -> Cell:
    value = row.get(key)
    if key == "created":
        return Cell(str(value)[:16].replace("T", " "), str(value), whole=True)
    if key == "cv":
        return number_cell(value, error=row.get("cv_error"))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text_cell(value, mono=key == "id")
    return number_cell(value, 0 if key in _WHOLE else 5, sign=key == "difference")


def candidate_tables(found: Any) -> tuple[Table, ...]:
    """What is expected of the runs that were not submitted."""
    rows = [
        (
            text_cell(row["id"], mono=True),
            text_cell(row["translator"]),
            number_cell(row["cv"], error=row["cv_error"]),
            number_cell(row["expected"], error=row["error"]),
            text_cell(row["verdict"]),
        )
        for row in found.candidates.rows[:BEST]
    ]
    columns = ("Run", "Translator", "#CV", "#Expected", "Verdict")
    return (pages.table("Runs that were not submitted", columns, rows),) if rows else ()


# --- a run


def run_facts(record: Record, calibration: Any) -> Facts:
    """What a run is and scored."""
    cv, data = record.get("cv") or {}, record.get("data") or {}
    expected = calibration.expect(cv["mrr"], cv.get("error")) if cv.get("mrr") is not None else None
    score = number_cell(cv.get("mrr"), error=cv.get("error")).text
    return fact_list(
        {
            "state": f"{record.state}: {record['failure']}" if record.get("failure") else record.state,
            "CV": score and f"{score} MRR in galleries of {cv.get('gallery_size')}",
            "on the leaderboard": expected.verdict if expected else None,
            "translator": record.get("translator"),
            "loss": record.get("loss"),
            "folds": (record.get("folds") or {}).get("count"),
            "seeds": record.get("seeds"),
            "data": f"{data['captions']:,} captions of {data.get('images', 0):,} images"
            if data.get("captions")
            else None,
            "training": f"{record['train_seconds']:,.0f} s" if record.get("train_seconds") else None,
            "made": record.created,
        }
    )


def run_tables(record: Record) -> tuple[Table, ...]:
    """The scores of folds, and the members of an ensemble."""
    folds = [
        (
            number_cell(one["fold"] + 1, 0),
            number_cell(one["seed"] + 1, 0),
            number_cell(one["mrr"]),
            number_cell(one["error"]),
        )
        for one in record.get("fold_scores") or []
    ]
    members = [
        (
            text_cell(one["run"], mono=True),
            number_cell(one["weight"]),
            number_cell(one.get("cv")),
            number_cell(one.get("adds"), sign=True),
        )
        for one in record.get("members") or []
    ]
    tables = [pages.table("Folds", ("#Fold", "#Seed", "#MRR", "#Error"), folds)] if folds else []
    tables += [pages.table("Members", ("Run", "#Weight", "#CV", "#Adds"), members)] if members else []
    return tuple(tables)


def configuration(record: Record) -> Section:
    """Every setting of a run, those that are not the default standing out."""
    if not record.get("config"):
        return Section("configuration", "Configuration", ("An ensemble has the settings of its members.",))
    usual = dict(_flat(Settings().to_dict()))
    pairs = list(_flat(record["config"]))
    rows = [
        (text_cell(key, mono=True), text_cell(_setting(value)), text_cell(_setting(usual.get(key))))
        for key, value in pairs
    ]
    strong = frozenset(place for place, (key, value) in enumerate(pairs) if key in usual and usual[key] != value)
    table = pages.table("Settings", ("Setting", "Value", "Default"), rows, strong=strong)
    return Section("configuration", "Configuration", ("What is not the default stands out.",), tables=(table,))


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _setting(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def provenance(record: Record, links: Sequence[Link]) -> Section:
    """Commit, versions, command line, and the chain of hashes as it is on disk now."""
    origin, machine = record.get("provenance") or {}, record.get("hardware") or {}
    facts = {
        "commit": commit_text(origin.get("git"), digits=None),
        "command": " ".join(origin.get("argv") or []),
        "versions": ", ".join(f"{name} {number}" for name, number in (origin.get("versions") or {}).items() if number),
        "hardware": ", ".join(str(machine[key]) for key in ("name", "device", "precision") if machine.get(key)),
        "settings": record.get("config_digest"),
    }
    rows = [
        (
            text_cell(one.step),
            text_cell(one.name),
            text_cell(one.detail),
            text_cell((one.expected or "")[:16], mono=True),
            text_cell(one.status),
        )
        for one in links
    ]
    strong = frozenset(place for place, one in enumerate(links) if one.status == "changed")
    columns = ("Step", "Name", "Detail", "SHA-256", "On disk")
    table = pages.table("Chain of hashes, held against the disk", columns, rows, strong=strong)
    return Section("provenance", "Where it came from", (), fact_list(facts), (table,))


# --- a submission


def submission(record: Record) -> Section:
    """What was sent and what became of it."""
    public, cv = record["public_score"], record["cv"]
    facts = {
        "state": record.state,
        "message": record["message"],
        "public score": number_cell(public, 5).text,
        "private score": number_cell(record["private_score"], 5).text,
        "CV": number_cell(cv, error=record["cv_error"]).text,
        "difference": number_cell(public - cv, 5, sign=True).text if None not in (public, cv) else None,
        "translator": record["translator"],
        "reference": record["ref"],
        "file": record["file"].get("name"),
        "sent as": record["description"],
        "Kaggle says": record["error_description"],
        "made": record.created,
    }
    steps = [
        (text_cell(one.get("at")), text_cell(one.get("state")), text_cell(one.get("note"))) for one in record["history"]
    ]
    table = pages.table("What happened", ("At (UTC)", "State", "Note"), steps)
    return Section("submission", "The submission", (), fact_list(facts), (table,))


# --- the verification


def verification_facts(found: Any) -> Facts:
    """The verification in a few lines."""
    hubs, confusion = found.hubs, found.confusion
    return fact_list(
        {
            "expected MRR": f"{number_cell(found.mrr, error=found.error).text} in galleries of {found.gallery_size}",
            "captions": f"{found.captions:,} held out, of {found.images:,} images",
            "hubs": f"skewness {hubs.skewness:.2f} of the {hubs.neighbours}-occurrences; "
            f"{hubs.never:,} images are never retrieved",
            "look-alikes": f"{confusion.lookalikes:,} of {confusion.errors:,} errors ({confusion.share:.1%}) have a winner with "
            f"a cosine of {confusion.threshold:g} or more to the right image; {confusion.near_copies:,} are near copies",
            "photos": "as thumbnails" if found.photos else "not here; their names are shown",
        }
    )


def verification_tables(found: Any) -> Iterator[Table]:
    """Distances, slices and hubs."""
    names = ("Distance", "#True image", "#Random other image", "#Better, %", "#Each caption, %", "#Nearer to true, %")
    rows = [
        (
            text_cell(one.name),
            number_cell(one.true, error=one.true_std),
            number_cell(one.random, error=one.random_std),
            number_cell(one.improvement, 1, sign=True),
            number_cell(one.each, 1, error=one.each_std),
            number_cell(100 * one.nearer, 1),
        )
        for one in found.distances
    ]
    yield pages.table("Distances of unit vectors, mean ± standard deviation", names, rows)
    for title, slices in (
        ("By length of the caption", found.by_length),
        ("By number of the caption", found.by_number),
        ("By domain, the most distant from the rest first", found.by_domain),
        ("By fold", found.by_fold),
    ):
        yield _slice_table(title, slices)
    images = [
        (
            text_cell(hub.image, mono=True),
            number_cell(hub.times, 0),
            number_cell(hub.times / found.hubs.mean, 1),
            Cell(f"{hub.own} of {hub.captions}", hub.own),
        )
        for hub in found.hubs.top
    ]
    title = f"Hubs: images among the {found.hubs.neighbours} nearest of many captions"
    yield pages.table(title, ("Image", "#Times", "#Times the mean", "#Own captions"), images)


def _slice_table(title: str, slices: Sequence[Any]) -> Table:
    rows = [
        (
            text_cell(one.name),
            number_cell(one.captions, 0),
            number_cell(one.images, 0),
            number_cell(one.mrr, error=one.error),
            number_cell(one.difference, sign=True),
            number_cell(one.median_rank, 1),
        )
        for one in slices
    ]
    return pages.table(title, ("Part", "#Captions", "#Images", "#MRR", "#Difference", "#Median rank"), rows)


def strip(found: Any, thumbnails: Thumbnails) -> Strip:
    """A case with its pictures, the right one framed."""
    margin = f", margin {found.margin:+.4f}" if found.margin is not None else ""
    pictures = tuple(
        Picture(
            place.image,
            f"{place.rank:,}. {place.cosine:.3f}" + (" ✓" if place.right else ""),
            place.right,
            thumbnails[place.image],
        )
        for place in found.retrieved
    )
    return Strip(found.caption, f"row {found.row}, rank {found.rank:,} of {found.gallery:,}{margin}", pictures)
