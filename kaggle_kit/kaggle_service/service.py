"""The competition calls that we make, over the official client's own requests and session."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

import orjson
import requests

from kaggle_kit.errors import CredentialsError, KaggleKitError, MissingError, ServiceError
from kaggle_kit.files import sha256_of
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import ServiceSettings
from kaggle_kit.version import VERSION

from .answers import (
    CompetitionInfo,
    LeaderboardRow,
    Limits,
    RemoteFile,
    RemoteSubmission,
    Row,
    competition_of,
    field,
    file_of,
    leaderboard_row_of,
    slug_of,
    submission_of,
    text,
    whole,
)
from .credentials import Credentials, all_credentials, places_looked
from .download import Download, Downloaded
from .endpoint import check_link, find_endpoint, same_origin
from .failures import AnswerLost, Call, GaveUp, Refusal, Trouble, explain, is_page, next_reset, rules_not_accepted
from .official import official_client_class, official_version
from .transport import Judge, PatientAdapter, any_temporary, never, never_processed, plain_session
from .unpack import single_member, unpack
from .upload import Upload

COMPETITIONS = "competitions.CompetitionApiService"

_SUBMITTING = ("CreateSubmission", "CreateCodeSubmission")
_DOWNLOADING = ("DownloadDataFile", "DownloadDataFiles")

_MOST_REDIRECTS = 5
_MOST_PAGES = 10_000

T = TypeVar("T")


class KaggleService:
    """Kaggle, or another server that speaks its language.

    Nothing happens before the first call: no import of ``kaggle``, no look for credentials. Every failure is one of our errors, with the
    service's own reason.

    Args:
        settings: timeouts, tries and waits; the endpoint.
        environ: where credentials and ``KAGGLE_API_ENDPOINT`` are looked for.
        progress: told about waits, credentials that were refused, transfers.
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
        self._settings = settings
        self._environ = environ
        self._progress = progress
        self._endpoint = find_endpoint(settings, environ)
        self._given = credentials
        self._candidates: Iterator[Credentials] | None = None
        self._credentials: Credentials | None = None
        self._refused: list[str] = []
        self._secrets: list[str] = []
        self._http: Any = None
        self._storage: requests.Session | None = None
        self._daily_limits: dict[str, int] = {}

    @property
    def endpoint(self) -> str | None:
        """The base URL of the other server that is used instead of Kaggle; None for Kaggle."""
        return self._endpoint.url

    @property
    def name(self) -> str:
        """What to call the service in a sentence: "Kaggle", or the other server by its host."""
        return self._endpoint.name

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

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        for session in (getattr(self._http, "_session", None), self._storage):
            if session is not None:
                session.close()

    # -- competitions ------------------------------------------------------------------------------------------------

    def competition(self, slug: str) -> CompetitionInfo:
        """The competition ``slug``.

        Raises:
            CredentialsError: refused; MissingError: no such competition. Both name similar ones that exist.
        """
        request = self._request("ApiGetCompetitionRequest", competition_name=slug)
        call = Call("looking up the competition", slug=slug, missing=f"no competition {slug!r}")
        try:
            info = competition_of(self._rpc("GetCompetition", request, call), slug)
        except (CredentialsError, MissingError) as error:
            raise self._with_similar(error, slug) from None
        if info.max_daily_submissions:
            self._daily_limits[slug] = info.max_daily_submissions
        return info

    def require_entered(self, slug: str) -> CompetitionInfo:
        """The competition, unless the service says that its rules are not accepted; saying nothing is no refusal.

        Raises:
            CredentialsError: not entered; the text holds the address of the rules.
        """
        info = self.competition(slug)
        if info.entered is False:
            raise rules_not_accepted(self._filled(Call("entering", slug=slug)))
        return info

    def similar_competitions(self, slug: str) -> list[str]:
        """Slugs like ``slug`` among the competitions entered and those found by its words; empty when none or not to be had."""
        known: list[str] = []
        for options in ({"group": "COMPETITION_LIST_TAB_ENTERED"}, {"search": slug}):
            with suppress(KaggleKitError, AttributeError, KeyError):
                answer = self._rpc("ListCompetitions", self._list_request(**options), Call("listing competitions"))
                known += [name for row in _rows(answer, "competitions") if (name := slug_of(row)) and name not in known]
        return difflib.get_close_matches(slug, known, n=3, cutoff=0.6)

    def _list_request(self, group: str = "", search: str = "") -> Any:
        request = self._request("ApiListCompetitionsRequest", page_size=min(50, self._settings.page_size))
        if group:
            from kagglesdk.competitions.types.competition_enums import CompetitionListTab

            request.group = CompetitionListTab[group]
        if search:
            request.search = search
        return request

    def _with_similar(self, error: CredentialsError | MissingError, slug: str) -> KaggleKitError:
        similar = self.similar_competitions(slug)
        if not similar or similar[0] == slug:
            return error
        return type(error)(error.message, f"did you mean {' or '.join(similar)}? Otherwise: {error.hint}")

    # -- files -------------------------------------------------------------------------------------------------------

    def files(self, slug: str) -> list[RemoteFile]:
        """Every file of the competition, all pages of the list."""
        call = Call("listing the files", slug=slug, missing=f"no competition {slug!r}")
        rows = self._pages("ListDataFiles", "ApiListDataFilesRequest", "files", call, competition_name=slug)
        return [file for row in rows if (file := file_of(row)).name]

    def download(self, slug: str, name: str, target: Path, *, expected_size: int | None = None) -> Downloaded:
        """Download one file to ``target``, continuing an earlier part; a zip that the service made around it is unpacked.

        Args:
            expected_size: bytes according to the list of files.

        Raises:
            CredentialsError: credentials refused, or rules not accepted.
            MissingError: no such file.
            ServiceError: patience ended; run again to continue.
            DiskFullError: not enough space.
        """
        request = self._request("ApiDownloadDataFileRequest", competition_name=slug, file_name=name)
        call = Call(f"downloading {name}", slug=slug, missing=f"no file {name!r} in {slug!r}")
        downloaded = self._download("DownloadDataFile", request, target, call, name=name, expected_size=expected_size)
        member = single_member(target, target.name)
        return downloaded if member is None else _unwrapped(downloaded, member)

    def download_all(self, slug: str, target_zip: Path, *, expected_size: int | None = None) -> Downloaded:
        """Download all files as one zip to ``target_zip``; raises as :meth:`download`."""
        request = self._request("ApiDownloadDataFilesRequest", competition_name=slug)
        call = Call("downloading all files", slug=slug, missing=f"no competition {slug!r}")
        return self._download(
            "DownloadDataFiles", request, target_zip, call, name=f"{slug}.zip", expected_size=expected_size
        )

    def _download(
        self, method: str, request: Any, target: Path, call: Call, *, name: str, expected_size: int | None
    ) -> Downloaded:
        download = Download(
            lambda headers: self._open_link(method, request, headers),
            target,
            name=name,
            identity={"competition": call.slug, "name": name, "server": self._endpoint.url or "kaggle"},
            settings=self._settings,
            progress=self._progress,
            expected_size=expected_size,
            who=self.name,
        )
        return self._explained(download.run, call)

    def _open_link(self, method: str, request: Any, headers: Mapping[str, str]) -> requests.Response:
        """Ask for a fresh link and open it with ``headers``; a server may also answer with the file at once."""

        def ask() -> requests.Response:
            http = self._client()
            prepared = http._prepare_request(COMPETITIONS, method, request)
            prepared.headers.update({"Accept-Encoding": "identity", **headers})
            response: requests.Response = http._session.send(
                prepared, stream=True, allow_redirects=False, **self._proxies(http._session, prepared.url)
            )
            return response

        response = self._signed(ask)
        for _ in range(_MOST_REDIRECTS):
            if not response.is_redirect:
                return response
            with response:
                link = check_link(urljoin(response.url, response.headers["Location"]), "a download")
            response = self._open_storage(link, headers)
        raise Trouble("the link leads from server to server without end")

    def _open_storage(self, link: str, headers: Mapping[str, str]) -> requests.Response:
        # Our credentials go to the API's own origin only, never to the storage that a link names.
        at_home = self._endpoint.url is not None and same_origin(link, self._endpoint.url)
        try:
            return self._storage_session().get(
                link,
                headers=dict(headers),
                auth=self.credentials if at_home else _no_auth,
                stream=True,
                allow_redirects=False,
            )
        except Refusal as refusal:
            refusal.from_link = True
            raise

    # -- submitting --------------------------------------------------------------------------------------------------

    def limits(self, slug: str) -> Limits:
        """How many submissions are left today; counted from the list of submissions when the service has no such call."""
        call = Call("asking for the submissions left", slug=slug, missing=f"no competition {slug!r}")
        per_day = self._daily_limits.get(slug)
        try:
            request = self._request("ApiGetSubmissionLimitsRequest", competition_name=slug)
            answer = self._rpc("GetSubmissionLimits", request, call)
        except (AttributeError, MissingError):  # a client before 2.2.4, or a server without the call
            used, allowed = self._used_today(slug), None
        else:
            used, allowed = whole(answer, "numToday") or 0, whole(answer, "numAllowedNow")
            if allowed is None and field(answer, "limitedByTotal"):
                allowed = 0  # left out, as zeros are
        if allowed is None and per_day is None:
            per_day = self.competition(slug).max_daily_submissions
        if allowed is None and per_day is not None:
            allowed = max(0, per_day - used)
        return Limits(used, allowed, per_day, next_reset())

    def _used_today(self, slug: str) -> int:
        today = datetime.now(UTC).date()
        rows = self.submissions(slug)
        return sum(row.status != "ERROR" and row.date is not None and row.date.date() == today for row in rows)

    def upload(self, path: Path, slug: str, *, on_token: Callable[[str], None] = lambda token: None) -> str:
        """Send a file to the storage; nothing is submitted yet.

        Args:
            on_token: told the upload's token before the first byte is sent, and again if a new one is needed.

        Returns:
            The token that :meth:`create_submission` takes.

        Raises:
            CredentialsError: refused; ServiceError: the upload failed, and nothing was submitted.
        """
        call = Call(f"sending {path.name}", slug=slug, missing=f"no competition {slug!r}")
        upload = Upload(
            path,
            lambda: self._start_upload(path, slug, call),
            session=self._storage_session(),
            settings=self._settings,
            progress=self._progress,
            on_token=on_token,
            who=self.name,
        )
        return self._explained(upload.run, call)

    def _start_upload(self, path: Path, slug: str, call: Call) -> tuple[str, str]:
        status = path.stat()
        request = self._request(
            "ApiStartSubmissionUploadRequest",
            competition_name=slug,
            file_name=path.name,
            content_length=status.st_size,
            last_modified_epoch_seconds=int(status.st_mtime),
        )
        answer = self._rpc("StartSubmissionUpload", request, call)
        token, link = text(answer, "token"), str(field(answer, "createUrl") or "")
        if not token or not link:
            raise ServiceError(
                f"{self.name} started no upload: no token or no link in its answer", "run it again later"
            )
        return token, check_link(urljoin(self._endpoint.url or "", link), "the upload")

    def create_submission(self, slug: str, token: str, description: str) -> int:
        """Submit an uploaded file; the service's number of the submission.

        Raises:
            AnswerLost: the submission may exist: ask for :meth:`submissions` before asking again.
            QuotaError: none left today; CredentialsError: not entered, or a token that may not submit; ServiceError: refused.
        """
        request = self._request(
            "ApiCreateSubmissionRequest",
            competition_name=slug,
            blob_file_tokens=token,
            submission_description=description,
        )
        return self._create("CreateSubmission", request, slug)

    def create_code_submission(self, slug: str, kernel: str, version: int, file_name: str, description: str) -> int:
        """Submit the output file of a notebook's version (``kernel`` is ``owner/slug``); raises as :meth:`create_submission`."""
        owner, _, notebook = kernel.partition("/")
        request = self._request(
            "ApiCreateCodeSubmissionRequest",
            competition_name=slug,
            kernel_owner=owner,
            kernel_slug=notebook,
            kernel_version=version,
            file_name=file_name,
            submission_description=description,
        )
        return self._create("CreateCodeSubmission", request, slug)

    def _create(self, method: str, request: Any, slug: str) -> int:
        call = Call("submitting", slug=slug, missing=f"no competition {slug!r}, or no such file or notebook")
        try:
            answer = self._answer(method, request)
        except (Refusal, Trouble, GaveUp) as failure:
            last = failure.failure if isinstance(failure, GaveUp) else failure
            if last.processed:
                raise self._answer_lost(str(last)) from None
            raise explain(failure, self._filled(call)) from None
        ref = whole(answer, "ref")
        if not ref:
            raise self._answer_lost(text(answer, "message") or "it gave no number of the submission")
        return ref

    def _answer_lost(self, why: str) -> AnswerLost:
        return AnswerLost(
            f"{self.name} was asked for a submission, and whether there is one is not known: {why}",
            "kk sync finds out; do not submit again before",
        )

    # -- results -----------------------------------------------------------------------------------------------------

    def submission(self, ref: int, slug: str | None = None) -> RemoteSubmission | None:
        """The submission with that number; None when it is not to be seen (yet: a fresh one may take a moment).

        Args:
            slug: its competition; when given, the list of submissions is searched, too, for a server that shows no single one.
        """
        request = self._request("ApiGetSubmissionRequest", ref=ref)
        try:
            return submission_of(self._rpc("GetSubmission", request, Call(f"looking up submission {ref}")))
        except MissingError:
            rows = self.submissions(slug) if slug else []
            return next((row for row in rows if row.ref == ref), None)

    def submissions(self, slug: str) -> list[RemoteSubmission]:
        """The team's submissions, newest first, all pages."""
        call = Call("listing the submissions", slug=slug, missing=f"no competition {slug!r}")
        rows = self._pages("ListSubmissions", "ApiListSubmissionsRequest", "submissions", call, competition_name=slug)
        return [submission_of(row) for row in rows]

    def leaderboard(self, slug: str) -> list[LeaderboardRow]:
        """The public leaderboard, best first, all pages."""
        call = Call("reading the leaderboard", slug=slug, missing=f"no competition {slug!r}")
        rows = self._pages("GetLeaderboard", "ApiGetLeaderboardRequest", "submissions", call, competition_name=slug)
        return [leaderboard_row_of(row, rank) for rank, row in enumerate(rows, start=1)]

    # -- how calls are made ------------------------------------------------------------------------------------------

    def _request(self, kind: str, **values: Any) -> Any:
        """A request of the official client; its values are set one by one, as its makers take none.

        Raises:
            AttributeError: the installed client has no such request.
        """
        official_client_class()
        from kagglesdk.competitions.types import competition_api_service as types

        request = getattr(types, kind)()
        for name, value in values.items():
            setattr(request, name, value)
        return request

    def _pages(self, method: str, kind: str, key: str, call: Call, **values: Any) -> Iterator[Row]:
        """The rows under ``key`` in every page of a list."""
        token, seen = "", set[str]()
        for _ in range(_MOST_PAGES):
            request = self._request(kind, **values, page_size=self._settings.page_size, page_token=token)
            answer = self._rpc(method, request, call)
            yield from _rows(answer, key)
            token = text(answer, "nextPageToken")
            if not token:
                return
            if token in seen:
                break
            seen.add(token)
        raise ServiceError(f"{call.doing} failed: {self.name} repeats its pages without end", "run it again later")

    def _rpc(self, method: str, request: Any, call: Call) -> Row:
        """Make a call and give its answer; failures are explained."""
        return self._explained(lambda: self._answer(method, request), call)

    def _explained(self, act: Callable[[], T], call: Call) -> T:
        try:
            return act()
        except (Refusal, Trouble, GaveUp) as failure:
            raise explain(failure, self._filled(call)) from None

    def _filled(self, call: Call) -> Call:
        source = (
            " and ".join(dict.fromkeys([*self._refused, self._credentials.source])) if self._credentials else "unknown"
        )
        return Call(call.doing, self.name, call.slug, source, call.missing)

    def _answer(self, method: str, request: Any, service: str = COMPETITIONS) -> Row:
        def ask() -> Row:
            http = self._client()
            try:
                response = http.call(service, method, request, _WholeResponse)
            except (ValueError, TypeError, requests.exceptions.RequestException):
                raise Trouble("its answer is not the JSON that it should be", permanent=True) from None
            return _document(response)

        return self._signed(ask)

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
            f"{self.name} refused the credentials from {refused.source} ({refusal}); using those from {self.credentials.source}"
        )
        return True

    def _use_next_credentials(self) -> None:
        if self._candidates is None:
            given = iter([self._given]) if self._given is not None else None
            self._candidates = given or all_credentials(self._environ, progress=self._progress)
        found = next(self._candidates, None)
        if found is None:
            raise CredentialsError(
                f"no credentials for {self.name}; looked for: {', '.join(places_looked(self._environ))}",
                "make a token at https://www.kaggle.com/settings/api and put it into ~/.kaggle/access_token or KAGGLE_API_TOKEN",
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
        if self._endpoint.url is not None:
            http._endpoint, http._env = (
                self._endpoint.url,
                KaggleEnv.LOCAL,
            )  # its addresses begin with {endpoint}/api/v1
        http._signed_in = False  # keeps it from looking for credentials itself: it prefers stale ones
        http._init_session()
        self._prepare(http._session, http)
        return http

    def _prepare(self, session: requests.Session, http: Any) -> None:
        """Make the official session patient and sign it with our credentials and no others."""
        session.auth = self.credentials
        session.trust_env = not self._endpoint.is_loopback
        session.headers["User-Agent"] = f"kaggle-kit/{VERSION} kaggle/{official_version()}"
        for prefix in ("https://", "http://"):
            session.mount(prefix, self._adapter(any_temporary))
        for method in _SUBMITTING:  # the longest prefix wins: nothing is submitted twice
            session.mount(http._get_request_url(COMPETITIONS, method), self._adapter(never_processed))
        for method in _DOWNLOADING:
            session.mount(http._get_request_url(COMPETITIONS, method), self._adapter(never))

    def _adapter(self, again: Judge) -> PatientAdapter:
        return PatientAdapter(
            self._settings, again=again, progress=self._progress, who=self.name, secrets=lambda: tuple(self._secrets)
        )

    def _storage_session(self) -> requests.Session:
        if self._storage is None:
            self._storage = plain_session(
                self._settings, loopback=self._endpoint.is_loopback, secrets=lambda: tuple(self._secrets)
            )
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
        self._http._session.auth = _no_auth
        try:
            response = self._http.call("users.AccountService", "GenerateAccessToken", request, _WholeResponse)
        except Refusal as refusal:  # an expired login is a refused source like any other
            raise Refusal(401, refusal.reason) from None
        finally:
            self._http._session.auth = credentials
        answer = _document(response)
        credentials.renew(text(answer, "token"), float(whole(answer, "expiresIn") or 3600))
        self._secrets += credentials.secrets


class _WholeResponse:
    """Stands where the official client expects a type of answer: hands the response on as it came.

    Its own types cannot tell a field that is absent from one that is false, and fail on lists that are null.
    """

    @classmethod
    def prepare_from(cls, response: requests.Response) -> requests.Response:
        return response


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sends a request without credentials; None would let the library look into ~/.netrc."""
    return request


def _document(response: requests.Response) -> Row:
    """The JSON object in an answer."""
    body = response.content
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


def _rows(answer: Row, key: str) -> list[Row]:
    """The rows of a list; a bare list, as the older dialect sends, is one, too."""
    rows = field(answer, key) or answer.get("") or []
    return [row for row in rows if isinstance(row, dict)]


def _unwrapped(downloaded: Downloaded, member: str) -> Downloaded:
    """Replace a zip that the service made around a single file by the file."""
    target = downloaded.path
    archive = target.rename(target.with_name(target.name + ".wrapped.zip.part"))
    try:
        [file] = unpack(archive, target.parent, wanted=lambda name: name == member, place=lambda name: target.name)
    finally:
        archive.unlink()
    return Downloaded(target, file.size, sha256_of(target), downloaded.bytes_received)
