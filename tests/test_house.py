"""Size of files and functions, by radon's count, and the direction of imports, by import-linter's contracts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from radon.complexity import cc_visit

ROOT = Path(__file__).parents[1]
PACKAGES = ("larpo_ir", "retrieval_bridge", "benchmarks")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_COMPLEX, MOST_LINES = 15, 400
# One formula a loss and one page for them all; a model of cost whose formulas are read together.
LONG = {"larpo_ir/losses.py", "benchmarks/scaling.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_is_hard_to_follow(package):
    found = [
        f"{path.relative_to(ROOT)}:{block.lineno} {block.name}: {block.complexity}"
        for path in FILES
        if path.is_relative_to(ROOT / package)
        for block in _functions(cc_visit(path.read_text(encoding="utf-8")))
        if block.complexity > MOST_COMPLEX
    ]
    assert not found


def _functions(blocks):
    """Functions and methods, those inside of others as well; of classes their methods."""
    for block in blocks:
        inner = [*getattr(block, "methods", []), *getattr(block, "closures", [])]
        if not hasattr(block, "methods"):
            yield block
        yield from _functions(inner)


def test_no_file_holds_two_ideas():
    long = {str(path.relative_to(ROOT)) for path in FILES if len(path.read_text().splitlines()) > MOST_LINES}
    assert long == LONG


def test_imports_point_one_way():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
