"""Inputs of an alignment: checked before sampling, with the prompts as the policy reads them, and identified."""

from __future__ import annotations

import dataclasses
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from larpo_ir.alignment.config import AlignConfig
from larpo_ir.alignment.heldout import HeldOut
from larpo_ir.data.chats import as_text
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.prompts import asked_in
from larpo_ir.models.frames import tokens_known
from larpo_ir.objectives import get_objective
from larpo_ir.provenance.identity import identity
from larpo_ir.provenance.outputs import read_config
from larpo_ir.provenance.run_directory import RunDirectory
from larpo_ir.training.config import LarPOConfig

if TYPE_CHECKING:
    import pyterrier as pt

    from larpo_ir.models.generators import Generator

logger = logging.getLogger("larpo_ir")

# Fields of the training arguments that do not change the trained policy.
NO_MATTER = {
    "reference_cache", "report_to", "run_name", "logging_dir", "logging_steps", "logging_strategy", "disable_tqdm",
    "log_level", "save_strategy", "save_steps", "save_total_limit", "layout", "gradient_checkpointing",
    "gradient_checkpointing_kwargs", "dataloader_num_workers", "dataloader_pin_memory", "torch_empty_cache_steps",
}  # fmt: skip
# Always recorded, also with their default values, because a paper reports them.
ALWAYS_SAID = (
    "learning_rate",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
)
# Recorded for readers but not compared, because a template may write the date.
NOT_COMPARED = {"first_prompt"}


@dataclass
class RunInputs:
    """Policy, reward, prompts and settings of an alignment, its `recorded` candidates (or None) and `held_out` data.

    Recorded rows get the prompts that this policy reads. They lose token ids that are not of this policy's tokenizer.
    """

    generator: Generator
    reward: pt.Transformer | None
    topics: pd.DataFrame
    config: AlignConfig
    candidates: CandidatePool | None
    held_out: HeldOut

    def __post_init__(self) -> None:
        self.recorded = None if self.candidates is None else self._read_here(self.candidates.frame)
        if self.held_out.lists is not None:
            self.held_out.lists = self._read_here(self.held_out.lists)

    def prompts_of(self, frame: pd.DataFrame) -> pd.Series[Any]:
        """The prompt that the policy reads for each row."""
        return pd.Series(self.generator.prompts(frame), index=frame.index, dtype=object)

    def _read_here(self, recorded: pd.DataFrame) -> pd.DataFrame:
        rows = recorded.assign(prompt=self.prompts_of(recorded))
        self._check_prompts(recorded, rows)
        if "token_ids" not in rows:
            return rows
        known = tokens_known(rows, self.generator.texts_of)
        foreign = int((rows["token_ids"].notna() & ~known).sum())
        if foreign:
            logger.warning(
                f"{foreign} of {len(rows)} recorded responses have token ids of another tokenizer: their text is read"
            )
        return rows.assign(token_ids=rows["token_ids"].where(known, None))

    def _check_prompts(self, recorded: pd.DataFrame, rows: pd.DataFrame) -> None:
        """Check that training uses the prompts that recorded responses answer, with no message or example added."""
        if "prompt" not in recorded:
            return
        has_prompt = recorded["prompt"].notna() & ~recorded["qid"].duplicated()
        was, now = asked_in(recorded[has_prompt]), asked_in(rows[has_prompt])
        other_kind = 0
        for qid, before, after in zip(recorded["qid"][has_prompt], was, now, strict=True):
            if as_text(before) != as_text(after):
                raise ValueError(
                    f"query {qid}: its recorded responses answer {as_text(before)!r:.50}, and the generator's options"
                    f" would ask {as_text(after)!r:.50}: leave out system, few_shot and prompt_format here"
                )
            other_kind += before != after
        if other_kind:
            logger.warning(
                f"{other_kind} recorded prompts are a string there and a chat here, or the reverse: if that is not"
                " meant, give generator.chat as it was when the responses were sampled"
            )

    def check(self) -> None:
        """Raise a one-line `ValueError` that names the query if the policy or the reward cannot read its prompt."""
        check = getattr(self.reward, "check", None)
        for asked in (self.topics, self.recorded, self.held_out.topics, self.held_out.lists):
            if asked is None:
                continue
            topics = asked.drop_duplicates("qid")
            self.generator.tokens_of(topics)
            if check is not None:
                check(topics.assign(prompt=self.prompts_of(topics)))

    def identity(
        self, directory: RunDirectory, start_from: str | os.PathLike[str] | None = None
    ) -> dict[str, Any]:
        """Settings and inputs that distinguish this run from others, see `larpo_ir.provenance.identity`."""
        generator, sampler = self.generator, self.config.chosen_sampler
        defaults = {option.name: option.default for option in dataclasses.fields(LarPOConfig)}
        given = {name: value for name, value in self.config.training.items() if name not in NO_MATTER}
        training = {name: value for name, value in given.items() if value != defaults[name]}
        training |= {name: given.get(name, defaults[name]) for name in ALWAYS_SAID}
        temperatures = self.config.temperatures
        if (
            isinstance(temperatures, list)
            and len(temperatures) == 1
            and not isinstance(temperatures[0], list)
        ):
            temperatures = temperatures[0]
        objective = get_objective(self.config.objective, **self.config.objective_parameters)
        first = generator.prompts(self.topics.iloc[:1])
        return dataclasses.asdict(dataclasses.replace(self.config, sampler=None)) | {
            "sampler": repr(sampler) if " at 0x" not in repr(sampler) else identity(sampler),
            "training": identity(training),
            "temperatures": temperatures,
            "objective_parameters": identity(objective.parameters),
            "policy": self._policy(directory, start_from),
            "generator": {
                "max_new_tokens": generator.max_new_tokens,
                "stop": generator.stop,
                "prompting": identity(generator.asking),
            },
            "reward": identity(self.reward),
            "prompts": identity(self.topics),
            "candidates": identity(self.recorded),
            "eval_prompts": identity(self.held_out.topics),
            "eval_lists": identity(self.held_out.lists),
            "first_prompt": generator.as_read(first[0]) if first else None,
        }

    def _policy(self, directory: RunDirectory, start_from: str | os.PathLike[str] | None) -> dict[str, Any]:
        """Identity of π_0. A later policy of the same run counts as π_0, because `align` may resume with it.

        A run with `start_from` begins with the policy of that other run, whatever weights the generator holds now.
        """
        now: dict[str, Any] = identity(self.generator.model) | {
            "tokenizer": identity(self.generator.tokenizer)
        }
        there = (directory if start_from is None else RunDirectory(start_from)).config
        if start_from is None and not (there.exists() and now["weights"] in directory.saved_policies()):
            return now
        if not there.exists():
            raise ValueError(f"cannot start from {start_from}: no run is there")
        claimed: dict[str, Any] = read_config(there).get("policy") or now
        return now | {"weights": claimed.get("weights")}
