"""Training batches with a limit of tokens instead of lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from larpo_ir.models.layouts import fill


class TokenBudgetSampler(Sampler[list[int]]):
    """Batches of lists with at most `max_tokens` tokens; lists of similar length share a batch.

    One optimiser step takes `world_size · accumulation` batches, which are neighbours in length, so that no process
    waits long for another. `rank` selects the batches of this process; every process makes the same plan from `seed`,
    without communication. The content of a batch is the same in all epochs; the order of the steps is new in each.

    All steps are whole: batches are halved until their number fits. (If every batch is a single list already, the
    first ones are used twice to give every process one.)

    Args:
        costs: tokens of every list. A list with more than `max_tokens` is a batch of its own.
    """

    def __init__(
        self,
        costs: Sequence[int],
        max_tokens: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulation: int = 1,
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"max_tokens_per_batch must be at least 1, got {max_tokens}")
        self.seed, self.rank, self.world_size, self.accumulation = seed, rank, world_size, accumulation
        self.epoch = 0
        shuffled = np.random.default_rng(seed).permutation(
            len(costs)
        )  # lists of equal length in random order
        plan = fill([costs[i] for i in shuffled], max_tokens, padded=False)
        batches = [[int(shuffled[i]) for i in batch] for batch in plan]
        self.batches = whole_steps(batches, costs, world_size, accumulation)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the steps."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of this process in an epoch."""
        return len(self.batches) // self.world_size

    def __iter__(self) -> Iterator[list[int]]:
        size = self.world_size * self.accumulation
        steps = [self.batches[start : start + size] for start in range(0, len(self.batches), size)]
        whole = [step for step in steps if len(step) == size]
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(whole))
        for step in [*(whole[i] for i in order), *steps[len(whole) :]]:
            yield from step[self.rank :: self.world_size]


def whole_steps(
    batches: list[list[int]], costs: Sequence[int], world_size: int, accumulation: int = 1
) -> list[list[int]]:
    """Batches in a number that `world_size · accumulation` divides: the costliest are halved until it does.

    If every batch is a single item already, the first ones are used again until every process has one.
    """
    while len(batches) % (world_size * accumulation):
        place = max(
            range(len(batches)), key=lambda i: (len(batches[i]) > 1, sum(costs[j] for j in batches[i]))
        )
        batch = batches[place]
        if len(batch) == 1:
            return batches + [batches[i % len(batches)] for i in range(-len(batches) % world_size)]
        half = len(batch) // 2
        batches = [*batches[:place], batch[:half], batch[half:], *batches[place + 1 :]]
    return batches
