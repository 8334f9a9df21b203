"""The tensors of both layouts, by hand, and the attention in a shared row."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from larpo_ir.models.attention import allowed, block_masks
from larpo_ir.models.layouts import fill, plain_batch, shared_batch, units
from larpo_ir.models.tokenization import TokenizedList

LISTS = [TokenizedList([1, 2, 3], [[4, 5], [6, 7, 8]]), TokenizedList([9, 10], [[11], [], [12, 13]])]


def test_the_shared_layout_of_the_modules_docstring():
    batch = shared_batch(LISTS)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 4, 5, 0, 1, 2, 2, 3]]
    assert batch["predictors"].tolist() == [2, 3, 2, 5, 6, 9, 9, 11]
    assert batch["targets"].tolist() == [4, 5, 6, 7, 8, 11, 12, 13]
    assert batch["owners"].tolist() == [0, 0, 1, 1, 1, 2, 4, 4]  # the fourth response has no token
    packing = batch["packing"]
    assert packing["segment_ids"].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 6, 6]
    assert packing["parent_ids"].tolist() == [0] * 8 + [3] * 5
    assert packing["prompts"].tolist() == [[0, 1, 2], [8, 9, 0]]
    assert packing["responses"].tolist() == [[3, 4, 0], [5, 6, 7], [10, 0, 0], [11, 12, 0]]
    assert packing["prompt_lengths"].tolist() == [3, 2]
    assert packing["prompt_of"].tolist() == [0, 0, 1, 1]
    assert packing["places"].tolist() == [0, 1, 2, 6, 7, 9, 10, 11, 3, 4, 12, 15, 16]


def test_the_plain_layout():
    batch = plain_batch(LISTS[:1], pad_token_id=99)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 99], [1, 2, 3, 6, 7, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 4], [0, 1, 2, 3, 4, 5]]
    assert batch["predictors"].tolist() == [2, 3, 8, 9, 10]
    assert batch["targets"].tolist() == [4, 5, 6, 7, 8]
    assert batch["owners"].tolist() == [0, 0, 1, 1, 1]


def test_who_attends_to_whom():
    packing = shared_batch(LISTS[:1])["packing"]
    every = torch.arange(8)
    seen = allowed(packing)(None, None, every[:, None], every[None, :]).int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 0, 0],  # the second response does not see the first
        [1, 1, 1, 0, 0, 1, 1, 0],
        [1, 1, 1, 0, 0, 1, 1, 1],
    ]
    windowed = allowed(packing, 3)(None, None, every[:, None], every[None, :]).int().tolist()
    assert windowed[5] == [0, 1, 1, 0, 0, 1, 0, 0]  # by position, not by place in the row
    assert windowed[7] == [0, 0, 0, 0, 0, 1, 1, 1]


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 5), st.lists(st.integers(0, 4), min_size=1, max_size=3)),
        min_size=1,
        max_size=3,
    ),
    window=st.none() | st.integers(1, 6),
)
@settings(deadline=None)
def test_blocks_see_what_the_row_sees(sizes, window):
    """The masks of the blocks, put back into the row, are the mask of the row."""
    lists = [TokenizedList([1] * p, [[2] * r for r in responses]) for p, responses in sizes]
    packing = shared_batch(lists)["packing"]
    length = len(packing["segment_ids"])
    every = torch.arange(length)
    expected = allowed(packing, window)(None, None, every[:, None], every[None, :])
    found = torch.zeros(length, length, dtype=torch.bool)
    prompts, responses = packing["prompts"], packing["responses"]
    of_prompts, of_responses = block_masks(packing, window)
    for row, place in enumerate(prompts):
        own = int(packing["prompt_lengths"][row])
        mask = (
            torch.ones(len(place), len(place), dtype=torch.bool).tril()
            if of_prompts is None
            else of_prompts[0, 0]
        )
        found[place[:own].unsqueeze(1), place[:own]] = mask[:own, :own]
    lengths = [len(r) for one in lists for r in one.completion_ids if r]
    for row, (place, own) in enumerate(zip(responses, lengths, strict=True)):
        prompt = int(packing["prompt_of"][row])
        keys = torch.cat([prompts[prompt], place])
        before = int(packing["prompt_lengths"][prompt])
        real = [*range(before), *range(prompts.shape[1], prompts.shape[1] + own)]
        mask = of_responses[min(row, len(of_responses) - 1), 0]
        found[place[:own].unsqueeze(1), keys[real]] = mask[:own][:, real]
        assert not mask[:own, before : prompts.shape[1]].any()  # padding of the prompts
    assert torch.equal(found, expected)


def test_units_cut_lists_between_responses():
    (one,) = LISTS[:1]
    assert [(u.tokens.completion_ids, u.first_response, u.cost) for u in units(LISTS[:1], "shared", 8)] == [
        (one.completion_ids, 0, 8)
    ]
    cut = [(u.tokens.completion_ids, u.first_response, u.cost) for u in units(LISTS, "shared", 5)]
    assert cut == [([[4, 5]], 0, 5), ([[6, 7, 8]], 1, 6), ([[11], [], [12, 13]], 2, 5)]
    assert [u.cost for u in units(LISTS, "plain", 100)] == [5, 6, 3, 2, 4]


def test_padded_batches_cost_their_longest():
    assert fill([10, 9, 8, 3], 20, padded=True) == [[0, 1], [2, 3]]
    assert fill([10, 9, 8, 3], 20, padded=False) == [[0, 1], [2, 3]]
    assert fill([10, 4, 4, 2], 20, padded=True) == [[0, 1], [2, 3]]
    assert fill([10, 4, 4, 2], 20, padded=False) == [[0, 1, 2, 3]]
    assert fill([], 20, padded=True) == []
