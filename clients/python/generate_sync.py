#!/usr/bin/env python3
"""Writes the blocking client from the asynchronous one: they are one text, with and without `await`.

    python clients/python/generate_sync.py            # writes src/imprint_client/_sync.py
"""

import pathlib
import re

SOURCE = pathlib.Path(__file__).parent / "src/imprint_client"

#: What one says, and what the other says for it; in order.
WORDS = [
    ('"""The asynchronous client."""', '"""The blocking client."""'),
    ("import asyncio\n", "import time\n"),
    (
        "from collections.abc import AsyncIterator, Callable, Iterable, Sequence",
        "from collections.abc import Callable, Iterable, Iterator, Sequence",
    ),
    ("AsyncImprint", "Imprint"),
    ("httpx.AsyncBaseTransport", "httpx.BaseTransport"),
    ("httpx.AsyncClient", "httpx.Client"),
    ("__aenter__", "__enter__"),
    ("__aexit__", "__exit__"),
    (".aclose()", ".close()"),
    ("AsyncIterator", "Iterator"),
    ("asyncio.sleep", "time.sleep"),
    ("async for ", "for "),
    ("async def ", "def "),
    ("await ", ""),
]


def sync_of(text: str) -> str:
    """The blocking client's text."""
    for word, other in WORDS:
        text = text.replace(word, other)
    left = re.search(r"\b(async|await)\b|Async", text)
    if left:
        raise SystemExit(f"`{left[0]}` is left: add a word")
    return text


if __name__ == "__main__":
    (SOURCE / "_sync.py").write_text(sync_of((SOURCE / "_async.py").read_text()))
