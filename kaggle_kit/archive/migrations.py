"""Old records made new: one small function for each step from a schema to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kaggle_kit.errors import DataError
from kaggle_kit.version import VERSION

Step = Callable[[dict[str, Any]], dict[str, Any]]


class Migrations:
    """The chain of one kind of record; the current schema is one more than there are steps.

    A step is registered by the schema that it starts from and named for what it does::

        @SUBMISSION_MIGRATIONS.step(1)
        def add_reference(record): ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._steps: list[Step] = []

    @property
    def current(self) -> int:
        """The schema that records are written with."""
        return 1 + len(self._steps)

    def step(self, source: int) -> Callable[[Step], Step]:
        """Register the decorated function as the step from schema ``source`` to the next."""
        if source != self.current:
            raise ValueError(f"the next step of {self.kind} records starts from schema {self.current}, not {source}")

        def register(function: Step) -> Step:
            self._steps.append(function)
            return function

        return register

    def upgrade(self, record: dict[str, Any]) -> dict[str, Any]:
        """``record`` in the current schema; the file is left as it is until the record is written next.

        Raises:
            DataError: no schema, or one of a newer version, which is named.
        """
        schema = record.get("schema")
        if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
            raise DataError(f"the {self.kind} record has no valid schema number, but {schema!r}")
        if schema > self.current:
            writer = record.get("written_by") or "a newer version"
            raise DataError(
                f"the {self.kind} record has schema {schema}, written by kaggle_kit {writer}; "
                f"this is kaggle_kit {VERSION}, which reads schemas up to {self.current}",
                f"pip install --upgrade 'kaggle_kit>={writer}'" if record.get("written_by") else "upgrade kaggle_kit",
            )
        for step in self._steps[schema - 1 :]:
            record = step(record)
        return {**record, "schema": self.current}
