"""Ranked lists as the trainer reads them: tokenised once, collated batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from torch import Tensor

from larpo_ir.data.chats import clean_chat
from larpo_ir.data.lists import check_lists
from larpo_ir.models.layouts import BATCH_OF
from larpo_ir.models.prompting import prompting_for
from larpo_ir.models.scoring import list_mask
from larpo_ir.models.tokenization import TokenizedList, fit, tokenize_lists, tokenize_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZED_COLUMNS = ["prompt_ids", "completion_ids", "relevance", "ref_logps"]


class ListCollator:
    """Collates tokenised lists into tensors.

    `relevance, mask, lengths` and, if known, `ref_logps` are [batch, list]. `rows` [batch] are the numbers of the
    lists, if these have numbers. The other tensors hold the responses as the model reads them, see
    `larpo_ir.models.layouts`; `owners` are indices of the flat [batch · list].
    """

    def __init__(self, pad_token_id: int, layout: str = "plain") -> None:
        self.pad_token_id, self.layout = pad_token_id, layout

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        mask = list_mask([example["relevance"] for example in examples])

        def padded(values: list[list[float]]) -> Tensor:
            flat = torch.tensor([value for row in values for value in row], dtype=torch.float32)
            return torch.zeros(mask.shape).masked_scatter(mask, flat)

        # (the Trainer takes the number of examples from the first entry)
        batch: dict[str, Any] = {
            "relevance": padded([example["relevance"] for example in examples]),
            "mask": mask,
            "lengths": padded(
                [[float(len(ids)) for ids in example["completion_ids"]] for example in examples]
            ),
        }
        if "ref_logps" in examples[0]:
            batch["ref_logps"] = padded([example["ref_logps"] for example in examples])
        if "row" in examples[0]:
            batch["rows"] = torch.tensor([example["row"] for example in examples])
        lists = [TokenizedList(example["prompt_ids"], example["completion_ids"]) for example in examples]
        laid_out = BATCH_OF[self.layout](lists, self.pad_token_id)
        place_of_response = mask.flatten().nonzero().squeeze(-1)
        return batch | laid_out | {"owners": place_of_response[laid_out["owners"]]}


def tokenize_dataset(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int | None,
    append_eos: bool = True,
    chat: bool | None = None,
) -> Dataset:
    """Ranked lists as token ids: `prompt_ids, completion_ids, relevance [, ref_logps]`, one row a list.

    `completion_ids` in the lists are used unchanged, because a tokenizer may make other ids of a sampled text.
    `chat`: True if a prompt that is a string is a user turn, see `larpo_ir.models.prompting`. Raises
    `ValueError` for invalid lists, for chats that the template refuses and for prompts that leave no room for a
    response.
    """
    check_lists(dataset)
    ask = prompting_for(tokenizer, chat=chat)

    def tokenize(rows: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        places = [f"row {index}" for index in indices]
        asked = [
            ask(prompt, f"{place}: prompt") for prompt, place in zip(rows["prompt"], places, strict=True)
        ]
        lists = [
            fit(tokens, max_length, where=f"row {index}: its prompt")
            for index, tokens in zip(indices, _lists(tokenizer, rows, asked, places, append_eos), strict=True)
        ]
        return {
            "prompt_ids": [tokens.prompt_ids for tokens in lists],
            "completion_ids": [tokens.completion_ids for tokens in lists],
            "num_truncated": [tokens.num_truncated for tokens in lists],
        }

    drop = [column for column in dataset.column_names if column not in TOKENIZED_COLUMNS]
    return dataset.map(
        tokenize,
        batched=True,
        with_indices=True,
        remove_columns=drop,
        load_from_cache_file=False,
        desc="Tokenising",
    )


def _lists(
    tokenizer: Any, rows: dict[str, list[Any]], asked: list[Any], places: list[str], append_eos: bool
) -> list[TokenizedList]:
    """Prompts and completions as tokens: those that were sampled, or else those of their text."""
    if "completion_ids" in rows:
        prompts = tokenize_prompts(tokenizer, asked, places=places)
        return [TokenizedList(*ids) for ids in zip(prompts, rows["completion_ids"], strict=True)]
    completions = [[clean_chat(text) for text in texts] for texts in rows["completions"]]
    ended = rows.get("finished") or [[True] * len(texts) for texts in completions]
    ends = [[append_eos and whole for whole in flags] for flags in ended]
    return tokenize_lists(tokenizer, asked, completions, append_eos=ends, places=places)


def lists_of(dataset: Dataset) -> list[TokenizedList]:
    """The token ids of a tokenised dataset."""
    columns = dataset.select_columns(["prompt_ids", "completion_ids"])
    return [TokenizedList(*ids) for ids in zip(columns["prompt_ids"], columns["completion_ids"], strict=True)]
