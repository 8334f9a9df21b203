"""`LarPOTrainer`: a `transformers.Trainer` for ranked lists.

The features of a Trainer work as its users expect: accelerate, DeepSpeed, FSDP, PEFT, gradient checkpointing and
accumulation, `report_to`, checkpoints and resuming.

A training example is one ranked list (see `larpo_ir.data.lists`). It is tokenised once, before training. Reference
log-probabilities are taken from the column `ref_logps` or computed once, before the first step, so that no
reference model takes memory while the policy trains. If each process holds a part of the policy (FSDP, DeepSpeed),
no process can run it before it is wrapped; `larpo_ir.training.trainer_reference` handles this case.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer
from transformers.trainer_utils import EvalLoopOutput

from larpo_ir.data.console import announce
from larpo_ir.losses import preferred_pairs
from larpo_ir.models.checkpoints import load
from larpo_ir.models.distributed import from_main, is_main_process, num_processes
from larpo_ir.models.layouts import cost
from larpo_ir.models.scoring import Way, batch_logprobs, choose_way
from larpo_ir.models.tokenization import pad_token_of
from larpo_ir.models.wrappers import context_length
from larpo_ir.objectives import Objective
from larpo_ir.training.batching import TokenBudgetSampler
from larpo_ir.training.collation import ListCollator, lists_of, tokenize_dataset
from larpo_ir.training.config import LarPOConfig
from larpo_ir.training.trainer_reference import TrainerReference

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedTokenizerBase

COMPILED = Way("plain", own_logits=True, reason="a compiled forward is fixed")


def _check_launch(args: LarPOConfig) -> None:
    if args.world_size != num_processes():
        raise ValueError(
            f"{num_processes()} processes were launched but each would train by itself: the training arguments"
            f" ({args.parallel_mode}) do not fit the launch; on CPUs give use_cpu=True"
        )
    if args.n_gpu > 1:
        warnings.warn("training on one GPU; `accelerate launch` trains on all of them", stacklevel=3)
        args._n_gpu = 1  # torch's DataParallel would cut packed lists apart


def _prepared(policy: Any, args: LarPOConfig, peft_config: PeftConfig | None) -> Any:
    """The policy with its adapter, if there is one, and without dropout."""
    if peft_config is not None:
        from peft import get_peft_model

        policy = get_peft_model(policy, peft_config)
        if args.gradient_checkpointing:  # gradients must reach the adapters through frozen embeddings
            policy.enable_input_require_grads()
    if args.disable_dropout:
        disable_dropout(policy)
    return policy


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout rate to 0. Attention and some decoder layers hold it as a number, not as a module."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def _of_each(datasets: Any, change: Callable[[Dataset], Dataset | None]) -> Any:
    """One dataset or several by name, each changed; None stays None."""
    if isinstance(datasets, dict):
        return {name: change(dataset) for name, dataset in datasets.items()}
    return None if datasets is None else change(datasets)


class LarPOTrainer(Trainer):
    """Trains a causal language model on ranked lists with a ranking objective.

    `model`: a model or a path. `ref_model`: the reference policy; None means the model as it is when training
    starts (with PEFT: the model without its adapter). It is used once, before training, and only if the objective
    needs it and the lists have no `ref_logps`. Under FSDP and DeepSpeed it is used at the first batch, and its values
    are kept in the output directory (`reference_logprobs.json`) for training that is resumed there.
    `train_dataset`, `eval_dataset`: ranked lists. `peft_config`: train an adapter instead of the model.
    The other arguments are those of `transformers.Trainer`.

    Besides the loss it logs `accuracy`, `margin`, `ndcg`, `logps/best`, `logps/worst` and `kl`, see
    `larpo_ir.objectives.ranking_metrics`; evaluation returns them with the prefix `eval_`.

    Raises `ValueError` for invalid lists (naming the row), unknown objectives (listing the choices) and references
    that FSDP or DeepSpeed makes impossible: a `ref_model`, or a cache that cannot identify the policy.
    """

    args: LarPOConfig

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | str,
        ref_model: PreTrainedModel | nn.Module | None = None,
        args: LarPOConfig | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        peft_config: PeftConfig | None = None,
        **kwargs: Any,
    ) -> None:
        args = LarPOConfig(output_dir="larpo_output") if args is None else args
        _check_launch(args)
        policy, tokenizer = load(model, processing_class, "AutoModelForCausalLM", "LarPOTrainer")
        policy = _prepared(policy, args, peft_config)
        self.objective: Objective = args.build_objective()
        # by name: means over lists, each with its number of lists
        self._metrics: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._widest_list = 0
        self._tokenizer = tokenizer
        self._max_length = args.max_length or context_length(policy)
        collator = ListCollator(pad_token_of(tokenizer))
        super().__init__(
            model=policy,
            args=args,
            data_collator=kwargs.pop("data_collator", None) or collator,
            train_dataset=self._tokenized(train_dataset, args),
            eval_dataset=_of_each(eval_dataset, lambda lists: self._tokenized(lists, args)),
            processing_class=tokenizer,
            **kwargs,
        )
        # The loss is divided by the number of lists in a step, see compute_loss.
        self.model_accepts_loss_kwargs = True
        self._keep_outputs_as_they_are()
        # The main process chooses for all: with sharded loading no other holds weights to try a way on.
        self.way: Way = COMPILED if args.torch_compile else from_main(choose_way(policy, args.layout))
        collator.layout = self.way.layout
        self._show_first_prompt()
        self._warn_of_truncated()
        self._reference = TrainerReference(self)
        self.train_dataset = _of_each(
            self.train_dataset, lambda lists: self._reference.add_to(lists, ref_model)
        )
        self.eval_dataset = _of_each(
            self.eval_dataset, lambda lists: self._reference.add_to(lists, ref_model)
        )

    def _tokenized(self, dataset: Dataset | None, args: LarPOConfig) -> Dataset | None:
        if dataset is None:
            return None
        return tokenize_dataset(
            dataset,
            self._tokenizer,
            max_length=self._max_length,
            append_eos=args.append_eos,
            chat=args.chat,
        )

    def _show_first_prompt(self) -> None:
        """Announce the first prompt as the model reads it, unless the user has set `chat`."""
        lists: Any = self.train_dataset
        if self.args.chat is None and is_main_process() and lists is not None and len(lists):
            read = self._tokenizer.decode(lists[0]["prompt_ids"])
            announce(f"LarPOTrainer: the first prompt as the model reads it (chat=None): {read!r:.600}")

    def _warn_of_truncated(self) -> None:
        lists: Any = self.train_dataset
        if lists is None:
            return
        self.num_truncated = sum(lists["num_truncated"])
        if self.num_truncated:
            warnings.warn(
                f"{self.num_truncated} of {sum(map(len, lists['relevance']))} responses to train on"
                f" were cut to {self._max_length} tokens with their prompt (ref_logps, if any came with them,"
                " must be of what is left)",
                stacklevel=3,
            )

    @property
    def _shares_out_the_policy(self) -> bool:
        """True if processes will hold parts of the policy once it is wrapped. Before, some may hold none of it."""
        return self.is_fsdp_enabled or self.is_deepspeed_enabled

    def _keep_outputs_as_they_are(self) -> None:
        """In mixed precision, keep FSDP 2 from rounding outputs (here log-probabilities) to half precision."""
        plugin = self.accelerator.state.fsdp_plugin if self.is_fsdp_enabled else None
        policy: Any = getattr(plugin, "mixed_precision_policy", None)
        if plugin is not None and getattr(policy, "output_dtype", None) is not None:
            plugin.mixed_precision_policy = replace(policy, output_dtype=None)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        mask, ref_logps = inputs["mask"], self._reference.of(model, inputs)
        with self.accelerator.autocast():  # ours, because the model's own wraps a forward that is not called
            logps = batch_logprobs(model, inputs, mask.numel(), self.way).view(mask.shape)
        output = self.objective(
            logps,
            inputs["relevance"],
            mask,
            ref_logps=ref_logps,
            lengths=inputs["lengths"],
        )
        learnable = int(preferred_pairs(inputs["relevance"], mask).any(dim=(-1, -2)).sum())
        for name, value in output.metrics.items():
            self._metrics[name if model.training else f"eval_{name}"].append((value, learnable))
        loss = output.loss
        if num_items_in_batch is not None:
            # mean over the lists of the optimiser step; processes' gradients are averaged
            loss = loss * (len(mask) / num_items_in_batch) * self.args.world_size
        return (loss, output) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor | None:
        """Lists in all batches of an optimiser step, on all processes."""
        if not batch_samples:
            return None
        lists = torch.tensor(sum(len(batch["mask"]) for batch in batch_samples), device=device)
        return self.accelerator.reduce(lists, "sum") if self.args.world_size > 1 else lists

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches by tokens if `max_tokens_per_batch` is set, otherwise the Trainer's batches by count."""
        if self.args.max_tokens_per_batch is None or self.train_dataset is None:
            return super().get_train_dataloader()
        sampler = TokenBudgetSampler(
            [cost(tokens, self.way.layout) for tokens in lists_of(self.train_dataset)],
            self.args.max_tokens_per_batch,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            accumulation=self.args.gradient_accumulation_steps,
        )
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # the batches are already those of this process: accelerate only puts them on the device
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, device=self.args.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Loss, and for `compute_metrics` the implicit rewards and the relevance, -inf where a list has no item."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, output = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        absent, width = ~inputs["mask"], max(self._widest_list - inputs["mask"].shape[-1], 0)
        scores, relevance = (
            F.pad(values.masked_fill(absent, -torch.inf), (0, width), value=-torch.inf)
            for values in (output.scores, inputs["relevance"])
        )
        return loss, scores, relevance

    def _drain(self, prefix: str) -> dict[str, float]:
        """Means over lists, of all steps and processes, of the metrics collected since the last call."""
        names = [name for name in self._metrics if name.startswith("eval_") == (prefix == "eval")]
        mine = {name.removeprefix("eval_"): self._metrics.pop(name) for name in names}
        totals: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for metrics in gather_object([mine]) if self.args.world_size > 1 else [mine]:
            for name, values in metrics.items():
                totals[name] += values
        return {
            name: sum(value * lists for value, lists in values) / sum(lists for _, lists in values)
            for name, values in totals.items()
        }

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        lists: Any = dataloader.dataset
        if "prompt_ids" not in lists.column_names:
            raise ValueError(
                "lists to evaluate on go to the trainer's constructor (eval_dataset), which tokenises them and"
                " computes their reference log-probabilities before training"
            )
        self._widest_list = max(map(len, lists["relevance"]), default=0)
        output = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self._drain("eval").items()}
        return output._replace(metrics={**(output.metrics or {}), **metrics})

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the whole policy for `from_pretrained`, also if FSDP writes sharded checkpoints, for which the Trainer
        alone saves nothing."""
        plugin = self.accelerator.state.fsdp_plugin if self.is_fsdp_enabled and not _internal_call else None
        of_checkpoints = getattr(plugin, "state_dict_type", None)
        if plugin is not None:
            plugin.set_state_dict_type("FULL_STATE_DICT")
        super().save_model(output_dir, _internal_call)
        if plugin is not None:
            plugin.set_state_dict_type(of_checkpoints)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs = {**logs, **self._drain("train")}
        super().log(logs, start_time)
