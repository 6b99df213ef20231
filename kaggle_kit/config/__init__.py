"""The project and its settings.

Flags win over ``KK_*`` variables, these over the ``--config`` file, ``kk.toml``, the translator's recipe, the defaults.
"""

from kaggle_kit.config.load import load_project
from kaggle_kit.config.model import Choice, ChoiceSchema, Project, Schemas, SettingRow, Settings, digest_of, with_effect
from kaggle_kit.config.places import find_config, find_root, shipped_configs

__all__ = [
    "Choice",
    "ChoiceSchema",
    "Project",
    "Schemas",
    "SettingRow",
    "Settings",
    "digest_of",
    "find_config",
    "find_root",
    "load_project",
    "shipped_configs",
    "with_effect",
]
