"""Shared by all tests: no network, and tiny models built from configurations."""

from __future__ import annotations

import os
import signal

if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # as a shell's background jobs start: Ctrl-C is tested, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data that lies beside a development checkout; a user has none, and the tests on it skip."""
    if not SHARED.exists():
        pytest.skip("needs the data beside a development checkout")
    return SHARED
