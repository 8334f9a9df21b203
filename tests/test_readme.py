"""The README's first screen runs and prints what it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import larpo_ir
from tests.bridge.small import write_beir
from tests.bridge.test_rerank import make_model as make_cross_encoder
from tests.small_models import make_model, make_reward_model, make_tokenizer

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
    lists = [{"prompt": "xy", "completions": ["a", "b"], "relevance": [1.0, 0.0]}] * 4
    (tmp_path / "lists.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lists))
    topics = pd.DataFrame(
        {"qid": ["1", "2", "3"], "query": ["1+1?", "2+2?", "3+3?"], "gold": ["2", "4", "6"]}
    )
    write_beir(tmp_path / "path" / "to" / "nq")
    session = {"topics": topics, "prompts": topics, "held_out": topics, "evaluate": larpo_ir.evaluate}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)[1:]:
        exec(block, session)
    assert len(session["result"].summary["iterations"]) == 4
    assert (tmp_path / "runs" / "mine" / "report.md").exists()


def test_the_blocks_of_the_page_on_retrieval_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_beir(tmp_path / "path" / "to" / "nq")
    make_cross_encoder(tmp_path / "path" / "to" / "cross-encoder")
    session: dict = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "retrieval.md").read_text(), re.DOTALL):
        exec(block, session)
    assert "['dev', 'train'] ['qid', 'query', 'answers']" in capsys.readouterr().out
    assert session["results"].columns.tolist()[:7] == [
        "qid", "query", "docno", "title", "text", "score", "rank",
    ]  # fmt: skip
    assert session["result"].summary["iteration"].tolist() == [0, 1, 2]


PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES += sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_exist(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_map_is_the_tree():
    """Every package and every module beside them stands in the map, and everything in the map is there."""
    block = re.search(r"## Where things are\n\n```\n(.*?)```", README, re.DOTALL)[1]
    root, there = "", set()
    for line in block.splitlines():
        names = re.findall(r"[a-z_]+(?:/|\.py)", line.split("   ")[0] if line[0] != " " else line[:30])
        root = names[0] if line[0] != " " else root
        there |= set(names) if line[0] != " " else {root + name for name in names}
    for package in ("larpo_ir", "retrieval_bridge"):
        inside = {path.name + "/" for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()}
        inside |= {path.name for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"}
        assert {f"{package}/{name}" for name in inside} == {
            name for name in there if name.startswith(package + "/")
        } - {f"{package}/"}


def test_every_make_target_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE)) <= targets


def test_importing_loads_nothing_heavy():
    import subprocess
    import sys

    heavy = ("torch", "transformers", "pyterrier", "faiss")
    code = f"import larpo_ir, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
