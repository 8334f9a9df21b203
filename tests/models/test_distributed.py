"""Two processes (gloo, as `accelerate launch` starts them) do what one does: training, scoring, the loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import launched
from tests.small_models import make_model, naive_scores

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "accelerate" / "two_cpu_processes.yaml"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    directory = tmp_path_factory.mktemp("launched")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(CONFIG),
        "-m",
        "tests.launched",
    ]
    two = subprocess.Popen([*command, str(directory / "two")], cwd=ROOT, env=environment,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    for name in ("one", "two"):
        (directory / name).mkdir(exist_ok=True)
    launched.main(directory / "one")
    output, _ = two.communicate(timeout=300)
    assert two.returncode == 0, output[-3000:]
    results = [json.loads((directory / name / "results.json").read_text()) for name in ("one", "two")]
    assert [result["processes"] for result in results] == [1, 2]
    return directory, *results


def assert_same_training(found, expected):
    assert len(expected["losses"]) >= 4
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-4)
    assert found["accuracy"][1:] == pytest.approx(expected["accuracy"][1:], abs=1e-4)
    assert found["held out"] == pytest.approx(expected["held out"], rel=1e-4, abs=1e-4)
    weights = (torch.tensor(result["weights"]) for result in (found, expected))
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batches", ["by count", "by tokens"])
def test_training_has_the_same_trajectory(both, batches):
    _, one, two = both
    assert_same_training(two[batches], one[batches])


def assert_same_scores(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


def test_scores_are_the_same(both):
    _, one, two = both
    assert_same_scores(two["relevance"], one["relevance"])


# A policy of which every process holds a part


def test_training_with_fsdp_is_training_without(both):
    directory, one, two = both
    assert two["sharded"]["wrapper"] == "FSDPLlamaForCausalLM"
    assert not two["sharded"]["computed before"]
    assert_same_training(two["sharded"], one["by count"])
    # checkpoints are sharded, the policy that was saved at the end is whole
    assert not list((directory / "two" / "sharded" / "checkpoint-4").glob("*.safetensors"))
    saved = AutoModelForCausalLM.from_pretrained(directory / "two" / "sharded" / "policy")
    weights = torch.cat([parameter.detach().flatten() for parameter in saved.parameters()])
    torch.testing.assert_close(weights, torch.tensor(two["sharded"]["weights"]))


def test_training_with_fsdp_with_accumulation_checkpointing_a_head_in_chunks_and_a_cache(both):
    directory, one, two = both
    assert_same_training(two["sharded with everything"], one["by count"])
    assert len(list((directory / "two" / "references").glob("*.sqlite"))) == 1


def test_log_probabilities_are_not_rounded_in_half_precision_with_fsdp(both):
    _, one, two = both
    assert two["sharded in bf16"]["kl"][0] == pytest.approx(0, abs=1e-4)
    assert two["sharded in bf16"]["losses"] == pytest.approx(one["by count"]["losses"], rel=5e-3)


def test_training_with_fsdp_resumes_with_the_references_it_began_with(both):
    _, one, two = both
    assert_same_training(two["resumed"], one["by count"])


@pytest.mark.parametrize("processes", [1, 2])
def test_references_taken_when_the_model_is_wrapped_are_those_taken_before(both, processes):
    _, one, two = both
    deferred = (one, two)[processes - 1]["deferred"]
    assert one["by count"]["computed before"]
    assert not deferred["computed before"]
    assert_same_training(deferred, one["by count"])


def test_gradients_of_a_sharded_model(both):
    _, one, two = both
    plain = torch.tensor(one["gradients"]["checkpointing=False logits=33554432 reshard=None"])
    assert plain.abs().max() > 1
    assert len(two["gradients"]) == 4
    for name, found in two["gradients"].items():
        torch.testing.assert_close(torch.tensor(found), plain, rtol=1e-4, atol=1e-4, msg=name)


def test_scores_of_a_sharded_model(both):
    _, _, two = both
    expected = naive_scores(make_model(), launched.UNEVEN).tolist()
    expected = [
        row[: len(tokens.completion_ids)] for row, tokens in zip(expected, launched.UNEVEN, strict=True)
    ]
    for name in ("shared", "plain", "auto", "all", "again"):
        assert_same_scores(two["sharded scores"][name], expected)
    assert_same_scores(two["sharded scores"]["some"], expected[2:5])
    # One of those has tokens, and both processes run it. Of the others one is cut in two (30 + 40 and 30 + 9 tokens),
    # one has 2 + 8, and 5 + 2 go with 2 + 1: four batches.
    passes = [two["sharded scores"][f"passes for {name}"] for name in ("some", "all", "again")]
    assert passes == [1, 2, 0]


def test_the_loop_retrieves_trains_and_measures_the_same(both):
    directory, one, two = both
    assert two["align"]["texts"] == one["align"]["texts"]
    torch.testing.assert_close(
        *(torch.tensor(r["align"]["weights"]) for r in (two, one)), rtol=1e-4, atol=1e-5
    )
    for mine, theirs in zip(two["align"]["rows"], one["align"]["rows"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-3)
    names = [
        sorted(str(p.relative_to(directory / n)) for p in (directory / n / "align").rglob("*"))
        for n in ("one", "two")
    ]
    assert names[0] == names[1]
    pools = [
        pd.read_parquet(directory / n / "align" / "iteration-00" / "pool.parquet") for n in ("one", "two")
    ]
    assert pools[0]["docno"].tolist() == pools[1]["docno"].tolist()
