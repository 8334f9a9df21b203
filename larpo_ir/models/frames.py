"""Results frames as a language model reads them: the tokens of their rows, and log π of these.

`prompt` of a row, where there is one, is exactly what is read (a generator wrote there what it asked); without one it
is the `query`. A row with `token_ids` was sampled as these tokens, and is scored on them where they are this
tokenizer's own (`tokens_known`); any other on its text, followed by the end of a response unless its column
`finished` is false.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from larpo_ir.data.prompts import asked_in
from larpo_ir.models.tokenization import TokenizedList, fit, tokenize_lists, tokenize_prompts

logger = logging.getLogger("larpo_ir")


def tokens_known(
    frame: pd.DataFrame, texts_of: Callable[[Sequence[Sequence[int]]], list[str]]
) -> pd.Series[bool]:
    """Whether a row's `token_ids` are what this tokenizer reads back as the row's `text`.

    Recorded responses may come from another model: its token ids, taken for one's own, are another text. `texts_of`
    is the generator's way back from tokens to text (`Generator.texts_of`). A text that was cut at a stop string is
    the beginning of its tokens' text.
    """
    known = np.zeros(len(frame), dtype=bool)
    there = np.flatnonzero(frame["token_ids"].notna() if "token_ids" in frame else known)
    if len(there):
        ids = [list(map(int, row)) for row in frame["token_ids"].iloc[there]]
        try:
            texts = texts_of(ids)
        except (OverflowError, IndexError, TypeError):  # ids that the tokenizer does not have
            texts = [""] * len(ids)
        said = frame["text"].iloc[there]
        known[there] = [
            read.startswith(text) and bool(text or not read) for read, text in zip(texts, said, strict=True)
        ]
    return pd.Series(known, index=frame.index)


def lists_of_frame(
    tokenizer: Any, frame: pd.DataFrame, max_length: int | None
) -> tuple[list[TokenizedList], list[np.ndarray]]:
    """The rows of a frame as lists of one prompt, and the places of each list's rows.

    Raises a one-line `ValueError` that names the query, where a chat template refuses a chat or there is no room.
    """
    frame = frame.reset_index(drop=True)
    first = frame.drop_duplicates("qid")
    asked, places = asked_in(first), [f"query {qid}" for qid in first["qid"]]
    ids = tokenize_prompts(tokenizer, asked, places=places)
    prompts = dict(zip(first["qid"], zip(asked, ids, strict=True), strict=True))
    sampled = frame["token_ids"].notna() if "token_ids" in frame else pd.Series(False, index=frame.index)
    lists: list[TokenizedList] = []
    rows_of: list[np.ndarray] = []
    for (qid, known), rows in frame.groupby(["qid", sampled], sort=False):
        prompt, prompt_ids = prompts[qid]
        where = f"query {qid}"
        if known:
            tokens = TokenizedList(prompt_ids, [list(ids) for ids in rows["token_ids"]])
        else:
            (tokens,) = tokenize_lists(
                tokenizer, [prompt], [list(rows["text"])], append_eos=[_ended(rows)], places=[where]
            )
        rows_of.append(rows.index.to_numpy())
        lists.append(fit(tokens, max_length, where))
    return lists, rows_of


def _ended(rows: pd.DataFrame) -> list[bool]:
    if "finished" not in rows:
        return [True] * len(rows)
    return [not bool(cut) for cut in rows["finished"].eq(False).fillna(False)]
