"""The competition calls that we make, over the official client's own requests and session."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from kaggle_kit.errors import CredentialsError, KaggleKitError, MissingError
from kaggle_kit.kaggle_service.account import account_of
from kaggle_kit.kaggle_service.answers import (
    CompetitionInfo,
    LeaderboardRow,
    Limits,
    RemoteFile,
    RemoteSubmission,
    competition_of,
    counted_on,
    field,
    file_of,
    leaderboard_row_of,
    slug_of,
    submission_of,
    text,
    whole,
)
from kaggle_kit.kaggle_service.calls import Calls, rows_in
from kaggle_kit.kaggle_service.connection import COMPETITIONS, Connection
from kaggle_kit.kaggle_service.credentials import Credentials
from kaggle_kit.kaggle_service.datasets import Datasets
from kaggle_kit.kaggle_service.download import Download, Downloaded
from kaggle_kit.kaggle_service.failures import AnswerLost, Call, next_reset, rules_not_accepted
from kaggle_kit.kaggle_service.kernels import Kernels
from kaggle_kit.kaggle_service.upload import Upload
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import ServiceSettings

_TYPES = "kagglesdk.competitions.types.competition_api_service"


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
        self._progress = progress
        self._connection = Connection(settings, environ=environ, progress=progress, credentials=credentials)
        self._calls = Calls(self._connection, settings, COMPETITIONS, _TYPES)
        self._daily_limits: dict[str, int] = {}

    @property
    def endpoint(self) -> str | None:
        """The base URL of the other server that is used instead of Kaggle; None for Kaggle."""
        return self._connection.endpoint.url

    @property
    def name(self) -> str:
        """What to call the service in a sentence: "Kaggle", or the other server by its host."""
        return self._connection.endpoint.name

    @property
    def credentials(self) -> Credentials:
        """The credentials in use.

        Raises:
            CredentialsError: there are none; the text says where they were looked for.
        """
        return self._connection.credentials

    @cached_property
    def username(self) -> str:
        """The account that the credentials belong to, by its name in addresses.

        Raises:
            CredentialsError: refused; ServiceError: the service does not say.
        """
        return self.credentials.username or account_of(self._connection, self._settings)

    @cached_property
    def kernels(self) -> Kernels:
        """Notebooks and scripts that run on the service."""
        return Kernels(self._connection, self._settings, progress=self._progress)

    @cached_property
    def datasets(self) -> Datasets:
        """Data sets that notebooks can attach."""
        return Datasets(self._connection, self._settings, progress=self._progress)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._connection.close()

    # -- competitions ------------------------------------------------------------------------------------------------

    def competition(self, slug: str) -> CompetitionInfo:
        """The competition ``slug``.

        Raises:
            CredentialsError: refused; MissingError: no such competition. Both name similar ones that exist.
        """
        request = self._calls.request("ApiGetCompetitionRequest", competition_name=slug)
        call = Call("looking up the competition", slug=slug, missing=f"no competition {slug!r}")
        try:
            info = competition_of(self._calls.rpc("GetCompetition", request, call), slug)
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
            raise rules_not_accepted(self._calls.filled(Call("entering", slug=slug)))
        return info

    def similar_competitions(self, slug: str) -> list[str]:
        """Slugs like ``slug`` among the competitions entered and those found by its words; empty when none or not to be had."""
        known: list[str] = []
        for options in ({"group": "COMPETITION_LIST_TAB_ENTERED"}, {"search": slug}):
            with suppress(KaggleKitError, AttributeError, KeyError):
                answer = self._calls.rpc(
                    "ListCompetitions", self._list_request(**options), Call("listing competitions")
                )
                known += [
                    name for row in rows_in(answer, "competitions") if (name := slug_of(row)) and name not in known
                ]
        return difflib.get_close_matches(slug, known, n=3, cutoff=0.6)

    def _list_request(self, group: str = "", search: str = "") -> Any:
        request = self._calls.request("ApiListCompetitionsRequest", page_size=min(50, self._settings.page_size))
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
        rows = self._calls.pages("ListDataFiles", "ApiListDataFilesRequest", "files", call, competition_name=slug)
        return [file for row in rows if (file := file_of(row)).name]

    def download(
        self,
        slug: str,
        name: str,
        target: Path,
        *,
        expected_size: int | None = None,
        progress: Progress | None = None,
    ) -> Downloaded:
        """Download one file to ``target``, continuing an earlier part; a zip that the service made around it is unpacked.

        Args:
            expected_size: bytes according to the list of files.
            progress: is told of this download, instead of the service's own.

        Raises:
            CredentialsError: credentials refused, or rules not accepted.
            MissingError: no such file.
            ServiceError: patience ended; run again to continue.
            DiskFullError: not enough space.
        """
        request = self._calls.request("ApiDownloadDataFileRequest", competition_name=slug, file_name=name)
        call = Call(f"downloading {name}", slug=slug, missing=f"no file {name!r} in {slug!r}")
        return self._download(
            "DownloadDataFile", request, target, call, name=name, expected_size=expected_size, progress=progress
        )

    def download_all(self, slug: str, target_zip: Path) -> Downloaded:
        """Download all files as one zip to ``target_zip``; raises as :meth:`download`."""
        request = self._calls.request("ApiDownloadDataFilesRequest", competition_name=slug)
        call = Call("downloading all files", slug=slug, missing=f"no competition {slug!r}")
        return self._download("DownloadDataFiles", request, target_zip, call, name=f"{slug}.zip")

    def _download(
        self,
        method: str,
        request: Any,
        target: Path,
        call: Call,
        *,
        name: str,
        expected_size: int | None = None,
        progress: Progress | None = None,
    ) -> Downloaded:
        download = Download(
            lambda headers: self._connection.open_link(method, request, headers),
            target,
            name=name,
            identity={"competition": call.slug, "name": name, "server": self.endpoint or "kaggle"},
            settings=self._settings,
            progress=progress or self._progress,
            expected_size=expected_size,
            who=self.name,
            secrets=self._connection.secrets,
        )
        return self._calls.explained(download.run, call)

    # -- submitting --------------------------------------------------------------------------------------------------

    def limits(self, slug: str) -> Limits:
        """How many submissions are left today; counted from the list of submissions when the service has no such call."""
        call = Call("asking for the submissions left", slug=slug, missing=f"no competition {slug!r}")
        per_day = self._daily_limits.get(slug)
        try:
            request = self._calls.request("ApiGetSubmissionLimitsRequest", competition_name=slug)
            answer = self._calls.rpc("GetSubmissionLimits", request, call)
        except MissingError:  # a server without the call
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
        return counted_on(self.submissions(slug), datetime.now(UTC).date())

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
            session=self._connection.storage,
            settings=self._settings,
            progress=self._progress,
            on_token=on_token,
            who=self.name,
        )
        return self._calls.explained(upload.run, call)

    def _start_upload(self, path: Path, slug: str, call: Call) -> tuple[str, str]:
        status = path.stat()
        request = self._calls.request(
            "ApiStartSubmissionUploadRequest",
            competition_name=slug,
            file_name=path.name,
            content_length=status.st_size,
            last_modified_epoch_seconds=int(status.st_mtime),
        )
        answer = self._calls.rpc("StartSubmissionUpload", request, call)
        return self._calls.upload_link(answer, "started no upload: no token or no link in its answer")

    def create_submission(self, slug: str, token: str, description: str) -> int:
        """Submit an uploaded file; the service's number of the submission.

        Raises:
            AnswerLost: the submission may exist: ask for :meth:`submissions` before asking again.
            QuotaError: none left today; CredentialsError: not entered, or a token that may not submit; ServiceError: refused.
        """
        request = self._calls.request(
            "ApiCreateSubmissionRequest",
            competition_name=slug,
            blob_file_tokens=token,
            submission_description=description,
        )
        return self._create("CreateSubmission", request, slug)

    def create_code_submission(self, slug: str, kernel: str, version: int, file_name: str, description: str) -> int:
        """Submit the output file of a notebook's version (``kernel`` is ``owner/slug``); raises as :meth:`create_submission`."""
        owner, _, notebook = kernel.partition("/")
        request = self._calls.request(
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
        answer = self._calls.once(method, request, call, self._answer_lost)
        ref = whole(answer, "ref")
        if not ref:
            raise self._answer_lost(text(answer, "message") or "it gave no number of the submission")
        return ref

    def _answer_lost(self, why: str) -> AnswerLost:
        return AnswerLost(
            f"{self.name} was asked for a submission, and whether there is one is not known: {why}",
            "kk sync finds out; do not submit again before",
            why=why,
        )

    # -- results -----------------------------------------------------------------------------------------------------

    def submission(self, ref: int, slug: str | None = None) -> RemoteSubmission | None:
        """The submission with that number; None when it is not to be seen (yet: a fresh one may take a moment).

        Args:
            slug: its competition; when given, the list of submissions is searched, too, for a server that shows no single one.
        """
        request = self._calls.request("ApiGetSubmissionRequest", ref=ref)
        try:
            return submission_of(self._calls.rpc("GetSubmission", request, Call(f"looking up submission {ref}")))
        except MissingError:
            rows = self.submissions(slug) if slug else []
            return next((row for row in rows if row.ref == ref), None)

    def submissions(self, slug: str) -> list[RemoteSubmission]:
        """The team's submissions, newest first, all pages; one that moved to the next page while they were read is there once."""
        call = Call("listing the submissions", slug=slug, missing=f"no competition {slug!r}")
        rows = self._calls.pages(
            "ListSubmissions", "ApiListSubmissionsRequest", "submissions", call, competition_name=slug
        )
        found = (submission_of(row) for row in rows)
        return list({row.ref or id(row): row for row in found}.values())

    def leaderboard(self, slug: str) -> list[LeaderboardRow]:
        """The public leaderboard, best first, all pages."""
        call = Call("reading the leaderboard", slug=slug, missing=f"no competition {slug!r}")
        rows = self._calls.pages(
            "GetLeaderboard", "ApiGetLeaderboardRequest", "submissions", call, competition_name=slug
        )
        return [leaderboard_row_of(row, rank) for rank, row in enumerate(rows, start=1)]
