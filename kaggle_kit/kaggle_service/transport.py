"""How requests travel: with timeouts, tries and a bound on every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from kaggle_kit.kaggle_service.failures import Refusal, Trouble, hidden_refusal, refusal_of, trouble_of
from kaggle_kit.kaggle_service.heads import bound_heads, heads_within
from kaggle_kit.kaggle_service.patience import Patience
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import ServiceSettings

ANSWER_LIMIT = 64 << 20
"""Bytes of an answer that is read into memory; a page of any list is far below."""

ERROR_LIMIT = 1 << 20
"""Bytes of an error's body that are read."""

BLOCK = 256 << 10
"""Bytes of a download that are held at a time."""

NETWORK_ERRORS = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)
"""What the libraries below raise when a request fails; all of it becomes a ``Trouble``."""

Judge = Callable[[Refusal | Trouble], bool]
"""Says whether another try is allowed after a failure."""


def any_temporary(failure: Refusal | Trouble) -> bool:
    """For calls that may be repeated: try again after whatever may pass."""
    return failure.temporary


def never_processed(failure: Refusal | Trouble) -> bool:
    """For calls that must not happen twice: try again only when the service cannot have acted."""
    return failure.temporary and not failure.processed


def never(_failure: Refusal | Trouble) -> bool:
    """For calls whose caller has a patience of its own."""
    return False


class PatientAdapter(HTTPAdapter):
    """Sends a request until it is answered or the settings' patience ends.

    Whatever goes wrong leaves as a ``Refusal``, a ``Trouble`` or a ``GaveUp``. A call without ``stream`` has its whole answer read here,
    so that the deadline and the size limit hold for the body, too; redirects are refused for it, as no call of the API has any.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        again: Judge = any_temporary,
        progress: Progress = SILENCE,
        who: str = "Kaggle",
        secrets: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._settings = settings
        self._again = again
        self._progress = progress
        self._who = who
        self._secrets = secrets
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of connections, as the library asks."""
        super().init_poolmanager(*arguments, **options)
        bound_heads(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """The pools of connections by a proxy."""
        pools = super().proxy_manager_for(*arguments, **options)
        bound_heads(pools)
        return pools

    def send(  # type: ignore[override]  # the library's own signature has no keyword-only part
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002  # as the library calls it
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send ``request``; ``timeout`` is ignored: the settings' timeouts hold."""
        patience = Patience(self._settings, progress=self._progress, what=self._who)
        if self._again is never_processed:
            self.close()  # a connection kept open may have died meanwhile: its loss would look like a lost answer
        while True:
            try:
                return self._once(request, patience, stream=stream, verify=verify, cert=cert, proxies=proxies)
            except (Refusal, Trouble) as failure:
                if not self._again(failure):
                    raise
                patience.wait(failure)

    def _once(
        self, request: requests.PreparedRequest, patience: Patience, *, stream: bool, **options: Any
    ) -> requests.Response:
        connect_s = min(self._settings.connect_timeout_s, patience.remaining_s)
        read_s = min(self._settings.read_timeout_s, patience.remaining_s)
        try:
            with heads_within(patience.remaining_s):
                response = super().send(request, stream=True, timeout=(connect_s, read_s), **options)
            if response.status_code < 300 or (stream and response.status_code < 400):
                if not stream:
                    self._read(response, patience)
                return response
            body = read_all(response, ERROR_LIMIT, patience, cut=True)
        except NETWORK_ERRORS as error:
            raise trouble_of(error, connect_s=connect_s, read_s=read_s) from None
        raise refusal_of(response, body, secrets=self._secrets())

    def _read(self, response: requests.Response, patience: Patience) -> None:
        body = read_all(response, ANSWER_LIMIT, patience)
        if refusal := hidden_refusal(response, body, secrets=self._secrets()):
            raise refusal
        _keep(response, body)


def _keep(response: requests.Response, body: bytes) -> None:
    """Make ``body`` what ``response.content`` gives."""
    response._content = body
    response._content_consumed = True  # type: ignore[attr-defined]


def read_all(response: requests.Response, limit: int, patience: Patience, *, cut: bool = False) -> bytes:
    """The decoded body of ``response``, at most ``limit`` bytes of it.

    Raises:
        Trouble: it is longer (unless ``cut``), or the deadline passed while it trickled in.
    """
    body = bytearray()
    with response:
        for block in blocks(response, decode=True):
            body += block
            if len(body) > limit:
                if cut:
                    break
                raise Trouble(f"an answer of more than {limit >> 20} MB came", permanent=True)
            if patience.expired:
                raise Trouble("the answer trickled in until the deadline passed")
    return bytes(body)


def blocks(response: requests.Response, *, decode: bool) -> Iterator[bytes]:
    """The body of ``response`` as it arrives, in blocks of at most ``BLOCK`` bytes.

    A block is handed on as soon as anything has come: waiting for a full one would let a trickling server outlast every deadline.
    """
    read = getattr(response.raw, "read1", None) or response.raw.read  # older urllib3 has none
    while block := read(BLOCK, decode_content=decode):
        yield block


def no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sends a request without credentials; None would let the library look into ~/.netrc."""
    return request


def plain_session(
    settings: ServiceSettings, *, loopback: bool, secrets: Callable[[], tuple[str, ...]]
) -> requests.Session:
    """A session for the storage behind signed links: no credentials, one try a request."""
    session = requests.Session()
    session.trust_env = not loopback
    session.auth = no_auth
    session.headers["Accept-Encoding"] = "identity"
    for prefix in ("https://", "http://"):
        session.mount(prefix, PatientAdapter(settings, again=never, secrets=secrets))
    return session
