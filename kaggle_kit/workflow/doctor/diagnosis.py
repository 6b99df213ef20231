"""What ``kk doctor`` tells: findings, all of them together, and what its checks are given to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kaggle_kit.cells import rows_table
from kaggle_kit.config import Project
from kaggle_kit.progress import Progress

GOOD, WARNING, BAD = "good", "warning", "bad"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        status: ``good``, ``warning`` or ``bad``.
        text: what was found, with the values.
        remedy: what to do; empty when there is nothing to do.
        exit_code: of a bad one: the family that the error would belong to (``errors.EXIT_CODES``).
        facts: the values as plain data.
    """

    check: str
    status: str
    text: str
    remedy: str = ""
    exit_code: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found.

    Attributes:
        findings: in the order of the checks; what others depend on comes first.
    """

    findings: tuple[Finding, ...]

    @property
    def status(self) -> str:
        """The worst status."""
        present = {finding.status for finding in self.findings}
        return next((status for status in (BAD, WARNING) if status in present), GOOD)

    @property
    def exit_code(self) -> int:
        """0 when nothing is bad, else that of the first bad finding: what comes first has to be mended first."""
        return next((finding.exit_code for finding in self.findings if finding.status == BAD), 0)

    def of(self, check: str) -> list[Finding]:
        """The findings of one check."""
        return [finding for finding in self.findings if finding.check == check]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "status": self.status,
            "exit_code": self.exit_code,
            "findings": [{**vars(finding), "facts": dict(finding.facts)} for finding in self.findings],
        }

    def _repr_html_(self) -> str:
        """The table for a notebook."""
        rows = [(one.status, one.check, one.text, one.remedy) for one in self.findings]
        return rows_table(("", "check", "found", "remedy"), rows)


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at.

    Attributes:
        project: with the settings in force, or the defaults where those cannot be read.
        environ: environment variables.
        offline: ask nobody over the network.
        progress: where to say what is being looked at.
    """

    project: Project
    environ: Mapping[str, str]
    offline: bool
    progress: Progress


Check = Callable[[Surroundings], Iterator[Finding]]
