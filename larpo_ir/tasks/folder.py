"""The folder of an evaluation says which one it holds; a failed one does not stand in the way of the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.digests import as_written, digest_rows
from larpo_ir.provenance.output_folder import OutputFolder
from larpo_ir.provenance.outputs import read_config


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
    settings = as_written({**settings, "digest": digest_rows(content)})
    output = OutputFolder(folder)
    before = read_config(output.config) if output.config.exists() else settings
    if before != settings and {**before, "digest": settings["digest"]} == settings:
        raise ValueError(
            f"{folder} holds a different evaluation: the responses or the data have changed;"
            " choose another folder for the output or delete that one"
        )
    output.claim(settings, free=())
    try:
        yield
    finally:
        records = {output.config, output.environment}
        if set(folder.iterdir()) <= records:
            for record in records:
                record.unlink(missing_ok=True)
            if is_new:
                folder.rmdir()
