r"""Matrices and vectors: `\frac{1}{2} \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}`."""

from __future__ import annotations

from larpo_ir.tasks.math.answers import MAX_ITEMS, Answer, Matrix, Reading
from larpo_ir.tasks.math.brackets import split, wrapped
from larpo_ir.tasks.math.expressions import Node, Product
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.tokens import Token, Unreadable

_ENVIRONMENTS = {"matrix", "pmatrix", "bmatrix", "vmatrix", "Bmatrix", "smallmatrix", "array"}


def matrix(run: list[Token], how: Reading) -> Answer | None:
    """Read a matrix with the factor in front of it; None where no environment begins."""
    while wrapped(run):
        run = run[1:-1]
    begins = next((i for i, token in enumerate(run) if token.text.startswith("begin ")), None)
    if begins is None:
        return None
    scale = _factor(run[:begins])
    entries = _entries(run[begins:])
    return Matrix(tuple(tuple(Product((scale, node)) if scale else node for node in row) for row in entries))


def _factor(run: list[Token]) -> Node | None:
    r"""Read the factor of `\frac{1}{2} \begin{pmatrix}`, of `2 \cdot` and of a minus alone."""
    if run and run[-1][:2] == ("op", "*"):
        run = run[:-1]
    if [token[:2] for token in run] == [("op", "-")]:
        run = [*run, Token("num", "1")]
    return parse(run) if run else None


def _entries(run: list[Token]) -> list[list[Node]]:
    """Read the entries, row by row, of an environment from its `begin` to its `end`."""
    name = run[0].text.removeprefix("begin ")
    if name not in _ENVIRONMENTS or run[-1][:2] != ("cmd", f"end {name}"):
        raise Unreadable(f"the environment {name}")
    rows, _ = split(run[1:-1], lambda token: token[:2] == ("sep", "\\"))
    if name == "vmatrix":
        raise Unreadable("a determinant")
    cells = [split(row, lambda token: token[:2] == ("sep", "&"))[0] for row in rows if row]
    if sum(map(len, cells)) > MAX_ITEMS:
        raise Unreadable("a matrix of too many entries")
    return [[parse(cell) for cell in row] for row in cells]
