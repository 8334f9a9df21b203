"""The layouts in which ranked lists are published, and how a row of each becomes one of ours.

`FORMATS` is the table that `larpo_ir.lists.read_lists` goes by; a new layout is one more line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from larpo_ir.chats import is_chat
from larpo_ir.records import Row

REQUIRED = ("prompt", "completions", "scores")
PER_COMPLETION = ("ref_logps", "completion_ids", "docnos", "policies")
TEXT_KEYS = ("text", "response", "completion", "output")
GRADE_KEYS = (
    "score",
    "reward",
    "win_prob",
    "overall_score",
    "fine-grained_score",
    "rating",
    "grade",
    "label",
)
POLICY_KEYS = ("generator", "model", "policy")


@dataclass(frozen=True)
class Format:
    """A layout of ranked lists: the columns it is recognised by, and how one of its rows is converted."""

    name: str
    columns: tuple[str, ...]
    convert: Callable[[Row], Row]


def _own(row: Row) -> Row:
    return {
        key: row[key] for key in (*REQUIRED, *PER_COMPLETION) if row.get(key) is not None or key in REQUIRED
    }


def _parallel(completions: str, scores: str) -> Callable[[Row], Row]:
    return lambda row: {"prompt": row["prompt"], "completions": row[completions], "scores": row[scores]}


def _graded(prompt: str, candidates: str) -> Callable[[Row], Row]:
    """Candidates that are records: a text, a grade and maybe who wrote it, under the keys listed above."""

    def convert(row: Row) -> Row:
        records = row[candidates]
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise ValueError(f"{candidates} must be a list of records")
        text = _shared_key(records, TEXT_KEYS, f"{candidates}: text")
        grade = _shared_key(records, GRADE_KEYS, f"{candidates}: grade")
        converted = {
            "prompt": row[prompt],
            "completions": [record[text] for record in records],
            "scores": [record[grade] for record in records],
            "grade": grade,
        }
        writers = [key for key in POLICY_KEYS if all(isinstance(record.get(key), str) for record in records)]
        return {**converted, "policies": [record[writers[0]] for record in records]} if writers else converted

    return convert


def _shared_key(records: list[Row], keys: tuple[str, ...], what: str) -> str:
    """The first of `keys` that every record fills, else the first that every record at least has."""
    for usable in (lambda record, key: record.get(key) is not None, lambda record, key: key in record):
        for key in keys:
            if all(usable(record, key) for record in records):
                return key
    raise ValueError(f"{what} is missing: every candidate needs one and the same of {', '.join(keys)}")


def _pair(row: Row) -> Row:
    """TRL's preference pairs. Where both chats begin with the conversation so far, that is their prompt."""
    prompt: Any = row.get("prompt")
    chosen, rejected = row["chosen"], row["rejected"]
    if is_chat(chosen) and is_chat(rejected):
        if isinstance(prompt, str) and chosen[0].get("role") == rejected[0].get("role") == "assistant":
            prompt = [{"role": "user", "content": prompt}]
        elif not is_chat(prompt) or chosen[: len(prompt)] == prompt == rejected[: len(prompt)]:
            shared = 0
            while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
                shared += 1
            if not shared:
                raise ValueError(
                    "chosen and rejected do not begin with the same messages, so the prompt is unknown"
                )
            prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    if prompt is None:
        raise ValueError("a pair without a prompt must be two chats that begin with the same messages")
    scores = [row.get("score_chosen"), row.get("score_rejected")] if "score_chosen" in row else [1.0, 0.0]
    return {"prompt": prompt, "completions": [chosen, rejected], "scores": scores}


# The most specific first: published sets often carry a chosen/rejected pair beside their whole list.
FORMATS = (
    Format("ranked lists", ("prompt", "completions", "scores"), _own),
    Format(
        "SimPO",
        ("prompt", "all_generated_responses", "all_rm_scores"),
        _parallel("all_generated_responses", "all_rm_scores"),
    ),
    Format("RLHFlow", ("prompt", "responses", "rewards"), _parallel("responses", "rewards")),
    Format("graded candidates", ("prompt", "candidates"), _graded("prompt", "candidates")),
    Format("UltraFeedback", ("instruction", "completions"), _graded("instruction", "completions")),
    Format("UltraFeedback binarized", ("chosen", "rejected", "score_chosen", "score_rejected"), _pair),
    Format("preference pairs", ("chosen", "rejected"), _pair),
)


def format_of(where: str, row: Row) -> Format:
    for layout in FORMATS:
        if all(column in row for column in layout.columns):
            return layout
    known = "; ".join(f"{layout.name} ({', '.join(layout.columns)})" for layout in FORMATS)
    raise ValueError(
        f"{where}: unknown columns {', '.join(map(str, row)) or '(none)'}; known formats: {known}"
    )
