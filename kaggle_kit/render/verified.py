"""How the verification of a run looks in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import clean, number, signed, size
from kaggle_kit.render.views import View, heading, line, score

RIGHT = "◀ right"


def verification(result: Any) -> View:
    """Every table of the verification."""
    yield heading(f"Verification of {result.run}")
    yield line(
        f"MRR {score(result.mrr, result.error)} expected in galleries of {result.gallery_size}; "
        f"{result.captions:,} held-out captions of {result.images:,} images"
    )
    yield line(f"photos: {result.photos or 'not here (kk fetch --all gets them)'}")
    yield from distances(result.distances)
    for title, rows in (
        ("By length of the caption", result.by_length),
        ("By number of the caption", result.by_number),
        ("By domain, the most distant from the rest first", result.by_domain),
        ("By fold", result.by_fold),
    ):
        yield from _slices(title, rows)
    yield from _gallery_sizes(result.gallery_sizes)
    yield from _hubs(result.hubs)
    yield from _confusion(result.confusion)
    for title, cases in (("Best cases", result.best), ("Worst cases", result.worst)):
        yield from _cases(title, cases)


def verified_caption(result: Any) -> View:
    """One caption, what was retrieved for it, and its distances."""
    case = result.case
    yield heading(f"Caption {case.row} in {result.run}")
    yield line(f"“{case.caption}”")
    yield line(f"describes {case.image}, which comes {_place(case.rank)} of {case.gallery:,}")
    yield Text()
    yield Grid(
        (
            Column("rank", "Rank", lambda value: f"{value:,}", right=True),
            Column("image", "Image", least=16),
            Column("cosine", "Cosine", number, right=True),
            Column("right", "", lambda value: RIGHT if value else ""),
        ),
        [vars(place) for place in case.retrieved],
        style=lambda row: "bold" if row["right"] else "",
    )
    yield from distances(result.distances, one=True)


def distances(rows: Sequence[Any], *, one: bool = False) -> View:
    """Distances to the true image beside a random one; of one caption there is no spread."""
    yield Text()
    yield heading("Distance to the true image, and to a random other one (unit vectors)")
    columns = [
        Column("name", "Distance"),
        Column("true_shown", "True", right=True),
        Column("random_shown", "Random", right=True),
        Column("improvement", "Better", _percent, right=True),
    ]
    if not one:
        columns += [
            Column("each_shown", "Each caption", right=True, order=2),
            Column("nearer", "Nearer to true", lambda value: f"{value:.1%}", right=True, order=1),
        ]
    yield Grid(
        columns,
        [
            {
                **vars(row),
                "true_shown": number(row.true) if one else score(row.true, row.true_std),
                "random_shown": number(row.random) if one else score(row.random, row.random_std),
                "each_shown": f"{_percent(row.each)} ± {number(row.each_std, 1)}" if number(row.each) else "",
            }
            for row in rows
        ],
        empty="there is no other image to compare with",
    )


def _percent(value: Any) -> str:
    shown = signed(value, 1)
    return f"{shown} %" if shown else ""


def _slices(title: str, rows: Sequence[Any]) -> View:
    yield Text()
    yield heading(title)
    columns = [
        Column("name", "", least=12),
        Column("captions", "Captions", lambda value: f"{value:,}", right=True),
        Column("images", "Images", lambda value: f"{value:,}", right=True, order=2),
        Column("shown", "MRR", right=True),
        Column("difference", "Difference", signed, right=True),
        Column("median_rank", "Median rank", lambda value: f"{value:g}", right=True, order=3),
    ]
    if any(row.distance is not None for row in rows):
        columns.append(Column("distance", "Distance", number, right=True, order=1))
    yield Grid(columns, [{**vars(row), "shown": score(row.mrr, row.error)} for row in rows])


def _gallery_sizes(rows: Sequence[Any]) -> View:
    yield Text()
    yield heading("By gallery size")
    yield Grid(
        (
            Column("size", "Images", right=True),
            Column("shown", "Expected MRR", right=True),
            Column("chance", "Chance", number, right=True),
        ),
        [
            {
                "size": f"{row.size:,} (all)" if row.whole else f"{row.size:,}",
                "shown": score(row.mrr, row.error),
                "chance": row.chance,
            }
            for row in rows
        ],
    )


def _hubs(hubs: Any) -> View:
    yield Text()
    yield heading(f"Hubs: images among the {hubs.neighbours} nearest of many captions")
    yield line(
        f"{number(hubs.mean, 1)} times an image on average, skewness {number(hubs.skewness, 2)}, {hubs.never:,} images never"
    )
    yield Grid(
        (
            Column("image", "Image", least=16),
            Column("times", "Times", lambda value: f"{value:,}", right=True),
            Column("shown", "Of the mean", right=True),
            Column("own_shown", "Own captions", right=True, order=1),
        ),
        [
            {
                **vars(hub),
                "shown": f"{hub.times / hubs.mean:.1f} x" if hubs.mean else "",
                "own_shown": f"{hub.own} of {hub.captions}",
            }
            for hub in hubs.top
        ],
    )


def _confusion(confusion: Any) -> View:
    yield Text()
    yield heading("Errors whose winner looks like the right image")
    yield line(
        f"{confusion.lookalikes:,} of {confusion.errors:,} errors ({confusion.share:.1%}) have a winner with a cosine of "
        f"{confusion.threshold:g} or more to the right image ({confusion.chance:.1%} of random pairs have); "
        f"{confusion.near_copies:,} are near copies"
    )
    if confusion.pairs:
        yield Grid(
            (
                Column("image", "Right", least=16),
                Column("winner", "Taken for it", least=16),
                Column("times", "Times", right=True),
                Column("cosine", "Cosine", number, right=True),
            ),
            [vars(pair) for pair in confusion.pairs],
        )


def _cases(title: str, cases: Sequence[Any]) -> View:
    yield Text()
    yield heading(title)
    yield Grid(
        (
            Column("rank", "Rank", lambda value: f"{value:,}", right=True),
            Column("margin", "Margin", signed, right=True),
            Column("row", "Row", right=True, order=1),
            Column("caption", "Caption", least=24),
            Column("image", "Image", least=12, order=3),
            Column("winner", "Retrieved first", least=12, order=2),
        ),
        [{**vars(case), "winner": "" if case.rank == 1 else case.retrieved[0].image} for case in cases],
    )


def _place(rank: int) -> str:
    ending = "th" if 10 <= rank % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return clean(f"{rank:,}{ending}")


def plots(entries: Sequence[Any]) -> View:
    """The figures that can be drawn."""
    columns = (Column("name", "Figure"), Column("of", "Of"), Column("meaning", "Shows", least=30))
    yield Grid(columns, [vars(entry) for entry in entries], wrap=True)


def plotted(made: Any) -> View:
    """A figure that was drawn."""
    yield line(f"drawn into {made.path}")


def report(made: Any) -> View:
    """A page that was written, and what it could not show."""
    yield line(f"{made.path}: {made.kind} {made.subject}, {size(made.size)}")
    for why in made.left_out:
        yield line(f"left out: {why}")
