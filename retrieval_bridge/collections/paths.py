"""Files of a collection: found plain or as `.gz`, and known again by size and time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def bare(path: Path) -> Path:
    """The path without `.gz`, by whose suffix a file is known."""
    return path.with_suffix("") if path.suffix == ".gz" else path


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of the names that is in the folder, plain or as `.gz`."""
    candidates = (folder / f"{name}{end}" for name in names for end in ("", ".gz"))
    return next((path for path in candidates if path.exists()), None)


def existing(path: str | os.PathLike[str], what: str) -> Path:
    if not Path(path).exists():
        raise ValueError(f"{path}: no such file or folder; it should hold the {what}")
    return Path(path)


def written_at(file: Path) -> list[int]:
    """Size and time of the last change, to the nanosecond."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]


def stamps_of(paths: Iterable[Path]) -> dict[str, list[int]]:
    """`written_at` of files and of all files in folders."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {str(file.resolve()): written_at(file) for file in files if file.is_file()}
