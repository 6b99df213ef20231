"""What translators and losses exist, in the shape that the configuration loader asks for (imports torch)."""

from __future__ import annotations

from kaggle_kit.config import ChoiceSchema, Schemas


def training_schemas() -> Schemas:
    """Every registered translator and loss with its options and recipe."""
    from kaggle_kit.training.losses import losses
    from kaggle_kit.translators import translators

    return Schemas(
        translators={entry.name: ChoiceSchema(entry.item.Options, entry.recipe) for entry in translators},
        losses={entry.name: ChoiceSchema(entry.item.Options, entry.recipe) for entry in losses},
    )
