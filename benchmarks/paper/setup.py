"""One experiment at one scale, from `configs/SCALE/NAME.yaml`: prompts, policy, reward and shared options.

    extends: base.yaml      another file of the folder, for values that this file lacks
    data:                   `source` (benchmarks/paper/data.py), or a `path`; `num_prompts`, `num_held_out`
    policy:                 options of a policy trained here, one per seed; without them, the generator's model
    generator, reward:      as for `larpo-ir align`
    align:                  as for `larpo-ir align`, for all conditions
    fine_tuning:            (sft_dpo, reward_model) data of a further training, and options of TRL's trainers
    sampling:               (sft_dpo, recall_pass, inference) `num_samples`, `temperature`
    evaluations:            further evaluations of the last policy (benchmarks/paper/evaluations.py)
    first_seed:             first seed of policies and training prompts; seed of the held-out topics
    conditions:             overrides of a condition at this scale, beyond those in its Python file

Every run of a condition writes an `align.yaml`, from which `larpo-ir align --config` repeats this run alone.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.paper.data import topics_of
from larpo_ir.data.files import write_atomically
from larpo_ir.provenance import RunDirectory

CONFIGS = Path(__file__).parents[2] / "configs"
SCALES = ("tiny", "paper")


@dataclass(frozen=True)
class Setup:
    """Inputs that all conditions of an experiment share. `root`: folder of their shared policies and candidates."""

    name: str
    root: Path
    data: Mapping[str, Any]
    generator: Mapping[str, Any]
    reward: Mapping[str, Any]
    align: Mapping[str, Any]
    policy: Mapping[str, Any] | None = None
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    first_seed: int = 0
    fine_tuning: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str, scale: str, root: Path) -> Setup:
        """Read `configs/SCALE/NAME.yaml`; `ValueError` if it is missing or has keys that nothing reads."""
        return cls.read(CONFIGS / scale / f"{name}.yaml", root)

    @classmethod
    def read(cls, path: Path, root: Path) -> Setup:
        options = _extended(path)
        known = set(cls.__dataclass_fields__) - {"name", "root"}
        if unknown := set(options) - known:
            raise ValueError(
                f"{path}: nothing reads {', '.join(sorted(unknown))}; the keys are {', '.join(sorted(known))}"
            )
        if missing := {"data", "generator", "reward", "align"} - set(options):
            raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
        return cls(name=path.stem, root=root, **options)

    @property
    def missing_file(self) -> str | None:
        """A file of recorded data that must be there and is not."""
        path = self.data.get("path")
        return None if path is None or Path(path).exists() else str(path)

    # Prompts

    def prompts(self, seed: int) -> pd.DataFrame:
        """Training topics of a seed."""
        return topics_of(self.data["source"], self.data["num_prompts"], seed, held_out=False)

    @cached_property
    def held_out(self) -> pd.DataFrame:
        """Held-out topics, the same for all seeds."""
        return topics_of(self.data["source"], self.data["num_held_out"], self.first_seed, held_out=True)

    # Policy and reward

    def model(self, seed: int) -> str:
        """The policy before alignment: a name, or the folder that `train_policy` fills."""
        if self.policy is None:
            return str(self.generator["init_args"]["model"])
        return str(self.root / "sft" / f"{digest(self.policy)}-seed-{seed}")

    def train_policy(self, seed: int) -> None:
        """Train the seed's policy, unless it exists."""
        if self.policy is not None:
            from larpo_ir.tasks.arithmetic import sft_policy

            sft_policy(self.model(seed), seed=seed, **self.policy)

    def parts(self, seed: int, model: str | None = None) -> tuple[Any, Any]:
        """Generator and reward; `model` replaces the policy before alignment."""
        generator, reward, _ = instantiated(self.config({}, seed, Path("unused"), model))
        return generator.replace(seed=seed), reward

    # Alignment

    def config(
        self, overrides: Mapping[str, Any], seed: int, folder: Path, model: str | None = None
    ) -> dict[str, Any]:
        """Options of `larpo-ir align` for a condition; `model` replaces the policy before alignment."""
        generator = merged(self.generator, {"init_args": {"model": model or self.model(seed)}})
        align = merged(self.align, overrides) | {"seed": seed, "output_dir": str(folder)}
        return {"generator": generator, "reward": dict(self.reward), "align": align}

    def candidates(self, overrides: Mapping[str, Any], seed: int) -> Path:
        """Folder of the policy's measures and first candidates, for all conditions that sample alike."""
        from larpo_ir.alignment.loop import AFTER_RETRIEVAL

        config = self.config(overrides, seed, Path())
        sampled = {key: value for key, value in config["align"].items() if key not in AFTER_RETRIEVAL}
        what = {"data": dict(self.data), "generator": config["generator"], "reward": config["reward"]}
        return self.root / "candidates" / f"{digest({**what, 'align': sampled})}-seed-{seed}"

    def retrieve(self, overrides: Mapping[str, Any], seed: int) -> None:
        """Fill `candidates`, unless it is complete."""
        from larpo_ir.alignment.loop import retrieve

        folder = self.candidates(overrides, seed)
        if RunDirectory(folder).trec_run(0).exists():  # the last file that retrieving writes
            return
        generator, reward, config = instantiated(self.config(overrides, seed, folder))
        retrieve(generator, reward, self.prompts(seed), config, eval_prompts=self.held_out)

    def run(self, overrides: Mapping[str, Any], seed: int, folder: Path) -> tuple[Any, pd.DataFrame]:
        """Align under a condition. Returns the generator with the last policy, and its per-prompt measures."""
        from larpo_ir.alignment.loop import align

        config = self.config(overrides, seed, folder / "run")
        write_atomically(folder / "align.yaml", yaml.safe_dump(config, sort_keys=False))
        generator, reward, align_config = instantiated(config)
        result = align(
            generator, reward, self.prompts(seed), align_config, eval_prompts=self.held_out,
            start_from=self.candidates(overrides, seed),
        )  # fmt: skip
        return result.generator, result.per_query[-1]


def instantiated(config: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Generator, reward and `AlignConfig` from options of `larpo-ir align`, as the command line reads them."""
    from larpo_ir.cli import COMMANDS
    from larpo_ir.cli.engine import parser_of

    parser = parser_of("larpo-ir", COMMANDS, "align")
    given = parser.instantiate(parser.parse_object(copy.deepcopy(dict(config))))
    return given["generator"], given["reward"], given["align"]


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`; mappings in both are merged in turn.

    A mapping in `over` that names a `class_path` replaces the whole mapping of `base`.

    >>> merged({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}, 'b': 1}
    """
    result = dict(base)
    for key, value in over.items():
        mine = result.get(key)
        nested = isinstance(mine, Mapping) and isinstance(value, Mapping) and "class_path" not in value
        result[key] = merged(mine, value) if nested else copy.deepcopy(value)  # type: ignore[arg-type]
    return result


def digest(value: Any) -> str:
    """Ten characters that tell settings apart."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


def _extended(path: Path) -> dict[str, Any]:
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise ValueError(f"{path}: no such configuration; there are {', '.join(there)}")
    options = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    base = options.pop("extends", None)
    return merged(_extended(path.parent / base), options) if base else dict(options)
