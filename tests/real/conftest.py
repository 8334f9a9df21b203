"""Real tokenizers and SmolLM2, as `make test-real` fetches them; without them the tests in this folder skip."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.real.fetch import MODELS, PACKAGES

HERE = Path(__file__).parent
ABSENT = "needs the real tokenizers and models: `make test-real` fetches them"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not all((MODELS / name).is_dir() for name in PACKAGES):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=ABSENT))


@cache
def load_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODELS / name)


@pytest.fixture(scope="session", params=sorted(PACKAGES))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """The real tokenizer of each model in turn. Its `name` is in `tokenizer.name_or_path`."""
    return load_tokenizer(request.param)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct, model and tokenizer."""
    return MODELS / "smollm2"
