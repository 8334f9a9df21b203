"""Costs at the paper's scale: by hand for one run, and the page prints what the command does."""

from pathlib import Path

import pytest

from benchmarks.paper import cost
from benchmarks.paper.setup import Setup
from benchmarks.scaling import H100

ROOT = Path(__file__).parents[3]


def test_training_hours_of_one_run_by_hand():
    """8 · N · epochs · (P + m R) · prompts · iterations FLOPs at 40 % of 989 TFLOP/s."""
    setup = Setup.load("objectives_mistral", "paper", Path())
    align = {
        **setup.align,
        "num_candidates": 4,
        "sampler": {"class_path": "x.TopBottom", "init_args": {"top": 2, "bottom": 2}},
    }
    tokens = 3 * 2 * 61_135 * (180 + 4 * 300)
    expected = 8 * cost.MISTRAL.multiplied * tokens / (0.4 * 989e12) / 3600
    assert cost.alignment_hours(setup, align, H100)["training"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sampler", "size"),
    [
        ({"class_path": "x.TopBottom", "init_args": {"top": 1, "bottom": 3}}, 4),
        ({"class_path": "x.TopVersusRest"}, 10),
        ({"class_path": "x.BestWorst"}, 2),
        ({"class_path": "x.FromOtherPrompts", "init_args": {"num_negatives": 1}}, 2),
        (None, 2),
    ],
)
def test_list_sizes(sampler, size):
    assert cost.list_size({"sampler": sampler, "num_candidates": 10}) == size


def test_rewards_cost_what_is_compared():
    pairs = {"class_path": "larpo_ir.rewards.PairwiseRewardModel"}
    assert cost.reward_flops(pairs, 10, 480) == pytest.approx(2 * 0.44e9 * 45 * 2 * 480)
    assert cost.reward_flops({"class_path": "larpo_ir.rewards.VerifiableReward"}, 10, 480) == 0


def test_the_page_has_the_tables_that_the_command_prints():
    assert cost.report() in (ROOT / "docs" / "paper_scale.md").read_text()
