"""The project and its settings.

Flags win over ``KK_*`` variables, these over the ``--config`` file, ``kk.toml``, the translator's recipe, the defaults.
"""

from kaggle_kit.config.load import load_project, setting_key
from kaggle_kit.config.model import Choice, ChoiceSchema, Project, Schemas, SettingRow, Settings, digest_of, with_effect
from kaggle_kit.config.places import PROJECT_FILE, find_config, find_description, find_root, shipped_configs, slug_of
from kaggle_kit.config.write import comment, literal, toml_lines

__all__ = [
    "PROJECT_FILE",
    "Choice",
    "ChoiceSchema",
    "Project",
    "Schemas",
    "SettingRow",
    "Settings",
    "comment",
    "digest_of",
    "find_config",
    "find_description",
    "find_root",
    "literal",
    "load_project",
    "setting_key",
    "shipped_configs",
    "slug_of",
    "toml_lines",
    "with_effect",
]
