"""Configurations of both scales are read, merged and checked without any model."""

from pathlib import Path

import pytest
import yaml

from benchmarks.paper.setup import CONFIGS, Setup, digest, merged
from benchmarks.paper.study import Alignments
from benchmarks.paper.table import PAPER, STUDIES
from larpo_ir.alignment.config import AlignConfig
from larpo_ir.cli import COMMANDS
from larpo_ir.cli.engine import parser_of

SHARED = {"base", "chat", "math"}  # what others extend
FILES = sorted(file for scale in ("tiny", "paper") for file in (CONFIGS / scale).glob("*.yaml"))


@pytest.fixture(scope="module")
def parser():
    return parser_of("larpo-ir", COMMANDS, "align")


def experiment_of(path: Path):
    return max((name for name in STUDIES if path.stem.startswith(name)), key=len, default=None)


def test_every_experiment_of_the_paper_has_a_configuration_at_both_scales():
    names = {module.STUDY.name for module in PAPER}
    for scale in ("tiny", "paper"):
        assert names <= {file.stem for file in (CONFIGS / scale).glob("*.yaml")}


def test_every_configuration_belongs_to_an_experiment_or_is_extended():
    assert {file.stem for file in FILES if experiment_of(file) is None} <= SHARED


@pytest.mark.parametrize(
    "path",
    [file for file in FILES if file.stem not in SHARED],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_run_of_a_configuration_is_one_of_larpo_ir_align(path, tmp_path, parser):
    """The command line's own parser takes it, no class is unknown, and the settings of the loop are valid."""
    setup = Setup.read(path, tmp_path)
    paper_study = STUDIES[experiment_of(path)]
    overrides = paper_study.of(setup) if isinstance(paper_study, Alignments) else {"as it is": {}}
    for name, over in overrides.items():
        config = setup.config(over, seed=0, folder=tmp_path / name)
        parser.parse_object(config)  # generator and reward, too; making them would download models
        on_cpu = merged(
            config["align"], {"training": {"use_cpu": True}}
        )  # bf16 is refused without a GPU otherwise
        built = parser.instantiate(parser.parse_object({"align": on_cpu}))["align"]
        assert isinstance(built, AlignConfig)
        assert (built.output_dir, built.objective) == (str(tmp_path / name), config["align"]["objective"])


@pytest.mark.parametrize("name", ["main_table", "objectives", "objectives_mistral", "memory"])
def test_evaluations_at_paper_scale_are_options_of_larpo_ir_evaluate(name, tmp_path):
    setup = Setup.load(name, "paper", tmp_path)
    assert set(setup.evaluations) == {"alpaca_eval", "mixeval"}
    parser = parser_of("larpo-ir", COMMANDS, "evaluate")
    for task, options in setup.evaluations.items():
        given = {"results": "-", "task": task, "data": options["data"], "judge": options["judge"]}
        parsed = parser.parse_object(given)
        assert parsed["judge"]["class_path"] == options["judge"]["class_path"]


def test_settings_of_the_paper():
    """What ../shared/PAPER.md says of its settings, where it says it."""
    main = STUDIES["main_table"].of(Setup.load("main_table", "paper", Path()))
    assert main["LarPO contrastive"]["num_candidates"] == 10
    assert main["LarPO contrastive"]["sampler"]["init_args"] == {"top": 1, "bottom": 3}
    assert main["LarPO ListMLE"]["sampler"]["init_args"] == {"top": 2, "bottom": 2}
    assert main["LarPO LambdaRank"]["memory"] == "all"
    assert main["Iterative DPO"]["num_candidates"] == 2
    for name, temperature in (("main_table", 0.8), ("main_table_base", 1.0)):
        assert Setup.load(name, "paper", Path()).align["temperatures"] == temperature
    study = Setup.load("objectives", "paper", Path())
    assert study.generator["init_args"]["model"] == "google/gemma-2-2b-it"
    assert study.align["iterations"] == 3
    assert study.align["training"]["learning_rate"] == 5e-7
    assert study.align["training"]["num_train_epochs"] == 2
    assert Setup.load("negatives", "paper", Path()).align["training"]["learning_rate"] == 2e-7
    assert Setup.load("sft_dpo", "paper", Path()).align["training"]["learning_rate"] == 1e-7


def test_a_condition_starts_from_candidates_of_those_that_sample_alike(tmp_path):
    setup = Setup.load("memory", "tiny", tmp_path)
    of = STUDIES["memory"].of(setup)
    assert setup.candidates(of["current"], 0) == setup.candidates(of["+ all previous"], 0)
    assert setup.candidates(of["current"], 0) != setup.candidates(of["current"], 1)
    assert setup.candidates(of["current"], 0) != setup.candidates(of["+ all previous, T in {1, 0.5}"], 0)


def test_merging_a_class_replaces_it():
    base = {"reward": {"class_path": "A", "init_args": {"x": 1}}, "align": {"training": {"a": 1, "b": 2}}}
    over = {"reward": {"class_path": "B", "init_args": {"y": 2}}, "align": {"training": {"b": 3}}}
    assert merged(base, over) == {
        "reward": {"class_path": "B", "init_args": {"y": 2}}, "align": {"training": {"a": 1, "b": 3}},
    }  # fmt: skip


def test_digest_tells_settings_apart_whatever_their_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_unknown_keys_and_files_are_one_line(tmp_path):
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump({"data": {}, "generator": {}, "reward": {}, "align": {}, "algin": {}}))
    with pytest.raises(ValueError, match="nothing reads algin"):
        Setup.read(path, tmp_path)
    path.write_text(yaml.safe_dump({"data": {}}))
    with pytest.raises(ValueError, match="lacks align, generator, reward"):
        Setup.read(path, tmp_path)
    with pytest.raises(ValueError, match="no such configuration; there are odd"):
        Setup.read(tmp_path / "none.yaml", tmp_path)
