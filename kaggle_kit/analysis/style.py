"""How figures look: colours that every colour vision tells apart, markers and lines for print in grey, one ink."""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from kaggle_kit.files import atomic_writer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
INK = "#1b1c1e"
"""Text and axes; on a page it becomes the colour of the page's text, so that a figure can be read in the dark, too."""
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#7f7f7f"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, GREY)
"""Of Okabe and Ito, Color Universal Design, 2008; without yellow, which is lost on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")

_STYLE: Any = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "font.size": 9.5,
    "font.family": ["DejaVu Sans"],
    "svg.fonttype": "none",
}

Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """A function that draws a figure, in this style whatever the user's own is."""

    @functools.wraps(draw)
    def wrapped(*arguments: Arguments.args, **named: Arguments.kwargs) -> Figure:
        from matplotlib import rc_context

        with rc_context(_STYLE):
            return draw(*arguments, **named)

    return wrapped


def new_figure(width: float = 7.2, height: float = 4.0) -> Figure:
    """An empty figure, in inches, outside matplotlib's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write ``figure`` into ``path``, whole or not at all, in the format of its ending.

    Raises:
        UsageError: the folder cannot be written to.
        DiskFullError: no space left.
    """
    form = path.suffix.lower().removeprefix(".")
    with atomic_writer(path) as file, _drawing():
        figure.savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=_metadata(form))


def inline_svg(figure: Figure, name: str) -> str:
    """``figure`` as an ``<svg>`` element for a page: transparent, in the colour of the page's text, labelled ``name``."""
    target = io.BytesIO()
    with _drawing(salt=name):
        figure.savefig(target, format="svg", transparent=True, dpi=DOTS_PER_INCH, metadata=_metadata("svg"))
    text = target.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(re.escape(INK), "currentColor", text, flags=re.IGNORECASE)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)  # ids are of the whole page
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    labelled = rf'<svg role="img" aria-label="{name}" \1'
    return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', labelled, text, count=1)


def shown(text: str, most: int = 80) -> str:
    """Text from outside for a figure: on one line, printable, cut at ``most`` characters."""
    flat = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    return flat if len(flat) <= most else flat[: most - 1].rstrip() + "…"


def say(axes: Axes, text: str) -> None:
    """Words in the middle of axes that have nothing to draw."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", wrap=True, parse_math=False)
    axes.set_axis_off()


def _metadata(form: str) -> dict[str, Any]:
    """Nothing that differs between two drawings of the same numbers."""
    return {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})


@contextmanager
def _drawing(salt: str = "kaggle_kit") -> Iterator[None]:
    from matplotlib import rc_context

    with rc_context({**_STYLE, "svg.hashsalt": salt}), warnings.catch_warnings():
        # a caption in a script that the font lacks is drawn as boxes, which is no reason to fail
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        yield
