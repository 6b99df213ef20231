"""How calls are made: a request of the official client, its answer, its pages, and failures explained."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urljoin

from kaggle_kit.errors import ServiceError
from kaggle_kit.kaggle_service.answers import Row, field, token_in
from kaggle_kit.kaggle_service.connection import Connection
from kaggle_kit.kaggle_service.endpoint import check_link
from kaggle_kit.kaggle_service.failures import AnswerLost, Call, GaveUp, Refusal, Trouble, explain
from kaggle_kit.kaggle_service.official import official_client_class
from kaggle_kit.settings import ServiceSettings

_MOST_PAGES = 10_000

T = TypeVar("T")


class Calls:
    """The calls of one of the service's parts.

    Args:
        connection: the line to the service.
        settings: size of a page.
        service: the part as addresses call it, such as ``kernels.KernelsApiService``.
        types: the official client's module with the part's requests.
    """

    def __init__(self, connection: Connection, settings: ServiceSettings, service: str, types: str) -> None:
        self.connection = connection
        self._settings = settings
        self._service = service
        self._types = types

    @property
    def who(self) -> str:
        """What to call the service in a sentence."""
        return self.connection.endpoint.name

    def request(self, kind: str, **values: Any) -> Any:
        """A request of the official client; its values are set one by one, as its makers take none."""
        official_client_class()
        types = importlib.import_module(self._types)
        request = getattr(types, kind)() if hasattr(types, kind) else None
        if request is None or not all(hasattr(request, name) for name in values):
            return HandmadeRequest(values)  # an older client that does not know the call, or the value, yet
        for name, value in values.items():
            setattr(request, name, value)
        return request

    def pages(self, method: str, kind: str, key: str, call: Call, **values: Any) -> Iterator[Row]:
        """The rows under ``key`` in every page of a list."""
        for answer in self.answers(method, kind, call, **values):
            yield from rows_in(answer, key)

    def answers(self, method: str, kind: str, call: Call, **values: Any) -> Iterator[Row]:
        """Every page of a list, as it was answered.

        Raises:
            ServiceError: the service repeats its pages without end.
        """
        token, seen = "", set[str]()
        for _ in range(_MOST_PAGES):
            request = self.request(kind, **values, page_size=self._settings.page_size, page_token=token)
            answer = self.rpc(method, request, call)
            yield answer
            token = token_in(answer, "nextPageToken")
            if not token:
                return
            if token in seen:
                break
            seen.add(token)
        raise ServiceError(f"{call.doing} failed: {self.who} repeats its pages without end", "run it again later")

    def answer(self, method: str, request: Any) -> Row:
        """Make a call and give its answer; failures leave as they are."""
        return self.connection.answer(method, request, self._service)

    def rpc(self, method: str, request: Any, call: Call) -> Row:
        """Make a call and give its answer; failures are explained."""
        return self.explained(lambda: self.answer(method, request), call)

    def explained(self, act: Callable[[], T], call: Call) -> T:
        """What ``act`` gives.

        Raises:
            KaggleKitError: what it failed with, in words for people.
        """
        try:
            return act()
        except (Refusal, Trouble, GaveUp) as failure:
            raise explain(failure, self.filled(call)) from None

    def once(self, method: str, request: Any, call: Call, lost: Callable[[str], AnswerLost]) -> Row:
        """The answer to a call that makes something: it is never made again when it may have been heard.

        Args:
            lost: the error for that case; is told what happened.

        Raises:
            AnswerLost: whether the call was heard is not known.
            KaggleKitError: it was not, or it was refused.
        """
        try:
            return self.answer(method, request)
        except (Refusal, Trouble, GaveUp) as failure:
            last = failure.failure if isinstance(failure, GaveUp) else failure
            if last.processed:
                raise lost(str(last)) from None
            raise explain(failure, self.filled(call)) from None

    def answer_if_there(
        self, method: str, request: Any, call: Call, *, absent: Collection[int] = (403, 404)
    ) -> Row | None:
        """The answer of what is asked about; None when the service refuses it with one of the statuses ``absent``.

        What does not exist is refused in either way: as missing, or as somebody else's.
        """

        def asked() -> Row | None:
            try:
                return self.answer(method, request)
            except Refusal as refusal:
                if refusal.status in absent:
                    return None
                raise

        return self.explained(asked, call)

    def upload_link(self, answer: Row, without: str) -> tuple[str, str]:
        """The token of the file to be and the signed link to send it to, in an answer that starts an upload.

        Raises:
            ServiceError: ``without`` says that one of them is not there; or the link is not safe to use.
        """
        token, link = token_in(answer, "token"), str(field(answer, "createUrl") or "")
        if not token or not link:
            raise ServiceError(f"{self.who} {without}", "run it again later")
        return token, check_link(urljoin(self.connection.endpoint.url or "", link), "the upload")

    def filled(self, call: Call) -> Call:
        """``call`` with whom we speak to and as whom."""
        return replace(call, who=self.who, source=self.connection.sources)


class HandmadeRequest:
    """A request that the installed official client has no type for, as the client sends it: a dictionary in camelCase."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def to_dict(self) -> dict[str, Any]:
        """The wire form."""
        return {_camel(name): _plain(value) for name, value in self._values.items() if value is not None}


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return getattr(value, "name", value)  # an enumeration's member travels as its name


def rows_in(answer: Row, key: str) -> list[Row]:
    """The rows of a list; a bare list, as the older dialect sends, is one, too."""
    rows = field(answer, key) or answer.get("") or []
    return [row for row in rows if isinstance(row, dict)]


def texts_in(answer: Row, key: str) -> list[str]:
    """The texts of a list; empty when it is absent."""
    values = field(answer, key)
    return [str(value) for value in values if value] if isinstance(values, list) else []
