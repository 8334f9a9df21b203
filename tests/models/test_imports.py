"""Modules that every command loads bring nothing heavy along, and a process on its own asks nobody for its number."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "accelerate", "datasets", "scipy.stats")
MODELS = (
    "checkpoints",
    "distributed",
    "frames",
    "generators",
    "prompting",
    "responses",
    "served",
    "templates",
    "tokenization",
)


def loaded_by(code: str) -> list[str]:
    """The heavy modules that are there after some code has run in a new process."""
    report = f"\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("package", ["models", "rewards"])
def test_nothing_heavy_is_imported_before_it_is_used(package):
    modules = [f"larpo_ir.models.{name}" for name in MODELS] if package == "models" else ["larpo_ir.rewards"]
    assert loaded_by("\n".join(f"import {module}" for module in modules)) == []


def test_a_process_on_its_own_is_the_main_one_without_torch():
    code = """
from larpo_ir.models.distributed import from_main, gather, gather_shares, is_main_process, leave, share
assert is_main_process() and share([1, 2]) == gather([1, 2]) == gather_shares([1, 2], 2) == [1, 2]
assert from_main("x") == "x"
leave()
"""
    assert loaded_by(code) == []


def test_options_of_generators_and_rewards_are_read_without_torch():
    """The command line runs the imports for type checkers of every module whose constructor it reads."""
    code = """
from jsonargparse import ArgumentParser
import larpo_ir.rewards as rewards
from larpo_ir.models import Generator, OpenAIGenerator
for kind in (Generator, OpenAIGenerator, *(getattr(rewards, name) for name in dir(rewards) if name[0].isupper())):
    ArgumentParser().add_class_arguments(kind, "it")
"""
    assert loaded_by(code) == []
