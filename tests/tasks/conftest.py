"""Small files of GSM8K and MixEval, and a server that reads responses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import write_jsonl

GSM8K = [
    {"question": "6 * 3?", "answer": "It is 18.\n#### 18"},
    {"question": "1 + 1?", "answer": "#### 2"},
    {"question": "2 + 2?", "answer": "#### 4"},
    {"question": "9 - 9?", "answer": "#### 0"},
]
MIXEVAL = {
    "free-form": {
        "0": {
            "problem_type": "free-form",
            "context": None,
            "prompt": "Capital of Peru?",
            "target": ["Lima"],
            "benchmark_name": "TriviaQA",
        }
    },
    "multiple-choice": {
        key: {
            "problem_type": "multiple-choice",
            "context": None,
            "prompt": f"Which is {n}?",
            "options": ["1", "2"],
            "target": [n - 1],
            "benchmark_name": "MMLU",
        }
        for key, n in (("0", 1), ("1", 2))
    },
}


@pytest.fixture
def gsm8k(tmp_path) -> Path:
    return write_jsonl(tmp_path / "test.jsonl", GSM8K)


@pytest.fixture
def mixeval(tmp_path) -> Path:
    folder = tmp_path / "mixeval"
    folder.mkdir()
    for kind, items in MIXEVAL.items():
        (folder / f"{kind}.json").write_text(json.dumps(items))
    return folder


@pytest.fixture
def server():
    """Says of whatever it is asked that it is half right."""
    pytest.importorskip("openai", reason="needs the extra serve")
    from tests.models.test_served import Server, completion

    server = Server(lambda path, body: (200, {}, completion(path, "Score: 0.5")))
    yield server
    server.http.shutdown()
    server.http.server_close()
