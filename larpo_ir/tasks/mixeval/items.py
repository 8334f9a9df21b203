"""MixEval's items as topics, and recorded responses to them."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.json_text import read_value
from larpo_ir.data.records import Located
from larpo_ir.tasks.mixeval.letters import LETTERS

logger = logging.getLogger("larpo_ir")

FREE_FORM, MULTIPLE_CHOICE = TYPES = ("free-form", "multiple-choice")

ASK = {
    FREE_FORM: "{context}{question}\n\nReply with the answer in as few words as possible.",
    MULTIPLE_CHOICE: "{context}{question}\n\n{options}\n\nOne of these options is right. Reply with its letter.",
}


def load(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read MixEval's items as a topics frame.

    Args:
        path: `free-form.json` or `multiple-choice.json` as MixEval publishes them (an object of items by id:
            `prompt`, `target`, `problem_type`, `benchmark_name`, and, where there are, `context` and `options`), or a
            folder that has one of them or both.

    Returns one row per item: `qid` (`free-form-17`), `query`, `type`, `benchmark`, `question`, `context` (or None),
    `options` (a list; None for free-form items), `targets` (a list: strings, or the chosen option's letter), `gold`
    (its first entry).

    An option that brings a letter of its own, as in `(C) both`, loses it. Where all do and they are in another order,
    as in some items of AGIEval, the options are put in the order of the letters, which are what the targets count.

    Raises:
        ValueError: naming file and item, for what is malformed; and for a file or folder without items.
    """
    path = Path(path)
    files = [path / f"{kind}.json" for kind in TYPES] if path.is_dir() else [path]
    files = [file for file in files if file.exists() or not path.is_dir()]
    rows = [_topic(file, key, item) for file in files for key, item in _items(file)]
    if not rows:
        raise ValueError(f"{path}: no items there; expected MixEval's free-form.json or multiple-choice.json")
    return pd.DataFrame(rows)


def _items(path: Path) -> list[tuple[str, Any]]:
    items = read_value(path)
    if not isinstance(items, dict):
        raise ValueError(f"{path}: expected one object with an item by id, found {type(items).__name__}")
    return list(items.items())


def _topic(file: Path | str, key: str, item: Any) -> dict[str, Any]:
    place = f"{file}: item {key!r}"
    if not isinstance(item, dict):
        raise ValueError(f"{place} is no object with `prompt` and `target`")
    kind = item.get("problem_type", MULTIPLE_CHOICE if item.get("options") else FREE_FORM)
    if kind not in TYPES:
        raise ValueError(f"{place} has the problem_type {kind!r}; choose one of {', '.join(TYPES)}")
    question, context, targets = item.get("prompt"), item.get("context"), item.get("target")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{place} has no text under `prompt`")
    if not isinstance(targets, list) or not targets:
        raise ValueError(f"{place} has no list of answers under `target`")
    options = None
    if kind == MULTIPLE_CHOICE:
        options = _options(place, item.get("options"))
        letters = [LETTERS[t] if isinstance(t, int) and 0 <= t < len(options) else None for t in targets]
        if None in letters:
            raise ValueError(
                f"{place}: the target {targets} is not the number, from 0, of one of {len(options)} options"
            )
        targets = letters
    return {
        "qid": f"{kind}-{key}".replace(" ", "_"),
        "query": _query(kind, question.strip(), context, options),
        "type": kind,
        "benchmark": str(item.get("benchmark_name", "unnamed")),
        "question": question.strip(),
        "context": context or None,
        "options": options,
        "targets": [str(target) for target in targets],
        "gold": str(targets[0]),
    }


def _options(place: str, options: Any) -> list[str]:
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise ValueError(f"{place} has no list of 2 to {len(LETTERS)} `options`")
    texts = [str(option).strip() for option in options]
    own = [re.match(r"\(?([A-Z])[).]\s*(?=\S)", text) for text in texts]
    lettered = {match[1]: text[match.end() :] for match, text in zip(own, texts, strict=True) if match}
    expected = LETTERS[: len(texts)]
    return [lettered[letter] for letter in expected] if set(lettered) == set(expected) else texts


def _query(kind: str, question: str, context: str | None, options: Sequence[str] | None) -> str:
    lettered = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options or (), strict=False))
    given = f"{context.strip()}\n\n" if context else ""
    return ASK[kind].format(context=given, question=question, options=lettered)


def read_responses(records: Iterable[Located], topics: pd.DataFrame) -> pd.DataFrame:
    """Responses that MixEval has recorded (`id`, `response` and the item's own fields) as `qid, text, rank`.

    A record is a response to every item that has its prompt, context and options: MixEval's sets repeat items, and
    the ids that it records may be another copy's. A record without a prompt is matched by type and id. Records of
    items that the topics lack are left out, which is said.

    Raises `ValueError` naming the place of a record without `response` or `id`.
    """
    by_content: dict[str, list[str]] = {}
    for qid, query in zip(topics["qid"], topics["query"], strict=True):
        by_content.setdefault(query, []).append(qid)
    known, kinds = set(topics["qid"]), set(topics["type"])
    found: dict[str, str] = {}
    strangers: Counter[str] = Counter()
    for place, row in records:
        if "response" not in row or "id" not in row:
            raise ValueError(f"{place}: no `id` or no `response`; a recorded response of MixEval has both")
        kind = row.get("problem_type", next(iter(kinds)) if len(kinds) == 1 else None)
        if "prompt" in row:
            qids = by_content.get(_topic(place, str(row["id"]), row)["query"], [])
        else:
            qids = [f"{kind}-{row['id']}"]
        if not known.intersection(qids):
            strangers[f"{kind}-{row['id']}"] += 1
        found.update({qid: row["response"] for qid in qids if qid in known and qid not in found})
    if strangers:
        logger.info(
            f"{sum(strangers.values())} recorded responses are to items that are not among these, and left out:"
            f" {', '.join(list(strangers)[:5])}{', …' if len(strangers) > 5 else ''}"
        )
    if not found:
        raise ValueError(
            "none of the recorded responses is to one of these items; give the items they are to"
        )
    return pd.DataFrame({"qid": list(found), "text": list(found.values()), "rank": 0})


def read_published(records: Iterable[Located], topics: pd.DataFrame) -> pd.DataFrame | None:
    """Responses by `read_responses`; None where the first record is not in the form that MixEval publishes.

    MixEval publishes responses to its two kinds of items in a file each, with the items' own ids.
    """
    records = iter(records)
    start = list(islice(records, 1))
    if not start or "response" not in start[0][1] or "qid" in start[0][1]:
        return None
    return read_responses(chain(start, records), topics)
