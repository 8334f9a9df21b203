r"""Tokens to an expression of numbers, names, operators and functions.

The parser reads these forms alone: sums, integrals and limits are `Unreadable`. It evaluates no text.

    sum      = [sign] product { ("+" | "-" | "\pm") product }
    product  = factor { ("*" | "/" | ":" | nothing) factor }
    factor   = "-" factor | atom { "!" | "%" | degree | "^" exponent }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from larpo_ir.tasks.math.expressions import (
    MINUS_ONE,
    Call,
    Name,
    Node,
    Num,
    Power,
    Product,
    Sum,
    inverse,
    negative,
    numeral,
)
from larpo_ir.tasks.math.tokens import Token, Unreadable

MAX_DEPTH = 60


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else Token("end", "")

    def take(self) -> Token:
        token = self.peek()
        self.place += 1
        return token

    def accept(self, kind: str, *texts: str) -> bool:
        token = self.peek()
        if token.kind == kind and (not texts or token.text in texts):
            self.place += 1
            return True
        return False

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")

    # --- the grammar

    def sum(self) -> Node:
        self.deeper()
        terms: list[Node] = []
        while not terms or self.starts_term():
            sign = self.take().text if self.starts_term() else "+"
            term = self.product()
            if sign in ("pm", "mp"):
                term = Call(sign, (term,))
            terms.append(negative(term) if sign == "-" else term)
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def starts_term(self) -> bool:
        token = self.peek()
        return (token.kind == "op" and token.text in "+-") or (
            token.kind == "cmd" and token.text in ("pm", "mp")
        )

    def product(self) -> Node:
        factors = [self.factor()]
        while True:
            token = self.peek()
            if token.kind == "op" and token.text in ("*", "/", ":"):
                self.take()
                factor = self.factor()
                factors.append(factor if token.text == "*" else inverse(factor))
            elif self.starts_atom():
                if token.kind == "num":
                    factors.append(self.beside_numeral(factors))
                else:
                    factors.append(self.factor())
            else:
                break
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def beside_numeral(self, factors: list[Node]) -> Node:
        """A numeral right after another factor: `1 1/2` is mixed, `x 2` a product, `2 3` nothing."""
        before = factors[-1]
        if isinstance(before, Num):
            top, slash, bottom = (self.peek(ahead) for ahead in range(3))
            mixed = slash[:2] == ("op", "/") and bottom.kind == "num" and len(factors) == 1 and top.spaced
            if not (mixed and before.value.denominator == 1):
                raise Unreadable("two numerals next to each other")
            self.place += 3
            fraction = Product((numeral(top.text), inverse(numeral(bottom.text))))
            factors.clear()
            return Sum((before, fraction))
        return self.factor()

    def starts_atom(self) -> bool:
        token = self.peek()
        if token.kind in ("num", "name", "func", "open"):
            return True
        if token.kind == "cmd":
            return token.text in ("frac", "sqrt", "binom", "over")
        return token[:2] == ("mark", "bar") and self.bars == 0

    def factor(self) -> Node:
        self.deeper()
        try:
            if self.accept("op", "-"):
                return negative(self.factor())
            if self.accept("op", "+"):
                return self.factor()
            return self.powered(self.atom())
        finally:
            self.depth -= 1

    def powered(self, node: Node) -> Node:
        while True:
            if self.accept("op", "!"):
                double = self.accept("op", "!")  # 5!! is 5 * 3 * 1
                node = Call("double factorial" if double else "factorial", (node,))
            elif self.accept("mark", "%"):
                node = Product((node, Num(Fraction(1, 100))))
            elif self.accept("mark", "deg"):
                node = Call("degrees", (node,))
            elif self.peek()[:2] == ("op", "^"):
                self.take()
                if self.is_degree():
                    node = Call("degrees", (node,))
                    continue
                node = Power(node, self.exponent())
            else:
                return node

    def is_degree(self) -> bool:
        if self.accept("mark", "deg"):
            return True
        braced = [self.peek(ahead)[:2] for ahead in range(3)]
        if braced == [("open", "group"), ("mark", "deg"), ("close", "group")]:
            self.place += 3
            return True
        return False

    def exponent(self) -> Node:
        """TeX reads one token after `^`; people who write plain text mean the whole factor (`2^-3`, `2^10`)."""
        self.deeper()
        try:
            if self.accept("op", "-"):
                return negative(self.exponent())
            node = self.atom()
            return Power(node, self.exponent()) if self.accept("op", "^") else node
        finally:
            self.depth -= 1

    def group(self) -> Node:
        """The argument of a command: `{…}`, or one digit or letter (`\\frac12`)."""
        if self.accept("open", "group"):
            node = self.sum()
            self.expect("close", "group")
            return node
        token = self.peek()
        if token.kind == "num" and len(token.text) > 1 and "." not in token.text:
            self.tokens = [
                *self.tokens[: self.place],
                Token("num", token.text[0]),
                Token("num", token.text[1:]),
                *self.tokens[self.place + 1 :],
            ]
        self.deeper()
        node = self.atom()
        self.depth -= 1
        return node

    def expect(self, kind: str, *texts: str) -> None:
        if not self.accept(kind, *texts):
            raise Unreadable(f"expected {texts or kind} at token {self.place}")

    def atom(self) -> Node:
        token = self.take()
        if token.kind in _ATOMS:
            return _ATOMS[token.kind](self, token.text)
        if token[:2] in _OPERATORS:
            return _OPERATORS[token[:2]](self)
        raise Unreadable(f"{token.text!r} where a number or name was expected")

    def number(self, text: str) -> Node:
        number = numeral(text)
        return self.mixed(number) if "." not in text else self.scientific(number)

    def absolute(self) -> Node:
        self.bars += 1
        node = self.sum()
        self.expect("mark", "bar")
        self.bars -= 1
        return Call("abs", (node,))

    def fraction(self) -> Node:
        top = self.group()
        return Product((top, inverse(self.group())))

    def binomial(self) -> Node:
        return Call("binom", (self.group(), self.group()))

    def overlined(self) -> Node:
        return Call("overline", (self.group(),))

    def mixed(self, whole: Num) -> Node:
        """`1\\frac{1}{2}` is one and a half; `2\\frac{x}{3}` and `2\\frac{\\pi}{3}` are products."""
        following = [self.peek(ahead)[:2] for ahead in range(7)]
        shape = [
            ("cmd", "frac"),
            ("open", "group"),
            None,
            ("close", "group"),
            ("open", "group"),
            None,
            ("close", "group"),
        ]
        short = following[0] == ("cmd", "frac") and following[1][0] == "num" and len(following[1][1]) == 2
        if short:  # `1\frac12`
            top, bottom = following[1][1][0], following[1][1][1]
            self.place += 2
        elif all(want in (None, got) for want, got in zip(shape, following, strict=True)) and (
            following[2][0] == following[5][0] == "num"
        ):
            top, bottom = following[2][1], following[5][1]
            self.place += 7
        else:
            return self.scientific(whole)
        if not (top.isdigit() and bottom.isdigit()):
            raise Unreadable("a mixed number with a decimal in it")
        return Sum((whole, Product((numeral(top), inverse(numeral(bottom))))))

    def scientific(self, mantissa: Node) -> Node:
        """`6.63e-34`, `1.6E19`: the letter directly behind a numeral, digits directly behind it."""
        letter, sign, digits = (self.peek(ahead) for ahead in range(3))
        if letter[:2] not in (("name", "e"), ("name", "E")) or letter.spaced or sign.spaced:
            return mantissa
        if sign.kind == "num" and sign.text.isdigit():
            self.place += 2
            exponent: Node = numeral(sign.text)
        elif sign[:2] in (("op", "+"), ("op", "-")) and digits.kind == "num" and not digits.spaced:
            self.place += 3
            exponent = numeral(digits.text)
            exponent = negative(exponent) if sign.text == "-" else exponent
        else:
            return mantissa
        return Product((mantissa, Power(Num(Fraction(10)), exponent)))

    def subscript(self) -> str:
        if not self.accept("op", "_"):
            return ""
        if not self.accept("open", "group"):
            return "_" + self.take().text
        parts: list[str] = []
        while not self.accept("close", "group"):
            token = self.take()
            if token.kind == "end":
                raise Unreadable("an index without its end")
            parts.append(token.text)
        return "_" + "".join(parts)

    def named(self, name: str) -> Node:
        name += self.subscript()
        while self.accept("mark", "'"):
            name += "'"
        if self.peek()[:2] == ("open", "()") and name[:1] in ("f", "g", "h", "P", "C"):
            arguments = self.arguments()
            if len(arguments) > 1 or name[0] in "fghP":
                return Call(name, arguments)
            return Product((Name(name), arguments[0]))
        return Name(name)

    def arguments(self) -> tuple[Node, ...]:
        self.expect("open", "()", "[", "group", "{}")
        found = [self.sum()]
        while self.accept("sep", ","):
            found.append(self.sum())
        self.expect("close")
        return tuple(found)

    def called(self, function: str) -> Node:
        """`\\sin x`, `\\sin(x)`, `\\sin^2 2x`, `\\log_2 8`, `\\gcd(4, 6)`."""
        self.deeper()
        base = [self.index()] if self.accept("op", "_") else []
        power = self.exponent_of_function() if self.accept("op", "^") else None
        if self.peek()[:2] in (("open", "()"), ("open", "group"), ("open", "["), ("open", "{}")):
            arguments = self.arguments()
        else:
            arguments = (self.bare_argument(),)
        self.depth -= 1
        node: Node = Call(function, (*base, *arguments))
        if base:
            node = Call(f"{function}_", (*base, *arguments))
        if power is None:
            return node
        return Call("arc" + function, arguments) if power == MINUS_ONE else Power(node, power)

    def index(self) -> Node:
        return self.group() if self.peek()[:2] == ("open", "group") else self.atom()

    def exponent_of_function(self) -> Node:
        node = self.exponent()
        return MINUS_ONE if node == negative(Num(Fraction(1))) else node

    def bare_argument(self) -> Node:
        factors = [self.factor()]
        while self.starts_atom() and self.peek().kind in ("num", "name", "cmd"):
            factors.append(self.factor())
        if self.peek()[:2] == ("op", "/") and all(isinstance(factor, Name | Num) for factor in factors):
            self.take()  # `\sin \pi/6`
            factors.append(inverse(self.factor()))
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def bracketed(self, shape: str) -> Node:
        if shape not in ("()", "[", "group", "floor", "ceil"):
            raise Unreadable("a set within an expression")
        bars, self.bars = self.bars, 0
        node = self.sum()
        self.bars = bars
        token = self.peek()
        self.expect("close")
        if {"()": ")", "[": "]"}.get(shape, shape) != token.text:
            raise Unreadable("brackets that do not match")
        return Call(shape, (node,)) if shape in ("floor", "ceil") else node

    def root(self) -> Node:
        if self.accept("open", "["):
            degree = self.sum()
            self.expect("close", "]")
            return Call("root", (self.group(), degree))
        if self.peek()[:2] == ("open", "()"):
            return Call("root", (self.atom(), Num(Fraction(2))))
        return Call("root", (self.number_or_group(), Num(Fraction(2))))

    def number_or_group(self) -> Node:
        """`\\sqrt3` and `√12`: TeX would take one digit, but a writer who leaves out the braces means the number."""
        if self.peek().kind == "num":
            return numeral(self.take().text)
        return self.group()


_ATOMS: dict[str, Callable[[_Parser, str], Node]] = {
    "num": _Parser.number,
    "name": _Parser.named,
    "func": _Parser.called,
    "open": _Parser.bracketed,
}
_OPERATORS: dict[tuple[str, ...], Callable[[_Parser], Node]] = {
    ("mark", "bar"): _Parser.absolute,
    ("cmd", "frac"): _Parser.fraction,
    ("cmd", "binom"): _Parser.binomial,
    ("cmd", "over"): _Parser.overlined,
    ("cmd", "sqrt"): _Parser.root,
}


def parse(tokens: Sequence[Token]) -> Node:
    r"""The expression that tokens write.

    Raises:
        Unreadable: for tokens that are no expression of numbers, names, operators and functions, or that nest too
            deeply.

    >>> from larpo_ir.tasks.math.tokens import tokens
    >>> parse(tokens(r"1\frac{1}{2}")) == parse(tokens("1 1/2")), parse(tokens("2!"))
    (True, Call(function='factorial', arguments=(Num(value=Fraction(2, 1), decimals=0, digits=0),)))
    """
    parser = _Parser(tokens)
    node = parser.sum()
    if parser.peek().kind != "end":
        raise Unreadable(f"{parser.peek().text!r} after an expression")
    return node
