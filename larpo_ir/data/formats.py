"""The layouts in which ranked lists are published, and the conversion of a row of each into one of ours.

`FORMATS` is the table that `larpo_ir.data.lists.read_lists` goes by; a new layout is one more line. `docs/formats.md`
shows a row of each. Rules that hold for all of them:

* Messages may be `{role, content}` or ShareGPT's `{from, value}`; a single one stands for a chat of one. Keys that
  hold null are dropped.
* Completions that are chats and begin with the conversation so far lose it. It is their prompt where the row has
  none, or has it as a string; a string prompt of completions that are answers alone is a user message.
* The string prompt of a row whose `chosen` is a chat, beside its list of texts, is that chat up to its last answer.
* A `system` (or `system_prompt`) column is the first message of the prompt, which is then a chat, also where it is
  empty; where it holds null it counts as absent.
* A string prompt that a chat template has written already stays a string, and so do the answers to it.
* A column that would change the prompt and is not read (`UNREAD`) is refused, unless it is empty.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import chain
from typing import Any

from larpo_ir.data.chats import Messages, clean_chat, is_chat, looks_templated
from larpo_ir.data.records import Row

REQUIRED = ("prompt", "completions", "relevance")
TWO_GRADES = "there are relevance and scores, and they differ; keep the one that is meant"
PER_COMPLETION = ("ref_logps", "completion_ids", "finished", "docnos", "policies")
ID_COLUMNS = ("qid", "id", "prompt_id", "query_id")
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
CHAT_COLUMNS = ("prompt", "chosen", "rejected", "completion", "conversations", "messages")
QUESTION_COLUMNS = ("prompt", "question", "instruction", "query", "input")
SYSTEM_COLUMNS = ("system", "system_prompt")
UNREAD = ("tools", "history", "images", "videos", "audios", "chat_template_kwargs")
SHAREGPT_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "observation": "tool",
}


@dataclass(frozen=True)
class Format:
    """A layout of ranked lists: the columns it is recognised by, and the conversion of its rows.

    `grouped`: a row is one completion, and all rows of a prompt are one list.
    """

    name: str
    columns: tuple[str, ...]
    convert: Callable[[Row], Row]
    grouped: bool = False


# Reading rows


def read_row(layout: Format, row: Row) -> Row:
    """A row of a layout as one of ours: `prompt, completions, relevance`, and of `PER_COMPLETION` what there is.

    Raises a one-line `ValueError` that says what is wrong with the row.
    """
    _check_unread(row)
    row = {**row, **{column: _as_chat(row[column]) for column in CHAT_COLUMNS if column in row}}
    converted = layout.convert(row)
    if isinstance(converted["completions"], list):
        converted["completions"] = [_as_chat(completion) for completion in converted["completions"]]
        converted["prompt"], converted["completions"] = _apart(
            converted.get("prompt"), converted["completions"]
        )
    converted["prompt"] = _with_system(_asked_of(row, converted), row)
    return converted


def prompt_of(row: Row, prompt: Any) -> Any:
    """The prompt of a row without completions, with the text of a system column in front.

    Raises a one-line `ValueError` for a row that holds another part of the prompt, which is not read.
    """
    _check_unread(row)
    return _with_system(_as_chat(prompt), row)


def _check_unread(row: Row) -> None:
    for column in UNREAD:
        if not _is_empty(row.get(column)):
            raise ValueError(
                f"{column} is a part of the prompt that is not supported; write it into the prompt"
            )


def _is_empty(value: Any) -> bool:
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, dict):
        return all(held is None for held in value.values())
    if isinstance(value, float):
        return math.isnan(value)  # as pandas has what is missing
    return value is None or (isinstance(value, (str, list)) and value in ("", "[]", "{}", []))


def _as_chat(value: Any) -> Any:
    """A message or a list of messages as a chat; every other value as it is."""
    if isinstance(value, dict) and value.keys() & {"role", "from"}:
        value = [value]
    chat = clean_chat(value)
    return [_message(turn) for turn in chat] if is_chat(chat) else value


def _message(turn: Row) -> Row:
    if "role" in turn or not {"from", "value"} <= turn.keys():
        return turn
    who = turn["from"].lower() if isinstance(turn["from"], str) else turn["from"]
    role = SHAREGPT_ROLES.get(who, who) if isinstance(who, str) else who
    rest = {key: value for key, value in turn.items() if key not in ("from", "value")}
    return {"role": role, "content": turn["value"], **rest}


def _apart(prompt: Any, completions: list[Any]) -> tuple[Any, list[Any]]:
    """Prompt and completions that are chats, which may repeat the prompt, or hold it where it is a string."""
    if not completions or not all(map(is_chat, completions)):
        return prompt, completions
    if isinstance(prompt, str):
        if all(turns[0].get("role") == "assistant" for turns in completions):
            if looks_templated(prompt) and all(len(turns) == 1 for turns in completions):
                return prompt, [turns[0].get("content") for turns in completions]
            return _as_turn(prompt), completions
        return _shared_turns(completions)
    if is_chat(prompt) and all(turns[: len(prompt)] == prompt != turns for turns in completions):
        return prompt, [turns[len(prompt) :] for turns in completions]
    return prompt, completions


def _implicit(completions: list[Any]) -> tuple[Any, list[Any]]:
    """The prompt with which all completions begin, and what is left of them."""
    if all(map(is_chat, completions)):
        return _shared_turns(completions)
    if all(isinstance(text, str) for text in completions):
        return _shared_text(completions)
    raise ValueError("there is no prompt, and chosen and rejected are not both texts or both chats")


def _shared_turns(completions: list[Messages]) -> tuple[Messages, list[Messages]]:
    """The messages with which all completions begin, of which each keeps one or more; as TRL's `extract_prompt`."""
    shared = 0
    most = min(map(len, completions)) - 1
    while shared < most and all(turns[shared] == completions[0][shared] for turns in completions):
        shared += 1
    if not shared:
        raise ValueError("the completions do not begin with the same messages, so the prompt is unknown")
    return completions[0][:shared], [turns[shared:] for turns in completions]


def _shared_text(completions: list[str]) -> tuple[str, list[str]]:
    """The text with which all completions begin, but for a space at its end; as TRL's `extract_prompt`."""
    shared = len(os.path.commonprefix(completions))  # noqa: RUF071 the characters that texts share
    shortest = min(map(len, completions))
    if len(set(completions)) == 1:
        raise ValueError("the completions are equal, so the prompt with which they begin is unknown")
    if shared == shortest:  # the shortest is a completion, too, so it keeps one character
        shared = max(shared - 1, 0)
    elif completions[0][shared - 1 : shared] == " ":
        shared -= 1
    if not shared:
        raise ValueError("there is no prompt, and the completions do not begin with the same text")
    return completions[0][:shared], [text[shared:] for text in completions]


def _asked_of(row: Row, converted: Row) -> Any:
    """The prompt; a string beside `chosen` and `rejected` chats is the chat that `chosen` answers."""
    prompt, chosen = converted["prompt"], row.get("chosen", [])
    if not (isinstance(prompt, str) and is_chat(chosen) and is_chat(row.get("rejected"))):
        return prompt
    if chosen[-1].get("role") != "assistant":
        raise ValueError("chosen must end with an assistant message: what stands before it is the prompt")
    return chosen[:-1] or _as_turn(prompt)


def _as_turn(prompt: str) -> str | Messages:
    """A string as a user's message, unless a chat template wrote it."""
    return prompt if looks_templated(prompt) else [{"role": "user", "content": prompt}]


def _with_system(prompt: Any, row: Row) -> Any:
    """The prompt with the text of a system column in front."""
    chat: Any = prompt
    for column in SYSTEM_COLUMNS:
        system = row.get(column)
        if isinstance(system, str):
            chat = _as_turn(chat) if isinstance(chat, str) else chat
            if system and is_chat(chat) and chat[0].get("role") not in ("system", "developer"):
                chat = [{"role": "system", "content": system}, *chat]
        elif not _is_empty(system):
            raise ValueError(f"{column} is {system!r:.60}; it must be a text")
    return chat


# Layouts


def _own(row: Row) -> Row:
    """A ranked list. Its grades are `relevance`, or else `scores`: two columns that differ would be a guess."""
    grades = {name: row[name] for name in ("relevance", "scores") if row.get(name) is not None}
    if len(grades) == 2 and grades["relevance"] != grades["scores"]:
        raise ValueError(TWO_GRADES)
    optional = {key: row[key] for key in PER_COMPLETION if row.get(key) is not None}
    relevance = next(iter(grades.values()), None)
    return {"prompt": row["prompt"], "completions": row["completions"], "relevance": relevance, **optional}


def _parallel(completions: str, grades: str) -> Callable[[Row], Row]:
    return lambda row: {"prompt": row["prompt"], "completions": row[completions], "relevance": row[grades]}


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
            "relevance": [record[grade] for record in records],
            "grade": grade,
        }
        writers = [key for key in POLICY_KEYS if all(isinstance(record.get(key), str) for record in records)]
        return {**converted, "policies": [record[writers[0]] for record in records]} if writers else converted

    return convert


def _shared_key(records: list[Row], keys: tuple[str, ...], what: str) -> str:
    """The first of `keys` that every record fills, else the first that every record at least has."""
    filled = (key for key in keys if all(record.get(key) is not None for record in records))
    there = (key for key in keys if all(key in record for record in records))
    for key in chain(filled, there):
        return key
    raise ValueError(f"{what} is missing: every candidate needs one and the same of {', '.join(keys)}")


def _pair(row: Row) -> Row:
    """Preference pairs: TRL's, with a prompt or without, ShareGPT's and Alpaca's."""
    relevance = [row.get("score_chosen"), row.get("score_rejected")] if "score_chosen" in row else [1.0, 0.0]
    prompt, completions = _question(row), [row["chosen"], row["rejected"]]
    if prompt is None:
        prompt, completions = _implicit(completions)
    return {"prompt": prompt, "completions": completions, "relevance": relevance}


def _question(row: Row) -> Any:
    """The question of a row, a chat or a text; None where only the completions tell it."""
    answers = [row[name] for name in ("chosen", "rejected") if is_chat(row.get(name))]
    told_whole = any(turns[0].get("role") != "assistant" for turns in answers)
    if row.get("prompt") is None and not told_whole:
        for column in ("conversations", "messages"):
            if row.get(column) is not None:
                return _unanswered(row[column], column)
        if isinstance(row.get("instruction"), str) and isinstance(row.get("input"), str):
            return "\n".join(filter(None, (row["instruction"], row["input"])))
    return next((row[column] for column in QUESTION_COLUMNS if row.get(column)), row.get("prompt"))


def _unanswered(turns: Any, column: str) -> Any:
    if not is_chat(turns):
        raise ValueError(f"{column} must be a list of messages, got {turns!r:.60}")
    if turns[-1].get("role") == "assistant":
        raise ValueError(f"{column} ends with an answer; it must end with what chosen and rejected answer")
    return turns


def _labelled(completion: Callable[[Row], tuple[Any, Any]], label: str) -> Callable[[Row], Row]:
    """A row that is one completion of a prompt and says whether it is good: relevance 1 for true, 0 for false."""

    def convert(row: Row) -> Row:
        prompt, text = completion(row)
        if row[label] not in (True, False):
            raise ValueError(f"{label} is {row[label]!r:.60}; it must be true or false")
        return {"prompt": prompt, "completions": [text], "relevance": [float(row[label])], "grade": label}

    return convert


def _last_turn(column: str) -> Callable[[Row], tuple[Any, Any]]:
    def split(row: Row) -> tuple[Any, Any]:
        turns = row[column]
        if not is_chat(turns) or len(turns) < 2:
            raise ValueError(f"{column} must be a list of messages that ends with the answer")
        return turns[:-1], turns[-1:]

    return split


# The most specific first: published sets often carry a chosen/rejected pair beside their whole list.
FORMATS = (
    Format("ranked lists", ("prompt", "completions", "relevance"), _own),
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
    Format("ShareGPT pairs", ("conversations", "chosen", "rejected"), _pair),
    Format("preference pairs", ("chosen", "rejected"), _pair),
    Format(
        "unpaired preferences",
        ("prompt", "completion", "label"),
        _labelled(lambda row: (row["prompt"], row["completion"]), "label"),
        grouped=True,
    ),
    Format(
        "ShareGPT KTO", ("conversations", "kto_tag"), _labelled(_last_turn("conversations"), "kto_tag"), True
    ),
    Format("OpenAI KTO", ("messages", "kto_tag"), _labelled(_last_turn("messages"), "kto_tag"), True),
    Format(
        "Alpaca KTO",
        ("instruction", "output", "kto_tag"),
        _labelled(lambda row: (_question(row), row["output"]), "kto_tag"),
        grouped=True,
    ),
)

# Layouts of other kinds of data: their columns, and why they are no ranked lists.
NO_LISTS = (
    (("prompt", "completions", "labels"), "labels of the steps of one answer (stepwise supervision)"),
    (("prompt", "completion"), "one completion a prompt, and no label that says whether it is good"),
    (("conversations",), "conversations, and no chosen and rejected answers"),
    (("messages",), "conversations, and no chosen and rejected answers"),
)


def known_layout(columns: Collection[str]) -> Format | None:
    """The first of `FORMATS` whose columns are all there."""
    return next((layout for layout in FORMATS if set(layout.columns) <= set(columns)), None)


def format_of(where: str, row: Row) -> Format:
    """The layout of a row. Raises a one-line `ValueError` that begins with `where` if it is none of `FORMATS`."""
    if layout := known_layout(row):
        return layout
    known = "; ".join(f"{layout.name} ({', '.join(layout.columns)})" for layout in FORMATS)
    if not row.keys() - {"prompt", *ID_COLUMNS} and "prompt" in row:
        raise ValueError(
            f"{where}: prompts alone, and nothing to rank; sample candidates with `larpo-ir generate` and grade them "
            "with `larpo-ir rerank`"
        )
    for columns, why in NO_LISTS:
        if all(column in row for column in columns):
            raise ValueError(f"{where}: {why}: these are no ranked lists; known formats: {known}")
    raise ValueError(
        f"{where}: unknown columns {', '.join(map(str, row)) or '(none)'}; known formats: {known}"
    )
