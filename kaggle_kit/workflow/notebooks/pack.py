"""What is sent to a notebook: the package's code, the settings in force and the files that they name, inside one script."""

from __future__ import annotations

import base64
import fnmatch
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kaggle_kit.config import Project, Settings, literal
from kaggle_kit.config.places import PROJECT_FILE
from kaggle_kit.errors import MissingError, UsageError
from kaggle_kit.plugins import find_plugins
from kaggle_kit.progress import size
from kaggle_kit.settings import OF_THE_MOMENT, TrainSettings, fields_of
from kaggle_kit.workflow.notebooks.wheel import package_files

SCRIPT = Path(__file__).with_name("script.py")

SENT = ("competition", "data", "folds", "translator", "loss", "train", "validation")
"""Sections that hold in a notebook as they do here; the others say how things are on this machine."""

SECRET_NAMES = (
    "kaggle.json", "access_token", "access_token.txt", "credentials.json", ".env", ".env.*", "*.env", ".netrc", "id_rsa*",
    "id_ed25519*", "*.pem", "*.key",
)  # fmt: skip
SECRET_PATTERNS = {
    "a Kaggle token": rb"KGAT_[A-Za-z0-9_-]{16,}",
    "a Kaggle key": rb"""["']?key["']?\s*[:=]\s*["'][0-9a-f]{32}["']""",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a GitHub token": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,})",
    "a Hugging Face token": rb"\bhf_[A-Za-z0-9]{30,}",
    "an AWS key": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "an API key": rb"\bsk-[A-Za-z0-9_-]{32,}",
    "a Slack token": rb"\bxox[abprs]-[A-Za-z0-9-]{20,}",
}


@dataclass(frozen=True)
class Pack:
    """What goes along.

    Attributes:
        settings: what will be in force there.
        files: content by name, below ``code`` and ``project``.
    """

    settings: Settings
    files: Mapping[str, bytes]


def make_pack(
    project: Project, settings: Settings, git: Mapping[str, Any] | None, *, secrets: Iterable[str] = ()
) -> Pack:
    """Collect the code and the project.

    Args:
        settings: those to train with; what they name on this machine goes along or is refused.
        git: the commit that the code is of.
        secrets: texts that must not leave this machine.

    Raises:
        MissingError: a file that the settings name is not there.
        UsageError: a setting that cannot hold there, or a file that is or holds a secret.
    """
    settings, own = _portable(project, settings)
    own[PROJECT_FILE] = settings_toml(settings).encode()
    files = {f"project/{name}": content for name, content in own.items()}
    files |= {f"code/{name}": content for name, content in package_files(git).items()}
    for name, content in files.items():
        refuse_secrets(name, content, secrets)
    return Pack(settings, files)


def script_of(pack: Pack, job: Mapping[str, Any], *, limit_mb: float) -> str:
    """The script to push: the program, with the job and the pack inside.

    Raises:
        UsageError: it would be larger than ``limit_mb``.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as archive:
        for name, content in sorted(pack.files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    packed = base64.b64encode(buffer.getvalue()).decode()
    program = SCRIPT.read_text(encoding="utf-8")
    script = program.replace("JOB = {}\n", f"JOB = json.loads({json.dumps(job)!r})\n", 1)
    script = script.replace('PACK = ""\n', f'PACK = "{packed}"\n', 1)
    if len(script) > limit_mb * 1e6:
        largest = sorted(pack.files.items(), key=lambda item: -len(item[1]))[:3]
        raise UsageError(
            f"the script to push has {size(len(script))}, more than remote.pack_mb = {limit_mb:g} allows; the largest files: "
            + ", ".join(f"{name} ({size(len(content))})" for name, content in largest),
            "leave large files to a data set and name it in remote.datasets, or raise remote.pack_mb",
        )
    return script


def refuse_secrets(name: str, content: bytes, secrets: Iterable[str] = ()) -> None:
    """Let nothing through that is, holds or looks like a secret.

    Raises:
        UsageError: it does; the secret itself is not shown.
    """
    hint = "nothing was sent; take it out of what is packed"
    base = name.rpartition("/")[2]
    if any(fnmatch.fnmatch(base.lower(), pattern) for pattern in SECRET_NAMES):
        raise UsageError(f"{name} is by its name a file of secrets, and is not sent anywhere", hint)
    if any(secret and secret.encode() in content for secret in secrets):
        raise UsageError(f"{name} holds the credentials that are in use here", hint)
    for what, pattern in SECRET_PATTERNS.items():
        if re.search(pattern, content):
            raise UsageError(f"{name} holds what looks like {what}", hint)


def settings_toml(settings: Settings) -> str:
    """The settings as a ``kk.toml``, every one of them: no recipe and no default of another version comes between."""
    lines = ["# Written by kk remote: the settings in force where this was started."]
    for name, table in settings.to_dict().items():
        if name in SENT:
            lines += _table(name, table)
    return "\n".join(lines) + "\n"


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    plain = [f"{key} = {literal(value)}" for key, value in table.items() if key not in inner]
    return [f"[{name}]", *plain, "", *(line for key, value in inner.items() for line in _table(f"{name}.{key}", value))]


def _portable(project: Project, settings: Settings) -> tuple[Settings, dict[str, bytes]]:
    """The settings as they can hold in a notebook, and the files that go along for them."""
    data, files = settings.data, {}
    if data.drop_noisiest and data.noise_by == "predictions":
        raise UsageError(
            "data.noise_by = predictions needs a run of this machine's archive, which the notebook has not",
            'use data.noise_by = "centroid", or write the rows to a file and name it in data.drop_captions',
        )
    if data.extra is not None and not data.extra.startswith("/kaggle/input/"):
        raise UsageError(
            f"data.extra = {data.extra} lies on this machine",
            "publish it as a private data set, name that in remote.datasets, and give its path below /kaggle/input/",
        )
    if data.drop_captions is not None and not data.drop_captions.startswith("/kaggle/input/"):
        path = project.root / Path(data.drop_captions).expanduser()
        if not path.is_file():
            raise MissingError(f"data.drop_captions: no such file: {path}")
        files[path.name] = path.read_bytes()
        data = replace(data, drop_captions=path.name)
    for name in find_plugins(project.root, settings.plugins.files):
        files[name] = (project.root / name).read_bytes()
    of_this_machine: dict[str, Any] = {name: fields_of(TrainSettings)[name].default for name in OF_THE_MOMENT}
    return replace(settings, data=data, train=replace(settings.train, **of_this_machine)), files
