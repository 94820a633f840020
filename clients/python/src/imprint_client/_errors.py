"""What the server refuses."""

from __future__ import annotations

from typing import Any


class ImprintError(Exception):
    """A problem (RFC 9457) that the server answered with."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail") or f"status {status}")
        self.status = status
        #: The word by which a program tells it from others.
        self.code: str = problem.get("code", "unknown")
        #: The request, as the server's log knows it.
        self.request_id: str = problem.get("request_id", "")
        #: The places of the request that are wrong.
        self.errors: list[dict[str, str]] = problem.get("errors", [])
