"""A competition on a server that can be made to misbehave; see ``tests/faults.py``."""

from __future__ import annotations

from faults import hosted, notes, server, service

__all__ = ["hosted", "notes", "server", "service"]
