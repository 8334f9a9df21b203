"""Layouts of candidate lists as tensors for a language model.

**shared**: one row; each list is its prompt, once, and behind it its responses one after the other, each
continuing the prompt's positions as if it were alone. Several lists stand in one row, and nothing is padded:

    tokens      p p p a a b b b | q q c d d         two lists: prompt p with responses a, b; prompt q with c, d
    positions   0 1 2 3 4 3 4 5 | 0 1 2 2 3
    segments    0 0 0 1 1 2 2 2 | 3 3 4 5 5         a token attends to its own segment and, before it,
    parents     0 0 0 0 0 0 0 0 | 3 3 3 3 3         to the segment of its prompt (`larpo_ir.models.attention`)

**plain**: one row per response, each with its own copy of the prompt, padded on the right.

A list of m responses costs P + ΣR tokens shared and m·P + ΣR plain. Both layouts say in the same way which
positions predict which tokens of which response:

    predictors [k]   flat positions (row · width + column) whose hidden state predicts ...
    targets [k]      ... this token ...
    owners [k]       ... of this response, counted through all lists
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from larpo_ir.models.tokenization import TokenizedList

Batch = dict[str, Any]


def plain_batch(lists: Sequence[TokenizedList], pad_token_id: int = 0) -> Batch:
    """`input_ids, attention_mask, position_ids` [responses, tokens] and where the responses are predicted."""
    rows = [(tokens.prompt_ids, response) for tokens in lists for response in tokens.completion_ids]
    width = max((len(prompt) + len(response) for prompt, response in rows), default=0)
    input_ids = np.full((len(rows), width), pad_token_id)
    attention_mask = np.zeros((len(rows), width), dtype=np.int64)
    predictors: list[np.ndarray] = []
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        input_ids[row, :end] = prompt + response
        attention_mask[row, :end] = 1
        predictors.append(row * width + np.arange(len(prompt), end) - 1)
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(attention_mask),
        "position_ids": torch.from_numpy((attention_mask.cumsum(-1) - 1).clip(min=0)),
        **_predicted(predictors, [response for _, response in rows]),
    }


def shared_batch(lists: Sequence[TokenizedList], pad_token_id: int = 0) -> Batch:
    """`input_ids, position_ids` [1, tokens], where the responses are predicted, and `packing` (see `_blocks`)."""
    tokens: list[int] = []
    positions: list[np.ndarray] = []
    segments: list[np.ndarray] = []  # spans in the row: prompts and responses
    parents: list[int] = []  # of each segment: the segment of its prompt
    predictors: list[np.ndarray] = []

    def put(ids: list[int], first_position: int, parent: int) -> None:
        segments.append(np.arange(len(tokens), len(tokens) + len(ids)))
        parents.append(parent)
        positions.append(np.arange(first_position, first_position + len(ids)))
        tokens.extend(ids)

    for item in lists:
        prompt = len(segments)
        put(item.prompt_ids, 0, prompt)
        for response in item.completion_ids:
            put(response, len(item.prompt_ids), prompt)
            # the prompt's last token predicts the first of every response
            before = segments[-1] - 1
            before[:1] = segments[prompt][-1]
            predictors.append(before)
    responses = [response for item in lists for response in item.completion_ids]
    place = np.concatenate([*positions, np.arange(0)])
    return {
        "input_ids": torch.tensor([tokens], dtype=torch.long),
        "position_ids": torch.from_numpy(place[None]),
        **_predicted(predictors, responses),
        "packing": {**_blocks(segments, parents), "positions": torch.from_numpy(place)},
    }


BATCH_OF: dict[str, Callable[[Sequence[TokenizedList], int], Batch]] = {
    "shared": shared_batch,
    "plain": plain_batch,
}


def _predicted(predictors: list[np.ndarray], responses: list[list[int]]) -> dict[str, Tensor]:
    owners = np.repeat(np.arange(len(responses)), [len(response) for response in responses])
    return {
        "predictors": torch.from_numpy(np.concatenate([*predictors, np.arange(0)])),
        "targets": torch.tensor([token for response in responses for token in response], dtype=torch.long),
        "owners": torch.from_numpy(owners),
    }


def _blocks(segments: list[np.ndarray], parents: list[int]) -> dict[str, Tensor]:
    """The structure of a shared row, as tensors.

    `segment_ids, parent_ids` [tokens]: the segment of every token, and that of its prompt (`positions` [tokens] is
    added by the caller). For attention in blocks,
    where each list's prompt and each response is a padded row: `prompts` [lists, P] and `responses` [responses, R],
    the tokens' places in the row; `prompt_lengths` [lists]; `prompt_of` [responses]; `places` [tokens], where a
    token is found when the rows of both blocks are put one after the other.
    """
    lengths = np.array([len(span) for span in segments], dtype=np.int64)
    is_prompt = np.array(parents, dtype=np.int64) == np.arange(len(parents))
    index_of_prompt = np.cumsum(is_prompt) - 1
    kinds = [np.flatnonzero(is_prompt), np.flatnonzero(~is_prompt & (lengths > 0))]
    blocks, offset = [], 0
    places = np.zeros(int(lengths.sum()), dtype=np.int64)
    for kind in kinds:
        width = int(lengths[kind].max(initial=0))
        block = np.zeros((len(kind), width), dtype=np.int64)
        for row, segment in enumerate(kind):
            span = segments[segment]
            block[row, : len(span)] = span
            places[span] = offset + row * width + np.arange(len(span))
        offset += block.size
        blocks.append(block)
    arrays = {
        "segment_ids": np.repeat(np.arange(len(segments)), lengths),
        "parent_ids": np.repeat(np.array(parents, dtype=np.int64), lengths),
        "prompts": blocks[0],
        "responses": blocks[1],
        "prompt_lengths": lengths[kinds[0]],
        "prompt_of": index_of_prompt[np.array(parents, dtype=np.int64)[kinds[1]]],
        "places": places,
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


# Cutting work into batches


class Unit(NamedTuple):
    """The least that goes through the model together: some responses of one list, in the order of all responses."""

    tokens: TokenizedList
    first_response: int
    cost: int


def cost(tokens: TokenizedList, layout: str) -> int:
    """Tokens that a list puts into the model: P + ΣR shared; m · (P + max R) plain, its padding included.

    >>> tokens = TokenizedList([1, 2, 3], [[4], [5, 6]])
    >>> cost(tokens, "shared"), cost(tokens, "plain")
    (6, 10)
    """
    lengths = [len(response) for response in tokens.completion_ids]
    if layout == "shared":
        return len(tokens.prompt_ids) + sum(lengths)
    return len(lengths) * (len(tokens.prompt_ids) + max(lengths, default=0))


def units(lists: Sequence[TokenizedList], layout: str, max_tokens: int) -> Iterator[Unit]:
    """Lists, cut between responses where they exceed `max_tokens`; single responses in the plain layout."""
    first = 0
    for tokens in lists:
        part: list[list[int]] = []
        total = len(tokens.prompt_ids)
        for response in tokens.completion_ids:
            if part and (layout == "plain" or total + len(response) > max_tokens):
                yield Unit(TokenizedList(tokens.prompt_ids, part), first, total)
                first, part, total = first + len(part), [], len(tokens.prompt_ids)
            part.append(response)
            total += len(response)
        if part:
            yield Unit(TokenizedList(tokens.prompt_ids, part), first, total)
            first += len(part)


def fill(costs: Sequence[int], budget: int, *, padded: bool) -> list[list[int]]:
    """Indices in batches whose cost stays within a budget, longest first, similar lengths together.

    The cost of a batch is the sum of its members' or, when they are padded to one width, that of the longest
    times their number. One that exceeds the budget by itself is a batch of its own.

    >>> fill([5, 9, 2, 4], 10, padded=False), fill([5, 9, 2, 4], 10, padded=True)
    ([[1], [0, 3], [2]], [[1], [0, 3], [2]])
    """
    batches: list[list[int]] = []
    total = 0
    for index in sorted(range(len(costs)), key=lambda i: -costs[i]):
        size = costs[batches[-1][0]] * (len(batches[-1]) + 1) if padded and batches else total + costs[index]
        if not batches or size > budget:
            batches.append([])
            total = 0
        batches[-1].append(index)
        total += costs[index]
    return batches
