"""A list against its pairs, a step against bare forward and backward, and the growth of a list's cost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from math import comb
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, DPOTrainer

from benchmarks.speed.measure import Clock, Row, device, peak_memory
from benchmarks.speed.workload import make_lists, make_model, make_tokenizer, training_arguments
from larpo_ir.data.lists import to_pairs
from larpo_ir.models.layouts import shared_batch
from larpo_ir.models.scoring import batch_logprobs, choose_way, to_device
from larpo_ir.models.tokenization import TokenizedList
from larpo_ir.training.config import LarPOConfig
from larpo_ir.training.trainer import LarPOTrainer

PROMPT = RESPONSE = 160
AGAINST_TRL = {
    2: (8, 1.3),
    4: (3, 6.0),
    8: (1, 15.0),
}  # size of a list: number of training lists, target
SIZES = (2, 4, 8, 16)


def our_trainer(model: Any, tokenizer: Any, lists: Dataset, directory: str, **options: Any) -> LarPOTrainer:
    arguments = training_arguments(directory, per_device_train_batch_size=1, **options)
    trainer = LarPOTrainer(
        model,
        args=LarPOConfig(objective="larpo_lambdarank", beta=0.1, **arguments),
        train_dataset=lists,
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_ours(model: Any, tokenizer: Any, lists: Dataset) -> None:
    """One step for each list, after one pass over all lists for the reference."""
    with tempfile.TemporaryDirectory() as directory:
        our_trainer(model, tokenizer, lists, directory).train()


def train_trl(model: Any, tokenizer: Any, pairs: Dataset, pairs_per_list: int) -> None:
    """`DPOTrainer` with precomputed references; one optimiser step for the pairs of a list."""
    with tempfile.TemporaryDirectory() as directory:
        batch = next(size for size in (4, 3, 2, 1) if pairs_per_list % size == 0)
        arguments = training_arguments(
            directory, per_device_train_batch_size=batch, gradient_accumulation_steps=pairs_per_list // batch
        )
        trainer = DPOTrainer(
            model=model,
            args=DPOConfig(
                beta=0.1,
                max_length=None,
                precompute_ref_log_probs=True,
                precompute_ref_batch_size=8,
                **arguments,
            ),
            train_dataset=pairs,
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def against_trl(repetitions: int) -> Iterator[Row]:
    """The same preferences as a list and as all its pairs, trained from the same weights."""
    tokenizer = make_tokenizer()
    for size, (number, target) in AGAINST_TRL.items():
        lists = make_lists(number, size, PROMPT, RESPONSE)
        pairs, model = to_pairs(lists, "all"), make_model()
        clock = Clock(repetitions).run(
            ours=partial(train_ours, model, tokenizer, lists),
            peer=partial(train_trl, model, tokenizer, pairs, comb(size, 2)),
        )
        unique, paired = PROMPT + size * RESPONSE, comb(size, 2) * 2 * (PROMPT + RESPONSE)
        name = "a single pair" if size == 2 else f"a list of {size}"
        peer = f"TRL DPOTrainer on its {comb(size, 2)} pair{'s' * (size > 2)}"
        yield clock.row(
            f"{name}, references included", peer, per=number, target=target,
            note=f"{unique} tokens against {paired}, a ratio of {paired / unique:.1f}",
        )  # fmt: skip
        ours, theirs = (peak_memory(prepare_training, which, size, 1) for which in ("ours", "trl"))
        yield Row(
            f"{name}: peak memory", peer, "MiB", ours, theirs, theirs / ours, None,
            note="micro-batches of at most 4 pairs",
        )  # fmt: skip


def prepare_training(which: str, size: int, number: int) -> Callable[[], None]:
    tokenizer, model = make_tokenizer(), make_model()
    lists = make_lists(number, size, PROMPT, RESPONSE)
    if which == "ours":
        return partial(train_ours, model, tokenizer, lists)
    return partial(train_trl, model, tokenizer, to_pairs(lists, "all"), comb(size, 2))


def random_list(size: int, vocabulary: int = 32_000) -> TokenizedList:
    draw = torch.Generator().manual_seed(size)
    ids = torch.randint(3, vocabulary, (size + 1, max(PROMPT, RESPONSE)), generator=draw).tolist()
    return TokenizedList(ids[0][:PROMPT], [row[:RESPONSE] for row in ids[1:]])


def steps_of(lists: Dataset, model: Any, directory: str) -> Callable[[], None]:
    """A training step as the Trainer makes it: collating, loss and metrics, backward; no optimiser."""
    trainer = our_trainer(model, make_tokenizer(), lists, directory)
    tokenized: Any = trainer.train_dataset
    examples, number = [tokenized[i] for i in range(len(lists))], torch.tensor(len(lists), device=device())

    def step() -> None:
        trainer.training_step(model, trainer.data_collator(examples), number)
        model.zero_grad(set_to_none=True)

    return step


def bare(model: Any, tokens: int) -> Callable[[], None]:
    """Least cost of training on so many tokens: the model's own forward, its loss, backward."""
    ids = torch.randint(3, model.config.vocab_size, (1, tokens), device=device())

    def step() -> None:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        model.zero_grad(set_to_none=True)

    return step


def floor(repetitions: int) -> Iterator[Row]:
    """A training step against bare forward and backward on as many tokens."""
    for size in (4, 8):
        model, unique = make_model(), PROMPT + size * RESPONSE
        with tempfile.TemporaryDirectory() as directory:
            clock = Clock(2 * repetitions).run(
                ours=steps_of(make_lists(1, size, PROMPT, RESPONSE), model, directory),
                peer=bare(model.train(), unique),
            )
        yield clock.row(
            f"a training step, list of {size}", f"bare forward and backward on its {unique} unique tokens",
            at_most=True, target=1.2,
        )  # fmt: skip


def growth(repetitions: int) -> Iterator[Row]:
    """Growth of a list's cost against growth of its unique tokens."""
    model = make_model()
    with tempfile.TemporaryDirectory() as directory:
        sides = {
            f"list_of_{size}": steps_of(make_lists(1, size, PROMPT, RESPONSE), model, directory)
            for size in SIZES
        }
        clock = Clock(2 * repetitions).run(**sides)
    smallest = PROMPT + SIZES[0] * RESPONSE
    for size in SIZES[1:]:
        tokens = (PROMPT + size * RESPONSE) / smallest
        ratio, spread = clock.ratio(f"list_of_{size}", f"list_of_{SIZES[0]}")
        yield Row(
            f"time of a step, list of {size} over list of {SIZES[0]}", "its unique tokens, likewise", "×", ratio,
            tokens, ratio / tokens, (spread[0] / tokens, spread[1] / tokens), target=1.0 if size == 16 else None,
            at_most=True,
        )  # fmt: skip


def prepare_step(head: str, vocabulary: int, size: int) -> Callable[[], None]:
    """Forward and backward of a list: responses alone through the head in chunks, or all logits at once."""
    model = make_model(vocabulary, layers=2)
    batch = to_device(shared_batch([random_list(size, vocabulary)]), device())
    if head == "chunks":
        way = choose_way(model)
        return lambda: batch_logprobs(model, batch, size, way).sum().backward()
    ids = batch["input_ids"]

    def full_logits() -> None:
        logits = model(input_ids=ids, use_cache=False).logits[0, batch["predictors"]]
        (-F.cross_entropy(logits.float(), batch["targets"], reduction="none")).sum().backward()

    return full_logits


def memory(repetitions: int) -> Iterator[Row]:
    """Peak memory of a step beyond the model, by vocabulary."""
    for vocabulary, target in ((32_000, None), (256_000, 0.35)):
        ours, theirs = (peak_memory(prepare_step, head, vocabulary, 8) for head in ("chunks", "full"))
        yield Row(
            f"peak memory of a step, list of 8, vocabulary {vocabulary // 1000}k",
            "full logits of the same unique tokens", "MiB", ours, theirs, ours / theirs, None, target=target,
            at_most=True, note="2 layers; gradients of embedding and head included on both sides",
        )  # fmt: skip
