"""The folder of an evaluation: whose it is, and that a failed one does not stand in the way of the next."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from larpo_ir.rundir import RunDirectory

CLAIM = {"config.yaml", "environment.json"}


@contextmanager
def claimed(folder: Path, settings: dict[str, Any], content: pd.DataFrame) -> Iterator[None]:
    """A folder for the evaluation of `content`; one that leaves no result or verdict gives the folder back.

    Raises `ValueError`, before anything is touched, where a file is in the way, and for a folder with another
    evaluation (other settings, or other content under the same ones) or with anything else.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{there} is a file; choose a folder for the output")
    is_new = there != folder
    settings = {**settings, "digest": _digest(content)}
    config = folder / "config.yaml"
    before = yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else settings
    if before != settings and {**before, "digest": settings["digest"]} == settings:
        raise ValueError(
            f"{folder} holds a different evaluation: the responses or the data have changed since, under the same"
            " names; choose another folder for the output or delete that one"
        )
    RunDirectory(folder).claim(settings, free=())
    try:
        yield
    finally:
        if {path.name for path in folder.iterdir()} <= CLAIM:
            for name in CLAIM:
                (folder / name).unlink(missing_ok=True)
            if is_new:
                folder.rmdir()


def _digest(content: pd.DataFrame) -> str:
    """What tells an evaluation from one of other responses, or of other items, in files of the same names."""
    text = content.to_json(orient="values").encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()
