"""The embedded default task: three-step word problems, and a policy taught by a class that misreads them.

A problem is a chain of sentences about who has how many things. Each sentence is a *cue* for one addition or
subtraction, and a solution works through the cues in GSM8K's notation:

    Mia has 42 shells. Tom gives Mia 5. That is 7 fewer than Ann has. Ann loses 3. How many shells does Ann have?
    <<42+5=47>>47
    <<47+7=54>>54
    <<54-3=51>>51
    #### 51

**The demonstrators.** The policy imitates a simulated class of pupils. Its errors are systematic: they depend
on what the sentence says, not on chance alone, so a policy can learn them and can unlearn them.

* *Misreading* (`MISREADING`). Pupils translate keywords instead of reading sentences: "fewer" and "lose" mean
  minus, whoever has fewer or loses. Cues whose keyword points the wrong way are misread more often than not;
  an exchange between two people sometimes; plain cues never. Pupils do fail so on wording that is inconsistent
  with the operation (Lewis and Mayer, 1987, *Students' miscomprehension of relational statements in arithmetic
  word problems*, Journal of Educational Psychology 79(4)).
* *Slipping* (`SLIPPING`, `SLIPS`). Adding mostly goes well; subtracting, rightly or by misreading, often goes
  wrong in one of three ways, each equally often: the number counted from is counted as the first, a ten is
  lost (as when a carry or a borrow is forgotten), or both.

Steps go wrong independently, and the steps after a wrong number continue from it.

**Purpose.** At a misleading cue the *operator* that most demonstrations write is the wrong one, but what
follows it is split over several results, so the right result is the most frequent single one. A policy that
models its demonstrations well is then a retriever with high recall and a poor first rank: greedy decoding takes
the wrong operator; a vote over samples beats greedy decoding; a verifier over the same samples beats the vote.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from larpo_ir.models.policies import SmallPolicy

if TYPE_CHECKING:
    from datasets import Dataset

MISREADING = {"plain": 0.0, "exchange": 0.2, "misleading": 0.58}
"""Probability that a demonstrator takes the opposite operator, by the wording of the cue."""

SLIPPING = {"+": 0.10, "-": 0.6}
"""Probability of a slip, by the operator that the demonstrator writes (not by the one that is right)."""

SLIPS = {"counts the first one too": -1, "loses a ten": -10, "does both": -11}
"""The number that a slip adds to the operand: `42 - 7` becomes 36, 45 or 46."""

MISLEADING_SHARE = 0.8
"""Share of the problems with a misleading cue. They have one of them, at a random step."""


@dataclass(frozen=True)
class Cue:
    """A sentence about `holder` and `other`, the operator it calls for, and how it is worded.

    `passes_on`: the sentence asks for what `other` has, and the story goes on with `other`.
    """

    sentence: str
    operator: str
    wording: str
    passes_on: bool = False


CUES = (
    Cue("{holder} finds {n} more.", "+", "plain"),
    Cue("{holder} buys {n}.", "+", "plain"),
    Cue("{other} has {n} more than that.", "+", "plain", passes_on=True),
    Cue("{holder} loses {n}.", "-", "plain"),
    Cue("{holder} sells {n}.", "-", "plain"),
    Cue("{other} gives {holder} {n}.", "+", "exchange"),
    Cue("{holder} takes {n} from {other}.", "+", "exchange"),
    Cue("{other} lends {holder} {n}.", "+", "exchange"),
    Cue("That is {n} fewer than {other} has.", "+", "misleading", passes_on=True),
    Cue("{other} must lose {n} to have as many.", "+", "misleading", passes_on=True),
)
MISLEADING = tuple(cue for cue in CUES if cue.wording == "misleading")
OTHERS = tuple(cue for cue in CUES if cue.wording != "misleading")

NAMES = ("Ann", "Ben", "Eva", "Ida", "Kim", "Leo", "Mia", "Nora", "Omar", "Raj", "Tom", "Zoe")
THINGS = ("apples", "beads", "books", "cards", "coins", "eggs", "pens", "shells", "stamps", "stones")
NUM_STEPS = 3
NUM_DEMONSTRATIONS = 24_000
MAX_NEW_TOKENS = 48  # a solution has about 41
OPERANDS = range(2, 10)
STARTS = range(31, 73)  # a step, right or wrong, moves by at most 9, so every number written is in 1..99
SIGN = {"+": 1, "-": -1}
OPPOSITE = {"+": "-", "-": "+"}


@dataclass(frozen=True)
class Step:
    """One cue with its number and its two people."""

    cue: Cue
    operand: int
    holder: str
    other: str

    @property
    def sentence(self) -> str:
        return self.cue.sentence.format(holder=self.holder, other=self.other, n=self.operand)

    @property
    def owner(self) -> str:
        """The person whose things have been counted once this step is done."""
        return self.other if self.cue.passes_on else self.holder


@dataclass(frozen=True)
class Problem:
    """A word problem: a number of things to start with, and the steps from there."""

    start: int
    thing: str
    steps: tuple[Step, ...]

    @property
    def query(self) -> str:
        """The prompt. It ends with a line break: a response begins on the next line."""
        story = " ".join(step.sentence for step in self.steps)
        return (
            f"{self.steps[0].holder} has {self.start} {self.thing}. {story} "
            f"How many {self.thing} does {self.steps[-1].owner} have?\n"
        )

    @property
    def answer(self) -> int:
        return self.start + sum(SIGN[step.cue.operator] * step.operand for step in self.steps)

    @property
    def held_out(self) -> bool:
        """Whether the problem is kept from training: a fifth are, chosen by a hash of numbers and cues.

        Names and things are left out of the hash, so no held-out problem is a training problem retold.
        """
        key = [self.start, *((CUES.index(step.cue), step.operand) for step in self.steps)]
        return zlib.crc32(repr(key).encode()) % 5 == 0


def make_problems(num: int, seed: int = 0, *, held_out: bool = False) -> list[Problem]:
    """Draw `num` different problems, all for training or all held out (`Problem.held_out`); seeded.

    >>> problem = make_problems(1, seed=3)[0]
    >>> print(problem.query + solution(problem))
    Eva has 41 coins. Mia lends Eva 4. Nora must lose 3 to have as many. Nora sells 7.
    How many coins does Nora have?
    <<41+4=45>>45
    <<45+3=48>>48
    <<48-7=41>>41
    #### 41
    """
    if num < 0:
        raise ValueError(f"num is {num}; the number of problems to make must be 0 or more")
    rng = np.random.default_rng([seed, int(held_out)])
    problems: dict[str, Problem] = {}
    while len(problems) < num:
        problem = _draw_problem(rng)
        if problem.held_out == held_out:
            problems[problem.query] = problem
    return list(problems.values())


def _draw_problem(rng: np.random.Generator) -> Problem:
    misleading = rng.integers(NUM_STEPS) if rng.random() < MISLEADING_SHARE else None
    names = [NAMES[i] for i in rng.permutation(len(NAMES))[: NUM_STEPS + 1]]
    operands = rng.choice(OPERANDS, size=NUM_STEPS, replace=False)
    holder, steps = names[0], []
    for position, (other, operand) in enumerate(zip(names[1:], operands, strict=True)):
        cues = MISLEADING if position == misleading else OTHERS
        step = Step(cues[rng.integers(len(cues))], int(operand), holder, other)
        steps.append(step)
        holder = step.owner
    return Problem(int(rng.choice(STARTS)), THINGS[rng.integers(len(THINGS))], tuple(steps))


def topics(num: int, seed: int = 0, *, held_out: bool = False) -> pd.DataFrame:
    """`num` problems as topics: `qid` (`train-0`, `held-out-0`, …), `query`, and `gold`, the answer as a string."""
    problems = make_problems(num, seed, held_out=held_out)
    return pd.DataFrame(
        {
            "qid": [f"{'held-out' if p.held_out else 'train'}-{i}" for i, p in enumerate(problems)],
            "query": [p.query for p in problems],
            "gold": [str(p.answer) for p in problems],
        },
        dtype=str,
    )


def solution(problem: Problem) -> str:
    """The right solution, one line per step and `#### answer` as the last."""
    return _write(problem, [(step.cue.operator, 0) for step in problem.steps])


def demonstration(problem: Problem, rng: np.random.Generator) -> str:
    """The solution that a pupil of the class writes: right, or wrong in the ways of `MISREADING` and `SLIPPING`."""
    return _write(problem, [_attempt(step.cue, rng) for step in problem.steps])


def _attempt(cue: Cue, rng: np.random.Generator) -> tuple[str, int]:
    misread = rng.random() < MISREADING[cue.wording]
    operator = OPPOSITE[cue.operator] if misread else cue.operator
    slips = rng.random() < SLIPPING[operator]
    return operator, list(SLIPS.values())[rng.integers(len(SLIPS))] if slips else 0


def _write(problem: Problem, attempts: Iterable[tuple[str, int]]) -> str:
    value, lines = problem.start, []
    for step, (operator, slip) in zip(problem.steps, attempts, strict=True):
        result = value + SIGN[operator] * (step.operand + slip)
        lines.append(f"<<{value}{operator}{step.operand}={result}>>{result}")
        value = result
    return "\n".join([*lines, f"#### {value}"])


def demonstrations(num: int, seed: int = 0) -> Dataset:
    """`num` training problems, each with one demonstration: a dataset with the columns `prompt, completion`."""
    from datasets import Dataset

    rng = np.random.default_rng([seed, 2])
    problems = make_problems(num, seed)
    return Dataset.from_dict(
        {"prompt": [p.query for p in problems], "completion": [demonstration(p, rng) for p in problems]}
    )


def sft_recipe(seed: int = 0) -> SmallPolicy:
    """The recipe of the policy to be aligned; to follow it takes about a minute on two CPU cores.

    The initialisation is wider than usual (0.08 instead of 0.02) and the rotary base smaller (500 instead of
    10,000): a model this small then learns to copy numbers, and with that the sums, several times sooner. One
    key-value head makes sampling faster.
    """
    return SmallPolicy(
        vocab_size=448,
        hidden_size=96,
        num_layers=2,
        num_heads=4,
        context=256,
        architecture={
            "num_key_value_heads": 1,
            "initializer_range": 0.08,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        },
        sft={
            "num_train_epochs": 1,
            "per_device_train_batch_size": 32,
            "learning_rate": 4e-3,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 20,
            "adam_beta2": 0.98,
            "logging_strategy": "no",
        },
        seed=seed,
    )


def sft_policy(
    directory: str | os.PathLike[str] | None = None,
    seed: int = 0,
    num_demonstrations: int = NUM_DEMONSTRATIONS,
) -> tuple[Any, Any]:
    """The policy before alignment, model and tokenizer: a small Llama that imitates the class.

    With a `directory` it is saved there and read from there next time.
    """
    shown = demonstrations(num_demonstrations, seed)
    return sft_recipe(seed).train(shown["prompt"], shown["completion"], directory)
