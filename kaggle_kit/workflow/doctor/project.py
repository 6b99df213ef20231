"""What ``kk doctor`` looks at of the project: the notebook's session, the data, the account, the archives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from kaggle_kit.archive import Listing, Record, RecordStore, RunStore, SubmissionStore
from kaggle_kit.embeddings import file_if_there
from kaggle_kit.embeddings.npz import NpzFile
from kaggle_kit.errors import CredentialsError, DataError, KaggleKitError, MissingError
from kaggle_kit.files import sha256_of
from kaggle_kit.kaggle_service import CompetitionInfo, KaggleService, find_credentials, find_endpoint, places_looked
from kaggle_kit.notebook import in_notebook, notebook_folders
from kaggle_kit.progress import Silence, size
from kaggle_kit.settings import duration_text
from kaggle_kit.training.interrupts import MARGIN_SHARE
from kaggle_kit.workflow.doctor.diagnosis import BAD, GOOD, WARNING, Check, Finding, Surroundings
from kaggle_kit.workflow.keep import submission_chain
from kaggle_kit.workflow.manifest import Manifest
from kaggle_kit.workflow.session_clock import notebook_session

QUICK = {"attempts": 2, "connect_timeout_s": 5.0, "read_timeout_s": 10.0, "backoff_max_s": 1.0, "deadline_s": 15.0}
"""The service's settings at most: whoever asks whether it works does not want to wait for it."""

LITTLE_TIME_S = 3600.0
LOCKS = Path("/proc/locks")


# --- where this runs


def notebook(around: Surroundings) -> Iterator[Finding]:
    """Whether this is a Kaggle notebook, its folders, and how long its session lasts."""
    if not in_notebook(around.environ):
        yield Finding("notebook", GOOD, "this is no Kaggle notebook", facts={"notebook": False})
        return
    session, remote = notebook_session(around.project.settings.remote, around.environ), around.project.settings.remote
    assert session is not None
    folders = notebook_folders(around.environ)
    survives = around.project.root.is_relative_to(folders.working)
    text = f"{session.kind.lower()} session, inputs in {folders.input}, output in {folders.working}"
    facts = {"notebook": True, "kind": session.kind, "root": str(folders.root), "survives": survives}
    if survives:
        yield Finding("notebook", GOOD, text, facts=facts)
    else:
        lost = f"the project is in {around.project.root}, which is lost with the session"
        yield Finding("notebook", WARNING, f"{text}; {lost}", f"cd {folders.working}", facts=facts)
    yield _time_left(session.running_s, session.left_s, remote.margin_s)


def _time_left(running_s: float | None, left_s: float | None, margin_s: float) -> Finding:
    if running_s is None or left_s is None:
        text = "unknown: nothing here tells when the session began"
        return Finding(
            "session", WARNING, text, "kk train --time-budget 11h says how long it may take", facts={"left_s": None}
        )
    text = f"{duration_text(left_s)} left, running for {duration_text(running_s)}"
    text += f"; kk train stops {duration_text(min(margin_s, MARGIN_SHARE * left_s))} before the end"
    facts = {"running_s": running_s, "left_s": left_s}
    if left_s < LITTLE_TIME_S:
        return Finding(
            "session", WARNING, text, "start a new session; kk train --resume goes on with the run", facts=facts
        )
    return Finding("session", GOOD, text, facts=facts)


# --- the data


def data(around: Surroundings) -> Iterator[Finding]:
    """The competition's files: where they are, whether they are what they should be."""
    competition = around.project.settings.competition
    manifest = Manifest.load(around.project.data_dir, competition.slug)
    arrays = {
        competition.files.train: [key for key in vars(competition.train_keys).values() if key is not None],
        competition.files.test: (competition.test_keys.caption_ids, competition.test_keys.caption_embeddings),
    }
    for name in sorted(
        competition.files.required, key=lambda name: name not in arrays or name != competition.files.train
    ):
        path = file_if_there(name, slug=competition.slug, data_dir=around.project.data_dir, environ=around.environ)
        if path is None:
            yield _not_there(around, name)
            continue
        if name not in arrays:  # a table or the sample submission of a competition without embeddings
            yield Finding("data", GOOD, f"{name}: {size(path.stat().st_size)} in {path.parent}")
            continue
        try:
            yield _looked_into(around, name, path, arrays[name], manifest)
        except KaggleKitError as error:
            yield Finding("data", BAD, error.message, error.hint, error.exit_code)


def _not_there(around: Surroundings, name: str) -> Finding:
    slug = around.project.settings.competition.slug
    text = f"{name} of {slug} is not here"
    if not in_notebook(around.environ):
        return Finding("data", WARNING, text, "kk fetch gets it; kk fetch --from DIR takes what you have")
    remedy = f"attach the competition {slug} as input (Add Input)"
    if find_credentials(around.environ) is None:
        return Finding(
            "data", BAD, f"{text}, and without internet it cannot be fetched", remedy, MissingError.exit_code
        )
    return Finding("data", WARNING, text, f"{remedy}, or kk fetch downloads it")


def _looked_into(around: Surroundings, name: str, path: Path, keys: Any, manifest: Manifest) -> Finding:
    file = NpzFile(path)
    lacking = [key for key in keys if key not in file]
    if lacking:
        text = f"{path} has no {', '.join(lacking)}; it has {', '.join(file.keys)}"
        remedy = "is it the file of another competition? a competition's TOML names its arrays"
        return Finding("data", BAD, text, remedy, DataError.exit_code)
    entry = manifest.files.get(name)
    if entry is not None and not manifest.is_unchanged(entry, path):
        text = f"{path} is no longer what was fetched ({size(path.stat().st_size)}, fetched were {size(entry.size)})"
        return Finding("data", BAD, text, f"kk fetch --file {name} gets it anew", DataError.exit_code)
    folders = notebook_folders(around.environ)
    mounted = in_notebook(around.environ) and path.is_relative_to(folders.input)
    how = "mounted" if mounted else "as fetched" if entry is not None else "found"
    shapes = [str(file.header(key)) for key in keys if key.endswith("embeddings")]
    text = f"{path}, {size(path.stat().st_size)}, {how}; {', '.join(shapes)}"
    return Finding("data", GOOD, text, facts={"file": name, "path": str(path), "how": how})


# --- the account


class _Heard(Silence):
    """Keeps what is said to people while credentials are looked for."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def credentials(around: Surroundings) -> Iterator[Finding]:
    """Which credentials are used, who else can read them, and whether the service accepts them; never the secret."""
    heard = _Heard()
    found = find_credentials(around.environ, progress=heard)
    yield from (_remark(note) for note in heard.notes)
    endpoint = find_endpoint(around.project.settings.service, around.environ)
    if around.project.settings.competition.rehearsal and endpoint.url is None:
        yield Finding("credentials", GOOD, "this project is a rehearsal, whose server has ended: none are needed")
        return
    if found is None:
        yield _none_found(around)
        return
    said = f"{found.kind} from {found.source}" + (f" of {found.username}" if found.username else "")
    facts = {
        "kind": found.kind,
        "source": found.source,
        "username": found.username,
        "server": endpoint.url or "kaggle.com",
    }
    if around.offline:
        yield Finding("credentials", GOOD, f"{said}; not tried (--offline)", facts=facts)
        return
    yield from _tried(around, said, facts, len(heard.notes))


def _remark(note: str) -> Finding:
    """What was said about a source, its command as the remedy."""
    text, _, command = note.partition(": chmod")
    return Finding("credentials", WARNING, text, f"chmod{command}" if command else "mend it or delete it")


def _none_found(around: Surroundings) -> Finding:
    looked = f"none; looked for: {', '.join(places_looked(around.environ))}"
    if in_notebook(around.environ):
        text = "none: the notebook's internet is off, or it has no token"
        return Finding(
            "credentials", WARNING, text, "switch the internet on, or submit the notebook's version: kk submit --kernel"
        )
    remedy = "make a token at https://www.kaggle.com/settings/api and put it into ~/.kaggle/access_token"
    if around.offline:
        return Finding("credentials", WARNING, looked, remedy)
    return Finding("credentials", BAD, looked, remedy, CredentialsError.exit_code)


def _tried(around: Surroundings, said: str, facts: Mapping[str, Any], known: int) -> Iterator[Finding]:
    """What the service says to a call that changes nothing."""
    settings, slug = around.project.settings.service, around.project.settings.competition.slug
    hurried = replace(settings, **{name: min(getattr(settings, name), most) for name, most in QUICK.items()})
    heard = _Heard()
    service = KaggleService(hurried, environ=around.environ, progress=heard)
    where = f"{service.name}{f' ({service.endpoint})' if service.endpoint else ''}"
    try:
        info = service.competition(slug)
    except MissingError as error:
        yield Finding("credentials", GOOD, f"{said}, accepted by {where}", facts=facts)
        yield Finding("competition", BAD, error.message, error.hint, error.exit_code)
        return
    except KaggleKitError as error:
        yield Finding("credentials", BAD, f"{said}: {error.message}", error.hint, error.exit_code, facts)
        return
    finally:
        service.close()
    # the first that is accepted need not be the first that is found
    yield from (_remark(note) for note in heard.notes[known:] if "refused" in note)
    used = service.credentials
    said = f"{used.kind} from {used.source}" + (f" of {used.username}" if used.username else "")
    yield Finding(
        "credentials", GOOD, f"{said}, accepted by {where}", facts={**facts, "source": used.source, "accepted": True}
    )
    yield _entered(info, slug)


def _entered(info: CompetitionInfo, slug: str) -> Finding:
    """Whether submissions are taken."""
    page = info.url or f"https://www.kaggle.com/competitions/{slug}"
    facts = {"entered": info.entered, "code_only": info.code_only, "deadline": info.deadline and str(info.deadline)}
    if info.entered is False:
        text = f"the rules of {slug} are not accepted"
        return Finding("competition", BAD, text, f"accept them at {page}/rules", CredentialsError.exit_code, facts)
    if info.submissions_disabled:
        return Finding(
            "competition", WARNING, f"{slug} takes no submissions (they are disabled)", f"see {page}", facts=facts
        )
    if info.deadline is not None and info.deadline < datetime.now(UTC):
        text = f"the deadline of {slug} was {info.deadline:%Y-%m-%d %H:%M} UTC"
        return Finding("competition", WARNING, text, "kk submit --force tries a late submission", facts=facts)
    until = f", until {info.deadline:%Y-%m-%d %H:%M} UTC" if info.deadline else ""
    kind = "notebooks' output only" if info.code_only else "submissions"
    return Finding("competition", GOOD, f"{slug} takes {kind}{until}", facts=facts)


# --- the archives


def archive(around: Surroundings) -> Iterator[Finding]:
    """Records that cannot be read, work that was cut short, locks, left-overs, and the hashes of the newest."""
    runs = RunStore(around.project.models_dir)
    submissions = SubmissionStore(around.project.submissions_dir)
    listed_runs, listed_submissions = runs.scan(), submissions.scan()
    yield from _records("runs", runs, listed_runs)
    yield from _records("submissions", submissions, listed_submissions)
    yield from _unfinished(listed_runs, listed_submissions)
    yield from _left_over(runs.folder, submissions.folder)
    yield from _hashes(around, runs, listed_runs, listed_submissions)


def _records(what: str, store: RecordStore, listing: Listing) -> Iterator[Finding]:
    for broken in listing.broken:
        text = f"{broken.path} cannot be read: {broken.message}"
        yield Finding("archive", BAD, text, broken.hint or "restore the file or move it away", DataError.exit_code)
    if not listing.broken:
        states: dict[str, int] = {}
        for record in listing.records:
            states[record.state] = states.get(record.state, 0) + 1
        said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        count = len(listing.records)
        text = f"{count} {what if count != 1 else what[:-1]} in {store.folder}" + (f": {said}" if said else "")
        yield Finding("archive", GOOD, text, facts={"records": what, "states": states})


def _unfinished(runs: Listing, submissions: Listing) -> Iterator[Finding]:
    """What was stopped and can be gone on with."""
    for run in runs.records:
        if run.state in ("interrupted", "running") and not _holders(run.folder):
            text = f"run {run.id} was stopped before its end"
            yield Finding("archive", WARNING, text, f"kk train --resume {run.id} goes on with it")
    for one in submissions.records:
        if one.state in ("sending", "sent"):
            what = "its score is not known" if one.state == "sent" else "whether it arrived is not known"
            yield Finding("archive", WARNING, f"submission {one.id}: {what}", "kk sync asks")


def _left_over(*folders: Path) -> Iterator[Finding]:
    """Locks that are held, and temporary files that nobody will finish."""
    for folder in folders:
        for lock, pid in _holders(folder).items():
            text = f"{lock} is held by process {pid}: another kk is at work"
            yield Finding("archive", WARNING, text, "wait until it has ended")
    held = {lock.parent for folder in folders for lock in _holders(folder)}
    drafts = [path for path in chain.from_iterable(folder.rglob(".*.tmp") for folder in folders) if path.is_file()]
    abandoned = [path for path in drafts if not held & {*path.parents} and not _is_running(path)]
    if abandoned:
        taken = size(sum(path.stat().st_size for path in abandoned))
        text = f"left over from killed commands: {abandoned[0]}, {len(abandoned)} in all, {taken}"
        yield Finding("archive", WARNING, text, "delete them: nothing reads them")


def _is_running(draft: Path) -> bool:
    """Whether the process that writes a temporary file, whose number is in the file's name, is still there."""
    words = draft.name.split(".")
    try:
        os.kill(int(words[-3]), 0)
    except (ValueError, IndexError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _holders(folder: Path) -> dict[Path, int]:
    """The locks below ``folder`` that a process holds, with its number; none where the system does not tell.

    Looked up, not tried: to try a lock is to hold it, and someone else would be refused meanwhile.
    """
    try:
        rows = [line.split() for line in LOCKS.read_text().splitlines()]
        held = {row[5].rpartition(":")[2]: int(row[4]) for row in rows if row[1] != "->"}
    except (OSError, ValueError, IndexError):
        return {}
    if not held:
        return {}
    locks = [path for path in chain(folder.rglob("*.lock"), folder.rglob(".lock")) if path.is_file()]
    return {path: held[inode] for path in locks if (inode := str(path.stat().st_ino)) in held}


def _hashes(around: Surroundings, runs: RunStore, listed: Listing, submissions: Listing) -> Iterator[Finding]:
    """Whether the newest submission, else the newest run, is still what its record says."""
    sent = next(iter(submissions.records), None)
    done = next((run for run in listed.records if run.state == "done"), None)
    if sent is not None:
        links = submission_chain(around.project, sent.id).links
        changed = [f"{link.step} {link.name}" for link in links if link.status == "changed"]
        checked = sum(link.status == "same" for link in links)
        remedy = f"kk submissions show {sent.id} names both hashes"
        yield _verdict(f"submission {sent.id}", changed, checked, remedy)
    elif done is not None:
        yield _verdict(f"run {done.id}", *_checkpoints(runs, done), f"kk train makes it anew; move {done.folder} away")


def _checkpoints(runs: RunStore, run: Record) -> tuple[list[str], int]:
    """Checkpoints that are not what the record says, and how many are."""
    there = [(path, expected) for path, expected in runs.checkpoints(run) if path.is_file()]
    changed = [path.relative_to(run.folder).as_posix() for path, expected in there if sha256_of(path) != expected]
    return changed, len(there) - len(changed)


def _verdict(what: str, changed: list[str], checked: int, remedy: str) -> Finding:
    if changed:
        text = f"the newest, {what}, is no longer what its record says: {', '.join(changed)}"
        return Finding("archive", BAD, text, remedy, DataError.exit_code)
    return Finding("archive", GOOD, f"the newest, {what}: {checked} hashes compared, all as recorded")


CHECKS: dict[str, Check] = {
    "notebook": notebook,
    "data": data,
    "credentials": credentials,
    "archive": archive,
}
