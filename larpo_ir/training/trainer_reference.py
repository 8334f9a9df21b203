"""Log-probabilities of the reference for a trainer's lists.

They are taken from the lists' column `ref_logps`, or computed before the first step. If each process
holds a part of the policy (FSDP, DeepSpeed), no process can run it before it is wrapped. Then the lists get numbers
(column `row`), and the log-probabilities of all lists are computed at the first batch.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from larpo_ir.data.files import write_atomically
from larpo_ir.models.distributed import from_main, is_main_process, is_sharded
from larpo_ir.models.tokenization import TokenizedList, pad_token_of
from larpo_ir.training.collation import lists_of
from larpo_ir.training.reference import fixed_logprobs

if TYPE_CHECKING:
    from larpo_ir.training.trainer import LarPOTrainer

REFERENCE_FILE = "reference_logprobs.json"  # in the output directory
REMEDY = "compute them before, with fixed_logprobs in a run without sharding, as the lists' column ref_logps"


class TrainerReference:
    """Adds `ref_logps` to a trainer's datasets, and finds them for each of its batches."""

    def __init__(self, trainer: LarPOTrainer) -> None:
        # A weak reference, so that trainer and optimiser are freed when nothing else uses them.
        self._trainer: LarPOTrainer = weakref.proxy(trainer)
        self.deferred = DeferredReference(Path(trainer.args.output_dir or ".") / REFERENCE_FILE)

    def add_to(self, dataset: Dataset, ref_model: nn.Module | None) -> Dataset:
        """Add `ref_logps`, or numbers to find them by later, unless they are there or not needed."""
        dataset = dataset.remove_columns("num_truncated")
        if "ref_logps" in dataset.column_names or not self._trainer.objective.needs_reference:
            return dataset
        lists = lists_of(dataset)
        if not self._trainer._shares_out_the_policy:
            return dataset.add_column("ref_logps", self.logprobs(lists, ref_model))
        self._check_later(ref_model)
        return dataset.add_column("row", self.deferred.number(lists))

    def _check_later(self, ref_model: nn.Module | None) -> None:
        if ref_model is not None:
            raise ValueError(f"FSDP and DeepSpeed take no log-probabilities of a ref_model: {REMEDY}")
        plugin = getattr(self._trainer.accelerator.state, "fsdp_plugin", None)
        if self._trainer.args.reference_cache is not None and getattr(plugin, "fsdp_version", 1) == 1:
            raise ValueError(
                "reference_cache must know the policy's weights, which DeepSpeed and FSDP 1 hide: leave it out, use"
                f" FSDP 2, or {REMEDY}"
            )

    def logprobs(
        self, lists: list[TokenizedList], ref_model: nn.Module | None, policy: nn.Module | None = None
    ) -> list[list[float]]:
        """Log-probabilities of `ref_model` or, without one, of the policy. `policy`: the policy if it is wrapped."""
        trainer = self._trainer
        unwrapped = trainer.accelerator.unwrap_model(trainer.model) if ref_model is None else ref_model
        adapter = getattr(unwrapped, "disable_adapter", None) if ref_model is None else None
        model = unwrapped if policy is None else policy
        if policy is None and not is_sharded(model):
            model = model.to(trainer.args.device)
        # in the precision of training: otherwise the implicit rewards of a fresh policy are not 0
        with trainer.accelerator.autocast(), adapter() if adapter is not None else nullcontext():
            return fixed_logprobs(
                model,
                lists,
                layout=trainer.args.layout,
                pad_token_id=pad_token_of(trainer._tokenizer),
                cache=trainer.args.reference_cache,
                precision=trainer.accelerator.mixed_precision,
                progress="Reference log-probabilities",
            )

    def of(self, policy: nn.Module, inputs: dict[str, Tensor]) -> Tensor | None:
        """Values of a batch, [batch, list], None if it has none. The first batch computes the deferred ones."""
        if self.deferred.pending:
            resumed = self._trainer.state.global_step > 0  # training has already changed the policy
            values = None if resumed else self.logprobs(self.deferred.lists, None, policy)
            self.deferred.settle(values, self._trainer.args.device)
        if "rows" not in inputs:
            return inputs.get("ref_logps")
        return self.deferred.of(inputs["rows"])[:, : inputs["mask"].shape[1]]


class DeferredReference:
    """Reference log-probabilities of lists that are numbered now and scored later, when a model can run.

    The file `path` keeps them, because resumed training no longer has the model that computes them.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lists = path, list[TokenizedList]()
        self._values: Tensor | None = None

    @property
    def pending(self) -> bool:
        """True if there are lists without values."""
        return bool(self.lists)

    def number(self, lists: Sequence[TokenizedList]) -> list[int]:
        """Add lists and return their numbers."""
        self.lists += lists
        return list(range(len(self.lists) - len(lists), len(self.lists)))

    def settle(self, values: list[list[float]] | None, device: torch.device) -> None:
        """Keep the values of all lists; None reads the file. Raises `ValueError` if the file is of other lists."""
        if values is None:
            values = self._read()
        elif is_main_process():
            write_atomically(self.path, json.dumps(values))
        self._values = pad_sequence([torch.tensor(row) for row in values], batch_first=True).to(device)
        self.lists = []

    def of(self, numbers: Tensor) -> Tensor:
        """Values of these lists, [lists, widest list of all], 0 where a list has ended."""
        if self._values is None:
            raise RuntimeError("the references were not computed before they were asked for")
        return self._values[numbers]

    def _read(self) -> list[list[float]]:
        there = is_main_process() and self.path.exists()
        values: list[list[float]] = from_main(json.loads(self.path.read_text()) if there else [])
        if [len(row) for row in values] != [len(tokens.completion_ids) for tokens in self.lists]:
            raise ValueError(
                f"{self.path} does not hold the references of these lists: resume in the output directory where the"
                " training began, with the same lists, or give the lists their ref_logps"
            )
        return values
