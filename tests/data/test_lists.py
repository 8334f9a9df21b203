"""Ranked lists: every published layout reads into the same list, and bad input is one line that says where."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from trl.data_utils import extract_prompt

from larpo_ir.data.chats import completion_text, prompt_text
from larpo_ir.data.formats import FORMATS, ID_COLUMNS, format_of
from larpo_ir.data.list_rows import lists_from_rows
from larpo_ir.data.lists import check_lists, read_lists, to_pairs
from larpo_ir.data.records import read_records, read_table
from larpo_ir.models.tokenization import tokenize_lists
from tests.small_models import make_styled_tokenizer

USER = [{"role": "user", "content": "2+2?"}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


SEVERAL = [{"role": "system", "content": "Add."}, *USER, *said("?"), {"role": "user", "content": "Go on."}]
TEMPLATED = "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
PLAIN = {"prompt": "2+2?", "completions": ["4", "5"], "relevance": [1.0, 0.0]}
ONE = {"prompt": "2+2?", "completions": ["4"], "relevance": [1.0]}
CHAT_OF_ONE = {"prompt": USER, "completions": [said("4")]}
CHAT = {"prompt": USER, "completions": [said("4"), said("5")], "relevance": [1.0, 0.0]}

LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ours": (PLAIN, PLAIN),
    "ours, chat prompt": ({**PLAIN, "prompt": USER}, {**PLAIN, "prompt": USER}),
    "ours, chats": (CHAT, CHAT),
    "SimPO": (
        {
            "prompt_id": "7",
            "prompt": "2+2?",
            "all_generated_responses": ["4", "5"],
            "all_rm_scores": [1, 0],
            "chosen": USER + said("4"),
            "rejected": USER + said("5"),
        },
        {**PLAIN, "prompt": USER, "id": "7"},
    ),
    "SimPO without chats": (
        {"prompt": "2+2?", "all_generated_responses": ["4", "5"], "all_rm_scores": [1, 0]},
        PLAIN,
    ),
    "SimPO, chats of several turns": (
        {
            "prompt": "2+2?",
            "all_generated_responses": ["4", "5"],
            "all_rm_scores": [1, 0],
            "chosen": SEVERAL + said("4"),
            "rejected": SEVERAL + said("5"),
        },
        {**PLAIN, "prompt": SEVERAL},
    ),
    "SimPO, chats of answers alone": (
        {
            "prompt": "2+2?",
            "all_generated_responses": ["4", "5"],
            "all_rm_scores": [1, 0],
            "chosen": said("4"),
            "rejected": said("5"),
        },
        {**PLAIN, "prompt": USER},
    ),
    "SimPO, strings beside": (
        {
            "prompt": "2+2?",
            "all_generated_responses": ["4", "5"],
            "all_rm_scores": [1, 0],
            "chosen": "4",
            "rejected": "5",
        },
        PLAIN,
    ),
    "RLHFlow": ({"prompt": "2+2?", "responses": ["4", "5"], "rewards": [1.0, 0.0]}, PLAIN),
    "graded": (
        {
            "id": 3,
            "prompt": "2+2?",
            "candidates": [
                {"generator": "a", "text": "4", "win_prob": 0.9},
                {"generator": "b", "text": "5", "win_prob": 0.1},
            ],
        },
        {**PLAIN, "relevance": [0.9, 0.1], "policies": ["a", "b"], "id": "3"},
    ),
    "UltraFeedback": (
        {
            "instruction": "2+2?",
            "completions": [
                {"model": "a", "response": "4", "overall_score": 8.0, "fine-grained_score": 4.5},
                {"model": "b", "response": "5", "overall_score": 3.0, "fine-grained_score": 2.0},
            ],
        },
        {**PLAIN, "relevance": [8.0, 3.0], "policies": ["a", "b"]},
    ),
    "UltraFeedback without overall score": (
        {
            "instruction": "2+2?",
            "completions": [
                {"response": "4", "overall_score": None, "fine-grained_score": 4.5},
                {"response": "5", "overall_score": None, "fine-grained_score": 2.0},
            ],
        },
        {**PLAIN, "relevance": [4.5, 2.0]},
    ),
    "UltraFeedback binarized": (
        {
            "prompt": "2+2?",
            "prompt_id": "x",
            "chosen": USER + said("4"),
            "rejected": USER + said("5"),
            "score_chosen": 8.5,
            "score_rejected": 4.0,
        },
        {**CHAT, "relevance": [8.5, 4.0], "id": "x"},
    ),
    "pairs": ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, PLAIN),
    "pairs of chats": ({"prompt": USER, "chosen": said("4"), "rejected": said("5")}, CHAT),
    "pairs of answers": ({"prompt": "2+2?", "chosen": said("4"), "rejected": said("5")}, CHAT),
    "pairs of answers to a templated prompt": (
        {"system": "", "prompt": TEMPLATED, "chosen": said("4"), "rejected": said("5")},
        {**PLAIN, "prompt": TEMPLATED},
    ),
    "pairs with implicit prompt": ({"chosen": USER + said("4"), "rejected": USER + said("5")}, CHAT),
    "pairs with implicit prompt of several turns": (
        {"chosen": SEVERAL + said("4"), "rejected": SEVERAL + said("5")},
        {**CHAT, "prompt": SEVERAL},
    ),
    "pairs of strings with implicit prompt": (
        {"chosen": "The sky is blue.", "rejected": "The sky is green."},
        {**PLAIN, "prompt": "The sky is", "completions": [" blue.", " green."]},
    ),
    "pairs from Parquet": (
        {
            "prompt": [{"content": "2+2?", "role": "user", "name": None, "tool_calls": None}],
            "chosen": [{"content": "4", "role": "assistant", "name": None, "tool_calls": None}],
            "rejected": [{"content": "5", "role": "assistant", "name": None, "tool_calls": None}],
            "tools": None,
            "chat_template_kwargs": {"enable_thinking": None},
        },
        CHAT,
    ),
    "our chats that repeat their prompt": (
        {"prompt": USER, "completions": [USER + said("4"), USER + said("5")], "relevance": [1, 0]},
        CHAT,
    ),
    "our chats of a string prompt": ({**CHAT, "prompt": "2+2?"}, CHAT),
    "unpaired": ({"qid": 9, "prompt": "2+2?", "completion": "4", "label": True}, {**ONE, "id": "9"}),
    "unpaired chats": ({"prompt": USER, "completion": said("4"), "label": True}, {**ONE, **CHAT_OF_ONE}),
    "unpaired answers": ({"prompt": "2+2?", "completion": said("4"), "label": 1}, {**ONE, **CHAT_OF_ONE}),
    "ShareGPT pairs": (
        {
            "conversations": [{"from": "human", "value": "2+2?"}],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        },
        CHAT,
    ),
    "ShareGPT pairs with a system and a history": (
        {
            "id": "a",
            "conversations": [
                {"from": "system", "value": "Add."},
                {"from": "human", "value": "2+2?", "weight": None},
                {"from": "gpt", "value": "?"},
                {"from": "human", "value": "Go on."},
            ],
            "chosen": [{"from": "gpt", "value": "4"}],
            "rejected": [{"from": "gpt", "value": "5"}],
            "system": "",
            "tools": "[]",
        },
        {**CHAT, "prompt": SEVERAL, "id": "a"},
    ),
    "ShareGPT pairs with a system column": (
        {
            "conversations": [{"from": "human", "value": "2+2?"}],
            "system": "Add.",
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        },
        {**CHAT, "prompt": SEVERAL[:2]},
    ),
    "ShareGPT pairs of strings": (
        {"conversations": [{"from": "human", "value": "2+2?"}], "chosen": "4", "rejected": "5"},
        {**PLAIN, "prompt": USER},
    ),
    "ShareGPT pairs that hold their conversation": (
        {
            "chosen": [{"from": "user", "value": "2+2?"}, {"from": "assistant", "value": "4"}],
            "rejected": [{"from": "Human", "value": "2+2?"}, {"from": "GPT", "value": "5"}],
        },
        CHAT,
    ),
    "OpenAI pairs": ({"messages": USER, "chosen": said("4")[0], "rejected": said("5")[0]}, CHAT),
    "pairs beside their messages": (
        {"messages": USER + said("4"), "chosen": USER + said("4"), "rejected": USER + said("5")},
        CHAT,
    ),
    "Alpaca pairs": ({"instruction": "2+2?", "input": "", "chosen": "4", "rejected": "5"}, PLAIN),
    "Alpaca pairs with input": (
        {"instruction": "Add.", "input": "2+2", "chosen": "4", "rejected": "5"},
        {**PLAIN, "prompt": "Add.\n2+2"},
    ),
    "Orca pairs": (
        {"system": "Add.", "question": "2+2?", "chosen": "4", "rejected": "5"},
        {**PLAIN, "prompt": SEVERAL[:2]},
    ),
    "Orca pairs without a system": (
        {"system": "", "question": "2+2?", "chosen": "4", "rejected": "5"},
        {**PLAIN, "prompt": USER},
    ),
    "ShareGPT KTO": (
        {
            "conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}],
            "kto_tag": True,
        },
        {**ONE, **CHAT_OF_ONE},
    ),
    "OpenAI KTO": ({"messages": USER + said("4"), "kto_tag": True}, {**ONE, **CHAT_OF_ONE}),
    "Alpaca KTO": ({"instruction": "2+2?", "input": "", "output": "4", "kto_tag": True}, ONE),
    "pairs that repeat a part of what they share": (
        {"prompt": SEVERAL[:2], "chosen": SEVERAL + said("4"), "rejected": SEVERAL + said("5")},
        {
            **CHAT,
            "prompt": SEVERAL[:2],
            "completions": [SEVERAL[2:] + said("4"), SEVERAL[2:] + said("5")],
        },
    ),
    "pairs whose prompt is null": (
        {"prompt": None, "chosen": USER + said("4"), "rejected": USER + said("5")},
        CHAT,
    ),
    "pairs that repeat the chat prompt": (
        {"prompt": USER, "chosen": USER + said("4"), "rejected": USER + said("5")},
        CHAT,
    ),
}


@pytest.mark.filterwarnings("ignore:.*duplicate")  # two equal rows of one completion are one list
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_reads_as_the_same_list(name: str) -> None:
    row, expected = LAYOUTS[name]
    assert read_lists([row])[0] == expected
    assert read_lists(Dataset.from_list([row, row]))[-1] == expected


def test_turns_after_an_explicit_chat_prompt_stay_in_the_completion() -> None:
    turns = [*said("?"), {"role": "user", "content": "Just answer."}]
    read = read_lists([{"prompt": USER, "chosen": turns + said("4"), "rejected": turns + said("5")}])[0]
    assert read["prompt"] == USER
    assert read["completions"] == [turns + said("4"), turns + said("5")]


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_was_read_reads_again(name: str, tmp_path: Path) -> None:
    once = read_lists([LAYOUTS[name][0]])
    once.to_parquet(tmp_path / "lists.parquet")
    once.to_json(tmp_path / "lists.jsonl")
    once.save_to_disk(str(tmp_path / "lists"))
    (tmp_path / "lists.json").write_text(json.dumps(once.to_list()))
    for file in ("lists.parquet", "lists.jsonl", "lists", "lists.json"):
        assert read_lists(tmp_path / file).to_list() == once.to_list()


SHOWN = re.findall(
    r"```jsonl\n(.*?)```\n\nbecomes\n\n```jsonl\n(.*?)```",
    (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8"),
    re.DOTALL,
)


@pytest.mark.parametrize(("rows", "lists"), SHOWN)
def test_the_page_of_formats_shows_what_is_read(rows: str, lists: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    assert read_lists(tmp_path / "rows.jsonl").to_list() == [json.loads(line) for line in lists.splitlines()]


def test_the_page_of_formats_shows_every_layout() -> None:
    shown = {format_of("", json.loads(rows.splitlines()[0])).columns for rows, _ in SHOWN}
    assert shown >= {layout.columns for layout in FORMATS if layout.name not in ("OpenAI KTO", "Alpaca KTO")}


def test_unpaired_rows_of_a_prompt_are_one_list_wherever_they_stand() -> None:
    rows = [("a", "x", True), ("b", "y", False), ("a", "z", False), ("b", "y2", True), ("a", "x", False)]
    columns = ("prompt", "completion", "label")
    unpaired = [{"id": n, **dict(zip(columns, row, strict=True))} for n, row in enumerate(rows)]
    with pytest.warns(UserWarning, match=r"dropped 1 duplicate completion\(s\) in 1 of 2 lists"):
        lists = read_lists(unpaired)
    assert lists.to_list() == [
        {"prompt": "a", "completions": ["x", "z"], "relevance": [1.0, 0.0], "id": "0"},
        {"prompt": "b", "completions": ["y", "y2"], "relevance": [0.0, 1.0], "id": "1"},
    ]
    chats = [{"prompt": USER, "completion": said(text), "label": text == "4"} for text in "45"]
    assert read_lists(chats).to_list() == [CHAT]
    assert to_pairs(read_lists(chats)).to_list() == [
        {"prompt": USER, "chosen": said("4"), "rejected": said("5")}
    ]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("The sky is blue.", "The sky is green."),
        ("The sky is blue.", "The sky is black."),  # within a word, as TRL does
        ("\n\nHuman: Hi\n\nAssistant: Hello", "\n\nHuman: Hi\n\nAssistant: No"),
        ("Q: a", "Q: ab"),
        ("Q: ab", "Q: a"),
        ("Q a  b", "Q a  c"),
        ("Q é", "Q è"),
        (SEVERAL + said("4"), SEVERAL + said("5")),
        (SEVERAL + said("4"), SEVERAL[:2] + said("5")),
    ],
)
def test_implicit_prompts_are_split_as_trl_splits_them(chosen: Any, rejected: Any) -> None:
    theirs = extract_prompt({"chosen": chosen, "rejected": rejected})
    row = read_lists([{"chosen": chosen, "rejected": rejected}])[0]
    assert row["prompt"] == theirs["prompt"]
    assert row["completions"] == [theirs["chosen"], theirs["rejected"]]


def test_texts_of_a_row_with_chats_are_tokenised_as_its_chats() -> None:
    row = {
        "prompt": "2+2?",
        "all_generated_responses": ["4", "5"],
        "all_rm_scores": [1.0, 0.0],
        "chosen": USER + said("4"),
        "rejected": USER + said("5"),
    }
    pair = {key: row[key] for key in ("chosen", "rejected")}
    texts, chats = read_lists([row])[0], read_lists([pair])[0]
    for style in ("chatml", "gemma", "llama3", "thinks", "mistral"):
        tokenizer = make_styled_tokenizer(style)
        of_texts, of_chats = tokenize_lists(
            tokenizer, [texts["prompt"], chats["prompt"]], [texts["completions"], chats["completions"]]
        )
        assert of_texts == of_chats
    graded = {
        "instruction": "2+2?",
        "completions": [{"response": "4", "score": 1}, {"response": "5", "score": 0}],
        **pair,
    }
    assert read_lists([graded])[0]["prompt"] == USER


def test_a_system_column_makes_a_chat_of_any_layout() -> None:
    for system, prompt in (("Add.", SEVERAL[:2]), ("", USER), (None, "2+2?")):
        for column in ("system", "system_prompt"):
            assert read_lists([{**PLAIN, column: system}])[0]["prompt"] == prompt
    assert read_lists([{**CHAT, "prompt": SEVERAL, "system": "Other."}])[0]["prompt"] == SEVERAL


def test_keys_of_messages_survive_but_for_null_ones() -> None:
    named = [{"role": "user", "content": "2+2?", "name": "Ann", "weight": None}]
    (row,) = read_lists([{**CHAT, "prompt": named}]).to_list()
    assert row["prompt"] == [{"role": "user", "content": "2+2?", "name": "Ann"}]


@pytest.mark.parametrize("values", [("a", 5), ("a", ["b"]), (2**70, 1)])
def test_keys_of_messages_that_do_not_fit_in_one_column_are_one_line(values: tuple[Any, Any]) -> None:
    rows = [{**PLAIN, "prompt": [{"role": "user", "content": "2+2?", "name": value}]} for value in values]
    with pytest.raises(
        ValueError, match=r"^the source: a key of the messages, beside role and content"
    ) as caught:
        read_lists(rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["qid", "id", "prompt_id", "query_id"])
def test_ids_survive_in_every_layout(name: str) -> None:
    for row, _ in LAYOUTS.values():
        mine = {key: value for key, value in row.items() if key not in ID_COLUMNS}
        assert read_lists([{**mine, name: "q7"}])["id"] == ["q7"]


def test_optional_columns_are_kept_where_all_rows_have_them() -> None:
    full = {**PLAIN, "ref_logps": [-1.0, -2.0], "completion_ids": [[1], [2, 3]], "docnos": ["a", "b"]}
    assert read_lists([full, full])[1] == full
    assert read_lists([full, PLAIN]).column_names == ["prompt", "completions", "relevance"]


def test_json_in_the_ways_people_write_it(tmp_path: Path) -> None:
    row = LAYOUTS["RLHFlow"][0]
    for name, content in {
        "array.json": json.dumps([row, row]),
        "instances.json": json.dumps({"type": "text_only", "instances": [row, row]}),
        "lines.json": f"{json.dumps(row)}\n{json.dumps(row)}\n",
        "blank.jsonl": f"\ufeff{json.dumps(row)}\n\n{json.dumps(row)}",
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert read_lists(tmp_path / name).to_list() == [PLAIN, PLAIN], name


def test_splits(tmp_path: Path) -> None:
    both = DatasetDict({"train": Dataset.from_list([PLAIN]), "test": Dataset.from_list([PLAIN, PLAIN])})
    both.save_to_disk(str(tmp_path / "both"))
    assert len(read_lists(both, split="test")) == len(read_lists(tmp_path / "both", split="test")) == 2
    with pytest.raises(ValueError, match="no split None; choose split from train, test"):
        read_lists(both)
    with pytest.raises(ValueError, match="has no splits"):
        read_lists([PLAIN], split="train")


BAD_LINES = {
    "malformed": ('{"prompt": "a", ', "malformed JSON"),
    "array": ("[1, 2]", "expected an object with columns, found list"),
    "columns": ('{"question": "a"}', r"unknown columns question; known formats: ranked lists \(prompt, "),
    "lengths": ('{"prompt": "a", "responses": ["x", "y"], "rewards": [1]}', "2 completions but 1 relevance"),
    "none": ('{"prompt": "a", "responses": ["x", "y"], "rewards": [1, null]}', r"relevance\[1\] is None"),
    "nan": ('{"prompt": "a", "responses": ["x", "y"], "rewards": [NaN, 1]}', r"relevance\[0\] is nan"),
    "text": ('{"prompt": "a", "responses": ["x", 5], "rewards": [0, 1]}', r"completions\[1\] is 5"),
    "string": ('{"prompt": "a", "responses": "x", "rewards": [0]}', "must be lists"),
    "nothing": ('{"prompt": "a", "responses": [], "rewards": []}', "at least one entry"),
    "prompt": ('{"prompt": " ", "responses": ["x"], "rewards": [0]}', "prompt is empty"),
    "grade": (
        '{"prompt": "a", "candidates": [{"text": "x", "win_prob": 1}, {"text": "y"}]}',
        "grade is missing: every",
    ),
    "surrogate": ('{"prompt": "a", "responses": ["\\ud83d"], "rewards": [0]}', "surrogate"),
    "pair": (
        '{"chosen": "a b", "rejected": "c b"}',
        "no prompt, and the completions do not begin with the same",
    ),
    "pair, one space": ('{"chosen": " a", "rejected": " b"}', "do not begin with the same text"),
    "pair, equal": ('{"chosen": "a b", "rejected": "a b"}', "the completions are equal, so the prompt"),
    "pair, mixed": (
        '{"chosen": "a b", "rejected": [{"role": "user", "content": "a"}]}',
        "there is no prompt",
    ),
    "pair, other chats": (
        '{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],'
        ' "rejected": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "b"}]}',
        "do not begin with the same messages",
    ),
    "pair, user's turns differ": (
        '{"chosen": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],'
        ' "rejected": [{"role": "user", "content": "a"}, {"role": "user", "content": "c"}]}',
        r"completions\[0\] must begin with an assistant message, not 'user'",
    ),
    "prompts alone": (
        '{"id": 1, "prompt": "a"}',
        "prompts alone, and nothing to rank; sample candidates with",
    ),
    "prompt and completion": (
        '{"prompt": "a", "completion": "b"}',
        "no label that says whether it is good: these",
    ),
    "messages": (
        '{"messages": [{"role": "user", "content": "a"}]}',
        "conversations, and no chosen and rejected",
    ),
    "conversations": (
        '{"conversations": [{"from": "human", "value": "a"}]}',
        "conversations, and no chosen and",
    ),
    "steps": ('{"prompt": "a", "completions": ["b"], "labels": [true]}', "stepwise supervision"),
    "label": (
        '{"prompt": "a", "completion": "b", "label": "true"}',
        "label is 'true'; it must be true or false",
    ),
    "number": (
        '{"prompt": 5, "responses": ["x"], "rewards": [0]}',
        "prompt is 5, neither a string nor a chat",
    ),
    "null": ('{"prompt": null, "responses": ["a b", "a c"], "rewards": [0, 1]}', "prompt is None, neither"),
    "null beside chats": (
        '{"prompt": null, "completions": [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]],'
        ' "relevance": [1]}',
        "prompt is None, neither",
    ),
    "number before chats": (
        '{"prompt": 5, "chosen": [{"role": "assistant", "content": "b"}], "rejected": "c"}',
        "prompt is 5, neither",
    ),
    "no content": (
        '{"prompt": [{"role": "user"}], "responses": ["x"], "rewards": [0]}',
        r"prompt\[0\] has no content; a message is",
    ),
    "null content": (
        '{"prompt": [{"role": "user", "content": null}], "responses": ["x"], "rewards": [0]}',
        r"prompt\[0\] has no content",
    ),
    "parts": (
        '{"prompt": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "responses": ["x"],'
        ' "rewards": [0]}',
        r"prompt\[0\] has content in parts, which is not supported",
    ),
    "empty chat": ('{"prompt": [], "responses": ["x"], "rewards": [0]}', r"prompt is \[\], neither"),
    "calls": (
        '{"prompt": "a", "chosen": [{"role": "assistant", "tool_calls": [{}]}], "rejected": [{"role": "assistant",'
        ' "content": "b"}]}',
        r"completions\[0\]\[0\] has tool_calls, which are not supported",
    ),
    "system": (
        '{"system": 5, "prompt": "a", "chosen": "b", "rejected": "c"}',
        "system is 5; it must be a text",
    ),
    "tools": (
        '{"tools": [{"a": 1}], "prompt": "a", "chosen": "b", "rejected": "c"}',
        "tools is a part of the prompt",
    ),
    "history": (
        '{"instruction": "a", "history": [["b", "c"]], "chosen": "d", "rejected": "e"}',
        "history is a part of the prompt that is not supported",
    ),
    "image": (
        '{"images": ["a.png"], "prompt": "a", "chosen": "b", "rejected": "c"}',
        "images is a part of the",
    ),
    "function call": (
        '{"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "f()"}, {"from":'
        ' "observation", "value": "1"}], "chosen": "b", "rejected": "c"}',
        r"prompt\[1\] has the unknown role 'function_call'; choose one of system, ",
    ),
    "conversation that has ended": (
        '{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],'
        ' "chosen": "b", "rejected": "c"}',
        "conversations ends with an answer; it must end with what chosen and rejected answer",
    ),
    "conversation that is none": (
        '{"conversations": "a", "chosen": "b c", "rejected": "b d"}',
        "conversations must be a list of messages, got 'a'",
    ),
    "KTO of nothing": (
        '{"conversations": [{"from": "gpt", "value": "a"}], "kto_tag": true}',
        "ends with the answer",
    ),
    "SimPO that has not ended": (
        '{"prompt": "a", "all_generated_responses": ["b"], "all_rm_scores": [1], "chosen": [{"role": "user",'
        ' "content": "a"}], "rejected": [{"role": "user", "content": "a"}]}',
        "chosen must end with an assistant message: what stands before it is the prompt",
    ),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_one_message_with_file_and_line(name: str, tmp_path: Path) -> None:
    line, message = BAD_LINES[name]
    path = tmp_path / "lists.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message) as caught:
        read_lists(path)
    assert str(caught.value).startswith(f"{path}:1: ")
    assert "\n" not in str(caught.value)


def test_the_line_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text(f"{json.dumps(PLAIN)}\n\n{{oops\n")
    with pytest.raises(ValueError, match=r"lists\.jsonl:3: malformed JSON"):
        read_lists(path)
    pretty = tmp_path / "lists.json"
    pretty.write_text('[\n {"prompt": "a",\n  oops}\n]')
    with pytest.raises(ValueError, match=r"lists\.json:3: malformed JSON"):
        read_lists(pretty)
    other = tmp_path / "other.jsonl"
    other.write_text(f'{json.dumps(PLAIN)}\n{{"prompt": "a", "responses": ["x"], "rewards": [1]}}\n')
    with pytest.raises(
        ValueError, match=r"other\.jsonl:2: no completions, relevance, unlike the rows before"
    ):
        read_lists(other)
    path.write_bytes(json.dumps(PLAIN).encode() + b"\n\xff\n")
    with pytest.raises(ValueError, match=r"lists\.jsonl:2: not UTF-8"):
        read_lists(path)


def test_files_that_hold_no_lists(tmp_path: Path) -> None:
    for name in ("empty.jsonl", "empty.json"):
        (tmp_path / name).write_text("\n")
        with pytest.raises(ValueError, match=f"{name}: empty"):
            read_lists(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl: no such file"):
        read_lists(tmp_path / "nowhere.jsonl")
    (tmp_path / "lists.csv").write_text("prompt\n")
    with pytest.raises(ValueError, match=r"lists\.csv: cannot read this kind of file; use \.jsonl, "):
        read_lists(tmp_path / "lists.csv")
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"bad\.parquet: not a Parquet file"):
        read_lists(tmp_path / "bad.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder: not a folder that datasets"):
        read_lists(tmp_path / "folder")


def test_compressed_files_read_like_plain_ones(tmp_path: Path) -> None:
    lines = f"{json.dumps(PLAIN)}\n{json.dumps(PLAIN)}\n".encode()
    for name, content in {"a.jsonl.gz": lines, "b.json.gz": json.dumps([PLAIN, PLAIN]).encode()}.items():
        (tmp_path / name).write_bytes(gzip.compress(content))
        assert read_lists(tmp_path / name).to_list() == [PLAIN, PLAIN]
    broken = tmp_path / "cut.jsonl.gz"
    broken.write_bytes(gzip.compress(lines)[:-12])
    with pytest.raises(ValueError, match=r"cut\.jsonl\.gz: not a complete \.gz file"):
        read_lists(broken)
    broken.write_bytes(gzip.compress(b'{"prompt": "a"}\n{oops'))
    with pytest.raises(ValueError, match=r"cut\.jsonl\.gz:2: malformed JSON"):
        list(read_records(broken))


@pytest.mark.parametrize("name", ["rows.jsonl", "pretty.json", "one_line.json", "lines.json"])
def test_rows_are_read_one_at_a_time(name: str, tmp_path: Path) -> None:
    """What is malformed at the end is not met before its turn: the file was not read whole."""
    rows = [{"number": number, "text": "é" * 1000} for number in range(200)]
    content = {
        "rows.jsonl": "\n".join(map(json.dumps, rows)),
        "lines.json": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        "pretty.json": json.dumps(rows, indent=2)[:-1],
        "one_line.json": json.dumps(rows)[:-1],
    }[name]
    (tmp_path / name).write_text(content + "\noops", encoding="utf-8")
    read = read_records(tmp_path / name)
    assert [row for _, row in itertools.islice(read, 100)] == rows[:100]
    with pytest.raises(ValueError, match=rf"{name}:\d+: malformed JSON"):
        list(read)


def test_a_malformed_array_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[\n{"a": 1},\n{"a": \n oops}\n]')
    with pytest.raises(ValueError, match=r"rows\.json:4: malformed JSON, Expecting value at column 2"):
        list(read_records(path))
    read = read_records(path)
    assert next(read) == (f"{path}: record 0", {"a": 1})
    with pytest.raises(ValueError, match=r"rows\.json:4: malformed JSON") as caught:
        next(read)
    assert "\n" not in str(caught.value)


def test_an_array_that_python_wrote_may_hold_nan_and_what_else_json_takes(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": 0.5}, {"a": None, "b": [True, "\U0001f600"]}, {"a": 10**15, "b": float("inf")}]
    (tmp_path / "rows.json").write_text("\ufeff" + json.dumps(rows), encoding="utf-8")
    read = list(read_records(tmp_path / "rows.json"))
    assert [row for _, row in read] == rows
    assert [type(row["a"]) for _, row in read] == [int, type(None), int]
    assert [where for where, _ in read] == [f"{tmp_path}/rows.json: record {n}" for n in range(3)]


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text('id\ttext\n1\t"a ""b""\tc"\n\n2\td\n')
    assert [row for _, row in read_table(path, quoted=True)] == [
        {"id": "1", "text": 'a "b"\tc'},
        {"id": "2", "text": "d"},
    ]
    with pytest.raises(ValueError, match=r"table\.tsv:2: 3 columns, expected 2 \(id, text\)"):
        list(read_table(path))
    path.write_text('q1  0\tp1 1\nq2 0 "p2 2\n')
    named = list(read_table(path, ("qid", "iteration", "docno", "label"), delimiter=None))
    assert named[1] == (f"{path}:2", {"qid": "q2", "iteration": "0", "docno": '"p2', "label": "2"})
    path.write_text('id\ttext\n1\t"never closed\n')
    with pytest.raises(ValueError, match=r"table\.tsv:2: malformed quotes"):
        list(read_table(path, quoted=True))


def test_kinds_do_not_mix() -> None:
    with pytest.raises(ValueError, match="row 1: prompts that are chats, but prompts that are strings"):
        read_lists([PLAIN, {**PLAIN, "prompt": USER}])
    with pytest.raises(ValueError, match="row 0: completions mixes strings and chats"):
        read_lists([{**CHAT, "completions": [said("4"), "5"]}])
    graded = [{"prompt": "a", "candidates": [{"text": "x", key: 1.0}]} for key in ("win_prob", "reward")]
    with pytest.raises(ValueError, match="row 1: grades in reward, but grades in win_prob"):
        read_lists(graded)


def test_duplicates_are_dropped_and_counted_single_and_tied_lists_are_kept() -> None:
    repeated = {
        **PLAIN,
        "completions": ["4", "5", "4", "4"],
        "relevance": [1, 0, 0.5, 0.2],
        "ref_logps": [1, 2, 3, 4],
    }
    with pytest.warns(UserWarning, match=r"dropped 2 duplicate completion\(s\) in 1 of 2 lists") as caught:
        lists = read_lists([repeated, {**PLAIN, "completions": ["4"], "relevance": [1], "ref_logps": [0]}])
    assert len(caught) == 1
    assert lists["completions"] == [["4", "5"], ["4"]]
    assert lists["relevance"] == [[1.0, 0.0], [1.0]]
    assert lists["ref_logps"] == [[1, 2], [0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_lists([{**PLAIN, "relevance": [1, 1]}])["relevance"] == [[1.0, 1.0]]


def test_the_table_of_formats_is_recognised_in_its_order() -> None:
    for layout in FORMATS:
        row = dict.fromkeys(layout.columns)
        first = next(other for other in FORMATS if all(column in row for column in other.columns))
        assert first is layout, f"{layout.name} is hidden by {first.name}"


def test_pairs() -> None:
    lists = read_lists([{"prompt": "p", "completions": list("abcd"), "relevance": [0.5, 2, 0.5, 1]}])
    assert to_pairs(lists).to_list() == [{"prompt": "p", "chosen": "b", "rejected": "c"}]
    every = [(pair["chosen"], pair["rejected"]) for pair in to_pairs(lists, "all")]
    assert every == [("b", "d"), ("b", "a"), ("b", "c"), ("d", "a"), ("d", "c")]  # a and c are equal
    assert to_pairs(read_lists([CHAT])).to_list() == [
        {"prompt": USER, "chosen": said("4"), "rejected": said("5")}
    ]
    mixed = to_pairs(read_lists([{**PLAIN, "prompt": USER}]))
    assert mixed[0]["chosen"] == said("4")
    assert len(to_pairs(read_lists([{**PLAIN, "relevance": [1, 1]}]))) == 0
    with pytest.raises(ValueError, match="unknown pairs 'some'; choose best_worst or all"):
        to_pairs(lists, "some")  # type: ignore[arg-type]


def test_pairs_read_back_as_lists_of_two() -> None:
    assert read_lists(to_pairs(read_lists([PLAIN])))[0] == PLAIN
    assert read_lists(to_pairs(read_lists([CHAT])))[0] == CHAT


@pytest.mark.parametrize("score", [10**400, float("inf"), "10", None, 1j])
def test_scores_are_finite_numbers(score: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^row 0: relevance\[1\] is .*; every grade must be a finite number$"
    ):
        read_lists([{**PLAIN, "relevance": [1.0, score]}])


def test_check_lists_names_the_row() -> None:
    full = {**PLAIN, "ref_logps": [-1.0, -2.0], "completion_ids": [[1], [2]]}
    check_lists(Dataset.from_list([full]))
    with pytest.raises(
        ValueError, match=r"need the column\(s\) completions, relevance; there are prompt, chosen"
    ):
        check_lists(Dataset.from_list([{"prompt": "p", "chosen": "a", "rejected": "b"}]))
    for change, message in (
        ({"relevance": [1.0]}, "row 1: 2 completions but 1 relevance"),
        ({"relevance": [1.0, float("nan")]}, r"row 1: relevance\[1\] is nan"),
        ({"ref_logps": [1.0, None]}, r"row 1: ref_logps\[1\] is None"),
        ({"completion_ids": [[1]]}, "row 1: 2 completions but 1 completion_ids"),
    ):
        with pytest.raises(ValueError, match=message):
            check_lists(Dataset.from_list([full, {**full, **change}]))


@pytest.mark.parametrize("convert", [check_lists, to_pairs])
def test_a_dataset_of_another_layout_is_told_how_to_become_ranked_lists(convert: Any) -> None:
    scored = Dataset.from_list([{"prompt": "2+2?", "completions": ["4", "5"], "scores": [1.0, 0.0]}])
    with pytest.raises(
        ValueError,
        match=r"^ranked lists need the column\(s\) relevance; there are prompt, completions, scores; "
        r"convert the dataset with larpo_ir\.read_lists\(dataset\)$",
    ):
        convert(scored)
    check_lists(read_lists(scored))
    assert read_lists(scored).to_list() == [PLAIN]
    with pytest.raises(ValueError, match=r"there are text \(read_lists converts others\)$"):
        convert(Dataset.from_list([{"text": "4"}]))


def test_texts_of_chats() -> None:
    assert prompt_text([{"role": "system", "content": "s"}]) == "s"
    assert prompt_text([*USER, *said("?"), {"role": "user", "content": "3+3?"}]) == "3+3?"
    assert completion_text(said("4")) == completion_text("4") == "4"


def test_lists_from_rows_of_nothing() -> None:
    import pandas as pd

    empty = pd.DataFrame({name: [] for name in ("qid", "query", "docno", "text", "score")})
    lists = lists_from_rows(empty, [])
    assert len(lists) == 0
    assert lists.column_names == ["id", "prompt", "completions", "relevance", "docnos"]


def test_real_graded_pool(shared: Path) -> None:
    path = shared / "data" / "alpacaeval_pool" / "pool.jsonl"
    with pytest.warns(UserWarning, match="dropped 31 duplicate"):
        lists = read_lists(path)
    assert len(lists) == 160
    check_lists(lists)
    raw = json.loads(path.read_text().splitlines()[0])
    assert lists[0]["id"] == raw["id"]
    assert lists[0]["relevance"] == [candidate["win_prob"] for candidate in raw["candidates"]]
    assert lists[0]["policies"] == [candidate["generator"] for candidate in raw["candidates"]]


def test_a_row_without_an_id_leaves_the_others_theirs():
    rows = [{"id": "a", "prompt": "2+2?", "responses": ["4", "5"], "rewards": [1, 0]}]
    rows.append({"prompt": "2+3?", "responses": ["4", "5"], "rewards": [0, 1]})
    assert read_lists(rows)["id"] == ["a", "row-1"]


def test_two_columns_of_grades_must_agree() -> None:
    row = {"prompt": "2+2?", "completions": ["4", "5"]}
    both = {**row, "relevance": [0.0, 1.0], "scores": [1.0, 0.0]}
    with pytest.raises(ValueError, match=r"row 0: there are relevance and scores, and they differ"):
        read_lists([both])
    with pytest.raises(ValueError, match=r"row 0: there are relevance and scores, and they differ"):
        to_pairs(Dataset.from_list([both]))
    for grades in ({"relevance": [1, 0], "scores": [1, 0]}, {"relevance": None, "scores": [1, 0]}):
        assert read_lists([{**row, **grades}])["relevance"][0] == [1.0, 0.0]
    assert (
        to_pairs(Dataset.from_list([{**row, "relevance": [1.0, 0.0], "scores": [1.0, 0.0]}]))[0]["chosen"]
        == "4"
    )
