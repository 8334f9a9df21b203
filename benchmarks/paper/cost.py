"""Cost of the experiments at the paper's scale; prints the tables of docs/paper_scale.md.

    python -m benchmarks.paper.cost

GPU hours from token counts, by the formulas of `benchmarks/scaling.py`: per iteration the prompts are read once, k
responses are decoded and ranked, and the training lists are read `num_train_epochs` times (forward, backward, and
the forward pass again for checkpointing). Log-probabilities of responses that earlier iterations sampled (memory)
take one more pass. These are estimates: no such run has been timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.paper.setup import CONFIGS, Setup
from benchmarks.paper.study import Alignments
from benchmarks.paper.table import STUDIES
from benchmarks.scaling import (
    GPUS,
    HOUR,
    POLICIES,
    REWARD,
    Transformer,
    decoding_gpu_seconds,
    forward_flops,
    gpu_seconds,
    tokens_shared,
    training_flops,
    value,
)
from larpo_ir.evaluation.tables import markdown_table

GEMMA, MISTRAL, _ = POLICIES
MODELS = {
    "google/gemma-2-2b-it": GEMMA,
    "mistralai/Mistral-7B-Instruct-v0.2": MISTRAL,
    "mistralai/Mathstral-7B-v0.1": MISTRAL,
    "alignment-handbook/zephyr-7b-sft-full": MISTRAL,
}
# source -> (prompts when all are taken, held-out prompts, tokens of a prompt, of a response); the lengths are assumed
SOURCES = {
    "ultrafeedback": (61_135, 500, 180, 300),
    "gsm8k": (7_473, 1_319, 120, 200),
    "math": (7_500, 5_000, 120, 350),
    "metamath": (395_000, 0, 120, 200),
}
PAIR_PARAMETERS = 0.44e9  # PairRM: DeBERTa-v3-large; every pair of candidates once


def list_size(align: Mapping[str, Any]) -> int:
    """Responses of a training list, as the sampler chooses them."""
    sampler = align.get("sampler") or {}
    options, kind = sampler.get("init_args", {}), str(sampler.get("class_path", "")).rpartition(".")[2]
    if kind == "TopBottom":
        return int(min(options["top"] + options["bottom"], align["num_candidates"]))
    if kind == "TopVersusRest":
        return int(align["num_candidates"])
    return 1 + int(options.get("num_negatives", 1))


def reward_flops(reward: Mapping[str, Any], k: int, tokens: float) -> float:
    """FLOPs to rank k responses of that many tokens each, prompt included."""
    kind = str(reward["class_path"]).rpartition(".")[2]
    if kind == "RewardModel":
        return forward_flops(REWARD.stacked, k * tokens)
    if kind == "PairwiseRewardModel":
        return forward_flops(PAIR_PARAMETERS, k * (k - 1) / 2 * 2 * tokens)
    return 0.0


def alignment_hours(setup: Setup, align: Mapping[str, Any], gpu: Any) -> dict[str, float]:
    """GPU hours of one run, by stage."""
    model = MODELS[setup.generator["init_args"]["model"]]
    everything, held_out, prompt, response = SOURCES[setup.data["source"]]
    prompts = setup.data["num_prompts"] or everything
    k, m, rounds = align["num_candidates"], list_size(align), align["iterations"]
    epochs = align["training"]["num_train_epochs"]
    forward, train = value("forward_utilisation"), value("train_utilisation")
    remembered = {"current": 0, "previous": min(1, rounds - 1)}.get(align["memory"], rounds - 1)

    def reading(parameters: float, tokens: float) -> float:
        return gpu_seconds(forward_flops(parameters, tokens), gpu, forward)

    def sampling(sequences: float) -> float:
        return reading(model.multiplied, prompts * prompt) + decoding_gpu_seconds(
            model, gpu, sequences, prompt, response
        )

    lists = prompts * tokens_shared(m, prompt, response)
    seconds = {
        "sampling": rounds * sampling(prompts * k),
        "ranking": rounds
        * gpu_seconds(reward_flops(setup.reward, k, prompt + response) * prompts, gpu, forward),
        "reference": reading(model.multiplied, lists) * (rounds - 1) * (remembered > 0),
        "training": rounds * gpu_seconds(training_flops(model.multiplied, epochs * lists), gpu, train),
        "held out": (rounds + 1) * sampling(held_out * (align["eval_samples"] + 1)),
    }
    return {stage: spent / HOUR for stage, spent in seconds.items()}


def sampling_hours(setup: Setup, conditions: int, gpu: Any) -> dict[str, float]:
    """GPU hours of experiments that sample from a policy as it is (and of sft_dpo's training, see its own rows)."""
    model = MODELS[setup.generator["init_args"]["model"]]
    _, held_out, prompt, response = SOURCES[setup.data["source"]]
    drawn = conditions * held_out * setup.sampling["num_samples"]
    return {"sampling": decoding_gpu_seconds(model, gpu, drawn, prompt, response) / HOUR}


def fine_tuning_hours(setup: Setup, gpu: Any) -> float:
    """GPU hours of supervised fine-tuning."""
    model: Transformer = MODELS[setup.generator["init_args"]["model"]]
    everything, _, prompt, response = SOURCES[setup.fine_tuning["source"]]
    tokens = (setup.fine_tuning["num"] or everything) * (prompt + response)
    epochs = setup.fine_tuning["training"]["num_train_epochs"]
    return (
        gpu_seconds(training_flops(model.multiplied, epochs * tokens), gpu, value("train_utilisation")) / HOUR
    )


def hours(setup: Setup, paper_study: Any, gpu: Any) -> dict[str, float]:
    """GPU hours of all conditions of an experiment, one seed, by stage."""
    if isinstance(paper_study, Alignments):
        runs = [{**setup.align, **over} for over in paper_study.of(setup).values()]
        parts = [alignment_hours(setup, run, gpu) for run in runs]
        return {stage: sum(part[stage] for part in parts) for stage in parts[0]}
    total = sampling_hours(setup, len(paper_study.conditions(setup)), gpu)
    if setup.fine_tuning:
        from benchmarks.paper.sft_dpo import DPO

        aligned = alignment_hours(setup, {**setup.align, **DPO}, gpu)
        total = {**aligned, "sampling": total["sampling"] + aligned["sampling"]}
        total["training"] += fine_tuning_hours(setup, gpu)
    return total


def rows() -> Iterator[dict[str, Any]]:
    """A row per configuration of the paper's scale."""
    for path in sorted((CONFIGS / "paper").glob("*.yaml")):
        name = max((known for known in STUDIES if path.stem.startswith(known)), key=len, default=None)
        if name is None:
            continue
        setup = Setup.read(path, Path())
        if setup.data["source"] is None:  # recorded lists: no policy is aligned
            continue
        by_gpu = {gpu.name: hours(setup, STUDIES[name], gpu) for gpu in GPUS}
        first = by_gpu[GPUS[-1].name]
        yield {
            "configuration": path.stem,
            "policy": setup.generator["init_args"]["model"].rpartition("/")[2],
            "runs": len(STUDIES[name].conditions(setup)) - 1,
            **{
                stage: f"{first.get(stage, 0):,.1f}"
                for stage in ("sampling", "ranking", "reference", "training", "held out")
            },
            **{f"GPU hours, {gpu.name}": f"{sum(by_gpu[gpu.name].values()):,.0f}" for gpu in GPUS},
        }


def source_rows() -> Iterator[dict[str, Any]]:
    """The inputs of this table that docs/scaling.md does not have."""
    for name, (prompts, held_out, prompt, response) in SOURCES.items():
        yield {"source": name, "prompts": prompts, "held out": held_out, "P": prompt, "R": response}


def report() -> str:
    """Both tables as Markdown."""
    return markdown_table(pd.DataFrame(rows())) + "\n" + markdown_table(pd.DataFrame(source_rows()))


if __name__ == "__main__":
    print(report(), end="")
