"""Batches by tokens: within the budget, each list once, the same plan on every process."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larpo_ir.models.layouts import fill
from larpo_ir.training.batching import TokenBudgetSampler, whole_steps

COSTS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(costs=COSTS, budget=st.integers(1, 120), world=st.integers(1, 4), accumulation=st.integers(1, 3))
@settings(deadline=None)
def test_each_list_once_within_the_budget(costs, budget, world, accumulation):
    samplers = [
        TokenBudgetSampler(costs, budget, seed=3, rank=rank, world_size=world, accumulation=accumulation)
        for rank in range(world)
    ]
    batches = [list(sampler) for sampler in samplers]
    assert len({len(mine) for mine in batches}) == 1  # nobody waits for a batch that does not come
    assert [len(sampler) for sampler in samplers] == [len(mine) for mine in batches]
    everything = [batch for mine in batches for batch in mine]
    used = Counter(index for batch in everything for index in batch)
    assert set(used) == set(range(len(costs)))
    assert sum(used.values()) - len(costs) < world  # repeated only where there is no list left for a process
    if len(costs) >= world * accumulation:
        assert len(everything) % world == 0
    for batch in everything:
        assert sum(costs[i] for i in batch) <= budget or len(batch) == 1


def test_processes_take_turns_at_batches_of_similar_length():
    costs = list(range(1, 41))
    for world in (2, 4):
        shares = [list(TokenBudgetSampler(costs, 80, rank=rank, world_size=world)) for rank in range(world)]
        for step in zip(*shares, strict=True):
            longest = [max(costs[i] for i in batch) for batch in step]
            assert max(longest) - min(longest) <= 20


def test_two_processes_take_the_batches_of_one_that_accumulates_two():
    costs = [7, 3, 9, 12, 4, 4, 8, 1, 15, 6]
    alone = list(TokenBudgetSampler(costs, 16, seed=1, accumulation=2))
    first, second = (list(TokenBudgetSampler(costs, 16, seed=1, rank=r, world_size=2)) for r in (0, 1))
    assert alone == [batch for step in zip(first, second, strict=True) for batch in step]


def test_epochs_differ_in_order_alone():
    sampler = TokenBudgetSampler([5] * 30, 10, seed=0)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append([tuple(batch) for batch in sampler])
    assert orders[0] != orders[1] != orders[2]
    assert set(orders[0]) == set(orders[1]) == set(orders[2])
    sampler.set_epoch(0)
    assert [tuple(batch) for batch in sampler] == orders[0]


def test_lists_of_equal_length_are_mixed():
    one, other = (TokenBudgetSampler([5] * 30, 10, seed=seed).batches for seed in (0, 1))
    assert {frozenset(batch) for batch in one} != {frozenset(batch) for batch in other}


def test_a_budget_of_nothing():
    with pytest.raises(ValueError, match="max_tokens_per_batch must be at least 1, got 0"):
        TokenBudgetSampler([1], 0)


def deal(costs, max_tokens, world, padded):
    batches = whole_steps(fill(costs, max_tokens, padded=padded), costs, world)
    return [batches[rank::world] for rank in range(world)]


def test_batches_of_two_processes():
    # 9 | 5 + 4 | 3 + 2 would be three batches: the first of two items is halved, and 9 | 5 | 4 | 3 + 2 dealt in turn
    assert deal([5, 9, 2, 4, 3], 9, 2, padded=False) == [[[1], [3]], [[0], [4, 2]]]
    # one item, and two processes that must both run something
    assert deal([5], 9, 2, padded=False) == [[[0]], [[0]]]
    assert deal([], 9, 2, padded=False) == [[], []]


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 60), st.integers(1, 9), st.booleans())
def test_every_process_has_as_many_batches_and_all_items_are_in_one(costs, max_tokens, world, padded):
    shares = deal(costs, max_tokens, world, padded)
    assert len({len(share) for share in shares}) == 1
    batches = [tuple(batch) for share in shares for batch in share]
    assert sorted(item for batch in set(batches) for item in batch) == list(range(len(costs)))
    assert len(batches) - len(set(batches)) < world
    for batch in batches:
        sizes = [costs[i] for i in batch]
        assert len(batch) == 1 or (max(sizes) * len(sizes) if padded else sum(sizes)) <= max_tokens
