"""Arguments of sentence-transformers' trainers, checked before anything is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable


def check_arguments(kind: type, given: Iterable[str], decided: Collection[str] = ()) -> None:
    """Raise `ValueError` for names that are no fields of `kind`, or that the training decides itself."""
    known = {field.name for field in dataclasses.fields(kind)}.difference(decided)
    unknown = set(given) - known
    if unknown:
        raise ValueError(
            f"unknown training argument {', '.join(sorted(unknown))}; the choices are those of "
            f"sentence_transformers.{kind.__name__}"
        )
