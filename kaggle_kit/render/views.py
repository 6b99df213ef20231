"""How each result looks in a terminal: one function a result, each a sequence of things to print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import clean, counted, duration, moment, number, signed, size
from kaggle_kit.version import commit_text

View = Iterator[RenderableType]


def line(*parts: str) -> Text:
    """One line of text, cleaned; empty parts are left out."""
    return Text(clean(" ".join(part for part in parts if part)))


def heading(text: str) -> Text:
    """A bold line."""
    return Text(clean(text), style="bold")


def pairs(items: Mapping[str, Any]) -> Grid:
    """Names and values in two columns; what has no value is left out."""
    rows = [{"name": name, "value": value} for name, value in items.items() if value not in (None, "")]
    return Grid((Column("name", ""), Column("value", "", least=20)), rows, wrap=True, heading=False)


def score(value: Any, error: Any = None, *, leaks: Any = None, comparable: bool | None = True) -> str:
    """``0.7321 ± 0.0060``; empty without a value; marked where the folds behind it leak, or it is of galleries of another size."""
    shown = number(value)
    shown = f"{shown} ± {number(error)}" if shown and number(error) else shown
    mark = LEAKS if leaks else OTHER_GALLERIES if comparable is False else ""
    return f"{shown}{mark}" if shown else ""


LEAKS = "!"
"""Behind a CV whose folds had look-alikes on both sides."""
OTHER_GALLERIES = "~"
"""Behind a CV that was measured in galleries of another size than the competition's."""


def marks_note(rows: Sequence[Mapping[str, Any]]) -> View:
    """What the marks behind CVs mean, where there are any."""
    if any(row.get("leaks") for row in rows):
        yield Text(
            f"{LEAKS} the folds leak: look-alikes on both sides of the splits make this CV too high", style="dim"
        )
    other = {row["gallery_size"] for row in rows if row.get("comparable") is False and not row.get("leaks")}
    if other:
        sizes = ", ".join(f"{size:,}" for size in sorted(other))
        yield Text(
            f"{OTHER_GALLERIES} in galleries of another size ({sizes}): does not rank with the others",
            style="dim",
        )


def leaks(found: Mapping[str, Any] | None) -> str:
    """The counts of a run's leaks in words."""
    words = {
        "shared_images": "shared images",
        "equal_images": "copies of images",
        "near_images": "near copies of images",
        "equal_captions": "equal captions",
    }
    return ", ".join(f"{found[kind]:,} {text}" for kind, text in words.items() if found.get(kind)) if found else ""


def run(result: Any) -> View:
    """A training run or an ensemble."""
    record = result.record
    cv = record.get("cv") or {}
    yield heading(f"{'Ensemble' if record.get('kind') == 'ensemble' else 'Run'} {result.id}")
    yield pairs(
        {
            "state": _state(record),
            "translator": record.get("translator"),
            "loss": record.get("loss"),
            "folds": _folds(record),
            "cv": score(cv.get("mrr"), cv.get("error"))
            and f"{score(cv.get('mrr'), cv.get('error'))} MRR in galleries of "
            f"{cv.get('gallery_size')}, out of fold, {counted(cv.get('images', 0), 'image')}",
            "leaks": leaks(record.get("leaks"))
            and f"{leaks(record['leaks'])} on both sides of the folds: the CV is too high",
            "beside it": _beside(cv),
            "time": duration(record["train_seconds"]) + " of training" if record.get("train_seconds") else None,
            "hardware": _hardware(record),
            "data": _data(record),
            "commit": commit_text((record.get("provenance") or {}).get("git")),
            "folder": str(result.folder),
        }
    )
    yield from _fold_scores(record)
    yield from _members(record)


def _state(record: Mapping[str, Any]) -> str:
    state, why = str(record.get("state", "")), record.get("failure") or record.get("error_description")
    return f"{state}: {why}" if why else state


def _folds(record: Mapping[str, Any]) -> str:
    folds, seeds = record.get("folds"), record.get("seeds")
    by = folds.get("by") if isinstance(folds, Mapping) else None
    folds = folds.get("count") if isinstance(folds, Mapping) else folds
    text = "single hold-out" if folds == 1 else str(folds or "")
    text += " by text clusters" if text and by == "text_clusters" else ""
    text += f" x {counted(seeds, 'seed')}" if text and seeds and seeds > 1 else ""
    refit = record.get("refit")
    return f"{text}, {counted(refit, 'refit')} on all images" if refit else text


def _beside(cv: Mapping[str, Any]) -> str:
    names = {"full_mrr": "full gallery MRR", "recall_at_1": "R@1", "recall_at_5": "R@5", "recall_at_10": "R@10",
             "median_rank": "median rank", "cosine": "cosine"}  # fmt: skip
    shown = [
        f"{title} {number(cv[key], 1 if key == 'median_rank' else 4)}"
        for key, title in names.items()
        if cv.get(key) is not None
    ]
    return ", ".join(shown)


def _hardware(record: Mapping[str, Any]) -> str:
    hardware = record.get("hardware") or {}
    return ", ".join(str(hardware[key]) for key in ("name", "device", "precision") if hardware.get(key))


def _data(record: Mapping[str, Any]) -> str:
    data = record.get("data") or {}
    if not data:
        return ""
    share = ((record.get("config") or {}).get("data") or {}).get("share", 1)
    return (
        f"{counted(data.get('captions', 0), 'caption')} of {counted(data.get('images', 0), 'image')}, "
        f"{'' if share == 1 else f'{share:.0%} of the training images used, '}"
        f"sha256 {str(data.get('train_sha256', ''))[:12]}"
    )


def _fold_scores(record: Mapping[str, Any]) -> View:
    rows = record.get("fold_scores") or []
    if rows:
        yield Text()
        yield Grid(
            (
                Column("fold", "Fold", str, right=True),
                Column("seed", "Seed", str, right=True),
                Column("mrr", "MRR", number, right=True),
                Column("error", "Error", number, right=True),
            ),
            [{**row, "fold": row["fold"] + 1, "seed": row["seed"] + 1} for row in rows],
        )


def _members(record: Mapping[str, Any]) -> View:
    members = record.get("members") or []
    rows = [*members, *({**one, "weight": 0.0} for one in record.get("left_out") or [])]
    if len(rows) > 1:
        yield Text()
        explained = any("adds" in row for row in rows)
        columns = [
            Column("run", "Run"),
            Column("weight", "Weight", number, right=True),
            Column("cv", "CV", number, right=True),
        ]
        if explained:
            columns += [Column("alone", "Alone", number, right=True), Column("adds", "Adds", signed, right=True)]
        yield Grid(columns, rows)
        if explained:
            yield Text(
                "Adds: what the ensemble would lose without the run; Alone: its score in the same galleries",
                style="dim",
            )
    yield from _selection(record.get("selection") or {})


def _selection(selection: Mapping[str, Any]) -> View:
    """What chosen weights are worth on images that did not choose them."""
    if "held_out_mrr" not in selection:
        return
    figures = {
        "the chosen weights": selection["held_out_mrr"],
        "equal ones": selection["equal_mrr"],
        "the best run alone": selection.get("best_alone_mrr"),
    }
    told = ", ".join(f"{what} {number(value)}" for what, value in figures.items() if value is not None)
    yield Text()
    yield line(f"On images that did not choose them: {told}.")
    if selection.get("overfitted"):
        yield line("The chosen weights did not hold there, so equal ones were taken.")


def runs(rows: Sequence[Mapping[str, Any]]) -> View:
    """A list of runs and ensembles."""
    largest = max(((row.get("cv") or {}).get("gallery_size") or 0 for row in rows), default=0)
    flat = [_flat(row, largest) for row in rows]
    yield Grid(
        (
            Column("id", "Run"),
            Column("translator", "Translator", least=10),
            Column("loss", "Loss", least=6, order=2),
            Column("folds", "Folds", order=1),
            Column("cv", "CV", str, right=True),
            Column("cv_error", "Error", number, right=True, order=3),
            Column("train_seconds", "Time", lambda value: duration(value) if value else "", right=True, order=4),
            Column("state", "State"),
        ),
        flat,
        empty="no runs yet; kk train makes one",
    )
    yield from marks_note(flat)


def _flat(row: Mapping[str, Any], largest: int) -> dict[str, Any]:
    """A run's record as one row of a table; the galleries of others are as large as ``largest``."""
    cv = row.get("cv") or {}
    size = cv.get("gallery_size")
    return {
        **row,
        "folds": _folds(row),
        "cv": score(cv.get("mrr"), leaks=row.get("leaks"), comparable=size in (None, largest)),
        "cv_error": cv.get("error"),
        "gallery_size": size,
        "comparable": size in (None, largest),
    }


def comparison(table: Any) -> View:
    """Runs beside each other; differences are to the first."""
    yield Grid(
        (
            Column("run", "Run"),
            Column("cv", "CV", str, right=True),
            Column("cv_error", "Error", number, right=True, order=1),
            Column("full_mrr", "Full", number, right=True, order=2),
            Column("difference", "Difference", signed, right=True),
            Column("difference_error", "±", number, right=True),
            Column("interval", "95 %", order=4),
            Column("seconds", "Time", lambda value: duration(value) if value else "", right=True),
            Column("parameters", "Parameters", lambda value: f"{value:,}", right=True, order=3),
            Column("megabytes", "MB", lambda value: f"{value:.0f}", right=True, order=6),
            Column("ms_a_query", "ms/query", lambda value: f"{value:.3f}", right=True, order=5),
        ),
        [{**row, "cv": score(row["cv"], leaks=row["leaks"]), "interval": _interval(row)} for row in table.rows],
    )
    yield from marks_note(table.rows)


def curve(table: Any) -> View:
    """A score over the share of the data that it was trained on; differences are to all of it."""
    yield Grid(
        (
            Column("share", "Share", lambda value: f"{value:.0%}" if value >= 0.1 else f"{value:.1%}", right=True),
            Column("images", "Images", lambda value: f"{value:,}", right=True),
            Column("cv", "CV", str, right=True),
            Column("cv_error", "Error", number, right=True, order=1),
            Column("difference", "Difference", signed, right=True),
            Column("difference_error", "±", number, right=True),
            Column("interval", "95 %", order=3),
            Column("seconds", "Time", lambda value: duration(value) if value else "", right=True),
            Column("run", "Run", order=2),
        ),
        [{**row, "cv": score(row["cv"], leaks=row["leaks"]), "interval": _interval(row)} for row in table.rows],
    )
    yield from marks_note(table.rows)


def _interval(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else f"{signed(row['low'])} to {signed(row['high'])}"


def predicted(result: Any) -> View:
    """A submission file that was written."""
    file = result.file
    yield line(f"{file.path}: {counted(result.rows, 'row')} of {result.dimension:,} numbers, {size(file.size)}")
    yield line(f"from {result.run}", f"(CV {score(result.cv, result.cv_error)})" if result.cv is not None else "")
    if result.digits_loss:
        yield line(_digits(result.digits_loss))
    yield Text(f"sha256 {file.sha256}", style="dim")


def settings(rows: Sequence[Any], *, origin: bool = False, meaning: bool = False) -> View:
    """Settings with their values, and with where they come from and what they mean when asked."""
    columns = [Column("key", "Setting"), Column("value", "Value", _value, least=12)]
    columns += [Column("origin", "From", least=10)] if origin else []
    columns += [Column("meaning", "Meaning", least=24)] if meaning else []
    flat = [{"key": row.key, "value": row.value, "origin": row.origin, "meaning": row.meaning} for row in rows]
    yield Grid(columns, flat, style=lambda row: "bold" if row["origin"] != "default" else "", wrap=True)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else clean(value)


def catalogue(entries: Sequence[Any]) -> View:
    """Translators and losses, one line each; of one alone its options, too."""
    if len({entry.name for entry in entries}) == 1:
        yield from (part for entry in entries for part in _entry(entry))
        return
    for kind, title in (("translator", "Translators"), ("loss", "Losses")):
        yield heading(title)
        yield Grid(
            (Column("name", "Name"), Column("summary", "Summary", least=24), Column("origin", "Recipe", order=1)),
            [
                {"name": entry.name, "summary": entry.summary, "origin": _origin(entry)}
                for entry in entries
                if entry.kind == kind
            ],
            wrap=True,
            heading=False,
        )
    yield Text("kk translators NAME shows its options", style="dim")


def _origin(entry: Any) -> str:
    """Where an entry's hyper-parameters or its code are."""
    if entry.file:
        return f"this project's own: {clean(entry.file)}"
    return f"configs/{entry.recipe}.toml" if entry.recipe else ""


def _entry(entry: Any) -> View:
    """One translator or loss with its options."""
    origin = _origin(entry)
    yield Text.assemble((clean(entry.name), "bold"), f"  [{origin}]" if origin else "")
    yield Text(f"  {clean(entry.summary)}")
    for option in entry.options:
        yield Text(
            f"  {entry.kind}.{clean(option.name)} = {_value(option.default)}  {clean(option.meaning)}", style="dim"
        )


def validation(report: Any) -> View:
    """The verdict on a submission file."""
    verdict = ("valid", "bold green") if report.valid else ("invalid", "bold red")
    yield Text.assemble(
        f"{clean(report.path)}: ", verdict,
        f", {counted(report.rows, 'row')} of {report.expected_rows:,} expected, {size(report.size)}",
    )  # fmt: skip
    for title, problems, count in (
        ("error", report.errors, report.error_count),
        ("warning", report.warnings, report.warning_count),
    ):
        if count:
            yield heading(counted(count, title))
            yield from (Text(f"  {clean(problem)}") for problem in problems)
            if count > len(problems):
                yield Text(f"  and {count - len(problems):,} more; --most shows more", style="dim")


def submission(record: Mapping[str, Any]) -> View:
    """One submission: its score first, then what it was made of."""
    file, vectors = record.get("file") or {}, record.get("vectors") or {}
    yield heading(f"Submission {record['id']}{' (rehearsal)' if record.get('rehearsal') else ''}")
    yield pairs(
        {
            "state": _state(record),
            "public score": number(record.get("public_score"), 5),
            "private score": number(record.get("private_score"), 5),
            "cv": score(record.get("cv"), record.get("cv_error")),
            "leaks": leaks(record.get("leaks")) and f"{leaks(record['leaks'])} on both sides of the folds",
            "difference": _difference(record),
            "rank": _rank(record),
            "final": (record.get("final") or {}).get("why"),
            "message": record.get("message"),
            "description": record.get("description"),
            "ref": record.get("ref"),
            "competition": record.get("competition"),
            "made of": ", ".join(_member(member) for member in record.get("members") or []),
            "translator": record.get("translator"),
            "folds": _folds(record),
            "file": f"{file['name']}, {size(file.get('size') or 0)}, sha256 {str(file.get('sha256'))[:12]}"
            if file
            else "",
            "notebook": _notebook(record),
            "fewer digits": _digits(record.get("digits_loss")),
            "vectors": f"{vectors['rows']:,} x {vectors['dimension']:,}" if vectors.get("rows") else "",
            "commit": commit_text((record.get("provenance") or {}).get("git")),
        }
    )
    yield Text()
    yield Grid(
        (Column("at", "When", moment), Column("state", "State"), Column("note", "", least=20)),
        record.get("history") or [],
        wrap=True,
        empty="",
    )


def submission_chain(result: Any) -> View:
    """One submission with its chain, the hashes checked."""
    yield from submission(result.record)
    yield Text()
    yield heading("Chain, and what of it is still the same on disk")
    yield Grid(
        (
            Column("step", "Step"),
            Column("name", "What", least=16),
            Column("detail", "", least=12),
            Column("expected", "sha256", lambda value: str(value or "")[:12], order=1),
            Column("status", "Now", _verdict),
        ),
        [vars(link) for link in result.links],
        style=lambda row: "bold red" if row["status"] == "changed" else "",
    )


def _verdict(status: Any) -> str:
    return "" if status == "unknown" else clean(status)


def final_choice(choice: Any) -> View:
    """The two final submissions, why, and where they are selected."""
    yield heading("Proposed as final" if choice.proposed else "Chosen as final")
    for place, one in enumerate(choice.chosen, 1):
        yield line(f"{place}. {one.ref}: {one.message or one.id}")
        yield line(f"   {one.id}")
        yield line(f"   {one.why}")
    yield Text()
    chosen = {one.id for one in choice.chosen}
    yield Grid(
        (
            Column("id", "Submission"),
            Column("message", "Message", least=10),
            Column("public_score", "Public", lambda value: number(value, 5), right=True),
            Column("cv", "CV", number, right=True),
            Column("estimate", "Estimate", lambda value: number(value, 5), right=True),
            Column("cosine", "Cosine", number, right=True, order=2),
            Column("expected", "Pair", lambda value: number(value, 5), right=True, order=1),
        ),
        [vars(one) for one in choice.candidates],
        style=lambda row: "bold" if row["id"] in chosen else "",
    )
    where = f"select them at {choice.link}" if choice.link else "a rehearsal has no page to select them at"
    yield line("recorded;" if choice.recorded else "not recorded;", where)


def rebuilt(result: Mapping[str, Any]) -> View:
    """A submission's file that was written again."""
    yield line(f"{result['path']}: {size(result['size'])}, the file that {result['id']} sent")
    yield Text(clean(f"sha256 {result['sha256']}"), style="dim")


def reindexed(result: Mapping[str, Any]) -> View:
    """How many records the new index holds."""
    yield line(f"{counted(result['submissions'], 'submission')} and {counted(result['runs'], 'run')} indexed")
    yield from (line(f"left out: {one['path']}: {one['message']}") for one in result["broken"])


def prune_plan(plan: Any) -> View:
    """What pruning would remove."""
    yield Grid(
        (
            Column("record_id", "Of"),
            Column("what", "What"),
            Column("file", "File", least=10),
            Column("size", "Size", size, right=True),
            Column("why", "Why it may go", least=12, order=1),
        ),
        [{**vars(item), "file": item.path.as_posix().rpartition(f"/{item.record_id}/")[2]} for item in plan.items],
        empty=f"nothing to prune: {plan.rule}",
    )
    yield from (Text(clean(note), style="dim") for note in plan.notes)
    if plan.items:
        yield line(f"{counted(len(plan.items), 'file')}, {size(plan.size)}; records and scores stay")


def pruned(removed: int) -> View:
    """What pruning won back."""
    yield line(f"removed {size(removed)}")


def _digits(loss: Mapping[str, Any] | None) -> str:
    """What fewer digits in the file cost."""
    if not loss:
        return ""
    return (
        f"{loss['digits']}: out-of-fold MRR {signed(loss['mrr_rounded'] - loss['mrr'], 5)}, "
        f"{loss['changed']:,} of {loss['ranked']:,} ranks change, by {loss['worst']:,} at most"
    )


def _notebook(record: Mapping[str, Any]) -> str:
    output = record.get("kernel") or {}
    return f"{output['file']} of {output['kernel']}, version {output['version']}" if output else ""


def _rank(record: Mapping[str, Any]) -> str:
    """The place on the leaderboard after the score."""
    place = record.get("rank") or {}
    return f"{place['rank']:,}" + (f" of {place['teams']:,}" if place.get("teams") else "") if place.get("rank") else ""


def _difference(record: Mapping[str, Any]) -> str:
    """How far the public score is from the CV."""
    public, cv = record.get("public_score"), record.get("cv")
    return "" if public is None or cv is None else signed(public - cv)


def _member(member: Mapping[str, Any]) -> str:
    weight = member.get("weight", 1)
    return str(member.get("run")) if weight == 1 else f"{number(weight, 3)} x {member.get('run')}"


def submissions(rows: Sequence[Mapping[str, Any]]) -> View:
    """A list of submissions."""
    yield Grid(
        (
            Column("id", "Submission"),
            Column("message", "Message", least=10),
            Column("state", "State"),
            Column("public_score", "Public", lambda value: number(value, 5), right=True),
            Column("ref", "Ref", right=True, order=1),
            Column("competition", "Competition", least=10, order=2),
        ),
        [
            {**row, "competition": f"{row['competition']}{' (rehearsal)' if row.get('rehearsal') else ''}"}
            for row in rows
        ],
        empty="no submissions yet; kk submit makes one",
    )


def synced(result: Any) -> View:
    """What a look at the service changed in the archive."""
    told = {
        "found out what became of": result.settled,
        "brought up to date": result.updated,
        "adopted from elsewhere": result.adopted,
        "still without a score": result.awaited,
    }
    for what, ids in told.items():
        if ids:
            yield line(f"{counted(len(ids), 'submission')} {what}: {', '.join(ids)}")
    if not any(told.values()):
        yield line("the archive was up to date")


def fetched(result: Any) -> View:
    """The competition's files and where they lie."""
    yield Grid(
        (
            Column("name", "File", least=16),
            Column("size", "Size", size, right=True),
            Column("state", "State"),
            Column("sha256", "sha256", lambda value: str(value or "")[:12], order=1),
        ),
        [vars(file) for file in result.files],
        empty="no files",
    )
    yield from (line(note) for note in result.notes)
