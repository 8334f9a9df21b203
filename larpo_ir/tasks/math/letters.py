"""Letters next to each other: a word, or a product of names."""

from __future__ import annotations

# Words of one to three letters, which letters next to each other would else be read as products.
_SHORT = """
the is are was of per for has had and or no yes not all an to at by on in with day days hr hrs min mins sec secs
ft yd yds kgs gm gms cms kms mls yrs wks pcs mi lb lbs oz km cm mm nm kg mg ml mph kph kmh am pm men cat cats
dog dogs egg eggs pen pens box cup cups way ways odd red sq cu gal qt pt st nd rd th deg usd ton tons bus car
cars bag bags toy toys ago old age her his she he we it set one two six ten mon tue wed thu fri sat sun jan feb
mar apr may jun jul aug sep oct nov dec
"""
_SHORT_WORDS = frozenset(_SHORT.split())
_UNIT_WORDS = frozenset(
    ["Pa", "kPa", "MPa", "Hz", "kHz", "MHz", "GHz", "kJ", "kW", "kWh", "MW", "mol", "eV", "amp", "amps"]
)  # as they are written
_VOWELS = "aeiou"
_NAMES = set("abcdefxyz")


def is_word(letters: str, spaced: bool) -> bool:
    """Tell whether letters of a formula are a word: long enough to be one, or a short one behind a blank."""
    lower = letters.casefold()
    if len(letters) == 1:
        return False
    if lower in _SHORT_WORDS or letters in _UNIT_WORDS:
        return True
    long = len(letters) >= 4 or (spaced and len(letters) == 3 and letters[1:].islower())
    return long and any(letter in _VOWELS for letter in lower) and not _is_product(lower)


def _is_product(lower: str) -> bool:
    """Tell whether letters are names in the order of the alphabet, each once: `abc`, `xyz`."""
    return set(lower) <= _NAMES and lower == "".join(sorted(set(lower)))
