"""Messages of webhooks: whether they are genuine (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

#: How far the sender's clock and ours may be apart, in seconds; what is older was sent again by somebody else.
TOLERANCE = 300.0


class NotGenuine(ValueError):
    """A message that the server did not send, or not now."""


def verify_webhook(secret: str, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> dict[str, Any]:
    """The message, if its signature and its time are right; :class:`NotGenuine` if not.

    :param secret: the webhook's, ``whsec_…``; while two overlap, either.
    :param headers: the request's, their names in lower case.
    :param body: the request's, as it came.
    """
    try:
        identity, sent = headers["webhook-id"], headers["webhook-timestamp"]
        signatures = headers["webhook-signature"].split(" ")
        age = abs((time.time() if now is None else now) - float(sent))
    except (KeyError, ValueError) as error:
        raise NotGenuine(f"the headers are incomplete: {error}") from error
    if age > TOLERANCE:
        raise NotGenuine(f"it is {age:.0f} s old")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{identity}.{sent}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    if not any(hmac.compare_digest(signature.encode(), expected.encode()) for signature in signatures):
        raise NotGenuine("the signature is another's")
    message: dict[str, Any] = json.loads(body)
    return message
