"""The line to the service: the official client's session, signed, made patient, and bounded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urljoin

import orjson
import requests

from kaggle_kit.errors import CredentialsError
from kaggle_kit.kaggle_service.answers import Row, token_in, whole
from kaggle_kit.kaggle_service.credentials import Credentials, all_credentials, places_looked
from kaggle_kit.kaggle_service.endpoint import check_link, find_endpoint, same_origin
from kaggle_kit.kaggle_service.failures import Refusal, Trouble, is_page
from kaggle_kit.kaggle_service.official import official_client_class, official_version
from kaggle_kit.kaggle_service.transport import (
    Judge,
    PatientAdapter,
    any_temporary,
    never,
    never_processed,
    no_auth,
    plain_session,
)
from kaggle_kit.notebook import in_notebook
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import ServiceSettings
from kaggle_kit.version import VERSION

COMPETITIONS = "competitions.CompetitionApiService"
KERNELS = "kernels.KernelsApiService"
DATASETS = "datasets.DatasetApiService"

LOG_ROUTE = "kernels/logs/stream"

_ONCE = (
    (COMPETITIONS, "CreateSubmission"),
    (COMPETITIONS, "CreateCodeSubmission"),
    (KERNELS, "SaveKernel"),
    (DATASETS, "CreateDataset"),
    (DATASETS, "CreateDatasetVersion"),
)
_DOWNLOADING = ("DownloadDataFile", "DownloadDataFiles")

_MOST_REDIRECTS = 5

_SHORTEST_SECRET = 8
"""Characters from which a secret found in an answer is a secret and no chance."""

_LOG_IN = (
    "make a token at https://www.kaggle.com/settings/api and put it into ~/.kaggle/access_token or KAGGLE_API_TOKEN"
)
_LOG_IN_THERE = (
    "switch the notebook's internet on: it is then logged in by itself; without internet, save its version and submit that: "
    "kk submit --kernel OWNER/SLUG --kernel-version N"
)

T = TypeVar("T")


class Connection:
    """Calls to the service, with the first credentials that it accepts.

    Failures leave as ``Refusal``, ``Trouble`` or ``GaveUp``; only the lack of credentials is an error for users already.

    Args:
        settings: timeouts, tries and waits; the endpoint.
        environ: where credentials and the endpoint are looked for.
        progress: told about waits and refused credentials.
        credentials: these and no others; None looks for them.

    Raises:
        UsageError: the endpoint is no URL that may be used.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        environ: Mapping[str, str] = os.environ,
        progress: Progress = SILENCE,
        credentials: Credentials | None = None,
    ) -> None:
        self.endpoint = find_endpoint(settings, environ)
        self._settings = settings
        self._environ = environ
        self._progress = progress
        self._given = credentials
        self._candidates: Iterator[Credentials] | None = None
        self._credentials: Credentials | None = None
        self._refused: list[str] = []
        self._secrets: list[str] = []
        self._http: Any = None
        self._storage: requests.Session | None = None

    @property
    def credentials(self) -> Credentials:
        """The credentials in use.

        Raises:
            CredentialsError: there are none; the text says where they were looked for.
        """
        if self._credentials is None:
            self._use_next_credentials()
        assert self._credentials is not None
        return self._credentials

    @property
    def sources(self) -> str:
        """Where the credentials in use, and those refused before them, came from."""
        used = [self._credentials.source] if self._credentials else []
        return " and ".join(dict.fromkeys([*self._refused, *used])) or "unknown"

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        for session in (getattr(self._http, "_session", None), self._storage):
            if session is not None:
                session.close()

    def answer(self, method: str, request: Any, service: str = COMPETITIONS) -> Row:
        """Make a call and give the JSON object that it is answered with."""

        def ask() -> Row:
            http = self._client()
            try:
                response = http.call(service, method, request, _WholeResponse)
            except (ValueError, TypeError, requests.exceptions.RequestException):
                raise Trouble("its answer is not the JSON that it should be", permanent=True) from None
            return _document(response, self.secrets())

        return self._signed(ask)

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: everything secret in the credentials used so far."""
        return tuple(self._secrets)

    def open_link(self, method: str, request: Any, headers: Mapping[str, str]) -> requests.Response:
        """Ask for a fresh link and open it with ``headers``; a server may also answer with the file at once."""

        def ask() -> requests.Response:
            http = self._client()
            prepared = http._prepare_request(COMPETITIONS, method, request)
            prepared.headers.update({"Accept-Encoding": "identity", **headers})
            response: requests.Response = http._session.send(
                prepared, stream=True, allow_redirects=False, **self._proxies(http._session, prepared.url)
            )
            return response

        return self._followed(self._signed(ask), headers)

    def open_log(self, kernel: str) -> requests.Response:
        """Open the log of the notebook ``owner/slug``: a stream while it runs, the stored file afterwards."""
        headers = {"Accept": "text/event-stream, */*", "Content-Type": None}

        def ask() -> requests.Response:
            http = self._client()
            link = self._rest(http, f"{LOG_ROUTE}/{quote(kernel)}")
            response: requests.Response = http._session.get(link, headers=headers, stream=True, allow_redirects=False)
            return response

        return self._followed(self._signed(ask), {})

    def open_file(self, link: str, headers: Mapping[str, str]) -> requests.Response:
        """Open a signed link that the service gave in an answer."""
        link = check_link(urljoin(self.endpoint.url or "", link), "a download")
        return self._followed(self._open_storage(link, headers), headers)

    def _followed(self, response: requests.Response, headers: Mapping[str, str]) -> requests.Response:
        """What the redirects of ``response`` lead to."""
        for _ in range(_MOST_REDIRECTS):
            if not response.is_redirect:
                return response
            with response:
                link = check_link(urljoin(response.url, response.headers["Location"]), "a download")
            response = self._open_storage(link, headers)
        raise Trouble("the link leads from server to server without end")

    def _open_storage(self, link: str, headers: Mapping[str, str]) -> requests.Response:
        # Our credentials go to the API's own origin only, never to the storage that a link names.
        at_home = self.endpoint.url is not None and same_origin(link, self.endpoint.url)
        try:
            return self.storage.get(
                link,
                headers=dict(headers),
                auth=self.credentials if at_home else no_auth,
                stream=True,
                allow_redirects=False,
            )
        except Refusal as refusal:
            refusal.from_link = True
            raise

    def _signed(self, act: Callable[[], T]) -> T:
        """``act`` with the credentials in use; with the next ones found when those are refused."""
        while True:
            try:
                return act()
            except Refusal as refusal:
                if refusal.status != 401 or refusal.from_link or not self._another_source(refusal):
                    raise

    def _another_source(self, refusal: Refusal) -> bool:
        refused = self.credentials
        try:
            self._use_next_credentials()
        except CredentialsError:
            return False
        self._refused.append(refused.source)
        self._progress.note(
            f"{self.endpoint.name} refused the credentials from {refused.source} ({refusal}); using those from {self.credentials.source}"
        )
        return True

    def _use_next_credentials(self) -> None:
        if self._candidates is None:
            given = iter([self._given]) if self._given is not None else None
            self._candidates = given or all_credentials(self._environ, progress=self._progress)
        found = next(self._candidates, None)
        if found is None:
            raise CredentialsError(
                f"no credentials for {self.endpoint.name}; looked for: {', '.join(places_looked(self._environ))}",
                _LOG_IN_THERE if in_notebook(self._environ) else _LOG_IN,
            )
        self._credentials = found
        self._secrets += found.secrets
        if self._http is not None:
            self._http._session.auth = found

    def _client(self) -> Any:
        """The official client's HTTP side, signed with credentials that are not about to expire."""
        credentials = self.credentials
        if self._http is None:
            self._http = self._build_client()
        if credentials.needs_renewal:
            self._renew(credentials)
        return self._http

    def _build_client(self) -> Any:
        from kagglesdk import KaggleEnv

        http = official_client_class()().build_kaggle_client().http_client()
        if self.endpoint.url is not None:
            http._endpoint, http._env = (
                self.endpoint.url,
                KaggleEnv.LOCAL,
            )  # its addresses begin with {endpoint}/api/v1
        http._signed_in = False  # keeps it from looking for credentials itself: it prefers stale ones
        http._init_session()
        self._prepare(http._session, http)
        return http

    def _prepare(self, session: requests.Session, http: Any) -> None:
        """Make the official session patient and sign it with our credentials and no others."""
        session.auth = self.credentials
        session.trust_env = not self.endpoint.is_loopback
        session.headers["User-Agent"] = f"kaggle-kit/{VERSION} kaggle/{official_version()}"
        for prefix in ("https://", "http://"):
            session.mount(prefix, self._adapter(any_temporary))
        for service, method in _ONCE:  # the longest prefix wins: nothing is submitted, run or published twice
            session.mount(http._get_request_url(service, method), self._adapter(never_processed))
        for method in _DOWNLOADING:
            session.mount(http._get_request_url(COMPETITIONS, method), self._adapter(never))
        quiet = replace(self._settings, read_timeout_s=self._settings.log_quiet_s)
        session.mount(self._rest(http, LOG_ROUTE), self._adapter(never, quiet))

    @staticmethod
    def _rest(http: Any, route: str) -> str:
        """The address of a part of the API that is no remote call; the same origin, another path."""
        from kagglesdk import KaggleEnv

        base = http._endpoint if http._env == KaggleEnv.PROD else f"{http._endpoint}/api"
        return f"{base}/v1/{route}"

    def _adapter(self, again: Judge, settings: ServiceSettings | None = None) -> PatientAdapter:
        return PatientAdapter(
            settings or self._settings,
            again=again,
            progress=self._progress,
            who=self.endpoint.name,
            secrets=self.secrets,
        )

    @property
    def storage(self) -> requests.Session:
        """A session for what lies behind signed links: without credentials, one try a request."""
        if self._storage is None:
            self._storage = plain_session(self._settings, loopback=self.endpoint.is_loopback, secrets=self.secrets)
        return self._storage

    def _proxies(self, session: requests.Session, url: str) -> Mapping[str, Any]:
        settings = session.merge_environment_settings(url, {}, None, None, None)
        return {name: settings[name] for name in ("proxies", "verify", "cert")}

    def _renew(self, credentials: Credentials) -> None:
        """Buy a new access token with the refresh token of an OAuth login. It is kept in memory; the login's file stays as it is."""
        from kagglesdk.users.types.account_service import ApiVersion, GenerateAccessTokenRequest

        request = GenerateAccessTokenRequest()
        request.refresh_token = credentials.refresh_token
        request.api_version = ApiVersion.API_VERSION_V1
        self._http._session.auth = no_auth
        try:
            response = self._http.call("users.AccountService", "GenerateAccessToken", request, _WholeResponse)
        except Refusal as refusal:  # an expired login is a refused source like any other
            raise Refusal(401, refusal.reason) from None
        finally:
            self._http._session.auth = credentials
        answer = _document(response)
        credentials.renew(token_in(answer, "token"), float(whole(answer, "expiresIn") or 3600))
        self._secrets += credentials.secrets


class _WholeResponse:
    """Stands where the official client expects a type of answer: hands the response on as it came.

    Its own types cannot tell a field that is absent from one that is false, and fail on lists that are null.
    """

    @classmethod
    def prepare_from(cls, response: requests.Response) -> requests.Response:
        return response


def _document(response: requests.Response, secrets: tuple[str, ...] = ()) -> Row:
    """The JSON object in an answer, which repeats no secret."""
    body = response.content
    for secret in secrets:
        body = body.replace(secret.encode(), b"***") if len(secret) >= _SHORTEST_SECRET else body
    if is_page(body, response.headers.get("Content-Type", "")):
        raise Trouble("an HTML page came instead of an answer: a login page or proxy in between?", permanent=True)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        what = "an empty answer came" if not body.strip() else "its answer is not JSON"
        raise Trouble(what, permanent=True) from None
    if isinstance(document, list):
        return {"": document}
    if not isinstance(document, dict):
        raise Trouble("its answer is not a JSON object", permanent=True)
    return document
