"""Models and a server for the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_models import make_model, make_reward_model, make_tokenizer


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A policy and a reward model on disk."""
    directory = tmp_path_factory.mktemp("models")
    for name, model in (("policy", make_model()), ("reward", make_reward_model())):
        model.save_pretrained(directory / name)
        make_tokenizer(bos=True).save_pretrained(directory / name)
    return directory


@pytest.fixture
def server():
    """A server that answers `query|seed|temperature`."""
    pytest.importorskip("openai", reason="needs the extra serve")
    from tests.models.test_served import Server, echo

    server = Server(echo)
    yield server
    server.http.shutdown()
    server.http.server_close()
