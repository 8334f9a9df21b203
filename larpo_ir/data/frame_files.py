"""Topics and results in Parquet files. A column `prompt` may hold strings beside chats, which no Arrow type does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd

from larpo_ir.data.chats import clean_chat

AS_JSON = "prompt_json"  # in the file, instead of `prompt`, where strings and chats are mixed


def write_frame(frame: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a frame to Parquet. Chats are lists of records, as others write them, unless there are strings, too."""
    path = Path(path)
    if "prompt" in frame and len({type(clean_chat(prompt)) for prompt in frame["prompt"]} & {str, list}) > 1:
        as_json = [None if prompt is None else json.dumps(clean_chat(prompt)) for prompt in frame["prompt"]]
        place = frame.columns.get_loc("prompt")
        frame = frame.drop(columns="prompt")
        frame.insert(place, AS_JSON, as_json)
    frame.to_parquet(path)
    return path


def read_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read what `write_frame` wrote. Raises a one-line `ValueError` that names a file which is damaged."""
    import pyarrow as pa

    try:
        return with_prompts(pd.read_parquet(path))
    except (pa.ArrowException, OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged or not Parquet ({' '.join(str(error).split()):.200})") from None


def with_prompts(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame read from a file, its chats as lists of messages."""
    if AS_JSON in frame:
        frame = frame.rename(columns={AS_JSON: "prompt"})
        prompts = [None if pd.isna(text) else json.loads(text) for text in frame["prompt"]]
    elif "prompt" in frame:
        prompts = [clean_chat(prompt) for prompt in frame["prompt"]]
    else:
        return frame
    return frame.assign(prompt=pd.Series(prompts, index=frame.index, dtype=object))
