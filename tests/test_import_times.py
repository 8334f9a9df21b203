"""Time until something happens: imports, help and refusals, each in an interpreter of its own.

The libraries that make a start slow must not be loaded, which is what is asserted first. The time that is asserted is
the processor's, of the best of several starts: on an idle machine it is the time that a person waits, and other
programs on a busy one do not change it much.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from larpo_ir.cli import COMMANDS
from retrieval_bridge.cli import COMMANDS as BRIDGE_COMMANDS

SLOW = ("torch", "transformers", "datasets", "sentence_transformers", "trl", "matplotlib")
STARTS = 5

# Runs some code and tells, in the last line of stderr, which slow libraries are loaded and how much time has passed.
PROBE = """\
import json, os, sys
code, names = sys.argv[1], sys.argv[2].split()
sys.argv = ["program"]
try:
    exec(code)
except SystemExit:
    pass
times = os.times()
print(json.dumps({
    "loaded": [name for name in names if name in sys.modules], "seconds": times.user + times.system,
}), file=sys.stderr)
"""

PROGRAMS = [("larpo_ir.cli", command) for command in COMMANDS]
PROGRAMS += [("retrieval_bridge.cli", command) for command in BRIDGE_COMMANDS]


def probe(code: str) -> tuple[list[str], float, str]:
    """Slow libraries that some code loads, processor seconds from start to end, and what it prints on stderr."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, code, " ".join(SLOW)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    *printed, last = done.stderr.splitlines()
    found = json.loads(last)
    return found["loaded"], found["seconds"], "\n".join(printed)


def assert_quick(code: str, seconds: float) -> str:
    """The code loads none of the slow libraries and is done in this time. Returns what it prints on stderr."""
    best = float("inf")
    for _ in range(STARTS):
        loaded, taken, printed = probe(code)
        assert loaded == []
        best = min(best, taken)
        if best < seconds:
            return printed
    raise AssertionError(f"{code!r} takes {best:.2f} s, more than {seconds} s")


def test_the_package():
    assert_quick("import larpo_ir", 0.3)
    assert_quick("import larpo_ir; dir(larpo_ir)", 0.3)


def test_trec_files():
    assert_quick("from larpo_ir.data import read_run, read_qrels", 1)


@pytest.mark.parametrize("program", ["larpo_ir.cli", "retrieval_bridge.cli"])
def test_the_list_of_commands(program):
    assert_quick(f"from {program} import main; main(['--help'])", 0.5)
    assert "unknown command" in assert_quick(f"from {program} import main; main(['aline'])", 0.5)


@pytest.mark.parametrize(("program", "command"), PROGRAMS)
def test_help_of_a_command(program, command):
    assert_quick(f"from {program} import main; main([{command!r}, '--help'])", 1)


@pytest.mark.parametrize(("program", "command"), PROGRAMS)
def test_a_wrong_option(program, command):
    printed = assert_quick(f"from {program} import main; main([{command!r}, '--no_such_option', '1'])", 1)
    assert printed.startswith("error: unrecognized arguments: --no_such_option")


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "--topics", "t.jsonl", "--generator.modle", "m"],
        ["generate", "--topics", "t.jsonl", "--generator", "Generatr"],
        ["rerank", "--results", "r.parquet", "--reward", "RewardModl"],
        ["align", "--align.iteratoins", "1"],
        ["align", "--align.iterations", "many"],
        ["quickstart", "--seeds", "0"],
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_a_wrong_setting(arguments):
    assert assert_quick(f"from larpo_ir.cli import main; main({arguments!r})", 1).startswith("error: ")
