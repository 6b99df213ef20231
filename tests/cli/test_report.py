"""``kk report``: what is on the page, that nothing on it is taken for markup, and how it behaves in a real browser."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import orjson
import pytest
from browser import BROWSER, Browser
from played import SLUG, template, tiny  # noqa: F401  # fixtures

from kaggle_kit.analysis.page import Thumbnails
from kaggle_kit.archive import RunStore, SubmissionStore
from kaggle_kit.competition import SubmissionFormat

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

NASTY = "<script>alert(1)</script> <img src=x onerror=alert(2)> {{ 7*7 }} \u202eevil\u202c \x1b[31m שלום 🐕‍🦺 \"'&amp;"


class Reader(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read(path: str | Path) -> Reader:
    return Reader(Path(path).read_text(encoding="utf-8"))


def submissions(folder: Path, count: int, message: str = "try", *, scored: bool = True) -> None:
    """Records of submissions, as ``kk submit`` leaves them; the first has vectors and a file, the others are its copies."""
    store = SubmissionStore(folder / "submissions_archive")
    (run,) = RunStore(folder / "models_archive").list()
    about = {
        "competition": SLUG, "rehearsal": False, "translator": "ridge", "folds": 2, "cv": 0.5, "cv_error": 0.01,
        "run": run.id, "members": [{"run": run.id, "weight": 1.0}],
    }  # fmt: skip
    first = store.build("s", np.arange(1, 4), np.eye(3, dtype=np.float32), {**about, "message": message},
                        columns=SubmissionFormat())  # fmt: skip
    ends = ("uploading", {}), ("submitted", {"ref": 1}), ("scored", {"public_score": 0.5}) if scored else ("failed", {})
    for state, more in ends:
        store.update(first.id, state=state, **more)
    done = store.read(first.id).to_dict()
    for number in range(1, count):
        name = f"{first.id}-{number}"
        created = f"2026-01-{1 + number % 28:02d}T{number % 24:02d}:00:00.000Z"
        scores = {"cv": 0.4 + number * 1e-5, "public_score": 0.41 + number * 1e-5 if scored else None}
        made = {**done, "id": name, "ref": 1 + number, "created": created, "message": f"{message} {number}", **scores}
        (store.folder / name).mkdir()
        (store.folder / name / "record.json").write_bytes(orjson.dumps(made))


def test_report_on_an_empty_project_says_so(tiny, kk):  # noqa: F811
    for folder in Path("models_archive").iterdir():
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    outcome = kk("report")
    assert outcome.code == 0, outcome.err
    page = read("report.html")
    assert "There is no submission yet" in page.text
    assert "There is no run yet" in page.text


def test_report_on_a_run_shows_all_of_it_and_names_what_it_leaves_out(tiny, kk):  # noqa: F811
    outcome = kk("report", RunStore(tiny / "models_archive").list()[0].id, "-o", "run.html", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["kind"], outcome.json["left_out"]) == (
        "run", ["learning curves, for the translator is solved in closed form"],
    )  # fmt: skip
    page = read("run.html")
    for words in ("Verification, out of fold", "Distances of unit vectors", "Worst cases", "folds.count", "Chain of hashes",
                  "CV and leaderboard", "not here; their names are shown"):  # fmt: skip
        assert words in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) == 4
    assert not [value for tag, found in page.tags for name, value in found.items()
                if name in ("src", "href") and value and not value.startswith(("#", "data:"))]  # fmt: skip


def test_report_escapes_what_comes_from_outside(tiny, kk):  # noqa: F811
    submissions(tiny, 1, NASTY)
    assert kk("report", SubmissionStore(tiny / "submissions_archive").list()[0].id, "-o", "s.html").code == 0
    page = read("s.html")
    assert [tag for tag, _ in page.tags if tag == "script"] == ["script"]
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    content = Path("s.html").read_text(encoding="utf-8")
    assert "\u202e" not in content
    assert "\x1b" not in content
    assert "🐕‍🦺" in content


@pytest.mark.slow
def test_report_on_thousands_shows_the_newest_and_the_best_and_stays_small(tiny, kk):  # noqa: F811
    submissions(tiny, 1000)
    outcome = kk("report", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["size"] < 2_000_000
    page = read("report.html")
    (left,) = re.findall(r"newest and the 50 best are shown; (\d+) others are left out", page.text)
    shown = sum((found.get("data-sort") or "").startswith("try") for tag, found in page.tags if tag == "td")
    assert int(left) + shown == 1000
    assert 150 <= shown <= 200
    assert "try 999" in page.text


def test_report_on_failures_only_is_written(tiny, kk):  # noqa: F811
    submissions(tiny, 3, scored=False)
    outcome = kk("report")
    assert outcome.code == 0, outcome.err
    assert "failed" in read("report.html").text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing"], 8, "there is no run and no submission 'nothing'"),
        (["-o", "report.pdf"], 2, "report.pdf does not end in .html"),
    ],
)
def test_report_says_what_does_not_fit(tiny, kk, arguments, code, words):  # noqa: F811
    outcome = kk("report", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err


def test_report_without_the_data_leaves_the_verification_out(tiny, kk):  # noqa: F811
    (tiny / "data/train/train/train.npz").unlink()
    outcome = kk("report", "--json")
    assert outcome.code == 0, outcome.err
    assert any("the verification" in why for why in outcome.json["left_out"])
    assert "Left out: train/train/train.npz" in read("report.html").text


def test_thumbnails_stop_where_the_page_has_no_room():
    pictures = Thumbnails({"a": b"x" * 60, "b": b"x" * 60, "c": b"x" * 40}.get, most=100)
    assert [pictures[name] is not None for name in ("a", "b", "c", "a", "none")] == [True, False, True, True, False]
    assert pictures.left_out == 1
    assert pictures["a"].startswith("data:image/jpeg;base64,eHh4")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_page_in_a_browser_is_quiet_sorts_and_never_overflows(tiny, kk, tmp_path):  # noqa: F811
    from PIL import Image

    folder = tiny / "data/train/train/Images"
    folder.mkdir()
    with np.load(tiny / "data/train/train/train.npz") as arrays:
        for name in arrays["images/names"]:
            Image.new("RGB", (300, 200), (200, 80, 20)).save(folder / str(name))
    submissions(tiny, 30, NASTY)
    assert kk("report", "-o", "all.html").code == 0
    assert kk("report", RunStore(tiny / "models_archive").list()[0].id, "-o", "run.html").code == 0
    with Browser() as browser:
        for name in ("all.html", "run.html"):
            for width in (400, 1400):
                for scheme in ("light", "dark"):
                    browser.open(Path(name), width=width, scheme=scheme)
                    wide, room = browser.run("(e => [e.scrollWidth, e.clientWidth])(document.scrollingElement)")
                    assert wide <= room, (name, width)
                    assert browser.run("[...document.images].every(image => image.naturalWidth > 0)") is True
        check_sorting(browser)
        assert browser.complaints == []
        assert {Path(url).name for url in browser.requests} == {"all.html", "run.html"}


def check_sorting(browser: Browser) -> None:
    """A click sorts a column of numbers, a key sorts it the other way round; others forget their order."""
    browser.open(Path("all.html"))
    heads = "[...document.querySelectorAll('#history th')]"
    place = browser.run(f"{heads}.findIndex(head => head.textContent.startsWith('Public'))")
    head = f"{heads}[{place}]"
    values = f"[...document.querySelectorAll('#history tbody tr')].map(row => +row.cells[{place}].textContent)"
    before = browser.run(values)
    browser.click(f"{head}.querySelector('button')")
    assert browser.run(f"{head}.ariaSort") == "descending"
    assert browser.run(values) == sorted(before, reverse=True)
    browser.press("Enter")
    assert browser.run(f"{head}.ariaSort") == "ascending"
    assert browser.run(values) == sorted(before)
    browser.press("Tab")
    browser.press(" ")
    assert browser.run(f"{heads}.map(head => head.ariaSort).filter(order => order !== 'none').length") == 1
    assert browser.run(f"{head}.ariaSort") == "none"
