"""Settings of the trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from larpo_ir.data.settings import described, documented
from larpo_ir.models.distributed import num_processes
from larpo_ir.models.scoring import LAYOUTS
from larpo_ir.objectives import Objective, get_objective


@documented
@dataclass
class LarPOConfig(TrainingArguments):
    """`TrainingArguments`, and the settings that a ranking objective needs besides.

    Three defaults differ from transformers': `learning_rate`, `logging_steps` and `remove_unused_columns`. Every list
    of an optimiser step weighs the same, over devices and accumulated batches, whatever is in a batch.

    Raises `ValueError` for unknown names (listing the choices) and numbers out of range.
    """

    objective: str = field(
        default="larpo_lambdarank",
        metadata=described("Objective", "Name of the objective, one of available_objectives()."),
    )
    beta: float | None = field(
        default=None,
        metadata=described(
            "Objective",
            "β of the objective; by default the objective's own. Objectives without a β take no notice of it.",
        ),
    )
    objective_parameters: dict[str, Any] | None = field(
        default=None,
        metadata=described(
            "Objective",
            'Other parameters of the objective by name, such as {"gamma": 1.0} for SimPO (JSON on the command line).',
        ),
    )
    chat: bool | None = field(
        default=None,
        metadata=described(
            "Sequences",
            "Whether a prompt that is a string is a user turn; by default it is one where the tokenizer has a chat"
            " template, unless the string carries the template's own markers.",
        ),
    )
    max_length: int | None = field(
        default=None,
        metadata=described(
            "Sequences",
            "Longest sequence in tokens, prompt and response together; by default the model's context.",
        ),
    )
    append_eos: bool = field(
        default=True,
        metadata=described(
            "Sequences",
            "Whether responses given as text end with EOS; responses with completion_ids stay as they are.",
        ),
    )
    layout: str = field(
        default="auto",
        metadata=described(
            "Speed",
            "Layout of a list: auto puts its prompt through the model once for all of its responses, where that"
            " is exact for the model; shared insists on it; plain repeats the prompt for every response.",
        ),
    )
    max_tokens_per_batch: int | None = field(
        default=None,
        metadata=described(
            "Speed",
            "Batches of at most so many tokens per device, counted in the layout; by default a batch is"
            " per_device_train_batch_size lists.",
        ),
    )
    reference_cache: str | None = field(
        default=None,
        metadata=described(
            "Speed",
            "Folder in which the reference's log-probabilities are kept by weights, tokens and precision, so that no"
            " run computes them twice.",
        ),
    )
    disable_dropout: bool = field(
        default=True,
        metadata=described(
            "Sequences",
            "Whether dropout is off in the policy: it makes log π noisy and unequal to the reference.",
        ),
    )
    learning_rate: float = field(
        default=5e-7,
        metadata=described(
            "Training", "Initial learning rate; the default is the paper's for full-size models."
        ),
    )
    logging_steps: float = field(
        default=1, metadata=described("Training", "Number of optimiser steps between two logs.")
    )
    remove_unused_columns: bool = field(
        default=False, metadata=described("Training", "Must be false: lists are no inputs of a model.")
    )

    def __post_init__(self) -> None:
        # Without `use_cpu`, transformers treats launched CPU processes as independent.
        self.use_cpu = self.use_cpu or (num_processes() > 1 and not torch.accelerator.is_available())
        super().__post_init__()  # type: ignore[no-untyped-call]  # transformers says no types here
        if self.layout not in LAYOUTS:
            raise ValueError(f"unknown layout {self.layout!r}; choose one of {', '.join(LAYOUTS)}")
        if self.torch_compile and self.layout == "shared":
            raise ValueError(
                "layout='shared' does not go with torch_compile: use layout='auto', or do not compile"
            )
        if self.max_tokens_per_batch is not None and self.max_tokens_per_batch < 1:
            raise ValueError(f"max_tokens_per_batch must be at least 1, got {self.max_tokens_per_batch}")
        self.build_objective()  # a misspelt objective is an error now, not after hours of sampling

    def build_objective(self) -> Objective:
        """The objective these settings describe. Raises `ValueError` for unknown names, listing the choices."""
        parameters = dict(self.objective_parameters or {})
        plain = get_objective(self.objective)
        if self.beta is not None and "beta" in plain.parameters:
            parameters["beta"] = self.beta
        return get_objective(self.objective, **parameters)
