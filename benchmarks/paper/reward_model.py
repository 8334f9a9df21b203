"""A reward model trained by TRL's `RewardTrainer` on recorded, graded lists, as a reranker of held-out lists.

`RewardTrainer` leaves out pairs longer than `max_length`, which would be the longest responses. So the `RewardModel`
that will score the responses tokenises and cuts them: training and use see the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.paper.claims import Claim
from benchmarks.paper.setup import Setup, digest
from benchmarks.paper.study import Measurements
from larpo_ir.evaluation.tables import count

RANDOM, LONGEST, REWARD = "random order", "longest first", "reward model"
SYSTEM = "mean grade of the system"
NUM_SHUFFLES = 20
# For tokenizers without a chat template: two segments, as BERT's tokenizer writes a pair of sentences.
SENTENCE_PAIR = "{{ cls_token }}{% for message in messages %}{{ message['content'] + sep_token }}{% endfor %}"


def lists_of(setup: Setup, held_out: bool) -> pd.DataFrame:
    """Responses of the training lists or of the last `num_held_out`, with their grades as `score`.

    They are sorted by hash: their order breaks ties and must not depend on the grades.
    """
    from larpo_ir.data.pool import CandidatePool

    path, last = setup.data["path"], setup.data["num_held_out"]
    frame = CandidatePool.from_ranked(path).frame
    number, num = pd.factorize(frame["qid"])[0], frame["qid"].nunique()
    if not 0 < last < num:
        raise ValueError(f"{path} has {num} lists; num_held_out is {last}, give 1 to {num - 1}")
    mine = frame.assign(number=number)[(number >= num - last) == held_out]
    return mine.sort_values(["number", "docno"], ignore_index=True).drop(columns="number")


def options_of(setup: Setup) -> dict[str, Any]:
    """Options of the `RewardModel` besides its model."""
    return {key: value for key, value in setup.reward["init_args"].items() if key != "model"}


def trained(setup: Setup, seed: int) -> Path:
    """Folder of the seed's reward model."""
    settings = digest([dict(setup.data), dict(setup.reward), dict(setup.fine_tuning)])
    return setup.root / "reward_models" / f"{settings}-seed-{seed}"


# Training


def pairs_of(
    lists: pd.DataFrame, seed: int, *, per_list: int, margin: float = 0.0
) -> Iterator[tuple[int, int]]:
    """Rows of a better and a worse response: up to `per_list` random pairs of each list, whose grades differ by more
    than `margin`.

    >>> lists = pd.DataFrame({"qid": "q", "score": [0.5, 0.9, 0.45]})
    >>> sorted(pairs_of(lists, seed=0, per_list=9, margin=0.1))
    [(1, 0), (1, 2)]
    """
    rng = np.random.default_rng(seed)
    for _, rows in lists.groupby("qid", sort=False)["score"]:
        apart = [(i, j) for i, j in permutations(rows.index, 2) if rows[i] - rows[j] > margin]
        yield from (apart[place] for place in rng.permutation(len(apart))[:per_list])


def start_from(name: str, seed: int) -> tuple[Any, Any]:
    """Classifier (the seed draws its head) and tokenizer of a folder, a name on the hub or `minilm`."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    from retrieval_bridge.retrieval.encoders import minilm_folder

    path = str(minilm_folder()) if name == "minilm" else name
    tokenizer = AutoTokenizer.from_pretrained(path)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = SENTENCE_PAIR
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1, dtype=torch.float32)
    return model, tokenizer


def train(setup: Setup, seed: int) -> None:
    """Train the seed's reward model, unless it exists."""
    from datasets import Dataset
    from transformers.trainer_callback import PrinterCallback
    from trl import RewardConfig, RewardTrainer

    from larpo_ir.data.files import whole_folder
    from larpo_ir.rewards import RewardModel

    target = trained(setup, seed)
    if target.exists():
        return
    lists = lists_of(setup, held_out=False)
    model, tokenizer = start_from(setup.reward["init_args"]["model"], seed)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not any(part in name for part in setup.fine_tuning.get("frozen", ()))
    reward = RewardModel(model, tokenizer, **options_of(setup))
    tokens = tokens_of(reward, lists)
    pairs = pairs_of(lists, seed, **setup.fine_tuning["pairs"])
    rows = [{"chosen_ids": tokens[better], "rejected_ids": tokens[worse]} for better, worse in pairs]
    options = {"save_strategy": "no", "report_to": "none", "seed": seed, **setup.fine_tuning["training"]}
    with whole_folder(target) as filling:
        trainer = RewardTrainer(
            model=model,
            args=RewardConfig(output_dir=str(filling), max_length=None, **options),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(str(filling))


def tokens_of(reward: Any, lists: pd.DataFrame) -> list[list[int]]:
    """Tokens that a `RewardModel` reads for each row."""
    inputs = [reward.input_of(query, text) for query, text in zip(lists["query"], lists["text"], strict=True)]
    return list(reward.scorer.encode(inputs))


# Measuring


def ranked(lists: pd.DataFrame, scores: Sequence[float] | pd.Series | np.ndarray) -> pd.DataFrame:
    """`nDCG@10, pairwise accuracy, Kendall τ` per list of graded lists ranked by scores."""
    from larpo_ir.alignment.heldout import ranking_of
    from larpo_ir.evaluation.diagnostics import ranking_accuracy

    accuracy = ranking_accuracy(lists.assign(by=np.asarray(scores, dtype=float)), "by")
    found = ranking_of(lists, scores).rename(columns={"kendall_tau": "Kendall τ"})
    found.insert(1, "pairwise accuracy", accuracy)
    return found


def shuffled(setup: Setup, seed: int, folder: Path) -> pd.DataFrame:
    lists = lists_of(setup, held_out=True)
    rng = np.random.default_rng(seed)
    values = [ranked(lists, rng.random(len(lists))) for _ in range(NUM_SHUFFLES)]
    return sum(values[1:], values[0]) / NUM_SHUFFLES


def by_length(setup: Setup, seed: int, folder: Path) -> pd.DataFrame:
    lists = lists_of(setup, held_out=True)
    return ranked(lists, lists["text"].str.len())


def by_system(setup: Setup, seed: int, folder: Path) -> pd.DataFrame:
    """Lists ranked by the mean grade of each system in the training lists: the worth of knowing the system."""
    lists, training = lists_of(setup, held_out=True), lists_of(setup, held_out=False)
    means = training.groupby("policy")["score"].mean()
    return ranked(lists, lists["policy"].map(means).fillna(training["score"].mean()))


def by_reward(setup: Setup, seed: int, folder: Path) -> pd.DataFrame:
    from larpo_ir.rewards import RewardModel

    lists = lists_of(setup, held_out=True)
    reward = RewardModel(trained(setup, seed), **options_of(setup))
    return ranked(lists, reward.score(lists))


class RewardModels(Measurements):
    """Measurements on recorded lists, which need no policy."""

    def shared(self, setup: Setup, seed: int) -> list[list[Callable[[], None]]]:
        return [[partial(train, setup, seed)]]

    def note(self, setup: Setup, seeds: int) -> str:
        held_out = setup.data["num_held_out"]
        return (
            f"{count(held_out, 'held-out list')} of {setup.data['path']}, {count(seeds, 'seed')} (head, pairs and "
            "their order)"
        )


def claims_of(measure: str) -> tuple[Claim, ...]:
    return (
        Claim(f"the reward model beats random order in {measure}", (REWARD,), (RANDOM,), measure),
        Claim(f"the reward model beats longest first in {measure}", (REWARD,), (LONGEST,), measure),
    )


STUDY = RewardModels(
    name="reward_model",
    title="ranked by",
    heading="A reward model as a reranker",
    what="Not in the paper, which takes its reward models as they are. A classifier trained by TRL's RewardTrainer "
    "on pairs of recorded responses, graded by a judge, ranks the responses of lists it has not seen. Their systems "
    "are those of the training lists: *mean grade of the system*, which knows who wrote a response, says what "
    "recognising a style could be worth. Pairwise accuracy: the share of pairs ordered as the judge does.",
    measured={
        RANDOM: shuffled,
        LONGEST: by_length,
        REWARD: by_reward,
        SYSTEM: by_system,
    },
    claims=(*claims_of("nDCG@10"), *claims_of("pairwise accuracy")),
)
