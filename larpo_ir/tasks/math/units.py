r"""Meaning of the words and signs beside a number: units, currency, percent, scale, marks that decide like a sign.

* A **scale** word multiplies: 5 million is 5,000,000, two dozen are 24.
* A **unit** known here has a dimension and a size: 5 feet are not 5 inches but 60, and \$5 is 500 cents.
* A **mark** decides like a sign: 30° N is not 30° S, 6 AM is not 6 PM.
* **Other words** (`eggs`, `square units`, `ways`) do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from larpo_ir.tasks.math.tokens import Token

SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "millions": 10**6, "billion": 10**9, "billions": 10**9,
    "trillion": 10**12, "trillions": 10**12, "dozen": 12, "dozens": 12, "thousands": 10**3, "hundreds": 10**2,
}  # fmt: skip

_MARKS = {
    "am": "am", "pm": "pm", "a.m.": "am", "p.m.": "pm",
    "north": "n", "south": "s", "east": "e", "west": "w", "northeast": "ne", "northwest": "nw", "southeast": "se",
    "southwest": "sw", "clockwise": "cw", "counterclockwise": "ccw", "anticlockwise": "ccw", "bc": "bc", "ad": "ad",
    "bce": "bc", "ce": "ad", "loss": "loss", "profit": "profit", "below": "below", "above": "above",
}  # fmt: skip
_COMPASS = {"n", "s", "e", "w"}  # letters after a degree sign

Dimensions = tuple[tuple[str, int], ...]


def _family(dimension: str, **sizes: str) -> dict[str, tuple[str, Fraction]]:
    """`size="name name"`: names of the unit that is so many basic units long."""
    return {
        name: (dimension, Fraction(size.lstrip("_").replace("_", "/")))
        for size, names in sizes.items()
        for name in names.split()
    }


UNITS: dict[str, tuple[str, Fraction]] = {
    **_family(
        "length", _1="m meter meters metre metres", _1000="km kilometer kilometers kilometre kilometres",
        _1_100="cm centimeter centimeters centimetre centimetres", _1_1000="mm millimeter millimeters millimetre",
        _3048_10000="ft foot feet", _254_10000="in inch inches", _9144_10000="yd yds yard yards",
        _1609344_1000="mi mile miles",
        _1_1000000="um micrometer micrometers micron microns", _1_1000000000="nm nanometer nanometers",
    ),
    **_family("time", _1="s sec secs second seconds", _60="min mins minute minutes", _3600="h hr hrs hour hours",
              _86400="day days", _604800="week weeks wk wks"),
    **_family("calendar", _1="month months", _12="year years yr yrs", _120="decade decades",
              _1200="century centuries"),
    **_family("mass", _1="g gm gms gram grams", _1000="kg kgs kilogram kilograms", _1_1000="mg milligram milligrams",
              _1_1000000="ug microgram micrograms"),
    **_family("weight", _1="oz ounce ounces", _16="lb lbs pound pounds", _32000="ton tons"),
    **_family("volume", _1="l liter liters litre litres", _1_1000="ml milliliter milliliters millilitre"),
    **_family("measure", _1="cup cups", _2="pt pint pints", _4="qt quart quarts", _16="gal gallon gallons"),
    **_family("money", _1="dollar dollars usd", _1_100="cent cents penny pennies", _1_10="dime dimes",
              _1_20="nickel nickels", _1_4="quarter quarters"),
    **_family("euro", _1="euro euros"), **_family("sterling", _1="sterling"),
    **_family("rupee", _1="rupee rupees"), **_family("yen", _1="yen"),
    **_family("fahrenheit", _1="fahrenheit"), **_family("celsius", _1="celsius centigrade"),
    **_family("kelvin", _1="kelvin kelvins"), **_family("radian", _1="rad radian radians"),
    **_family("force", _1="newton newtons"), **_family("energy", _1="joule joules j"),
    **_family("power", _1="watt watts"), **_family("resistance", _1="ohm ohms"),
}  # fmt: skip
# Units written as one word, made of others.
_COMPOUND = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h", "cm2": "cm^2", "m2": "m^2"}
_LETTERS = frozenset("mgshLlJFCKNSEW")  # units of one letter outside of `\text`
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}


@dataclass
class Beside:
    """Meaning of the words beside a number: powers of the kinds of units, and their size in basic units."""

    scale: Fraction = Fraction(1)
    percent: bool = False
    size: Fraction = Fraction(1)
    dimensions: dict[str, int] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()

    def unit(self) -> dict[str, int]:
        """The powers of the kinds of units that are left: none for `m/m`."""
        return {name: power for name, power in self.dimensions.items() if power}

    def add(self, name: str, power: int) -> None:
        """Multiply by a power of a unit."""
        for word, sign in _made_of(name):
            dimension, size = UNITS[word]
            self.dimensions[dimension] = self.dimensions.get(dimension, 0) + sign * power
            self.size *= size ** (sign * power)


def _made_of(name: str) -> list[tuple[str, int]]:
    """A unit as powers of those in `UNITS`: `mi/h` for `mph`."""
    top, _, bottom = _COMPOUND.get(name, name).partition("/")
    base, _, power = top.partition("^")
    return [(base, int(power or 1)), *([(bottom, -1)] if bottom else [])]


def is_unit_letter(token: Token) -> bool:
    return token.kind == "name" and token.text in _LETTERS


def is_known(word: str) -> bool:
    """Whether a word beside a number changes the value."""
    return word in _KNOWN


# --- Reading ------------------------------------------------------------------------------------------------


_SIGNS = {"$": "dollar", "'": "ft", "''": "in"}
_DEGREES = {"f": "fahrenheit", "c": "celsius", "k": "kelvin"}
_KNOWN = {*SCALES, *_MARKS, *_POWERS, *UNITS, *_COMPOUND, "per", "percent", "degrees", "degree"}


def read(run: Sequence[Token], *, degrees: bool = False) -> Beside:
    """The meaning of a run of words, `/`, powers, `%`, `$` and degree signs.

    `degrees`: a degree sign stood before the run.
    """
    reader = _Reader(degrees)
    index = 0
    while index < len(run):
        index += reader.take(run[index : index + 5])
    return reader.beside


def _word_of(token: Token) -> str:
    """A word, or a letter as a word; nothing for other tokens."""
    return token.text.casefold() if token.kind in ("word", "name") else ""


@dataclass
class _Reader:
    """The meaning of the tokens so far, and the words that decide how the next unit counts."""

    degrees: bool  # F, C and K are temperatures, and N, S, E and W directions
    beside: Beside = field(default_factory=Beside)
    sign: int = 1  # of the next unit's power: -1 behind `per` and `/`
    power: int = 1  # of the next unit: 2 behind `square`
    last: str | None = None  # the unit before, which `^2` and `squared` raise
    last_sign: int = 1

    def take(self, ahead: Sequence[Token]) -> int:
        """Add the meaning of the first of these tokens; return how many tokens that took."""
        token, word = ahead[0], _word_of(ahead[0])
        if token.kind == "mark" and token.text in ("%", "deg", *_SIGNS):
            self._take_sign(token.text)
        elif word == "per" and ahead[1:2] and ahead[1].text == "cent":
            self.beside.percent = True
            return 2
        elif word == "per" or token.text == "/":
            self.sign = -1
        elif token.text == "^":
            return self._take_power(ahead)
        elif self.degrees and word in _DEGREES:
            self.beside.add(_DEGREES[word], 1)
        elif self.degrees and word in _COMPASS:
            self._mark(word)
        else:
            self._take_word(word)
        return 1

    def _take_sign(self, sign: str) -> None:
        if sign == "%":
            self.beside.percent = True
        elif sign == "deg":
            self.degrees = True
        else:
            self.beside.add(_SIGNS[sign], 1)

    def _take_power(self, ahead: Sequence[Token]) -> int:
        """Raise the unit before to `^2`, `^{2}` or `^{-2}`; other powers do not count."""
        width = next((i for i, token in enumerate(ahead) if token.kind == "num"), 0)
        if self.last is not None and width and ahead[width].text in ("1", "2", "3"):
            power = int(ahead[width].text) * (-1 if ahead[width - 1].text == "-" else 1)
            self.beside.add(self.last, self.last_sign * (power - 1))
        return 1 + width

    def _take_word(self, word: str) -> None:
        if word == "percent":
            self.beside.percent = True
        elif word in _MARKS:
            self._mark(_MARKS[word])
        elif word in SCALES and not self.beside.unit():
            self.beside.scale *= SCALES[word]
        elif word in ("degree", "degrees"):
            self.degrees = True
        elif word in ("squared", "cubed") and self.last is not None:
            self.beside.add(self.last, self.last_sign * (_POWERS[word] - 1))
        elif word in _POWERS:
            self.power = _POWERS[word]
        elif word in UNITS or word in _COMPOUND:
            self.beside.add(word, self.sign * self.power)
            self.last, self.last_sign = word, self.sign
            # `2 m of 3`: a unit behind `of` does not count, one behind `per` does.
            self.sign = self.power = 1

    def _mark(self, mark: str) -> None:
        self.beside.marks |= {mark}
