"""One pass over fixed lists: its values, how it is shared out, what it remembers.

What several processes make of it is in `test_distributed.py`.
"""

from __future__ import annotations

import json

import pytest
import torch

from larpo_ir.models.distributed import from_main, gather
from larpo_ir.models.tokenization import TokenizedList
from larpo_ir.training import reference
from larpo_ir.training.reference import fixed_logprobs
from larpo_ir.training.trainer_reference import DeferredReference
from tests.small_models import make_model, naive_scores

LISTS = [
    TokenizedList([5, 6, 7], [[8, 9], [], [4, 4, 4, 4]]),
    TokenizedList([3], []),
    TokenizedList([9] * 20, [[7] * 12]),
    TokenizedList([4, 8], [[]]),
    TokenizedList([7, 3], [[6], [5, 8]]),
]


@pytest.fixture
def passes(monkeypatch):
    """Responses of every forward pass."""
    counts, score = [], reference.batch_logprobs

    def counting(model, batch, num_responses, way):
        counts.append(num_responses)
        return score(model, batch, num_responses, way)

    monkeypatch.setattr(reference, "batch_logprobs", counting)
    return counts


def assert_right(found, lists=LISTS):
    expected = naive_scores(make_model(), lists).tolist()
    for tokens, row, values in zip(lists, found, expected, strict=True):
        assert row == pytest.approx(values[: len(tokens.completion_ids)], abs=1e-4)


@pytest.mark.parametrize("layout", ["auto", "shared", "plain"])
@pytest.mark.parametrize("max_tokens", [1, 8, 8192])
def test_values_are_those_of_one_response_at_a_time(layout, max_tokens):
    assert_right(fixed_logprobs(make_model(), LISTS, layout=layout, max_tokens=max_tokens))


def test_nothing_to_score(passes):
    assert fixed_logprobs(make_model(), []) == []
    assert fixed_logprobs(make_model(), [LISTS[1], LISTS[3]]) == [[], [0.0]]
    assert passes == []


def test_tokens_that_go_through_the_model_at_once(passes):
    fixed_logprobs(make_model(), LISTS, layout="shared", max_tokens=14)
    # 32 tokens do not fit, and are a pass of their own; 3 + 6 and 2 + 3 fit together
    assert passes == [1, 5]


def test_the_model_is_left_in_its_mode_and_without_gradients():
    for training in (True, False):
        model = make_model().train(training)
        fixed_logprobs(model, LISTS)
        assert model.training is training
        assert all(parameter.grad is None for parameter in model.parameters())


def test_what_is_known_is_not_computed_again(passes, tmp_path):
    lists = [LISTS[2], LISTS[4]]
    fixed_logprobs(make_model(), lists[:1], cache=tmp_path)
    assert passes == [1]
    found = fixed_logprobs(make_model(), lists, cache=tmp_path)  # another model of the same weights
    assert passes == [1, 2]
    assert fixed_logprobs(make_model(), lists, cache=tmp_path) == found
    assert passes == [1, 2]
    assert_right(found, lists)
    fixed_logprobs(make_model(), lists[:1], cache=tmp_path, precision="bf16")  # other values
    fixed_logprobs(make_model(seed=1), lists[:1], cache=tmp_path)
    assert passes == [1, 2, 1, 1]


def test_alone_nothing_is_exchanged():
    assert gather([3, 4]) == [3, 4]
    assert from_main({"a": 1}) == {"a": 1}
    assert not torch.distributed.is_initialized()


# Deferred


def test_deferred_references_by_number(tmp_path):
    path = tmp_path / "out" / "references.json"
    deferred = DeferredReference(path)
    assert not deferred.pending
    assert deferred.number([LISTS[0], LISTS[2]]) == [0, 1]
    assert deferred.number([LISTS[4]]) == [2]
    assert deferred.pending
    with pytest.raises(RuntimeError, match="not computed before"):
        deferred.of(torch.tensor([0]))
    values = [[-1.5, 0.0, -2.25], [-9.125], [-3.0, -4.0]]
    deferred.settle(values, torch.device("cpu"))
    assert not deferred.pending
    assert deferred.of(torch.tensor([2, 0])).tolist() == [[-3.0, -4.0, 0.0], [-1.5, 0.0, -2.25]]
    assert json.loads(path.read_text()) == values

    again = DeferredReference(path)
    again.number([LISTS[0], LISTS[2], LISTS[4]])
    again.settle(None, torch.device("cpu"))
    assert again.of(torch.tensor([1])).tolist() == [[-9.125, 0.0, 0.0]]


@pytest.mark.parametrize("lists", [LISTS[:1], [LISTS[0], LISTS[2], LISTS[2]]])
def test_kept_references_of_other_lists_are_refused(tmp_path, lists):
    deferred = DeferredReference(tmp_path / "references.json")
    deferred.path.write_text("[[-1.0, 0.0, -2.0], [-9.0], [-3.0, -4.0]]")
    deferred.number(lists)
    with pytest.raises(
        ValueError, match=r"references.json does not hold the references of these lists: resume"
    ) as e:
        deferred.settle(None, torch.device("cpu"))
    assert "\n" not in str(e.value)
