"""A cache of responses: a file with a JSON object per line, {"key": …, "text": …, …}, that grows at its end."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path

from larpo_ir.models.drawn import Drawn

_APPENDING = threading.Lock()
_LINE_START = '{"key": "'


def append(path: Path, key: str, response: Drawn) -> None:
    """Write one response, in a line of its own. Threads of one process may call it, several processes may not."""
    line = json.dumps({"key": key, **asdict(response)}).encode() + b"\n"
    with _APPENDING, path.open("a+b") as file:
        if file.tell() and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
            line = b"\n" + line  # behind a torn line
        file.write(line)


def read(path: Path) -> dict[str, Drawn]:
    """Responses by key. Lines that a crash has cut short are passed over; a file of another kind is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()  # fails before the first response is paid for, where the file cannot be written
    responses = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        try:
            if line:
                key, response = _parse_cached(line)
                responses[key] = response
        except (AttributeError, LookupError, TypeError, json.JSONDecodeError) as error:
            torn = isinstance(error, json.JSONDecodeError) and line.startswith(_LINE_START[: len(line)])
            if not torn:
                raise ValueError(
                    f"{path}:{number}: not a response that a generator has cached; name another file as cache"
                ) from None
    return responses


def _parse_cached(line: str) -> tuple[str, Drawn]:
    fields = json.loads(line)
    return fields.pop("key"), Drawn(**fields)
