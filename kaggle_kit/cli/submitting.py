"""What ``kk submit`` and ``kk remote submit`` share: somebody may want to be asked first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kaggle_kit.cli.session import Session
from kaggle_kit.errors import UsageError


def question(session: Session, text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Asks ``text`` at the terminal, with the fields of the record that it names.

    Raises:
        UsageError: there is none; said now rather than after the prediction.
    """
    if not session.can_ask:
        raise UsageError("--confirm: there is no terminal to ask on", "leave it out: --message is the intent")
    return lambda record: bool(session.ask(text.format_map(record)))
