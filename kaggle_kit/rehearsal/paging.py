"""Lists, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kaggle_kit.rehearsal.exchange import Exchange

PAGE = 20
"""Rows of a page when the request does not say, as on the real service."""


def send_page(exchange: Exchange, body: Mapping[str, Any], key: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """Answer with one page of ``rows`` and ``more``; the token of the next page is the number of its first row."""
    size = max(1, min(200, int(body.get("pageSize") or PAGE)))
    start = 0
    with suppress(ValueError):
        start = int(body.get("pageToken") or 0)
    left = start + size < len(rows)
    exchange.send_json({key: rows[start : start + size], "nextPageToken": str(start + size) if left else "", **more})
