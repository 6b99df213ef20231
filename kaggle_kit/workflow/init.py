"""Begin a project: ``kk.toml`` and the competition's description, from what the service or files already here tell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from kaggle_kit.archive import remember_limit
from kaggle_kit.cells import facts_table
from kaggle_kit.competition import Competition, CompetitionFiles, SubmissionFormat, TestKeys, TrainKeys
from kaggle_kit.config import (
    PROJECT_FILE,
    Project,
    comment,
    find_description,
    literal,
    load_project,
    slug_of,
    toml_lines,
)
from kaggle_kit.embeddings import file_if_there
from kaggle_kit.embeddings.discover import discover_keys
from kaggle_kit.errors import CredentialsError, ServiceError, SubmissionError, UsageError
from kaggle_kit.files import write_bytes
from kaggle_kit.kaggle_service import CompetitionInfo, KaggleService
from kaggle_kit.kaggle_service.unpack import inside, safe_path
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import Paths
from kaggle_kit.submission import SampleFormat, learn_format
from kaggle_kit.workflow.connect import connect

LARGEST_LOOKED_AT = 64 << 20
"""Bytes of a file that is downloaded only to look at what it holds."""
LARGEST_TABLE = 256 << 20
TABLES = (".csv", ".tsv", ".json", ".parquet", ".txt")


@dataclass(frozen=True)
class InitResult:
    """A project that was begun.

    Attributes:
        slug: the competition.
        title: its title; empty when nobody told.
        metric: how it is scored, in the service's words; empty when nobody told.
        deadline: ISO 8601, UTC; None when there is none or nobody told.
        per_day: submissions a day; None when nobody told.
        kind: ``embeddings``, or ``plain``: files made elsewhere are held against the sample.
        written: the files written.
        notes: what could not be found out, and what to do about it.
        command: the sensible next command.
    """

    slug: str
    title: str
    metric: str
    deadline: str | None
    per_day: int | None
    kind: str
    written: list[Path]
    notes: list[str]
    command: str

    def _repr_html_(self) -> str:
        """What was found out and written, for a notebook."""
        written = ", ".join(path.name for path in self.written)
        facts = {"competition": self.title or self.slug, "kind": self.kind, "scored by": self.metric,
                 "deadline": self.deadline, "submissions a day": self.per_day, "wrote": written,
                 "notes": "; ".join(self.notes), "next": self.command}  # fmt: skip
        return facts_table(facts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {**vars(self), "written": [str(path) for path in self.written]}


def init(
    reference: str,
    *,
    folder: Path | str | None = None,
    source: Path | str | None = None,
    force: bool = False,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
    environ: Mapping[str, str] = os.environ,
) -> InitResult:
    """Write ``kk.toml`` for a competition, and its description when the package has none; nothing is asked that can be found out.

    Title, deadline, limit, metric and files come from the service, columns from the sample submission, npz keys from the arrays. Files
    below 64 MB are downloaded to be looked at; larger ones are looked at when they are here already.

    Args:
        reference: the competition's slug or the URL of its page.
        folder: the project's folder; the current one when None.
        source: folder with the competition's files: nothing is asked of the service then.
        force: replace files that are there.
        service: where to ask; Kaggle, or the server that the settings name, when None.

    Raises:
        UsageError: ``reference`` is no slug or URL, ``source`` no folder, or a file is there already.
        MissingError: the service knows no such competition.
        CredentialsError, ServiceError: the service refused or failed, and no description of the competition is known.
        DataError: an npz or the sample is broken.
    """
    try:
        slug = slug_of(reference)
    except ValueError as error:
        raise UsageError(f"the competition {error}", "kk init titanic, or the address of its page") from None
    root = Path(folder or Path.cwd()).resolve()
    own = Path("competitions") / f"{slug}.toml"
    known = find_description(slug, root)
    describe = known is None or (force and known[0] == root / own)
    targets = [root / PROJECT_FILE, *([root / own] if describe else [])]
    for path in targets:
        if path.exists() and not force:
            raise UsageError(f"{path} is there already", "kk init --force replaces it")
    look = _Look(slug, root, source, service, progress, environ)
    info = look.info if describe else look.info_if_told
    competition = look.competition() if describe else _project(root, slug).settings.competition
    texts = [_project_text(slug, info), *([_description_text(info, competition)] if describe else [])]
    contents = [text.encode() for text in texts]  # all, before the first is written
    for path, content in zip(targets, contents, strict=True):
        write_bytes(path, content)
    if info is not None and info.max_daily_submissions:
        remember_limit(root / Paths().submissions, slug, info.max_daily_submissions)
    return InitResult(
        slug=slug,
        title=(info.title if info else "") or competition.title,
        metric=info.evaluation_metric if info else "",
        deadline=info.deadline.isoformat() if info and info.deadline else None,
        per_day=info.max_daily_submissions if info else None,
        kind="plain" if competition.plain else "embeddings",
        written=targets,
        notes=look.notes,
        command=f"kk fetch --from {shlex.quote(str(source))}" if source is not None else "kk fetch",
    )


def _project(root: Path, slug: str) -> Project:
    """The competition in that folder, whatever ``kk.toml`` there says of another one."""
    return load_project(root, overrides={"competition.slug": slug})


class _Look:
    """What can be found out about a competition: from the service, or from a folder alone."""

    def __init__(
        self,
        slug: str,
        root: Path,
        source: Path | str | None,
        service: KaggleService | None,
        progress: Progress,
        environ: Mapping[str, str],
    ) -> None:
        self.slug, self.progress, self.environ = slug, progress, environ
        self.data = root / "data"
        self.source = Path(source).expanduser() if source is not None else None
        if self.source is not None and not self.source.is_dir():
            raise UsageError(f"no such folder: {self.source}", "give the folder with the competition's files")
        self.root, self._given = root, service
        self.notes: list[str] = []

    @cached_property
    def service(self) -> KaggleService:
        """The service that is asked."""
        project = load_project(self.root, environ=self.environ, overrides={"competition.slug": self.slug})
        return connect(project, self._given, environ=self.environ, progress=self.progress)

    @cached_property
    def info(self) -> CompetitionInfo | None:
        """What the service says of the competition; None when it is not asked."""
        if self.source is not None:
            return None
        try:
            info = self.service.competition(self.slug)
        except (CredentialsError, ServiceError) as error:
            error.hint = f"{error.hint}; without a network: kk init {self.slug} --from DIR, a folder with its files"
            raise
        if info.entered is False:
            self.notes.append(f"you have not entered yet: accept the rules at {info.url}/rules before kk fetch")
        if info.code_only:
            self.notes.append("only notebooks can submit: kk remote submit, or kk submit --kernel")
        return info

    @property
    def info_if_told(self) -> CompetitionInfo | None:
        """What the service says of a competition that is described already; None, with a note, when it says nothing."""
        try:
            return self.info
        except (CredentialsError, ServiceError) as error:
            self.notes.append(f"deadline and limit are not known yet: {error.message}")
            return None

    @cached_property
    def files(self) -> dict[str, int]:
        """Bytes of each file by its name in the competition; those whose names no TOML file could hold are told of and left out."""
        files = self._all_files()
        unnamed = [name for name in files if not _is_unicode(name)]
        for name in unnamed:
            del files[name]
        if unnamed:
            self.notes.append(f"left out, as its name is not UTF-8: {unnamed[0]!a}{' and others' * (len(unnamed) > 1)}")
        return files

    def _all_files(self) -> dict[str, int]:
        if self.source is None:
            return {file.name: file.size or 0 for file in self.service.files(self.slug)}
        found = sorted(path for path in self.source.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(self.source).as_posix(): path.stat().st_size for path in found}

    def place(self, name: str) -> Path | None:
        """Where a file can be looked at: here, or downloaded if it is small; None when it cannot."""
        if self.source is not None:
            return self.source / name
        there = file_if_there(name, slug=self.slug, data_dir=self.data, environ=self.environ)
        if there is not None:
            return there
        if self.files[name] > LARGEST_LOOKED_AT:
            self.notes.append(
                f"{name} was not looked into, it is large: after kk fetch, kk init {self.slug} --force does"
            )
            return None
        try:
            target = inside(self.data / self.slug, safe_path(name, "the competition's file"))
            return self.service.download(self.slug, name, target).path
        except CredentialsError as error:
            self.notes.append(f"{name} was not looked into: {error.message}")
            return None

    def competition(self) -> Competition:
        """The competition as far as it can be told."""
        title = self.info.title if self.info else ""
        sample_name = self._one(("sample", "submission"), (".csv", ".zip", ".gz"))
        sample = self._sample(sample_name)
        train, test = self._npz("train"), self._npz("test")
        if train is not None and test is not None and train != test:
            return self._of_embeddings(title, train, test, sample)
        if sample_name is None:
            self.notes.append(
                "neither a training and a test npz nor a sample submission was found among the "
                f"{len(self.files)} files: name them under [files] in competitions/{self.slug}.toml"
            )
            return Competition(slug=self.slug, title=title)
        more = [name for name, size in self.files.items()
                if name != sample_name and PurePosixPath(name).suffix in TABLES and size <= LARGEST_TABLE]  # fmt: skip
        files = CompetitionFiles(train=None, test=None, test_captions=None, images=None, sample=sample_name, more=more)
        columns = [] if sample is None else [column.name for column in sample.columns]
        return Competition(slug=self.slug, title=title, files=files, submission=_columns(columns))

    def _of_embeddings(self, title: str, train: str, test: str, sample: SampleFormat | None) -> Competition:
        found = discover_keys(self.place(train), self.place(test))
        self.notes += found.unclear
        captions = next((name for name in self.files if PurePosixPath(name).parent == PurePosixPath(test).parent
                         and PurePosixPath(name).name == "captions.txt"), None)  # fmt: skip
        lists = [column.name for column in sample.columns if column.kind == "list"] if sample else []
        columns = [sample.columns[sample.id_place].name, *lists[:1]] if sample else []
        if sample is None:
            self.notes.append(
                "no sample submission: its columns are taken to be id and embedding; the competition's evaluation page tells"
            )
        return Competition(
            slug=self.slug,
            title=title,
            files=CompetitionFiles(train=train, test=test, test_captions=captions, images=self._photos()),
            train_keys=found.train or _like(found.test),
            test_keys=found.test or TestKeys(),
            submission=_columns(columns),
        )

    def _sample(self, name: str | None) -> SampleFormat | None:
        """What the sample submission says; None when it cannot be looked at."""
        path = None if name is None else self.place(name)
        if path is None:
            return None
        try:
            return learn_format(path)
        except SubmissionError as error:
            self.notes.append(error.message)
            return None

    def _npz(self, word: str) -> str | None:
        """The npz with a word in its name or, failing that, in its folder's."""
        names = [name for name in self.files if name.endswith(".npz")]
        in_name = [name for name in names if word in PurePosixPath(name).name.lower()]
        fitting = in_name or [name for name in names if word in name.lower()]
        if not fitting and len(names) == 2:  # the larger one is to learn from
            return (max if word == "train" else min)(names, key=self.files.__getitem__)
        return max(fitting, key=self.files.__getitem__, default=None)

    def _one(self, words: tuple[str, ...], suffixes: tuple[str, ...]) -> str | None:
        """The file with most of the words in its name."""
        names = [name for name in self.files if name.lower().endswith(suffixes)]
        count = {name: sum(word in PurePosixPath(name).name.lower() for word in words) for name in names}
        return max((name for name in names if count[name]), key=count.__getitem__, default=None)

    def _photos(self) -> str | None:
        """The folder that holds the photos."""
        folders = [
            str(PurePosixPath(name).parent) for name in self.files if name.lower().endswith((".jpg", ".jpeg", ".png"))
        ]
        return max(set(folders), key=folders.count, default=None)


def _is_unicode(name: str) -> bool:
    """Whether a file's name can be written down: names in another encoding come with halves of characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _columns(names: list[str]) -> SubmissionFormat:
    return SubmissionFormat(*names) if len(names) == 2 else SubmissionFormat()


def _like(test: TestKeys | None) -> TrainKeys:
    """Keys of a training file that was not looked at: those that the test file has by the same name."""
    return TrainKeys() if test is None else TrainKeys(test.caption_ids, test.caption_texts, test.caption_embeddings)


def _project_text(slug: str, info: CompetitionInfo | None) -> str:
    """``kk.toml``: what is known in comments, the competition, and what one may want to set."""
    per_day = info.max_daily_submissions if info else None
    facts = _facts(slug, info)
    return "\n".join([
        *facts,
        "",
        "# which competition: its slug; what it consists of stands in competitions/<slug>.toml, here or in the package",
        f"competition = {literal(slug)}",
        "",
        "[submit]",
        f"# submissions of today that kk submit leaves unused{f' (the limit is {per_day} a day)' if per_day else ''}",
        "keep = 0",
        "",
        "# every other setting, with its meaning: kk config show --meaning",
        "",
    ])  # fmt: skip


def _facts(slug: str, info: CompetitionInfo | None) -> list[str]:
    if info is None:
        return [f"# {slug}: begun from files; kk init {slug} --force asks Kaggle for title, deadline and limit."]
    lines = [info.title or slug, info.url or f"https://www.kaggle.com/competitions/{slug}"]
    lines += [f"Deadline: {info.deadline:%Y-%m-%d %H:%M} UTC."] if info.deadline else []
    lines += [f"Scored by: {info.evaluation_metric}."] if info.evaluation_metric else []
    lines += [f"Submissions a day: {info.max_daily_submissions}."] if info.max_daily_submissions else []
    return [f"# {comment(text)}" for text in lines]


def _description_text(info: CompetitionInfo | None, competition: Competition) -> str:
    """The description: what differs from the defaults, and what a description should say in any case."""
    always = ["slug", *(["title"] if competition.title else [])]
    if competition.plain:
        default = Competition(files=CompetitionFiles(train=None, test=None, sample=""))
        always += ["files.train", "files.test"]
    else:
        default = Competition()
        always += ["files.train", "files.test", "submission.id_column", "submission.embedding_column"]
        always += [f"train_keys.{name}" for name in vars(competition.train_keys)]
        always += [f"test_keys.{name}" for name in vars(competition.test_keys)]
    lines = toml_lines("", competition, default, meanings=True, always=always)
    gallery = [] if competition.plain else [
        "# rows of one retrieval gallery: nothing tells it but the competition's evaluation page; 100 unless set",
        "# gallery_size = 100",
        "",
    ]  # fmt: skip
    end_of_top = lines.index("") if "" in lines else len(lines)
    head = [
        *_facts(competition.slug, info),
        "# Written by kk init; what is not here has the default (kk config show competition).",
    ]
    return "\n".join([*head, "", *lines[:end_of_top], *gallery[:2], *lines[end_of_top:]]) + "\n"
