"""Links that open something without a token, for a while."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time


class Links:
    """Signs routes of one server.

    Args:
        lifetime_s: seconds that a link works.
    """

    def __init__(self, lifetime_s: float) -> None:
        self._lifetime_s = lifetime_s
        self._key = secrets.token_bytes(32)

    def signed(self, route: str) -> str:
        """``route``, quoted, with its end and its signature."""
        expires = f"{time.time() + self._lifetime_s:.3f}"
        return f"{route}?expires={expires}&signature={self._signature(route, expires)}"

    def opens(self, route: str, query: dict[str, str]) -> bool:
        """Whether the query of a request for ``route`` (quoted) holds a right signature that has not expired."""
        expires = query.get("expires", "0")
        right = hmac.compare_digest(query.get("signature", "").encode(), self._signature(route, expires).encode())
        return right and float(expires) >= time.time()

    def _signature(self, route: str, expires: str) -> str:
        return hmac.new(self._key, f"{route}\n{expires}".encode(), hashlib.sha256).hexdigest()
