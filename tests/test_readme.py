"""The README's first screen runs and prints what it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.models import make_model, make_reward_model, make_tokenizer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_first_example_prints_what_is_shown(capsys):
    code, shown = re.search(r"```python\n(.*?)```\s*```\n(.*?)```", README, re.DOTALL).groups()
    assert len(code.strip().splitlines()) <= 15
    exec(code, {})
    assert capsys.readouterr().out == shown


def test_the_other_blocks_run(tmp_path, monkeypatch):
    """In order, as one session, with tiny models where the reader has real ones."""
    monkeypatch.chdir(tmp_path)
    for name, model in (
        ("policy", make_model(max_position_embeddings=512)),
        ("reward-model", make_reward_model()),
    ):
        model.save_pretrained(tmp_path / "path" / "to" / name)
        make_tokenizer(bos=True).save_pretrained(tmp_path / "path" / "to" / name)
    lists = [{"prompt": "xy", "completions": ["a", "b"], "scores": [1.0, 0.0]}] * 4
    (tmp_path / "lists.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lists))
    topics = pd.DataFrame(
        {"qid": ["1", "2", "3"], "query": ["1+1?", "2+2?", "3+3?"], "gold": ["2", "4", "6"]}
    )
    session = {"topics": topics, "prompts": topics, "held_out": topics}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)[1:]:
        exec(block, session)
    assert len(session["result"].summary["iterations"]) == 4
    assert (tmp_path / "runs" / "mine" / "report.md").exists()


@pytest.mark.parametrize("page", ["README.md", "docs/design.md", "docs/losses.md", "CONTRIBUTING.md"])
def test_links_and_paths_exist(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_every_make_target_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets


def test_importing_loads_nothing_heavy():
    import subprocess
    import sys

    heavy = ("torch", "transformers", "pyterrier", "faiss")
    code = f"import larpo_ir, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
