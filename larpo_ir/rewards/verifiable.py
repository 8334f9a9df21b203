"""Verifiable rewards: a function that checks a response against what is known about the query."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterable
from inspect import Parameter
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt
from numpy.typing import NDArray

from larpo_ir.rewards.reranker import Reranker, describe

# Columns a parameter may come from, besides the one of its own name.
_ALIASES = {
    "response": ("text",),
    "completion": ("text",),
    "answer_text": ("text",),
    "prompt": ("query",),
    "question": ("query",),
    "gold": ("answer", "label"),
}
_ROW = "row"
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


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
        try:
            self._parameters = list(inspect.signature(fn).parameters.values())
        except ValueError:  # some built-in functions show no signature
            self._parameters = [Parameter("text", Parameter.POSITIONAL_ONLY)]

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """What the function says of each row."""
        positional, keywords, rest = self._bind(list(results.columns))
        rewards = []
        for row in results.to_dict("records"):
            values = {**row, _ROW: row} if _ROW not in row else row
            arguments = [values[column] for column in positional]
            named = {parameter: values[column] for parameter, column in keywords.items()}
            named |= {column: row[column] for column in rest}
            result = call_on_row(self.name, row, self.fn, *arguments, **named)
            if result is None:
                result = np.nan
            elif not isinstance(result, numbers.Real | np.bool_):
                raise ValueError(
                    f"{self.name} returned {type(result).__name__} for {_place(row)}; return a bool, a number or None"
                )
            rewards.append(float(result))
        return np.array(rewards)

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """As for every reranker; columns that the function lacks count as missing."""
        outputs = super().transform_outputs(input_columns)
        try:
            self._bind(input_columns)
        except _NoColumnError as error:
            pt.validate.columns(input_columns, includes=error.parameters, context=self)
        return outputs

    def _bind(self, columns: list[str]) -> tuple[list[str], dict[str, str], list[str]]:
        """Columns for the positional arguments, columns by keyword, and the columns that go to **kwargs."""
        by_name = [
            p for p in self._parameters if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        ]
        source: dict[str, str] = {}
        for parameter in by_name:
            choices = (parameter.name, *_ALIASES.get(parameter.name, ()))
            found = next((column for column in choices if column in columns), None)
            if found is None and parameter.name == _ROW:
                found = _ROW
            if found is not None:
                source[parameter.name] = found
        open_ = [p for p in by_name if p.name not in source and p.default is Parameter.empty]
        first = [p.name for p in by_name if p.kind in _POSITIONAL][: len(open_)]
        spare = ("query", "text")[-len(open_) :]
        if 0 < len(open_) <= 2 and [p.name for p in open_] == first and not set(spare) & set(source.values()):
            source |= zip(first, spare, strict=True)
        elif open_:
            raise _NoColumnError(self.name, [p.name for p in open_], columns)
        positional = [
            source[p.name] for p in by_name if p.kind is Parameter.POSITIONAL_ONLY and p.name in source
        ]
        keywords = {
            p.name: source[p.name]
            for p in by_name
            if p.kind is not Parameter.POSITIONAL_ONLY and p.name in source
        }
        takes_rest = any(p.kind is Parameter.VAR_KEYWORD for p in self._parameters)
        rest = [c for c in columns if c not in source.values() and c not in keywords] if takes_rest else []
        return positional, keywords, rest


class _NoColumnError(ValueError):
    def __init__(self, who: str, parameters: list[str], columns: Iterable[str]) -> None:
        self.parameters = parameters
        wanted = [" or ".join((name, *_ALIASES.get(name, ()))) for name in parameters]
        super().__init__(
            f"{who} needs the column(s) {', '.join(wanted)}; the frame has {', '.join(columns)}."
            " Add them to the topics: their columns reach the results"
        )


def _place(row: dict[Any, Any]) -> str:
    return f"qid {row.get('qid')!r}, docno {row.get('docno')!r}"


def call_on_row(who: str, row: dict[Any, Any], fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a user's function; whatever it raises says on which row."""
    try:
        return fn(*args, **kwargs)
    except Exception as error:
        raise ValueError(f"{who} failed on {_place(row)}: {type(error).__name__}: {error}") from error
