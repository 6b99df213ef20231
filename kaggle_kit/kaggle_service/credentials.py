"""Who we are to the service: every place where Kaggle's own tools look for credentials, in their order.

A secret never appears in a repr, an error or a note: only where it was found does.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from requests import PreparedRequest

from kaggle_kit.files import home_folder
from kaggle_kit.notebook import RUN_TYPE
from kaggle_kit.progress import SILENCE, Progress

_EARLY = timedelta(minutes=5)
"""An access token this close to its end is renewed before it is used."""


class Credentials:
    """Something that signs requests; used as the ``auth`` of a session.

    Attributes:
        kind: ``"token"``, ``"key"`` (user name and key) or ``"oauth"``.
        source: where it was found, as a user would look for it.
        username: the account; None when the source does not say.
    """

    __slots__ = ("_expires", "_header", "_secrets", "kind", "source", "username")

    def __init__(
        self, kind: str, source: str, header: str, secrets: tuple[str, ...], username: str | None = None
    ) -> None:
        self.kind = kind
        self.source = source
        self.username = username
        self._header = header
        self._secrets = secrets
        self._expires: datetime | None = None

    @classmethod
    def of_token(cls, token: str, source: str) -> Credentials:
        """An access token (``KGAT_...``), sent as a bearer."""
        return cls("token", source, f"Bearer {token}", (token,))

    @classmethod
    def of_key(cls, username: str, key: str, source: str) -> Credentials:
        """A user name and its key, sent as HTTP Basic."""
        pair = base64.b64encode(f"{username}:{key}".encode()).decode()
        return cls("key", source, f"Basic {pair}", (key, pair), username)

    @classmethod
    def of_oauth(cls, document: Mapping[str, Any], source: str) -> Credentials:
        """What ``kaggle auth login`` stored: a refresh token, and an access token of some hours."""
        access = str(document.get("access_token") or "")
        made = cls(
            "oauth", source, f"Bearer {access}", (str(document["refresh_token"]), access), document.get("username")
        )
        made._expires = _moment(document.get("access_token_expiration")) if access else datetime.min.replace(tzinfo=UTC)
        return made

    @property
    def needs_renewal(self) -> bool:
        """An access token has to be fetched with the refresh token before anything can be signed."""
        return self._expires is not None and self._expires - _EARLY <= datetime.now(UTC)

    @property
    def refresh_token(self) -> str:
        """The secret that buys a new access token; only for OAuth."""
        return self._secrets[0]

    def renew(self, token: str, seconds: float) -> None:
        """Sign with ``token`` from now on; it lives for ``seconds``."""
        self._header = f"Bearer {token}"
        self._secrets = (*self._secrets, token)
        self._expires = datetime.now(UTC) + timedelta(seconds=seconds)

    @property
    def access_token(self) -> str | None:
        """The token that signs requests, to ask the service whose it is; None for a user name and key."""
        scheme, _, token = self._header.partition(" ")
        return token if scheme == "Bearer" else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must not be shown, to be taken out of what the service says."""
        return tuple(secret for secret in self._secrets if secret)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = self._header
        return request

    def __repr__(self) -> str:
        return f"Credentials(kind={self.kind!r}, source={self.source!r}, username={self.username!r})"

    def __reduce__(self) -> Any:
        raise TypeError("credentials are not written anywhere")


def _moment(text: Any) -> datetime:
    """An ISO date as an aware moment; the beginning of time when it cannot be read, so that it counts as past."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def find_credentials(
    environ: Mapping[str, str] = os.environ, home: Path | None = None, *, progress: Progress = SILENCE
) -> Credentials | None:
    """The first credentials that the official client would use; None when there are none."""
    return next(all_credentials(environ, home, progress=progress), None)


def all_credentials(
    environ: Mapping[str, str] = os.environ, home: Path | None = None, *, progress: Progress = SILENCE
) -> Iterator[Credentials]:
    """Every usable source of credentials in order, each looked at only when the one before was refused.

    Unusable sources (an empty file, no JSON, a token with a line break in it) are told to ``progress`` and skipped, and so are files that
    others can read told.
    """
    home = home or home_folder()
    seen: set[str] = set()
    for found in _sources(environ, home, progress):
        if found is None or found.secrets[0] in seen:
            continue
        seen.add(found.secrets[0])
        yield found


def _sources(environ: Mapping[str, str], home: Path, progress: Progress) -> Iterator[Credentials | None]:
    if _on_kaggle(environ) and environ.get("KAGGLE_API_V1_TOKEN"):
        yield _token_file(Path(environ["KAGGLE_API_V1_TOKEN"]), "the notebook's own token", progress, shared=True)
    yield _token_variable(environ, progress)
    for name in ("access_token", "access_token.txt"):
        yield _token_file(home / ".kaggle" / name, f"~/.kaggle/{name}", progress)
    yield _key(environ, home, progress)
    yield _oauth_file(home / ".kaggle" / "credentials.json", progress)
    if _on_kaggle(environ):
        yield _notebook_secret(progress)


def places_looked(environ: Mapping[str, str] = os.environ, home: Path | None = None) -> list[str]:
    """Where credentials were looked for, for the text of an error."""
    home = home or home_folder()
    places = ["KAGGLE_API_TOKEN", "~/.kaggle/access_token", "KAGGLE_USERNAME with KAGGLE_KEY"]
    places += [str(folder / "kaggle.json") for folder in _config_folders(environ, home)]
    places.append("~/.kaggle/credentials.json")
    if _on_kaggle(environ):
        places += ["KAGGLE_API_V1_TOKEN (needs internet switched on)", "the notebook's secret KAGGLE_API_TOKEN"]
    return places


def _on_kaggle(environ: Mapping[str, str]) -> bool:
    """Whether Kaggle runs this; a folder that only stands for a notebook's has neither a mounted token nor a keeper of secrets."""
    return RUN_TYPE in environ


def _config_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    folders = [home / ".kaggle", Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"]
    if given := environ.get("KAGGLE_CONFIG_DIR"):
        folders.insert(0, Path(given).expanduser())
    return folders


def _token_variable(environ: Mapping[str, str], progress: Progress) -> Credentials | None:
    """``KAGGLE_API_TOKEN``: a token, or the path of a file that holds one."""
    value = environ.get("KAGGLE_API_TOKEN", "").strip()
    if not value:
        return None
    path = Path(value).expanduser() if len(value) < 4096 and "\0" not in value else None
    try:
        if path is not None and path.is_file():
            return _token_file(path, "the file that KAGGLE_API_TOKEN names", progress)
    except OSError:
        pass
    if value.startswith(("/", "~", "./", "../")):
        progress.note("KAGGLE_API_TOKEN looks like a path, but no file lies there; it is left out")
        return None
    return _checked_token(value, "KAGGLE_API_TOKEN", progress)


def _token_file(path: Path, source: str, progress: Progress, *, shared: bool = False) -> Credentials | None:
    content = _read(path, progress)
    if content is None:
        return None
    if not shared:
        _warn_if_open(path, progress)
    return _checked_token(content.decode("utf-8", "replace").strip(), source, progress)


def _checked_token(token: str, source: str, progress: Progress) -> Credentials | None:
    if not _fits_a_header(token):
        progress.note(f"{source} holds no usable token (empty, or with spaces or line breaks in it); it is left out")
        return None
    return Credentials.of_token(token, source)


def _fits_a_header(text: str) -> bool:
    """Whether ``text`` can be sent at all: the HTTP library would quote the secret in its complaint otherwise."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _key(environ: Mapping[str, str], home: Path, progress: Progress) -> Credentials | None:
    """User name and key: each from its variable, else from ``kaggle.json``."""
    username, key = environ.get("KAGGLE_USERNAME", "").strip(), environ.get("KAGGLE_KEY", "").strip()
    path, document = (None, {}) if username and key else _kaggle_json(environ, home, progress)
    sources = [name for name, value in (("KAGGLE_USERNAME", username), ("KAGGLE_KEY", key)) if value]
    username, key = username or str(document.get("username") or ""), key or str(document.get("key") or "")
    if not (username or key):
        return None
    source = " and ".join(sources + ([_shown(path, home)] if path and len(sources) < 2 else []))
    if not (_fits_a_header(username) and _fits_a_header(key)) or ":" in username:
        progress.note(f"{source}: a user name with its key is needed; it is left out")
        return None
    return Credentials.of_key(username, key, source)


def _kaggle_json(environ: Mapping[str, str], home: Path, progress: Progress) -> tuple[Path | None, Mapping[str, Any]]:
    for folder in _config_folders(environ, home):
        path = folder / "kaggle.json"
        document = _read_json(path, progress)
        if document is not None:
            _warn_if_open(path, progress)
            return path, document
    return None, {}


def _oauth_file(path: Path, progress: Progress) -> Credentials | None:
    document = _read_json(path, progress)
    if document is None:
        return None
    _warn_if_open(path, progress)
    if not _fits_a_header(str(document.get("refresh_token") or "")):
        progress.note("~/.kaggle/credentials.json holds no refresh token; it is left out: run kaggle auth login")
        return None
    return Credentials.of_oauth(document, "~/.kaggle/credentials.json")


def _notebook_secret(progress: Progress) -> Credentials | None:
    """A secret attached to the notebook: a token, or a user name with its key."""
    if importlib.util.find_spec("kaggle_secrets") is None:
        return None
    token = _secret("KAGGLE_API_TOKEN")
    if token:
        return _checked_token(token, "the notebook's secret KAGGLE_API_TOKEN", progress)
    username, key = _secret("KAGGLE_USERNAME"), _secret("KAGGLE_KEY")
    if _fits_a_header(username) and _fits_a_header(key):
        return Credentials.of_key(username, key, "the notebook's secrets KAGGLE_USERNAME and KAGGLE_KEY")
    return None


def _secret(label: str) -> str:
    """A notebook's secret by its label; empty when it is not attached or the internet is off."""
    from kaggle_secrets import UserSecretsClient  # type: ignore[import-not-found]

    try:
        return str(UserSecretsClient().get_secret(label) or "").strip()
    except Exception:  # its errors have no common root, and each one means: not to be had
        return ""


def _read(path: Path, progress: Progress) -> bytes | None:
    """The content of a file of credentials; None when it is not there or cannot be read."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError as error:
        progress.note(f"{path} cannot be read ({error.strerror}); it is left out")
        return None


def _read_json(path: Path, progress: Progress) -> Mapping[str, Any] | None:
    content = _read(path, progress)
    if content is None or not content.strip():
        return None
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict):
        return document
    progress.note(f"{path} is not the JSON that it should be; it is left out")
    return None


def _warn_if_open(path: Path, progress: Progress) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        progress.note(f"{path} can be read by other users of this machine: chmod 600 {path}")


def _shown(path: Path | None, home: Path) -> str:
    """``path`` with the home folder as ``~``."""
    if path is None:
        return ""
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
