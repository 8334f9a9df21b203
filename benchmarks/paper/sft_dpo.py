"""SFT as direct retriever optimisation, DPO as reranker distillation: effects on the first rank and on recall."""

from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.paper.claims import Claim
from benchmarks.paper.setup import Setup, digest
from benchmarks.paper.study import Measurements, sampler
from larpo_ir.provenance import RunDirectory

RECALL_AT = (20, 50, 100)
DPO = {"objective": "dpo", "num_candidates": 20, "sampler": sampler("RandomPair"), "memory": "current"}
INIT, SFT, SFT_DPO = "init", "SFT", "SFT → DPO"


def policy_of(step: str, setup: Setup, seed: int) -> Path:
    """Folder of the policy after a step."""
    if step == INIT:
        return Path(setup.model(seed))
    settings = {"model": setup.model(seed), "fine_tuning": dict(setup.fine_tuning)}
    if step == SFT:
        return setup.root / "sft" / f"right-{digest(settings)}-seed-{seed}"
    settings |= {"data": dict(setup.data), "align": dict(setup.align)}
    run = setup.root / "sft_dpo-runs" / f"{digest(settings)}-seed-{seed}"
    return RunDirectory(run).policy(setup.align["iterations"])


def fine_tune(setup: Setup, seed: int) -> None:
    """Supervised fine-tuning on right solutions, by TRL."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from benchmarks.paper.data import solutions_of
    from larpo_ir.data.files import whole_folder

    target = policy_of(SFT, setup, seed)
    if target.exists():
        return
    prompts, solutions = solutions_of(setup.fine_tuning["source"], setup.fine_tuning["num"], seed)
    options = {"save_strategy": "no", "report_to": "none", "seed": seed, **setup.fine_tuning["training"]}
    with whole_folder(target) as filling:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(setup.model(seed)),
            args=SFTConfig(output_dir=str(filling), **options),
            train_dataset=Dataset.from_dict({"prompt": prompts, "completion": solutions}),
            processing_class=AutoTokenizer.from_pretrained(setup.model(seed)),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(str(filling))


def prefer(setup: Setup, seed: int) -> None:
    """DPO from the fine-tuned policy, on a random right and a random wrong answer of 20."""
    from benchmarks.paper.setup import instantiated
    from larpo_ir.alignment.loop import align

    target = policy_of(SFT_DPO, setup, seed)
    config = setup.config(DPO, seed, target.parents[1], str(policy_of(SFT, setup, seed)))
    generator, reward, align_config = instantiated(config)
    align(generator, reward, setup.prompts(seed), align_config)


def measure(step: str, setup: Setup, seed: int, folder: Path) -> pd.DataFrame:
    """Greedy accuracy and Recall@N of a step's policy."""
    from larpo_ir.evaluation.measures import evaluate_per_query, judge

    generator, reward = setup.parts(seed, str(policy_of(step, setup, seed)))
    decoded = (generator.replace(temperature=0.0, num_candidates=1) >> reward).transform(setup.held_out)
    drawn = generator.replace(
        temperature=setup.sampling["temperature"], num_candidates=setup.sampling["num_samples"]
    )
    samples = (drawn >> reward).transform(setup.held_out)
    passed = evaluate_per_query(samples, judge(samples), [f"Pass@{n}" for n in RECALL_AT])
    greedy = decoded.set_index("qid")["score"].rename("greedy")
    return pd.concat([greedy, passed.rename(columns=lambda name: name.replace("Pass", "Recall"))], axis=1)


STUDY = Measurements(
    name="sft_dpo",
    title="policy",
    heading="SFT, then preference optimisation",
    what="The initial policy, fine-tuned on right solutions (SFT), then aligned by DPO with a verifier: one random "
    "right and one random wrong response of 20. Recall@N at T = 0.7 is Pass@N. The paper: Mistral-7b-it, greedy; "
    "Recall@20, 50, 100.",
    measured={step: partial(measure, step) for step in (INIT, SFT, SFT_DPO)},
    made=(fine_tune, prefer),
    reported={
        INIT: {"GSM8K": ".466; .835, .909, .948", "MATH": ".100; .260, .335, .404"},
        SFT: {"GSM8K": ".768; .946, .963, .974", "MATH": ".233; .534, .619, .678"},
        SFT_DPO: {"GSM8K": ".799; .955, .973, .983", "MATH": ".250; .542, .626, .685"},
    },
    claims=(
        Claim("SFT improves the first rank", (SFT,), (INIT,), "greedy"),
        Claim("SFT improves recall (20)", (SFT,), (INIT,), "Recall@20"),
        Claim("SFT improves recall (100)", (SFT,), (INIT,), "Recall@100"),
        Claim("DPO improves the first rank further", (SFT_DPO,), (SFT,), "greedy"),
        Claim("DPO improves recall further (20)", (SFT_DPO,), (SFT,), "Recall@20"),
        Claim("DPO improves recall further (100)", (SFT_DPO,), (SFT,), "Recall@100"),
    ),
)
