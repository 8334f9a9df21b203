"""Helpers of the command line's tests: a run of it, its one line of complaint, small inputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from larpo_ir.cli import main

LISTS = [
    {"id": f"p{i}", "prompt": f"xy {i}", "completions": ["aa", "bb", "cc ee"], "relevance": [0.9, 0.1, 0.4]}
    for i in range(8)
]


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr that begins with `error:`."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error", "Traceback"))]
    assert len(lines) == 1, lines
    return lines[0]


def offline(tmp_path: Path, **options: object) -> Path:
    """A configuration of offline alignment, as small as it gets."""
    config = {
        "lists": str(write_jsonl(tmp_path / "lists.jsonl", LISTS)),
        "num_held_out": 3,
        "objectives": ["dpo", "larpo_listmle"],
        "policy": {"vocab_size": 300, "hidden_size": 16, "num_layers": 1, "num_heads": 2, "context": 64},
        "align": {
            "output_dir": str(tmp_path / "run"),
            "iterations": 1,
            "sampler": {"class_path": "larpo_ir.data.negatives.TopVersusRest"},
            "objective_parameters": {"beta": 0.5},
            "training": {"learning_rate": 0.01, "use_cpu": True},
        },
        **options,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def served(server, *more: object) -> list[object]:
    return [
        "--generator.class_path",
        "OpenAIGenerator",
        "--generator.base_url",
        server.url,
        "--generator.model",
        "m",
        *more,
    ]
