"""Files and folders that are written whole or not at all.

    with whole_file("runs/lists.jsonl") as writing:
        lists.to_json(writing)
    with whole_folder("runs/encoder") as filling:
        encoder.save(filling)

A reader, or a crash in between, sees the old file or the whole new one. A folder is never half filled; while it is
exchanged for the new one there is a moment without either.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_STEM = 100  # characters of a file's name that the name of its temporary file repeats


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file, text as UTF-8, so that a reader (or a crash) never sees half of it."""
    with whole_file(path) as writing:
        writing.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to write, with the suffix of `path`. It takes the place of `path` at the end, or is removed on an error.

    Folders above `path` are made. Everyone may read the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        prefix=f".{path.stem[:LONGEST_STEM]}-", suffix=path.suffix, dir=path.parent
    )
    os.close(descriptor)
    writing = Path(name)
    try:
        yield writing
        writing.chmod(0o644)
        os.replace(writing, path)
    finally:
        writing.unlink(missing_ok=True)


@contextmanager
def whole_folder(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill. It takes the place of `directory` at the end, or is removed on an error.

    Folders above `directory` are made. A folder that lies at `directory` stays until the new one is complete.
    """
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    filling = Path(tempfile.mkdtemp(prefix=f".{directory.name[:LONGEST_STEM]}-", dir=directory.parent))
    try:
        yield filling
        filling.chmod(0o755)
        if directory.exists():
            shutil.rmtree(directory)
        filling.rename(directory)
    finally:
        shutil.rmtree(filling, ignore_errors=True)
