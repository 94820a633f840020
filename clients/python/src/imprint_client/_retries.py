"""When a request is sent again."""

from __future__ import annotations

import random
import uuid

import httpx

from ._errors import ImprintError
from ._operations import Operation

#: Longest pause, in seconds.
LONGEST = 60.0


def headers_of(operation: Operation) -> dict[str, str]:  # type: ignore[type-arg]
    """Its headers; the same key each time that it is sent, so that it acts once."""
    key = {"idempotency-key": str(uuid.uuid4())} if operation.method == "POST" else {}
    return {**key, **operation.headers}


def pause_after(response: httpx.Response, attempt: int) -> float | None:
    """How long to wait before the same request may succeed; none if it will not."""
    is_busy = response.status_code in (429, 503) or (response.status_code == 409 and code_of(response) == "request_in_flight")
    if not is_busy:
        return None
    try:
        return min(float(response.headers["retry-after"]), LONGEST)
    except (KeyError, ValueError):
        return backoff(attempt)


def may_repeat_lost(operation: Operation) -> bool:  # type: ignore[type-arg]
    """Whether a request whose answer was lost may be sent again: it acts once, or changes nothing twice."""
    return operation.method != "PATCH"


def backoff(attempt: int) -> float:
    """Twice as long each time, and never for all clients alike."""
    return min(0.5 * 2**attempt, LONGEST) * random.uniform(0.5, 1.0)


def problem_of(response: httpx.Response) -> ImprintError:
    return ImprintError(response.status_code, body_of(response))


def code_of(response: httpx.Response) -> str:
    return str(body_of(response).get("code", ""))


def body_of(response: httpx.Response) -> dict[str, object]:
    try:
        body = response.json()
    except ValueError:
        return {"detail": response.text[:500]}
    return body if isinstance(body, dict) else {}
