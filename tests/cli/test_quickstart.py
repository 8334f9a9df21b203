"""The quickstart as a whole, too small to learn anything: what it writes, and that it goes on where it stopped."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from larpo_ir.cli import main
from larpo_ir.cli.quickstart import QuickstartConfig, quickstart

TINY = {"num_demonstrations": 512, "num_prompts": 8, "num_held_out": 6, "iterations": 1}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    directory = tmp_path_factory.mktemp("quickstart")
    return quickstart(
        QuickstartConfig(output=str(directory / "run"), objectives=["dpo", "larpo_listmle"], **TINY)
    )


def test_tables_pictures_and_summaries_are_written(output):
    report = (output / "report.md").read_text()
    assert all(word in report for word in ("larpo_listmle", "majority of 8", "best of 8", "log π(best)"))
    assert (output / "pass_at_n.png").read_bytes().startswith(b"\x89PNG")
    assert set(pd.read_csv(output / "summary.csv")["objective"]) == {"dpo", "larpo_listmle"}
    strategies = pd.read_csv(output / "strategies.csv").set_index("strategy")["correct"]
    assert strategies["best of 8"] >= strategies["majority of 8"]
    for objective in ("dpo", "larpo_listmle"):
        summary = json.loads((output / "seed-0" / objective / "summary.json").read_text())
        assert (summary["task"], summary["objective"]) == ("arithmetic", objective)
        assert len(summary["iterations"]) == 2
        assert summary["iterations"][0]["pass@16"] is not None


def test_objectives_start_from_one_policy_and_its_candidates(output):
    first, second = (
        pd.read_parquet(output / "seed-0" / objective / "iteration-00" / "pool.parquet", columns=["text"])
        for objective in ("dpo", "larpo_listmle")
    )
    pd.testing.assert_frame_equal(first, second)


def test_run_again_it_repeats_nothing(output, capsys, monkeypatch):
    monkeypatch.setattr(
        "larpo_ir.models.policies.SmallPolicy._fine_tune", lambda *_: pytest.fail("trained again")
    )
    options = [f"--{name}={value}" for name, value in TINY.items()]
    main(["quickstart", f"--output={output}", '--objectives=["dpo", "larpo_listmle"]', *options])
    printed = capsys.readouterr().out
    assert "| seed | objective |" in printed
    assert str(output / "pass_at_n.png") in printed
