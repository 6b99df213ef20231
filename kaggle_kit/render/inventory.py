"""How the data, the cache and generated files look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import counted, moment, size
from kaggle_kit.render.views import View, heading, leaks, line


def data_report(report: Any) -> View:
    """What the training data and the test captions are like, side by side."""
    train, test = report.facts["train"], report.facts.get("test", {})
    rows = [{"what": what, "train": _shown(train, key), "test": _shown(test, key)} for what, key in _FACTS]
    rows += list(_comparisons(test))
    columns = [Column("what", ""), Column("train", "Train", least=20)]
    columns += [Column("test", "Test", least=20)] if test else []
    yield Grid(columns, [row for row in rows if row["train"] or row["test"]], wrap=True)
    if far := test.get("far_from_train"):
        yield Text()
        yield line(
            f"{far['share']:.1%} of the test captions look out of domain: they are further from their nearest training "
            f"caption than {1 - far['expected']:.0%} of the training captions are ({far['distance']:.3f})."
        )
    yield from _splits(report.facts.get("folds"))
    yield from _cleaning(report.facts.get("settings"))


_FACTS = (
    ("file", "name"),
    ("size", "size"),
    ("sha256", "sha256"),
    ("captions", "captions"),
    ("images", "images"),
    ("captions an image", "captions_an_image"),
    ("images without captions", "images_without_captions"),
    ("text dimensions", "text_dim"),
    ("image dimensions", "image_dim"),
    ("text norm", "text_norm"),
    ("image norm", "image_norm"),
    ("repeated captions", "repeated_captions"),
    ("repeated image names", "repeated_image_names"),
    ("copies of images", "copied_images"),
)


def _shown(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key)
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return f"{value['min']:,.4g} to {value['max']:,.4g}, mean {value['mean']:,.4g}"
    if key == "size":
        return size(value)
    return str(value)[:12] if key == "sha256" else f"{value:,}" if isinstance(value, int) else str(value)


def _comparisons(test: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Rows about what the two files have in common."""
    if not test:
        return
    far = test["far_from_train"]
    yield {"what": "captions that train has, too", "train": "", "test": f"{test['captions_in_train']:,}"}
    yield {"what": "near copies of test captions", "train": f"{test['train_captions_near_test']:,}", "test": ""}
    yield {
        "what": "distance to the nearest in train",
        "train": f"median {far['median_train']:.3f}",
        "test": f"median {far['median_test']:.3f}",
    }
    yield {"what": "look out of domain", "train": f"{far['expected']:.1%}", "test": f"{far['share']:.1%}"}


def _splits(folds: Mapping[str, Any] | None) -> View:
    """What looks alike, and whether the folds part any of it."""
    if not folds:
        return
    yield Text()
    yield heading("Look-alikes and folds")
    yield line(
        f"  {counted(folds['images_with_near_copies'], 'image')} with near copies; near copies and equal captions join "
        f"{counted(folds['images_joined'], 'image')} into {counted(folds['groups'], 'group')}, "
        f"the largest of {counted(folds['largest_group'], 'image')}"
    )
    if folds["refused"]:
        yield line(f"  no folds: {folds['refused']}")
        return
    shares = f"{min(folds['images_held_out']):,} to {max(folds['images_held_out']):,} images"
    yield line(
        f"  {counted(folds['count'], 'fold')}, holding out {shares}: {leaks(folds['leaks']) or 'nothing'} on both sides"
    )
    yield from (line(f"    {example}") for example in folds["leaks"]["examples"])


def _cleaning(settings: Mapping[str, Any] | None) -> View:
    """What the [data] settings leave out and add."""
    if not settings:
        return
    yield Text()
    yield heading("The [data] settings")
    for step in settings["steps"]:
        verb = "adds" if step["step"] == "extra" else "leaves out"
        yield line(f"  data.{step['step']} {verb} {counted(step['captions'], 'caption')}")
    yield line(f"  {counted(settings['trained_captions'], 'caption')} of {settings['captions']:,} trained on")


def cache(content: Any) -> View:
    """What the cache holds, and how much it may."""
    if content.freed:
        yield line(f"{size(content.freed)} freed in {content.folder}")
    yield Grid(
        (
            Column("source", "File", least=20),
            Column("size", "Size", size, right=True),
            Column("created", "Read", _when),
            Column("used", "Last used", _when),
            Column("key", "Key", lambda value: str(value)[:12], order=1),
        ),
        [vars(entry) for entry in content.entries],
        empty=f"the cache in {content.folder} is empty",
    )
    if content.entries:
        yield line(f"{size(content.size)} of {size(content.limit)} (data.cache_gb) in {content.folder}")


def _when(seconds: float) -> str:
    return moment(datetime.fromtimestamp(seconds, UTC))


def written_competition(written: Any) -> View:
    """The files of a made-up competition."""
    rows = [{"name": str(written.folder / name), "size": count} for name, count in written.files.items()]
    yield Grid((Column("name", "File", least=20), Column("size", "Size", size, right=True)), rows)
    yield line(f"kk fetch --from {written.folder} takes them into a project")
