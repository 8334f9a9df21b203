"""`larpo_ir.data` stands below every other package of `larpo_ir`, knows no torch, and is there at once."""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import larpo_ir

DATA = Path(larpo_ir.__file__).parent / "data"
MODULES = sorted(DATA.rglob("*.py"))
OTHERS = {"torch", "transformers", "pyterrier"}


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, be it at its top or within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield str(node.module)


def test_no_module_imports_what_stands_above() -> None:
    ours = [(path.name, name) for path in MODULES for name in imported(path) if name.startswith("larpo_ir")]
    assert [found for found in ours if not (found[1] + ".").startswith("larpo_ir.data.")] == []


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_all_of_it_loads_nothing_heavy() -> None:
    names = [".".join(path.relative_to(DATA.parents[1]).with_suffix("").parts) for path in MODULES]
    code = f"import importlib, json, sys; [importlib.import_module(name) for name in {names}]"
    loaded = json.loads(fresh(f"{code}; print(json.dumps(list(sys.modules)))"))
    assert {name.partition(".")[0] for name in loaded} & (OTHERS | {"datasets"}) == set()


def test_reading_runs_is_there_within_a_second() -> None:
    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = seconds()
    fresh("from larpo_ir.data import read_qrels, read_run; read_run, read_qrels")
    assert seconds() - before < 1  # of processor time: a busy machine makes it no longer
