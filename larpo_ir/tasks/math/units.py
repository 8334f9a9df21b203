r"""What stands beside a number: units, words, currency, percent, scale, and marks that decide like a sign.

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
_COMPOUND: dict[str, tuple[str, Fraction]] = {
    "mph": ("mi/h", Fraction(1)), "kph": ("km/h", Fraction(1)), "kmh": ("km/h", Fraction(1)),
    "cm2": ("cm^2", Fraction(1)), "m2": ("m^2", Fraction(1)),
}  # fmt: skip
_LETTERS = {
    "m",
    "g",
    "s",
    "h",
    "L",
    "l",
    "J",
    "F",
    "C",
    "K",
    "N",
    "S",
    "E",
    "W",
}  # units of one letter outside of `\text`
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}


@dataclass
class Beside:
    """What stands beside a number. `dimensions`: powers of the kinds of units, `size` in their basic units."""

    scale: Fraction = Fraction(1)
    percent: bool = False
    size: Fraction = Fraction(1)
    dimensions: dict[str, int] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()

    def unit(self) -> dict[str, int]:
        return {name: power for name, power in self.dimensions.items() if power}

    def add(self, name: str, power: int) -> None:
        for word, sign in _made_of(name):
            dimension, size = UNITS[word]
            self.dimensions[dimension] = self.dimensions.get(dimension, 0) + sign * power
            self.size *= size ** (sign * power)


def _made_of(name: str) -> list[tuple[str, int]]:
    formula = _COMPOUND[name][0] if name in _COMPOUND else name
    top, _, bottom = formula.partition("/")
    base, _, power = top.partition("^")
    return [(base, int(power or 1)), *([(bottom, -1)] if bottom else [])]


def is_unit_letter(token: Token) -> bool:
    return token.kind == "name" and token.text in _LETTERS


def read(run: Sequence[Token], *, degrees: bool = False) -> Beside:
    """What a run of words, `/`, powers, `%`, `$` and degree signs says. `degrees`: a degree sign stood before it."""
    beside = Beside()
    marks: set[str] = set()
    sign, sign_of_last, power, index = 1, 1, 1, 0
    last: str | None = None
    while index < len(run):
        token = run[index]
        word = token.text if token.kind == "word" else token.text.casefold() if token.kind == "name" else ""
        after = run[index + 1].text if index + 1 < len(run) else ""
        if token.kind == "mark" and token.text in ("%", "$", "deg", "'", "''"):
            beside.percent |= token.text == "%"
            degrees |= token.text == "deg"
            if token.text in ("$", "'", "''"):
                beside.add({"$": "dollar", "'": "ft", "''": "in"}[token.text], 1)
        elif word == "percent" or (word == "per" and after == "cent"):
            beside.percent = True
            index += word == "per"
        elif word in ("per",) or token.text in ("/",):
            sign = -1
        elif token.text == "^":
            width = next((i for i, part in enumerate(run[index + 1 : index + 5], 1) if part.kind == "num"), 0)
            if last is not None and width and run[index + width].text in ("1", "2", "3"):
                inverse = run[index + width - 1].text == "-"
                beside.add(
                    last, sign_of_last * (-1 if inverse else 1) * int(run[index + width].text) - sign_of_last
                )
            index += width
        elif degrees and word in ("f", "c", "k"):
            beside.add({"f": "fahrenheit", "c": "celsius", "k": "kelvin"}[word], 1)
        elif degrees and word in _COMPASS:
            marks.add(word)
        elif word in _MARKS:
            marks.add(_MARKS[word])
        elif word in SCALES and not beside.unit():
            beside.scale *= SCALES[word]
        elif word in ("degree", "degrees"):
            degrees = True
        elif word in ("squared", "cubed") and last is not None:
            beside.add(last, sign_of_last * (_POWERS[word] - 1))
        elif word in _POWERS:
            power = _POWERS[word]
        elif word in UNITS or word in _COMPOUND:
            beside.add(word, sign * power)
            last, power, sign_of_last = word, 1, sign
            # `2 m of 3`: what a unit is of does not count, what it is per does.
            sign = 1
        index += 1
    beside.marks = frozenset(marks)
    return beside


def is_known(word: str) -> bool:
    """Whether a word beside a number changes what it says."""
    return (
        word in SCALES
        or word in _MARKS
        or word in _POWERS
        or word in UNITS
        or word in _COMPOUND
        or word in _SAID
    )


_SAID = {"per", "percent", "degrees", "degree"}
