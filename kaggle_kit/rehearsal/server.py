"""A server on this machine that speaks Kaggle's language and plays one competition for real.

It lists and hands out files behind signed links that expire, takes uploads in three steps, counts submissions by the day, scores them
against hidden answers, keeps a leaderboard, runs pushed scripts and keeps data sets. It answers only who knows its token, and only under
its own name, so that no web page open in a browser can drive it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import shutil
import threading
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from kaggle_kit.rehearsal.book import Book, StoredUpload, Submission
from kaggle_kit.rehearsal.dataset_calls import DatasetCalls
from kaggle_kit.rehearsal.exchange import Exchange
from kaggle_kit.rehearsal.hosted import HostedCompetition
from kaggle_kit.rehearsal.kernel_calls import FILES_ROUTE, LOG_ROUTE, KernelCalls
from kaggle_kit.rehearsal.kernel_host import OWNER, KernelRules
from kaggle_kit.rehearsal.links import Links
from kaggle_kit.rehearsal.paging import send_page
from kaggle_kit.rehearsal.scoring import Rejected, score_file
from kaggle_kit.rehearsal.uploads import take_upload

SERVICE = "competitions.CompetitionApiService"

LINK_LIFETIME_S = 600.0
"""Seconds that a signed link works."""

Body = Mapping[str, Any]


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, respond: Callable[[Exchange], None]) -> None:
        self.respond = respond
        super().__init__(("127.0.0.1", 0), Exchange)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to print about."""


class RehearsalServer:
    """Plays ``competition`` on a free port of the loopback interface while used as a context manager.

    Args:
        competition: what is played.
        folder: where the server keeps its state and the uploaded files; an earlier server's state is taken up.
        token: what clients have to show; a random one by default.
        clock: gives the present moment, aware; decides days and the deadline.
        link_lifetime_s: seconds that a signed link works.
        rules: what the sessions of pushed scripts may do.
    """

    def __init__(
        self,
        competition: HostedCompetition,
        *,
        folder: Path,
        token: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        link_lifetime_s: float = LINK_LIFETIME_S,
        rules: KernelRules | None = None,
    ) -> None:
        self.competition = competition
        self.token = token or f"KGAT_{secrets.token_hex(16)}"
        self.book = Book(folder, clock)
        self._folder = folder
        self._clock = clock
        self._links = Links(link_lifetime_s)
        self.datasets = DatasetCalls(folder / "datasets", self.book, self._upload_link)
        self.kernels = KernelCalls(
            folder / "kernels",
            (competition.slug, competition.files.resolve()),
            self.datasets,
            url=lambda: self.url,
            environ=self.environ,
            signed=self._links.signed,
            rules=rules or KernelRules(),
        )
        self._md5s: dict[tuple[Path, int, int], str] = {}
        self._lock = threading.Lock()
        self._http: _Http | None = None
        self._scorer: ThreadPoolExecutor | None = None

    def __enter__(self) -> RehearsalServer:
        self._http = _Http(self.respond)
        self._scorer = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        threading.Thread(target=partial(self._http.serve_forever, poll_interval=0.05), daemon=True).start()
        self.kernels.host.start()
        for submission in self.book.submissions():
            if submission.status == "PENDING":  # left by a server that was stopped before it had scored
                self._scorer.submit(self.score, submission)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None
        assert self._scorer is not None
        self.kernels.host.close()
        self._http.shutdown()
        self._http.server_close()
        self._scorer.shutdown(wait=True, cancel_futures=True)

    @property
    def url(self) -> str:
        """The server's base URL, without ``/api/v1``."""
        assert self._http is not None, "the server runs inside a with block only"
        return f"http://127.0.0.1:{self._http.server_port}"

    def environ(self) -> dict[str, str]:
        """The variables that lead a client here, and nowhere else."""
        return {"KAGGLE_API_ENDPOINT": self.url, "KAGGLE_API_TOKEN": self.token}

    # -- answering ---------------------------------------------------------------------------------------------------

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        port = self.url.rsplit(":", 1)[1]
        if exchange.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            exchange.refuse(403, "this server answers under its own name only", "PERMISSION_DENIED")
        elif exchange.route.startswith("/storage/"):
            self._storage(exchange)
        elif exchange.command == "GET" and exchange.route.startswith(LOG_ROUTE) and exchange.bears(self.token):
            self.kernels.stream(exchange)
        elif exchange.command != "POST" or not exchange.route.startswith("/api/v1/"):
            exchange.refuse(404, "Not found", "NOT_FOUND")
        else:
            self._call(exchange)

    def _call(self, exchange: Exchange) -> None:
        body = exchange.read_json()
        if not exchange.bears(self.token):
            exchange.send(401, b'{"code":401,"message":"Unauthenticated"}')
            return
        calls: dict[str, Callable[[Exchange, Body], None]] = {
            f"{SERVICE}/{method.__name__.title().replace('_', '')}": method for method in self._methods()
        }
        calls |= {"security.OAuthService/IntrospectToken": self._introspect}
        calls |= self.kernels.calls() | self.datasets.calls()
        act = calls.get(exchange.route.removeprefix("/api/v1/"))
        if act is None:
            exchange.refuse(404, "Not found", "NOT_FOUND")
        elif body is None:
            exchange.refuse(400, "Invalid JSON", "INVALID_ARGUMENT")
        elif self._refuses(exchange, act, body):
            return
        else:
            act(exchange, body)

    def _methods(self) -> list[Callable[[Exchange, Body], None]]:
        return [
            self.get_competition,
            self.list_competitions,
            self.list_data_files,
            self.download_data_file,
            self.download_data_files,
            self.start_submission_upload,
            self.create_submission,
            self.create_code_submission,
            self.get_submission_limits,
            self.get_submission,
            self.list_submissions,
            self.get_leaderboard,
        ]

    def _refuses(self, exchange: Exchange, act: Callable[[Exchange, Body], None], body: Body) -> bool:
        """Refuse a call for another competition, or one that needs the rules accepted; whether it was refused."""
        slug = body.get("competitionName", self.competition.slug)
        if slug != self.competition.slug:
            exchange.refuse(404, "Not found", "NOT_FOUND")
            return True
        if self.competition.entered:
            return False
        if act in (self.download_data_file, self.download_data_files):
            message = "You must accept this competition's rules before you'll be able to download files."
        elif act in (
            self.start_submission_upload,
            self.create_submission,
            self.create_code_submission,
            self.list_submissions,
        ):
            message = "Permission 'competitions.participate' was denied"
        else:
            return False
        exchange.refuse(403, message, "PERMISSION_DENIED")
        return True

    def _introspect(self, exchange: Exchange, body: Body) -> None:
        known = hmac.compare_digest(str(body.get("token", "")).encode(), self.token.encode())
        exchange.send_json({"active": known, "username": OWNER if known else None})

    # -- the competition ---------------------------------------------------------------------------------------------

    def get_competition(self, exchange: Exchange, body: Body) -> None:
        """C/GetCompetition."""
        exchange.send_json(self._competition())

    def list_competitions(self, exchange: Exchange, body: Body) -> None:
        """C/ListCompetitions: the one competition, if it was entered or fits the search."""
        search = str(body.get("search", "")).lower()
        wanted = body.get("group") != "COMPETITION_LIST_TAB_ENTERED" or self.competition.entered
        fits = wanted and search in f"{self.competition.slug} {self.competition.title}".lower()
        exchange.send_json({"competitions": [self._competition()] if fits else []})

    def _competition(self) -> dict[str, Any]:
        hosted = self.competition
        own = next((rank for rank, row in enumerate(self._board(), start=1) if row["teamName"] == hosted.team), None)
        document = {
            "id": 1,
            "ref": f"https://www.kaggle.com/competitions/{hosted.slug}",
            "url": f"https://www.kaggle.com/competitions/{hosted.slug}",
            "title": hosted.title,
            "deadline": _stamp(hosted.deadline) if hosted.deadline else None,
            "teamCount": len(self._board()),
            "userHasEntered": hosted.entered,
            "userRank": own,
            "maxDailySubmissions": hosted.max_daily_submissions,
            "evaluationMetric": "Mean reciprocal rank",
            "isKernelsSubmissionsOnly": hosted.code_only or None,
            "submissionsDisabled": hosted.submissions_disabled or None,
        }
        return {name: value for name, value in document.items() if value is not None}

    def get_leaderboard(self, exchange: Exchange, body: Body) -> None:
        """C/GetLeaderboard."""
        send_page(exchange, body, "submissions", self._board())

    def _board(self) -> list[dict[str, Any]]:
        """Every team's best public score, best first."""
        rows = [(rival.score, rival.team, 1000 + place) for place, rival in enumerate(self.competition.rivals)]
        own = [row.public_score for row in self.book.submissions() if row.public_score is not None]
        if own:
            rows.append((max(own), self.competition.team, 1))
        rows.sort(key=lambda row: -row[0])
        return [{"teamId": team_id, "teamName": team, "score": f"{score:.5f}"} for score, team, team_id in rows]

    # -- files -------------------------------------------------------------------------------------------------------

    def list_data_files(self, exchange: Exchange, body: Body) -> None:
        """C/ListDataFiles."""
        rows = []
        for name, path in sorted(self._files().items()):
            status = path.stat()
            created = _stamp(datetime.fromtimestamp(status.st_mtime, UTC))
            rows.append({"ref": name, "name": name, "totalBytes": status.st_size, "creationDate": created})
        send_page(exchange, body, "files", rows)

    def _files(self) -> dict[str, Path]:
        folder = self.competition.files
        return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}

    def download_data_file(self, exchange: Exchange, body: Body) -> None:
        """C/DownloadDataFile: a redirect to a signed link."""
        name = str(body.get("fileName", ""))
        if name not in self._files():
            exchange.refuse(404, "Not found", "NOT_FOUND")
            return
        exchange.send(302, Location=self.url + self._links.signed(f"/storage/files/{quote(name)}"))

    def download_data_files(self, exchange: Exchange, body: Body) -> None:
        """C/DownloadDataFiles: a redirect to a signed link of one zip."""
        exchange.send(302, Location=self.url + self._links.signed("/storage/all.zip"))

    def _storage(self, exchange: Exchange) -> None:
        """What lies behind signed links; their signature is all that is asked for."""
        if not self._links.opens(exchange.path.partition("?")[0], exchange.query):
            page = b"<!DOCTYPE html><html><head><title>Access denied</title></head><body>The link has expired.</body></html>"
            exchange.close_connection = True
            exchange.send(403, page, "text/html; charset=utf-8")
        elif exchange.command == "PUT" and exchange.route.startswith("/storage/uploads/"):
            take_upload(self.book, exchange)
        elif exchange.command == "GET":
            self._give_file(exchange)
        else:
            exchange.refuse(405, "Method not allowed")

    def _give_file(self, exchange: Exchange) -> None:
        if exchange.route == "/storage/all.zip":
            path: Path | None = self._zip_of_all()
        elif exchange.route.startswith(FILES_ROUTE):
            path = self.kernels.file(exchange.route)
        else:
            path = self._files().get(exchange.route.removeprefix("/storage/files/"))
        if path is None:
            exchange.refuse(404, "Not found", "NOT_FOUND")
        else:
            exchange.send_file(path, self._md5(path))

    def _md5(self, path: Path) -> str:
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._md5s:
            with open(path, "rb") as file:
                self._md5s[key] = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
        return self._md5s[key]

    def _zip_of_all(self) -> Path:
        path = self._folder / "all.zip"
        with self._lock:
            if not path.exists():
                draft = path.with_suffix(".draft")
                with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
                    for name, source in sorted(self._files().items()):
                        archive.write(source, name)
                draft.rename(path)
        return path

    # -- submissions -------------------------------------------------------------------------------------------------

    def start_submission_upload(self, exchange: Exchange, body: Body) -> None:
        """C/StartSubmissionUpload: a token and a signed link to send the file to."""
        upload = self.book.announce(str(body.get("fileName") or "submission.csv"), int(body.get("contentLength") or 0))
        exchange.send_json({"token": upload.token, "createUrl": self._upload_link(upload.token)})

    def _upload_link(self, token: str) -> str:
        return self.url + self._links.signed(f"/storage/uploads/{token}")

    def create_submission(self, exchange: Exchange, body: Body) -> None:
        """C/CreateSubmission: enters the submission and scores it in the background."""
        upload = self.book.upload(str(body.get("blobFileTokens", "")))
        problem = self._not_allowed() or self._notebooks_only()
        if not problem and (upload is None or self.book.arrived(upload) < upload.size):
            problem = "The uploaded file was not found."
        if problem or upload is None:
            exchange.refuse(400, problem, "INVALID_ARGUMENT")
        else:
            self._enter(exchange, body, upload)

    def create_code_submission(self, exchange: Exchange, body: Body) -> None:
        """C/CreateCodeSubmission: enters what a version of a notebook wrote."""
        name = str(body.get("fileName", ""))
        folder = self._notebook_output(f"{body.get('kernelOwner')}/{body.get('kernelSlug')}", body.get("kernelVersion"))
        output = folder / name if folder is not None and name == Path(name).name else None
        if problem := self._not_allowed():
            exchange.refuse(400, problem, "INVALID_ARGUMENT")
        elif output is None or not output.is_file():
            exchange.refuse(404, "Not found", "NOT_FOUND")
        else:
            upload = self.book.announce(name, output.stat().st_size)
            shutil.copyfile(output, self.book.place(upload))
            self._enter(exchange, body, upload)

    def _notebook_output(self, kernel: str, number: Any) -> Path | None:
        """What a version of a notebook wrote, here or according to the competition; None when it did not finish."""
        version = self.kernels.host.version(kernel, int(number or 0))
        if version is not None and version.state == "COMPLETE":
            return version.folders.working
        return self.competition.notebooks.get(f"{kernel}/{number}")

    def _enter(self, exchange: Exchange, body: Body, upload: StoredUpload) -> None:
        assert self._scorer is not None
        submission = self.book.submit(upload, str(body.get("submissionDescription", "")))
        self._scorer.submit(self.score, submission)
        message = f"Successfully submitted to {self.competition.title}"
        exchange.send_json({"message": message, "ref": submission.ref})

    def _notebooks_only(self) -> str:
        only = "Submission not allowed: This competition only accepts Submissions from Notebooks."
        return only if self.competition.code_only else ""

    def _not_allowed(self) -> str:
        """Why nothing can be submitted now; empty when it can."""
        hosted, now = self.competition, self._clock()
        if hosted.deadline is not None and now > hosted.deadline:
            return "Submission not allowed: The deadline of this competition has passed."
        if hosted.submissions_disabled:
            return "Submission not allowed: Submissions are disabled for this competition."
        if self.book.counted_today() >= hosted.max_daily_submissions:
            midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            hours = -(-(midnight - now) // timedelta(hours=1))
            return (
                f"Submission not allowed: Your team has used its daily Submission allowance ({hosted.max_daily_submissions}) "
                f"today, please try again tomorrow UTC ({hours} hours from now)."
            )
        return ""

    def score(self, submission: Submission) -> None:
        """Score a submission and enter the outcome."""
        upload = self.book.upload(submission.token)
        assert upload is not None
        try:
            score = score_file(self.book.place(upload), self.competition)
        except Rejected as rejected:
            self.book.decide(submission.ref, status="ERROR", error=str(rejected))
        except Exception as error:  # whatever a file does to the scorer is the file's error, not the server's end
            self.book.decide(submission.ref, status="ERROR", error=f"Evaluation Exception: {type(error).__name__}")
        else:
            self.book.decide(submission.ref, status="COMPLETE", public_score=score.public, private_score=score.private)

    def get_submission_limits(self, exchange: Exchange, body: Body) -> None:
        """C/GetSubmissionLimits; zeros are left out, as the real service does."""
        used = self.book.counted_today()
        left = max(0, self.competition.max_daily_submissions - used)
        total = len(self.book.submissions())
        exchange.send_json({"numToday": used or None, "numTotal": total or None, "numAllowedNow": left or None})

    def get_submission(self, exchange: Exchange, body: Body) -> None:
        """C/GetSubmission."""
        ref = body.get("ref")
        submission = self.book.submission(ref) if isinstance(ref, int) else None
        if submission is None:
            exchange.refuse(404, "Not found", "NOT_FOUND")
        else:
            exchange.send_json(self._row(submission))

    def list_submissions(self, exchange: Exchange, body: Body) -> None:
        """C/ListSubmissions, newest first."""
        rows = self.book.submissions()
        if body.get("group") == "SUBMISSION_GROUP_SUCCESSFUL":
            rows = [row for row in rows if row.status == "COMPLETE"]
        send_page(exchange, body, "submissions", [self._row(row) for row in rows])

    def _row(self, submission: Submission) -> dict[str, Any]:
        deadline = self.competition.deadline
        shown = deadline is not None and self._clock() > deadline
        upload = self.book.upload(submission.token)
        return {
            "ref": submission.ref,
            "totalBytes": upload.size if upload else 0,
            "date": _stamp(submission.moment),
            "description": submission.description,
            "errorDescription": submission.error,
            "fileName": submission.file_name,
            "publicScore": _score(submission.public_score),
            "privateScore": _score(submission.private_score) if shown else "",
            "status": submission.status,
            "submittedBy": "rehearsal",
            "teamName": self.competition.team,
        }


def _stamp(moment: datetime) -> str:
    """A moment as the service writes it: UTC, seven decimals, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"
