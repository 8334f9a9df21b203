"""Settings of the trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from larpo_ir.models.distributed import num_processes
from larpo_ir.models.scoring import LAYOUTS
from larpo_ir.objectives import Objective, get_objective

if TYPE_CHECKING:
    pass


@dataclass
class LarPOConfig(TrainingArguments):
    """`TrainingArguments` and what a ranking objective needs besides.

    **Objective.** `objective`: a name from `available_objectives()`. `beta`: its β; None takes the
    objective's own default, and objectives without a β take no notice of it. `objective_parameters`: its
    other parameters, e.g. `{"gamma": 1.0}` for SimPO.

    **Sequences.** `chat`: whether a prompt that is a string is a user turn; None: where the tokenizer has a chat
    template, unless the string carries the template's own markers (see `larpo_ir.models.prompting`). `max_length`: tokens
    of prompt and response together; None is the model's context. `append_eos`: whether responses given as text end
    with EOS; responses with `completion_ids` are taken as they are. `disable_dropout`: dropout makes log π noisy
    and unequal to the reference, so it is off (transformers trains with it on).

    **Speed.** `layout`: `auto` puts a list's prompt through the model once, for all of its responses, where that is
    exact for the model (see `larpo_ir.models.scoring`); `shared` insists on it, `plain` does without.
    `max_tokens_per_batch`: make batches by tokens (per device, counted in the layout) and not by
    `per_device_train_batch_size`, which counts lists. Whatever is in a batch, every list of an optimiser step weighs
    the same, over devices and accumulated batches. `reference_cache`: a directory in which reference
    log-probabilities are kept, by weights, tokens and precision, so that no run computes them twice.

    **Defaults that differ from transformers'**: `learning_rate` 5e-7, the paper's for full-size models;
    `logging_steps` 1; `remove_unused_columns` False, since lists are no model inputs.
    """

    objective: str = field(
        default="larpo_lambdarank", metadata={"help": "A name from available_objectives()."}
    )
    beta: float | None = field(default=None, metadata={"help": "The objective's β; None: its own default."})
    objective_parameters: dict[str, Any] | None = field(
        default=None,
        metadata={"help": "The objective's other parameters, as a dict (JSON on the command line)."},
    )
    chat: bool | None = field(
        default=None,
        metadata={"help": "Whether a string prompt is a user turn; None: where there is a chat template."},
    )
    max_length: int | None = field(default=None, metadata={"help": "Tokens of prompt and response together."})
    append_eos: bool = field(default=True, metadata={"help": "Whether responses given as text end with EOS."})
    layout: str = field(default="auto", metadata={"help": f"How lists are laid out: {', '.join(LAYOUTS)}."})
    max_tokens_per_batch: int | None = field(
        default=None, metadata={"help": "Batches of at most so many tokens, instead of so many lists."}
    )
    reference_cache: str | None = field(
        default=None, metadata={"help": "A directory in which reference log-probabilities are kept."}
    )
    disable_dropout: bool = field(default=True, metadata={"help": "Switch off dropout in the policy."})
    learning_rate: float = field(default=5e-7, metadata={"help": "Initial learning rate."})
    logging_steps: float = field(default=1, metadata={"help": "Log every so many optimiser steps."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Must be False: lists are no model inputs."}
    )

    def __post_init__(self) -> None:
        # Not told that they run on CPUs, transformers takes launched processes that see no accelerator for strangers.
        self.use_cpu = self.use_cpu or (num_processes() > 1 and not torch.accelerator.is_available())
        super().__post_init__()
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
