"""Verifiable rewards: a function that checks a response against what is known about the query."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from larpo_ir.rewards.binding import Binding, NoColumnError, bind, columns_needed, parameters_of
from larpo_ir.rewards.columns import Needs, all_of, require_one
from larpo_ir.rewards.reranker import Reranker, describe


class VerifiableReward(Reranker):
    """Reward computed by a function of a row: a grader, unit tests, a rule. `score := fn(...)`.

    The function's arguments are filled by name from the row's columns, to which topics may bring their own, such as
    the gold answer. So `VerifiableReward(is_correct)` with `is_correct(response, gold)` works as it stands:

    * a parameter takes the column of its name;
    * `response`, `completion` and `answer_text` stand for `text`, `prompt` and `question` for `query`, and `gold` for
      the first there is of `gold`, `answer` and `label`;
    * `row` is the whole row as a dict, and `**kwargs` takes the columns that no other parameter took;
    * parameters with a default and no column keep the default;
    * what has no column after this: a function's first parameter alone gets the text, its first two get the query and
      the text.

    True counts 1 and False 0; None is no reward (NaN). Each row is one call.

    Raises:
        ValueError: a parameter without a column; a result that is not a bool, a number or None; an exception in `fn`,
            with the row it happened on and the exception as the cause.

    >>> results = pd.DataFrame({"qid": "q", "query": "2+2?", "gold": "4", "docno": ["a", "b"], "text": ["5", "4"]})
    >>> VerifiableReward(lambda response, gold: response == gold)(results)[["text", "score", "rank"]]
      text  score  rank
    0    4    1.0     0
    1    5    0.0     1
    """

    INDIFFERENT: ClassVar = Reranker.INDIFFERENT | {"_parameters"}

    def __init__(self, fn: Callable[..., Any], *, name: str | None = None) -> None:
        if not callable(fn):
            raise ValueError(f"VerifiableReward needs a function, got {fn!r}")
        super().__init__(name or f"VerifiableReward({describe(fn)})")
        self.fn = fn
        self._parameters = parameters_of(fn)

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """The function's value for each row."""
        binding = bind(self.name, self._parameters, list(results.columns))
        return np.array([self._reward(row, binding) for row in results.to_dict("records")])

    def _reward(self, row: dict[Any, Any], binding: Binding) -> float:
        arguments, named = binding.arguments(row)
        result = call_on_row(self.name, row, self.fn, *arguments, **named)
        if result is None:
            return np.nan
        if not isinstance(result, numbers.Real | np.bool_):
            raise ValueError(
                f"{self.name} returned {type(result).__name__} for {_place(row)}; return a bool, a number or None"
            )
        return float(result)

    def transform_inputs(self) -> Needs:
        """As for every reranker, and the columns that the function needs; alternatives, where it knows several names
        of one."""
        return all_of([self.columns], columns_needed(self._parameters, self.columns))

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """As for every reranker; a column that a parameter lacks counts as missing."""
        require_one([list(self.columns)], input_columns, self)
        try:
            bind(self.name, self._parameters, input_columns)
        except NoColumnError as error:
            require_one(self.transform_inputs(), input_columns, self)
            # The column of a first parameter is there, so that the second one is not guessed.
            require_one([error.parameters], input_columns, self)
        return self._with_score(input_columns)


def _place(row: dict[Any, Any]) -> str:
    return f"qid {row.get('qid')!r}, docno {row.get('docno')!r}"


def call_on_row(who: str, row: dict[Any, Any], fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a user's function; whatever it raises says on which row."""
    try:
        return fn(*args, **kwargs)
    except Exception as error:
        raise ValueError(f"{who} failed on {_place(row)}: {type(error).__name__}: {error}") from error
