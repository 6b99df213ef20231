"""What can go wrong with the service, and what each answer means to a person.

Inside this package an answer that says no is a :class:`Refusal`, an answer that never came whole is a :class:`Trouble`, and either one
after the last try is a :class:`GaveUp`. They leave the package as one of our errors, made by :func:`explain`.
"""

from __future__ import annotations

import re
import ssl
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import requests
import urllib3.exceptions

from kaggle_kit.errors import CredentialsError, KaggleKitError, MissingError, QuotaError, ServiceError

REASON_LIMIT = 4000
"""Characters of a service's reason that are kept."""

TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that another try may turn into an answer."""

WEB = "https://www.kaggle.com"


class AnswerLost(ServiceError):
    """Something that must not happen twice was asked for and the answer did not arrive: it may have happened.

    Look whether there is such a submission, version or data set before asking again.

    Attributes:
        why: what came instead of the answer; empty when the message tells.
    """

    kind = "answer_lost"

    def __init__(self, message: str, hint: str = "", *, why: str = "") -> None:
        super().__init__(message, hint)
        self.why = why


class Refusal(Exception):
    """An answer that says no.

    Attributes:
        status: the HTTP status.
        reason: the service's own words, one line a sentence; empty when it gave none.
        retry_after: seconds that the service asks to wait; None when it does not say.
        from_link: the answer came from the storage behind a signed link, not from the API.
    """

    def __init__(self, status: int, reason: str, *, retry_after: float | None = None, from_link: bool = False) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.from_link = from_link

    @property
    def temporary(self) -> bool:
        """Another try may help."""
        return self.status in TEMPORARY

    @property
    def processed(self) -> bool:
        """The service may have done what was asked, in spite of its answer."""
        return self.status >= 500 or self.status == 408

    def __str__(self) -> str:
        return f"{self.status} {self.reason or '(no reason given)'}"


class Trouble(Exception):
    """No whole answer came: a dropped connection, a silence, an answer that is not what was asked for.

    Attributes:
        processed: the service may have received the request and acted on it.
        permanent: another try would end the same way.
    """

    retry_after: float | None = None

    def __init__(self, text: str, *, processed: bool = True, permanent: bool = False) -> None:
        super().__init__(text)
        self.processed = processed
        self.permanent = permanent

    @property
    def temporary(self) -> bool:
        """Another try may help."""
        return not self.permanent


class GaveUp(Exception):
    """The last failure, after every try that the settings allow.

    Attributes:
        failure: the last failure.
        why: why there was no further try.
    """

    def __init__(self, failure: Refusal | Trouble, why: str) -> None:
        super().__init__(failure, why)
        self.failure = failure
        self.why = why


def refusal_of(response: requests.Response, body: bytes, *, secrets: Iterable[str] = ()) -> Refusal:
    """The refusal in ``response``, whose body was read into ``body``."""
    reason = clean(reason_in(body, response.headers.get("Content-Type", "")), secrets)
    if response.is_redirect:
        reason = "redirected elsewhere: a login page or proxy in between?"
    wait_s = retry_after_of(response.headers.get("Retry-After"), now=http_date(response.headers.get("Date", "")))
    return Refusal(response.status_code, reason, retry_after=wait_s)


def hidden_refusal(response: requests.Response, body: bytes, *, secrets: Iterable[str] = ()) -> Refusal | None:
    """The refusal in an answer whose status says that all is well: JSON with a ``code`` of 400 or more."""
    if len(body) > REASON_LIMIT or b'"code"' not in body or "json" not in response.headers.get("Content-Type", ""):
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    inner = document.get("error", document) if isinstance(document, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else None
    if not isinstance(code, int) or code < 400:
        return None
    refusal = refusal_of(response, body, secrets=secrets)
    refusal.status = code
    return refusal


def reason_in(body: bytes, content_type: str = "") -> str:
    """The reason in an error's body: either JSON shape of the service, a page's title, or plain text."""
    if is_page(body, content_type):
        return _page_title(body)
    try:
        return _message_in(orjson.loads(body)) if body.strip() else ""
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace").strip()


def _message_in(document: Any) -> str:
    """The message of ``{"error": {"message"}}`` (RPC), ``{"message"}`` (REST), ``{"error": "text"}`` or ``{"errors": [...]}``."""
    if isinstance(document, str):
        return document
    if isinstance(document, list):
        return "; ".join(filter(None, map(_message_in, document)))
    if not isinstance(document, dict):
        return ""
    for key in ("error", "message", "errors", "detail", "status"):
        if found := _message_in(document.get(key)):
            return found
    return ""


def is_page(body: bytes, content_type: str = "") -> bool:
    """Whether ``body`` is an HTML page, by its label or by its beginning."""
    head = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "text/html" in content_type.lower() or head.startswith((b"<!doctype html", b"<html"))


def _page_title(body: bytes) -> str:
    title = re.search(rb"<title[^>]*>(.*?)</title>", body[:65536], re.IGNORECASE | re.DOTALL)
    words = " ".join(title.group(1).decode("utf-8", "replace").split()) if title else ""
    return f"an HTML page{f' titled {words!r}' if words else ''}, not an answer of the service"


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` from outside made fit to show: no control characters, no secret, no more than ``REASON_LIMIT`` characters."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    kept = "".join(
        character if character == "\n" or unicodedata.category(character) not in ("Cc", "Cf") else " "
        for character in text.replace("\r\n", "\n")
    ).strip()
    return kept if len(kept) <= REASON_LIMIT else kept[:REASON_LIMIT] + " ..."


def retry_after_of(header: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, given as seconds or as a date; None when it says nothing usable.

    Args:
        now: the time by the service's clock; this machine's when None.
    """
    if not header:
        return None
    try:
        return max(0.0, float(header)) if float(header) == float(header) else None
    except ValueError:
        pass
    moment = http_date(header)
    return None if moment is None else max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def http_date(header: str) -> datetime | None:
    """The date in a header, aware; None when there is none."""
    try:
        return datetime.strptime(header.strip(), "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
    except ValueError:
        return None


_NAME_ERROR: type[Exception] = getattr(
    urllib3.exceptions, "NameResolutionError", type("NameResolutionError", (Exception,), {})
)
# urllib3 before 2 has no error of its own for names


def trouble_of(error: Exception, *, connect_s: float, read_s: float) -> Trouble:
    """Network trouble in words of our own: the library's texts hold whole addresses, signatures included."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Trouble(f"no connection within {connect_s:g} s", processed=False)
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        return Trouble(f"no answer within {read_s:g} s")
    if _has_cause(error, ssl.SSLCertVerificationError):
        return Trouble(
            "the secure connection was refused: its certificate is not trusted", processed=False, permanent=True
        )
    if _has_cause(error, ssl.SSLError, requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        return Trouble("the secure connection broke")
    if isinstance(error, requests.exceptions.ProxyError):
        return Trouble("the proxy refused the connection (see HTTPS_PROXY)", processed=False)
    if _has_cause(error, _NAME_ERROR):
        return Trouble("the server's name could not be resolved; is the network up?", processed=False)
    if _has_cause(error, urllib3.exceptions.NewConnectionError):
        return Trouble("the connection was refused", processed=False)
    dropped = (
        requests.exceptions.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.HTTPError,
        OSError,
    )
    if isinstance(error, dropped) and not isinstance(error, requests.exceptions.InvalidURL):
        return Trouble("the connection was dropped")
    return Trouble(f"the request failed ({type(error).__name__})", permanent=True)


def _has_cause(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    """Whether ``error`` is, wraps or came from one of ``kinds``: urllib3's errors travel inside those of requests."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop()
        if isinstance(current, kinds):
            return True
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
    return False


@dataclass(frozen=True)
class Call:
    """What was being done when a failure came, for the error's text.

    Attributes:
        doing: what, as in "listing the files".
        who: whom we speak to: "Kaggle" or "the server at HOST".
        slug: the competition; empty when none is concerned.
        source: where the credentials came from.
        missing: what a 404 means, as in "no file train.npz in aml-competition".
        link: the page that shows what was asked for, where it is no competition's.
    """

    doing: str
    who: str = "Kaggle"
    slug: str = ""
    source: str = "unknown"
    missing: str = ""
    link: str = ""

    @property
    def page(self) -> str:
        """The page on the web of what was asked for."""
        return self.link or f"{WEB}/competitions/{self.slug}"


def explain(failure: Refusal | Trouble | GaveUp, call: Call) -> KaggleKitError:
    """The error that a user sees: what was done, what the service said, what to do about it."""
    if isinstance(failure, GaveUp):
        return _explained(failure.failure, call, f" ({failure.why})")
    return _explained(failure, call, "")


def _explained(failure: Refusal | Trouble, call: Call, why: str) -> KaggleKitError:
    if isinstance(failure, Trouble):
        return ServiceError(
            f"{call.doing} failed: {call.who}: {failure}{why}", "check the network, then run the same command again"
        )
    makers = {400: _bad_request, 401: _unauthorised, 403: _forbidden, 404: _not_found}
    if not failure.from_link and failure.status in makers:
        return makers[failure.status](failure, call)
    return _service_error(failure, call, why)


def _says(failure: Refusal) -> str:
    return failure.reason or "(no reason given)"


def _service_error(failure: Refusal, call: Call, why: str) -> ServiceError:
    hint = "the service has trouble of its own: run the same command again later"
    if failure.status == 429:
        hint = "too many requests in a short time: wait some minutes, then run the same command again"
    elif failure.status < 500:
        hint = "run the same command again; when it stays so, look at the service's own page in a browser"
    return ServiceError(f"{call.doing} failed: {call.who} answered {failure.status}: {_says(failure)}{why}", hint)


def _unauthorised(failure: Refusal, call: Call) -> CredentialsError:
    return CredentialsError(
        f"{call.who} refused the credentials from {call.source} (401: {_says(failure)})",
        f"they are wrong, expired or revoked: make a new token at {WEB}/settings/api and put it into KAGGLE_API_TOKEN or "
        "~/.kaggle/access_token (a proxy that removes the Authorization header has the same effect)",
    )


def _forbidden(failure: Refusal, call: Call) -> CredentialsError:
    reason = failure.reason.lower()
    told = f"{call.doing} was refused (403: {_says(failure)})"
    if "rules" in reason and "accept" in reason:
        return rules_not_accepted(call, told)
    if "competitions.participate" in reason:
        return CredentialsError(
            f"{told}: the account behind {call.source} has not joined {call.slug!r}, or its token may only read",
            f"join at {call.page}/rules with that account, or make a token with full permissions at {WEB}/settings/api; "
            "a mistyped competition name is refused with the same words",
        )
    if "competitions.get" in reason:
        return CredentialsError(
            f"{told}: {call.slug!r} is not a competition that the account behind {call.source} can see",
            f"check the name (the last part of the competition's address, {call.page}); a private one needs an invitation",
        )
    if call.link:
        return CredentialsError(
            told,
            f"check the name at {call.link}: a mistyped one, and one of another account than the one behind {call.source}, "
            "is refused with the same words; a token that may only read is, too",
        )
    return CredentialsError(
        told, f"open {call.page} with the account behind {call.source}: joined, rules accepted, phone number verified?"
    )


def rules_not_accepted(call: Call, told: str = "") -> CredentialsError:
    """The error for a competition whose rules the account has not accepted."""
    return CredentialsError(
        told or f"the account behind {call.source} has not joined {call.slug!r}",
        f"accept the rules at {call.page}/rules with that account, then run the same command again",
    )


def _not_found(failure: Refusal, call: Call) -> MissingError:
    return MissingError(
        f"{call.who} knows {call.missing or f'nothing of that name: {call.doing}'} (404: {_says(failure)})",
        f"check the name at {call.page}" if call.slug or call.link else "",
    )


_LIMIT = re.compile(
    r"daily submission|submission allowance|submission limit|maximum number of submissions", re.IGNORECASE
)


def _bad_request(failure: Refusal, call: Call) -> KaggleKitError:
    if _LIMIT.search(failure.reason):
        return QuotaError(
            f"{call.who} refused the submission: {failure.reason}", f"the limit is reset in {until_reset()}"
        )
    if not failure.reason:
        return ServiceError(
            f"{call.doing} was refused by {call.who} without a reason (400, empty answer)",
            f"known causes: the deadline has passed, the competition takes notebooks only, a description it dislikes; see {call.page}",
        )
    return ServiceError(
        f"{call.doing} was refused by {call.who} (400: {failure.reason})", f"see {call.page}" if call.slug else ""
    )


def next_reset(now: datetime | None = None) -> datetime:
    """When the count of today's submissions starts anew: the next midnight, UTC."""
    now = (now or datetime.now(UTC)).astimezone(UTC)
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def until_reset(now: datetime | None = None) -> str:
    """The time until :func:`next_reset` in words."""
    now = now or datetime.now(UTC)
    minutes = max(1, round((next_reset(now) - now).total_seconds() / 60))
    return f"{minutes // 60} h {minutes % 60} min (midnight UTC)"
