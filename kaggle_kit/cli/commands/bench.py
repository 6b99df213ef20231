"""``kk bench``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import preset_option, setting_option, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk bench                                  about a minute; everything as it would be trained here",
        "kk bench --precision bf16 --batch 256     where the hardware multiplies bf16",
        "kk bench --preset fast --time-to 0.8      and how long that recipe takes to an MRR of 0.8",
        "kk bench --translator mlp --json          for a script",
    ),
)
@click.option("--batch", type=click.IntRange(min=2), metavar="N",
              help="Captions a step of all of them. Left out: 256, and the recipe's own for the chosen translator.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=1), metavar="N",
              help="How often each works. Left out: 3 to 11 times, in three quarters of a minute if that suffices.")  # fmt: skip
@click.option("--samples", type=click.IntRange(min=2), metavar="N",
              help="Captions of a round. Left out: what the original loop trains on in four seconds.")  # fmt: skip
@click.option("--time-to", type=click.FloatRange(0, 1, min_open=True), metavar="MRR",
              help="Train the chosen recipe on made-up data, too, until a validation reaches this MRR.")  # fmt: skip
@click.option("--images", type=click.IntRange(min=20), default=1200, show_default=True, metavar="N",
              help="Images of that data, five captions each; a tenth is held out.")  # fmt: skip
@preset_option
@setting_option("--translator", key="translator.name", metavar="NAME", help="Translator; kk translators lists them.")
@setting_option("--device", key="train.device", metavar="NAME", help="Where to compute: auto, cuda, mps or cpu.")
@setting_option("--precision", key="train.precision", metavar="NAME", help="Arithmetic: auto, fp32, bf16 or fp16.")
@setting_option("--threads", key="train.threads", metavar="N")
@settings_options
@pass_session
def command(
    session: Session, batch: int | None, rounds: int | None, samples: int | None, time_to: float | None, images: int
) -> None:
    """Time training on this machine.

    In turns, each in a process of its own: the original notebook's loop, our training of the same network in the same precision, the chosen
    translator with its own recipe, and the floor: the bare matrix products of the original network's steps. Nothing is archived.
    """
    project = session.project(training=True)
    result = kaggle_kit.bench(
        project, batch=batch, rounds=rounds, samples=samples, time_to=time_to, images=images, progress=session.progress
    )
    session.show(result, render.benchmark)
