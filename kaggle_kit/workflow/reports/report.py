"""Everything about a run, a submission or the whole competition on one HTML page that opens from disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kaggle_kit.analysis import page as pages
from kaggle_kit.analysis.page import Drawing, Page, Section, Thumbnails
from kaggle_kit.analysis.style import inline_svg
from kaggle_kit.archive import Record, RunStore, SubmissionStore
from kaggle_kit.archive.ids import timestamp, utc_now
from kaggle_kit.config import Project
from kaggle_kit.errors import KaggleKitError, MissingError, UsageError
from kaggle_kit.files import write_bytes
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.version import VERSION
from kaggle_kit.workflow.expect import CalibrationReport, calibration
from kaggle_kit.workflow.history import history, run_history
from kaggle_kit.workflow.keep import run_links, submission_chain
from kaggle_kit.workflow.reports import parts
from kaggle_kit.workflow.reports.plot import PLOTS, numbers_of
from kaggle_kit.workflow.reports.verify import Inspection, inspect_run


@dataclass(frozen=True)
class Report:
    """A page that was written.

    Attributes:
        kind: ``run``, ``submission`` or ``competition``.
        subject: the run's or submission's id, or the competition's slug.
        size: bytes.
        left_out: what could not be shown, and why.
    """

    path: Path
    kind: str
    subject: str
    size: int
    left_out: list[str]


def report(
    project: Project, target: str | None = None, output: Path | str | None = None, *, progress: Progress = SILENCE
) -> Report:
    """Write the page of a run, a submission, or the whole competition.

    What cannot be shown (the data is not here, a translator without learning curves) is named on the page and left out.

    Args:
        target: id of a run, ensemble or submission, or the unique beginning of one; the whole competition when None.
        output: an .html file; ``report.html`` when None.

    Raises:
        MissingError: no run and no submission of that name.
        UsageError: several, or the file cannot be written there, or Jinja2 or matplotlib is not installed.
    """
    path = Path(output if output is not None else "report.html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path} does not end in .html", "name a page such as report.html")
    pages.require_page()
    writer = _Writer(project, progress)
    kind, subject, page = writer.page(target)
    content = pages.write_page(page)
    write_bytes(path, content)
    return Report(path, kind, subject, len(content), writer.left_out)


class _Writer:
    """Collects the parts of one page, and what had to be left out of it."""

    def __init__(self, project: Project, progress: Progress) -> None:
        self.project, self.progress = project, progress
        self.left_out: list[str] = []

    def page(self, target: str | None) -> tuple[str, str, Page]:
        """Kind, subject and content of the page."""
        slug = self.project.settings.competition.slug
        if target is None:
            return "competition", slug, self._page(slug, "kaggle_kit report on the competition", self._competition())
        record, is_run = _find(self.project, target)
        if is_run:
            title = f"{parts.kind_of(record).capitalize()} {record.id}"
            return "run", record.id, self._page(title, f"kaggle_kit report, {slug}", self._run(record))
        title = f"Submission {record.id}"
        return "submission", record.id, self._page(title, f"kaggle_kit report, {slug}", self._submission(record))

    def _page(self, title: str, subtitle: str, sections: Iterator[Section]) -> Page:
        first, *others = sections
        footer = f"Made by kaggle_kit {VERSION} at {timestamp(utc_now())}; the page asks no network."
        if self.left_out:
            footer += f" Left out: {'; '.join(self.left_out)}."
        return Page(title, subtitle, first.facts, (replace(first, facts=()), *others), footer)

    def _competition(self) -> Iterator[Section]:
        submissions = history(self.project, progress=self.progress)
        runs = run_history(self.project, progress=self.progress)
        finished = runs.only(lambda row: row["cv"] is not None and row["status"] == "done").sorted("cv").rows
        top = finished[0] if finished else None
        yield Section(
            "history",
            "History",
            () if submissions.rows else ("There is no submission yet: kk submit makes one.",),
            parts.competition_facts(submissions, runs, top),
            parts.history_tables("Submissions", submissions, parts.HISTORY, "public"),
            tuple(self._drawings(["scores"] if submissions.rows else [])),
        )
        yield self._calibrated(calibration(self.project, progress=self.progress))
        yield Section(
            "runs",
            "Training runs",
            () if runs.rows else ("There is no run yet: kk train makes one.",),
            tables=parts.history_tables("Runs and ensembles", runs, parts.RUNS, "cv"),
        )
        if top is not None:
            yield self._looked_at(str(top["id"]), f"The run with the best CV: {top['id']}")

    def _run(self, record: Record) -> Iterator[Section]:
        found = calibration(self.project, progress=self.progress)
        yield self._scores(record, found, "The run")
        if record.state == "done":
            yield self._looked_at(record.id, "Verification, out of fold")
        else:
            self.left_out.append(f"the verification of {record.id}, which has not finished (state: {record.state})")
        yield self._calibrated(found)
        yield parts.configuration(record)
        yield parts.provenance(record, run_links(self.project, record.id))

    def _submission(self, record: Record) -> Iterator[Section]:
        found = calibration(self.project, progress=self.progress)
        yield parts.submission(record)
        yield self._calibrated(found)
        run = record.get("run") or next((one["run"] for one in record["members"]), None)
        try:
            made_by = RunStore(self.project.models_dir).read(run) if run else None
        except KaggleKitError as error:
            self.left_out.append(f"the run {run}: {error.message}")
            made_by = None
        if made_by is not None:
            yield self._scores(made_by, found, f"Its {parts.kind_of(made_by)}: {made_by.id}")
            yield self._looked_at(made_by.id, "Verification, out of fold")
            yield parts.configuration(made_by)
        yield parts.provenance(record, submission_chain(self.project, record.id).links)

    def _scores(self, record: Record, found: CalibrationReport, title: str) -> Section:
        has_curves = record["kind"] != "ensemble" and record.state == "done"
        drawings = tuple(self._drawings(["learning-curves"] if has_curves else [], record.id))
        facts = parts.run_facts(record, found.calibration)
        return Section("run", title, (), facts, parts.run_tables(record), drawings)

    def _calibrated(self, found: CalibrationReport) -> Section:
        drawings = tuple(self._drawings(["calibration"])) if found.calibration.points else ()
        lines = tuple(found.sentences()) or ("Nothing can be said yet.",)
        return Section("calibration", "CV and leaderboard", lines, (), parts.candidate_tables(found), drawings)

    def _looked_at(self, run: str, title: str) -> Section:
        """The verification; a sentence in its place when the run cannot be looked at."""
        try:
            seen = inspect_run(self.project, run, progress=self.progress)
        except KaggleKitError as error:
            self.left_out.append(f"the verification of {run}")
            return Section("verification", title, (f"Left out: {error.message}",))
        return self._verified(seen, title)

    def _verified(self, seen: Inspection, title: str) -> Section:
        found, thumbnails = seen.verification, Thumbnails(seen.photos.thumbnail)
        strips = tuple(
            (name, tuple(parts.strip(case, thumbnails) for case in cases))
            for name, cases in (("Best cases", found.best), ("Worst cases", found.worst))
        )
        if thumbnails.left_out:
            self.left_out.append(f"{thumbnails.left_out} thumbnails, for which the page has no room")
        chosen = [name for name, plot in PLOTS.items() if plot.of == "predictions" and plot.on_page]
        watch = self.progress.start("drawing", len(chosen), "figures")
        drawings = []
        for number, name in enumerate(chosen, 1):
            drawings.append(_drawing(name, PLOTS[name].numbers(seen)))
            watch.update(number)
        watch.finish()
        facts, tables = parts.verification_facts(found), tuple(parts.verification_tables(found))
        return Section("verification", title, (), facts, tables, tuple(drawings), strips)

    def _drawings(self, names: Sequence[str], run: str | None = None) -> Iterator[Drawing]:
        """The figures of those names; one that cannot be drawn is left out."""
        for name in names:
            try:
                numbers = numbers_of(self.project, name, run, progress=self.progress)
            except KaggleKitError as error:
                self.left_out.append(f"{name}: {error.message}")
                continue
            if getattr(numbers, "curves", None) == ():
                self.left_out.append("learning curves, for the translator is solved in closed form")
                continue
            yield _drawing(name, numbers)


def _drawing(name: str, numbers: Any) -> Drawing:
    return Drawing(inline_svg(PLOTS[name].draw(numbers), name), PLOTS[name].meaning)


def _find(project: Project, target: str) -> tuple[Record, bool]:
    """The run (True) or the submission (False) that ``target`` names."""
    found: list[tuple[Record, bool]] = []
    for store, is_run in ((RunStore(project.models_dir), True), (SubmissionStore(project.submissions_dir), False)):
        try:
            found.append((store.load(target), is_run))
        except MissingError:
            continue
    if not found:
        raise MissingError(
            f"there is no run and no submission {target!r}", "kk runs list and kk submissions list show what there is"
        )
    if len(found) > 1:
        raise UsageError(
            f"{target!r} begins the run {found[0][0].id} and the submission {found[1][0].id}", "give more of the id"
        )
    return found[0]
