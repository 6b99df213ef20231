"""Which server we speak to: Kaggle, or another one that the user names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kaggle_kit.errors import ServiceError, UsageError
from kaggle_kit.settings import ServiceSettings

VARIABLE = "KAGGLE_API_ENDPOINT"

_KAGGLE = ("kaggle.com", "www.kaggle.com", "api.kaggle.com")


@dataclass(frozen=True)
class Endpoint:
    """The server spoken to.

    Attributes:
        url: its base URL without ``/api/v1``; None for Kaggle itself.
        origin: the setting or variable that named it; empty for Kaggle itself.
    """

    url: str | None = None
    origin: str = ""

    @property
    def name(self) -> str:
        """What to call the server in a sentence."""
        return "Kaggle" if self.url is None else f"the server at {urlsplit(self.url).netloc}"

    @property
    def is_loopback(self) -> bool:
        """The server runs on this machine."""
        return self.url is not None and is_loopback(urlsplit(self.url).hostname or "")


def find_endpoint(settings: ServiceSettings, environ: Mapping[str, str]) -> Endpoint:
    """The server that the settings, or else ``KAGGLE_API_ENDPOINT``, name.

    Raises:
        UsageError: no URL, one with a password in it, or plain http to another machine.
    """
    given, origin = settings.endpoint, "service.endpoint"
    if not given:
        given, origin = environ.get(VARIABLE, "").strip(), VARIABLE
    if not given:
        return Endpoint()
    parts = _parse(given, origin)
    if parts.scheme == "https" and parts.hostname in _KAGGLE:
        return Endpoint()
    path = parts.path.rstrip("/").removesuffix("/v1").removesuffix("/api").rstrip("/")
    return Endpoint(f"{parts.scheme}://{parts.netloc}{path}", origin)


def _parse(given: str, origin: str):  # type: ignore[no-untyped-def]  # SplitResult of str
    try:
        parts = urlsplit(given)
        parts.port  # noqa: B018  # an impossible port is found out here
    except ValueError:
        raise UsageError(f"{origin} is not a URL", "give a base URL such as http://127.0.0.1:8000") from None
    if "@" in parts.netloc:
        raise UsageError(
            f"{origin} holds a user or password", "give the bare URL; credentials come from KAGGLE_API_TOKEN"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{origin} is not an http(s) URL: {given!r}", "give a base URL such as http://127.0.0.1:8000")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise UsageError(
            f"{origin} is plain http to another machine: {given!r}",
            "credentials would travel in the open: use https, or a server on this machine",
        )
    return parts


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, is this machine."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port."""
    first, second = urlsplit(one), urlsplit(other)
    ports = {"http": 80, "https": 443}
    return (first.scheme, first.hostname, first.port or ports.get(first.scheme)) == (
        second.scheme,
        second.hostname,
        second.port or ports.get(second.scheme),
    )


def check_link(url: str, what: str) -> str:
    """``url``, which the service gave us for ``what``, if it is safe to use.

    Raises:
        ServiceError: no http(s) address, or plain http to another machine. The address itself may hold a signature and is not shown.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return url
    raise ServiceError(
        f"the service's link for {what} is not safe: {parts.scheme or 'no scheme'} to {parts.hostname or 'no host'}",
        "only https, or http to this machine, is used",
    )
