"""The column `prompt` of topics and results: each row asks one thing, and so does each query id."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from larpo_ir.data.chats import Messages, as_text, clean_chat


def asked_in(frame: pd.DataFrame) -> list[Any]:
    """The prompt of each row of topics or results: its `prompt`, where there is one, else its `query`."""
    if "prompt" not in frame:
        return list(frame["query"])
    prompts = [clean_chat(prompt) for prompt in frame["prompt"]]
    missing = [prompt is None or prompt is pd.NA or prompt != prompt for prompt in prompts]
    if not any(missing):
        return prompts
    return [
        query if lacks else prompt
        for prompt, query, lacks in zip(prompts, frame["query"], missing, strict=True)
    ]


def texts_asked(frame: pd.DataFrame) -> list[str]:
    """The prompt of each row as plain text: the whole conversation."""
    return [as_text(asked) for asked in asked_in(frame)]


def key_of(prompt: str | Messages) -> str:
    """A prompt as a string that only equal prompts have: to compare and to group by.

    >>> key_of("2+2?") == key_of([{"role": "user", "content": "2+2?"}])
    False
    """
    return prompt if isinstance(prompt, str) else "\0" + json.dumps(prompt, sort_keys=True)


def one_prompt_each(topics: pd.DataFrame) -> pd.DataFrame:
    """Topics with each query id once. Raises a one-line `ValueError` for an id with two different prompts.

    >>> one_prompt_each(pd.DataFrame({"qid": ["a", "a"], "query": ["2+2?", "2+3?"]}))
    Traceback (most recent call last):
    ...
    ValueError: query a has two different prompts, '2+2?' and '2+3?'; give every prompt its own qid
    """
    if not topics["qid"].duplicated().any():
        return topics.reset_index(drop=True)
    first: dict[str, str | Messages] = {}
    for qid, asked in zip(topics["qid"], asked_in(topics), strict=True):
        if first.setdefault(qid, asked) != asked:
            one, other = (as_text(prompt) for prompt in (first[qid], asked))
            raise ValueError(
                f"query {qid} has two different prompts, {one!r:.60} and {other!r:.60}; give every prompt its own qid"
            )
    return topics.drop_duplicates("qid").reset_index(drop=True)
