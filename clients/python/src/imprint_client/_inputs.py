"""Inputs as the server takes them."""

from __future__ import annotations

import base64
import os
from pathlib import Path


def image(file: bytes | str | os.PathLike[str]) -> dict[str, str]:
    """A PNG, JPEG or WebP file, by its bytes or its path."""
    data = file if isinstance(file, bytes) else Path(file).read_bytes()
    return {"image": base64.b64encode(data).decode("ascii")}
