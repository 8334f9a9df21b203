"""What `tests/models/test_distributed.py` runs in one process and in two: training, scoring and the loop.

python -m tests.launched OUTPUT [batch size per process]
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from unittest import mock

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState, DistributedType
from datasets import Dataset
from torch.distributed.fsdp import fully_shard

PartialState(cpu=True)

from larpo_ir import AlignConfig, Generator, VerifiableReward, align  # noqa: E402
from larpo_ir.models import scoring  # noqa: E402
from larpo_ir.models.distributed import is_main_process, num_processes, share  # noqa: E402
from larpo_ir.models.scoring import score_lists  # noqa: E402
from larpo_ir.models.tokenization import TokenizedList  # noqa: E402
from larpo_ir.training.config import LarPOConfig  # noqa: E402
from larpo_ir.training.reference import fixed_logprobs  # noqa: E402
from larpo_ir.training.trainer import LarPOTrainer  # noqa: E402
from tests.small_models import make_model, make_tokenizer  # noqa: E402

LISTS = Dataset.from_list(
    [
        {"prompt": "ab the" * (i % 3 + 1), "completions": ["xy" * (1 + j) for j in range(2 + i % 3)],
         "relevance": [float((i * j) % 3) + j / 10 for j in range(2 + i % 3)]}
        for i in range(8)
    ]
)  # fmt: skip
TOKENS = [TokenizedList([5, 6, 7 + i], [[8 + j] * (1 + j) for j in range(1 + i % 3)]) for i in range(5)]
UNEVEN = [
    TokenizedList([5] * n, [[7 + j] * length for j, length in enumerate(lengths)])
    for n, lengths in [(30, [9, 40]), (2, [1]), (3, [0]), (1, [2, 0, 3]), (4, []), (5, [1, 1]), (2, [8])]
]
TRAINING = {
    "learning_rate": 0.01, "num_train_epochs": 2, "logging_steps": 1, "save_strategy": "no", "report_to": "none",
    "use_cpu": True, "disable_tqdm": True, "lr_scheduler_type": "constant", "optim": "sgd", "seed": 3,
}  # fmt: skip


def vowels(text: str) -> float:
    return float(sum(character in "aeiou" for character in text.lower()))


@contextlib.contextmanager
def fsdp():
    """FSDP 2 as accelerate and transformers set it up, on CPUs: accelerate is told that they are accelerators."""
    settings = {
        "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    }  # fmt: skip
    initialise = AcceleratorState.__init__

    def told(self, *args, **options):
        PartialState(cpu=True)
        if not AcceleratorState._shared_state:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        initialise(self, *args, **{**options, "cpu": False})

    with mock.patch.dict(os.environ, settings), mock.patch.object(AcceleratorState, "__init__", told):
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


def whole(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter


def flat(parameters) -> list[float]:
    return torch.cat([whole(parameter).detach().flatten() for parameter in parameters]).tolist()


def trained(directory: Path, resume_from: str | None = None, **options) -> dict:
    """By tokens or by count: the losses, the final policy's evaluation and its weights."""
    arguments = LarPOConfig(output_dir=str(directory), **{**TRAINING, **options})
    trainer = LarPOTrainer(
        make_model(), args=arguments, train_dataset=LISTS, eval_dataset=LISTS.select(range(4)),
        processing_class=make_tokenizer(),
    )  # fmt: skip
    computed_before = "ref_logps" in trainer.train_dataset.column_names
    trainer.train(resume_from_checkpoint=resume_from and str(directory / resume_from))
    trainer.save_model(str(directory / "policy"))
    return {
        "wrapper": type(trainer.model_wrapped).__name__,
        "computed before": computed_before,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "kl": [entry["kl"] for entry in trainer.state.log_history if "kl" in entry],
        "accuracy": [entry["accuracy"] for entry in trainer.state.log_history if "accuracy" in entry],
        "held out": {name: trainer.evaluate()[f"eval_{name}"] for name in ("loss", "kl")},
        "weights": flat(trainer.model.parameters()),
    }


def sharded_model(checkpointing: bool = False, reshard: bool | None = None):
    """Layers and root sharded over the processes; by itself, where there is one."""
    model = make_model()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    if num_processes() > 1:
        for layer in model.model.layers:
            fully_shard(layer)
        fully_shard(model, reshard_after_forward=reshard)
    return model


def gradients(logits_at_once: int, **options) -> list[float]:
    """Of the sum over all lists, to which every process contributes those it has."""
    model, mine = sharded_model(**options), share(TOKENS)
    with mock.patch.object(scoring, "LOGITS_AT_ONCE", logits_at_once):
        (score_lists(model, mine).sum() * num_processes()).backward()  # gradients are averaged
    return flat(parameter.grad for parameter in model.parameters())


def all_gradients() -> dict:
    return {
        f"{checkpointing=} {logits=} {reshard=}": gradients(logits, checkpointing=checkpointing, reshard=reshard)
        for checkpointing, logits, reshard in [
            (False, 2**25, None), (True, 2**25, True), (False, 600, True), (True, 600, None)
        ]
    }  # fmt: skip


def sharded_scores(directory: Path) -> dict:
    """Twelve tokens at once: the passes are many, and no two processes have the same work."""
    model = sharded_model()
    scores = {
        layout: fixed_logprobs(model, UNEVEN, layout=layout, max_tokens=12)
        for layout in ("shared", "plain", "auto")
    }
    passes = []  # without those by which a model is tried
    model.register_forward_pre_hook(lambda *args: passes.append(1))
    for name, lists in {"some": UNEVEN[2:5], "all": UNEVEN, "again": UNEVEN}.items():
        passes.clear()
        scores[name] = fixed_logprobs(model, lists, max_tokens=12, cache=directory)
        scores[f"passes for {name}"] = len(passes)
    return scores


def aligned(directory: Path) -> dict:
    """An iteration of the loop: candidates, training, held-out measures."""
    generator = Generator(make_model(), make_tokenizer(bos=True), max_new_tokens=8)
    config = AlignConfig(
        output_dir=str(directory), iterations=1, num_candidates=6, eval_samples=8,
        training={**TRAINING, "per_device_train_batch_size": 8 // num_processes()},
    )  # fmt: skip
    result = align(
        generator, VerifiableReward(vowels), [f"xy {i}" for i in range(9)], config,
        eval_prompts=[f"the {i}" for i in range(5)],
    )  # fmt: skip
    rows = [
        {k: v for k, v in row.items() if k != "seconds" and v is not None}
        for row in result.summary["iterations"]
    ]
    return {
        "rows": rows,
        "texts": result.pool.frame["text"].tolist(),
        "weights": torch.cat([p.detach().flatten() for p in generator.model.parameters()]).tolist(),
    }


def main(directory: Path) -> None:
    alone = num_processes() == 1
    by_count = {"per_device_train_batch_size": 4 if alone else 2}
    results = {
        "processes": num_processes(),
        "by count": trained(directory / "count", **by_count),
        "by tokens": trained(
            directory / "tokens", max_tokens_per_batch=40, gradient_accumulation_steps=2 if alone else 1
        ),
        "relevance": fixed_logprobs(make_model(), TOKENS),
        "align": aligned(directory / "align"),
        "gradients": all_gradients(),
        "sharded scores": sharded_scores(directory / "cache"),
    }
    with mock.patch.object(LarPOTrainer, "_shares_out_the_policy", True):
        results["deferred"] = trained(directory / "deferred", **by_count)
    if not alone:
        by_count |= {"save_strategy": "steps", "save_steps": 2}
        with fsdp():
            results["sharded"] = trained(directory / "sharded", **by_count)
        with fsdp():
            results["sharded in bf16"] = trained(directory / "bf16", bf16=True, **by_count)
        everything = {
            "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "gradient_checkpointing": True,
            "reference_cache": str(directory / "references"),
        }  # fmt: skip
        with fsdp(), mock.patch.object(scoring, "LOGITS_AT_ONCE", 600):
            results["sharded with everything"] = trained(directory / "everything", **everything)
        with fsdp():
            results["resumed"] = trained(directory / "sharded", "checkpoint-2", **by_count)
    if is_main_process():
        (directory / "results.json").write_text(json.dumps(results))


def leave() -> None:
    """End a process that has sharded a model.

    PyTorch's caches keep the process group of a sharded model, and so gloo's threads, past `destroy_process_group`;
    in one of 10 to 30 runs a thread still holds a tensor when the interpreter ends, which aborts the process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave()
