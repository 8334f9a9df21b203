"""The log-prob cache: what was put is got, policies are told apart, processes do not get in each other's way."""

from __future__ import annotations

import copy
import math
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
import torch
import transformers as tr
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model

from larpo_ir.models.fingerprints import fingerprint
from larpo_ir.models.scoring import score_lists
from larpo_ir.models.tokenization import TokenizedList
from larpo_ir.training.logprob_cache import LogprobCache
from tests.small_models import ARCHITECTURES, make_model

POLICY, OTHER = "0" * 32, "f" * 32
ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def cache(tmp_path):
    return LogprobCache(tmp_path / "cache")


def adapted(seed=0, **options):
    """A model with a LoRA adapter whose weights are not the zeros it starts from."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, **options)
        return get_peft_model(make_model(), config)


# Fingerprints


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equal_copies_are_one_policy_and_one_changed_weight_another(architecture):
    model = make_model(architecture)
    name = fingerprint(model)
    assert len(name) == 32
    assert fingerprint(copy.deepcopy(model)) == fingerprint(make_model(architecture)) == name
    assert fingerprint(make_model(architecture, seed=1)) != name
    for parameter in (next(iter(model.parameters())), list(model.parameters())[-1]):
        with torch.no_grad():
            last = parameter.view(-1)[-1:]
            before = last.clone()
            last.copy_(torch.nextafter(before, torch.tensor(math.inf)))  # one bit, at the very end
            assert fingerprint(model) != name
            last.copy_(before)
    assert fingerprint(model) == name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("tied", [False, True])
def test_saving_and_loading_keeps_the_fingerprint(architecture, tied, tmp_path):
    model = make_model(architecture, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    assert fingerprint(tr.AutoModelForCausalLM.from_pretrained(tmp_path)) == fingerprint(model)


def test_what_training_sets_does_not_count_and_what_changes_the_model_does():
    name = fingerprint(make_model())
    model = make_model()
    model.config.use_cache = False
    model.config.pad_token_id = 7
    model.config._name_or_path = "elsewhere"
    model.train()
    model.gradient_checkpointing_enable()
    assert fingerprint(model) == name
    assert fingerprint(torch.nn.parallel.DataParallel(model)) == name
    for setting in ({"rms_norm_eps": 1e-3}, {"tie_word_embeddings": True}):
        assert fingerprint(make_model(**setting)) != name
    model.config.rope_parameters["rope_theta"] = 5.0  # changes no weight
    assert fingerprint(model) != name


def test_layout_and_type_count_but_names_and_bytes_are_not_confused():
    square = torch.nn.ParameterDict({"a": torch.zeros(2, 8)})
    names = [
        fingerprint(square),
        fingerprint(torch.nn.ParameterDict({"a": torch.zeros(4, 4)})),
        fingerprint(torch.nn.ParameterDict({"b": torch.zeros(2, 8)})),
        fingerprint(torch.nn.ParameterDict({"a": torch.zeros(2, 8, dtype=torch.float64)})),
        fingerprint(torch.nn.ParameterDict({"a": torch.zeros(1, 8), "b": torch.zeros(1, 8)})),
    ]
    assert len(set(names)) == 5
    strided = torch.nn.ParameterDict({"a": torch.arange(16.0).view(8, 2).t()})
    compact = torch.nn.ParameterDict({"a": torch.arange(16.0).view(8, 2).t().contiguous()})
    assert fingerprint(strided) == fingerprint(compact)


def test_bfloat16_scalars_and_buffers():
    model = make_model().to(torch.bfloat16)
    assert fingerprint(model) == fingerprint(make_model().to(torch.bfloat16)) != fingerprint(make_model())
    norm = torch.nn.BatchNorm1d(3)  # has a 0-dimensional integer buffer
    name = fingerprint(norm)
    norm.num_batches_tracked += 1
    assert fingerprint(norm) != name


def test_adapters_count_in_weights_scale_and_state(tmp_path):
    model = adapted()
    name = fingerprint(model)
    assert name == fingerprint(adapted()) != fingerprint(adapted(seed=1))
    assert name != fingerprint(adapted(lora_alpha=16))  # equal weights, another scale
    assert name != fingerprint(make_model())
    with model.disable_adapter():
        assert fingerprint(model) != name
    assert fingerprint(model) == name
    model.save_pretrained(tmp_path)
    assert fingerprint(PeftModel.from_pretrained(make_model(), tmp_path)) == name


def test_weights_that_are_not_there_have_no_fingerprint():
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    with pytest.raises(
        ValueError, match=r"^bias is on the meta device: take the fingerprint of a model that is"
    ):
        fingerprint(model)
    model = torch.nn.Linear(2, 2)
    model.weight.ds_id = 0  # how DeepSpeed marks what it has partitioned
    with pytest.raises(ValueError, match=r"^weight is partitioned by DeepSpeed"):
        fingerprint(model)


# Values

IDS = st.lists(st.integers(0, 2**31), max_size=4)
ITEMS = st.dictionaries(
    st.tuples(
        st.sampled_from([POLICY, OTHER]), st.sampled_from(["", "bf16"]), IDS.map(tuple), IDS.map(tuple)
    ),
    st.floats(allow_nan=False),
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(ITEMS, ITEMS)
def test_what_was_put_last_is_got_exactly_and_nothing_else(first, second):
    with tempfile.TemporaryDirectory() as directory:
        for items in (first, second):
            for (policy, variant, prompt, response), value in items.items():
                tokens = TokenizedList(list(prompt), [list(response)])
                LogprobCache(directory).put(policy, [tokens], [[value]], variant=variant)
        known = {**first, **second}
        for policy in (POLICY, OTHER):
            for variant in ("", "bf16"):
                for _, _, prompt, response in known:
                    tokens = TokenizedList(list(prompt), [[*response, 1], list(response)])
                    (got,) = LogprobCache(directory).get(policy, [tokens], variant=variant)
                    assert got == [
                        known.get((policy, variant, prompt, (*response, 1))),
                        known.get((policy, variant, prompt, response)),
                    ]


def test_ragged_lists_keep_their_places(cache):
    lists = [TokenizedList([1], [[2], [3]]), TokenizedList([4], []), TokenizedList([5], [[6]])]
    assert cache.get(POLICY, lists) == [[None, None], [], [None]]
    assert not cache.directory.exists()  # looking something up leaves no trace
    cache.put(POLICY, lists, [[-1.0, -2.0], [], [-3.0]])
    assert cache.get(POLICY, lists[::-1]) == [[-3.0], [], [-1.0, -2.0]]
    assert cache.get(POLICY, []) == []


def test_where_the_prompt_ends_matters(cache):
    cache.put(POLICY, [TokenizedList([1, 2], [[3]])], [[-1.0]])
    assert cache.get(POLICY, [TokenizedList([1], [[2, 3]]), TokenizedList([1, 2, 3], [[]])]) == [
        [None],
        [None],
    ]


def test_variants_do_not_run_into_the_tokens(cache):
    cache.put(POLICY, [TokenizedList([1], [[2]])], [[-1.0]], variant="1 ")
    for variant in ("", "1", "1 1 ", " 1"):
        assert cache.get(POLICY, [TokenizedList([1], [[2]])], variant=variant) == [[None]]
    assert cache.get(POLICY, [TokenizedList([1], [[2]])], variant="1 ") == [[-1.0]]


def test_scores_of_a_model_come_back_bit_by_bit(cache):
    model, lists = make_model(), [TokenizedList([3, 4, 5], [[6, 7], [8]]), TokenizedList([9], [[10, 11, 1]])]
    with torch.no_grad():
        values = score_lists(model, lists)
    cache.put(fingerprint(model), lists, [values[0].tolist(), values[1, :1].tolist()])
    got = cache.get(fingerprint(copy.deepcopy(model)), lists)
    assert torch.equal(torch.tensor([*got[0], *got[1]]), torch.cat([values[0], values[1, :1]]))


@pytest.mark.parametrize(
    ("logps", "message"),
    [
        ([[-1.0]], r"^2 lists but 1 rows of log-probabilities$"),
        ([[-1.0], [-2.0, -3.0]], r"^list 1 has 1 responses but 2 log-probabilities$"),
        ([[-1.0], [math.nan]], r"^list 1 has a log-probability that is not a number: \[nan\]$"),
    ],
)
def test_values_that_do_not_fit_are_refused_and_none_is_stored(cache, logps, message):
    lists = [TokenizedList([1], [[2]]), TokenizedList([3], [[4]])]
    with pytest.raises(ValueError, match=message):
        cache.put(POLICY, lists, logps)
    assert cache.get(POLICY, lists) == [[None], [None]]


def test_a_policy_is_named_by_its_fingerprint(cache):
    with pytest.raises(ValueError, match=r"32 hexadecimal digits of fingerprint\(model\), got '../mistral'"):
        cache.get("../mistral", [])


# The file


@pytest.mark.parametrize("damage", ["overwritten", "torn", "no database"])
def test_a_damaged_file_is_named_and_may_be_deleted(cache, damage):
    lists = [TokenizedList([i], [[1, 2, 3]]) for i in range(2000)]
    cache.put(POLICY, lists, [[-1.0]] * 2000)
    path = cache.path(POLICY)
    content = path.read_bytes()
    path.write_bytes(
        {
            "overwritten": content[:4096] + b"x" * (len(content) - 4096),
            "torn": content[: len(content) // 2],
            "no database": b"prompt,response,logprob\n" * 100,
        }[damage]
    )
    for use in (lambda: cache.get(POLICY, lists), lambda: cache.put(POLICY, lists, [[-1.0]] * 2000)):
        with pytest.raises(ValueError, match="delete it, and its values will be computed again") as raised:
            use()
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)
    path.unlink()
    assert cache.get(POLICY, lists[:1]) == [[None]]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("CREATE TABLE other (a)", "no such table: logprobs"),
        (
            "CREATE TABLE logprobs (key BLOB PRIMARY KEY, value REAL)",
            "no such column: logprob|has no column named",
        ),
        (
            "CREATE VIEW logprobs AS SELECT 1 AS key, 2 AS logprob",
            "cannot modify logprobs because it is a view",
        ),
    ],
)
def test_a_database_of_something_else_is_named(cache, script, reason):
    path = cache.path(POLICY)
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute(script)
    lists = [TokenizedList([1], [[2]])]
    with pytest.raises(ValueError, match=rf"not a readable cache of log-probabilities \(.*({reason})"):
        cache.put(POLICY, lists, cache.get(POLICY, lists) and [[-1.0]])


def test_a_value_that_is_no_number_is_named(cache):
    lists = [TokenizedList([1], [[2]])]
    cache.put(POLICY, lists, [[-1.0]])
    for value in ("text", b"bytes"):
        with closing(sqlite3.connect(cache.path(POLICY))) as database, database:
            database.execute("UPDATE logprobs SET logprob = ?", (value,))
        with pytest.raises(ValueError, match=r"not a readable cache .* for a number\): delete it"):
            cache.get(POLICY, lists)


def test_a_folder_in_its_place_and_a_lock_are_one_line(cache, monkeypatch):
    lists = [TokenizedList([1], [[2]])]
    cache.path(POLICY).mkdir(parents=True)
    with pytest.raises(ValueError, match="is not a readable cache of log-probabilities") as raised:
        cache.get(POLICY, lists)
    assert "\n" not in str(raised.value)
    cache.put(OTHER, lists, [[-1.0]])
    monkeypatch.setattr("larpo_ir.training.logprob_cache.LOCK_TIMEOUT", 0.05)
    with closing(sqlite3.connect(cache.path(OTHER), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ValueError, match=r"another process has locked it .*database is locked"):
            cache.put(OTHER, lists, [[-2.0]])
        other.execute("ROLLBACK")
    assert cache.get(OTHER, lists) == [[-1.0]]


PREAMBLE = """
import functools, os, signal, sqlite3, sys
from types import SimpleNamespace as TokenizedList
from larpo_ir.training import logprob_cache
cache, policy = logprob_cache.LogprobCache(sys.argv[1]), "0" * 32
def items(ids):
    return [TokenizedList(prompt_ids=[i], completion_ids=[[i, 1], [i, 2]]) for i in ids]
"""


def run(script, directory, *arguments, wait=True):
    command = [sys.executable, "-c", PREAMBLE + script, str(directory), *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": ROOT})
    return process.wait(timeout=120) if wait else process


def test_another_process_reads_it(cache):
    cache.put(POLICY, [TokenizedList([7], [[7, 1], [7, 2]])], [[-0.1, -0.2]])
    assert (
        run("assert cache.get(policy, items([7, 8])) == [[-0.1, -0.2], [None, None]]", cache.directory) == 0
    )


def test_two_processes_write_at_once(cache):
    """Each makes the file, writes 60 transactions, half of what it writes the other writes too, and reads between."""
    script = """
first = int(sys.argv[2])
for start in range(first, first + 300, 5):
    mine = items(range(start, start + 5))
    cache.put(policy, mine, [[-float(i), -i - 0.5] for i in range(start, start + 5)])
    assert None not in sum(cache.get(policy, mine), [])
"""
    writers = [run(script, cache.directory, first, wait=False) for first in (0, 150)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    lists = [TokenizedList([i], [[i, 1], [i, 2]]) for i in range(450)]
    assert cache.get(POLICY, lists) == [[-float(i), -i - 0.5] for i in range(450)]


def test_a_writer_that_is_killed_leaves_nothing_half_written(cache):
    """It dies with thousands of rows in the file but the transaction open; the next reader rolls it back."""
    cache.put(POLICY, [TokenizedList([1], [[1, 1], [1, 2]])], [[-1.0, -2.0]])
    script = """
class Dying(sqlite3.Connection):
    def executemany(self, statement, rows):
        def dying():
            yield from rows[:-1]
            os.kill(os.getpid(), signal.SIGKILL)
        return super().executemany(statement, dying())
sqlite3.connect = functools.partial(sqlite3.connect, factory=Dying)
cache.put(policy, items(range(50_000)), [[-9.0, -9.0]] * 50_000)
"""
    assert run(script, cache.directory) == -signal.SIGKILL
    assert list(cache.directory.glob("*-journal"))  # the rows had reached the file
    lists = [TokenizedList([i], [[i, 1], [i, 2]]) for i in range(3)]
    assert cache.get(POLICY, lists) == [[None, None], [-1.0, -2.0], [None, None]]
    cache.put(POLICY, lists[:1], [[-3.0, -4.0]])
    assert cache.get(POLICY, lists[:1]) == [[-3.0, -4.0]]


def test_importing_the_cache_does_not_import_torch():
    script = "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    assert run(script, "unused") == 0
