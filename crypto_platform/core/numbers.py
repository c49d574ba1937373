"""Numbers as people read them: in the report, in the UI's metadata and on the command line."""

import math
from collections.abc import Callable, Sequence

Value = float | int | None

UNKNOWN = "\N{EN DASH}"
"""Stands for a number that is not known."""

_MINUS = "\N{MINUS SIGN}"

# From here on, a column is written in units.
_IN_UNITS = 1e7

_UNITS = ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " K"))

FIGURE_SPACE = "\N{FIGURE SPACE}"
"""A blank as wide as a digit, where digits are as wide as each other."""

# Digits that a price has where all of it is told, and from where on it has more before the point.
_DIGITS = 8
_WHOLE = 10.0**_DIGITS

# What nobody reads as percent any more.
_FACTOR = 1e6


def compact(number: Value, digits: int | None = 2, missing: str = "") -> str:
    """A number of any size in a few digits, as 43.56 B; below a thousand it has no unit.

    Args:
        number: The number.
        digits: Digits after the point, before a unit; ``None`` for as few as it takes, as on an
            axis.
        missing: What stands for one that is not known.
    """
    if number is None or math.isnan(number):
        return missing
    size = abs(number)
    for unit, letter in _UNITS:
        # What rounds up to the next thousand belongs to the next unit.
        if size >= unit * 0.99995:
            scaled = number / unit
            return (f"{scaled:.4g}" if digits is None else f"{scaled:,.{digits}f}") + letter
    return f"{number:.4g}"


def percent(
    fraction: Value, digits: int = 1, *, signed: bool = False, missing: str = UNKNOWN
) -> str:
    """A fraction as percent: 0.05 is 5.0 %.

    Args:
        fraction: The fraction.
        digits: Digits after the point.
        signed: Whether a plus stands before what is above zero.
        missing: What stands for one that is not known.
    """
    if fraction is None or math.isnan(fraction):
        return missing
    if abs(fraction) >= _FACTOR:
        # It would be as long as its number has digits.
        return f"{fraction * 100:{'+' if signed else ''}.3g} %".replace("-", _MINUS)
    text = f"{fraction * 100:{'+' if signed else ''},.{digits}f} %"
    # What rounds to nothing has no direction; a minus is as wide as a plus.
    nothing = f"{0:.{digits}f} %"
    return nothing if text.lstrip("+-") == nothing else text.replace("-", _MINUS)


def share_percent(fraction: Value, digits: int = 2, missing: str = UNKNOWN) -> str:
    """A share of a whole as percent, which says 100 % of nothing less than the whole.

    Args:
        fraction: The share, from 0 to 1.
        digits: Digits after the point.
        missing: What stands for one that is not known.
    """
    if fraction is None or math.isnan(fraction):
        return missing
    step = 10.0 ** -(digits + 2)
    if 0 < fraction < 1:
        # One window of a million that is missing is missing.
        fraction = min(max(fraction, step), 1 - step)
    return percent(fraction, digits)


def price_text(price: Value, missing: str = UNKNOWN) -> str:
    """A price as people write it: cents above one, four digits below.

    Args:
        price: The price.
        missing: What stands for one that is not known.
    """
    if price is None or math.isnan(price):
        return missing
    return f"{price:,.2f}" if abs(price) >= 1 else f"{price:.4g}"


def exact_text(price: float) -> str:
    """A price with eight digits, and with all before the point where those are more.

    Args:
        price: The price.
    """
    return f"{price:,.0f}" if abs(price) >= _WHOLE else f"{price:,.{_DIGITS}g}"


def aligned(
    numbers: Sequence[Value],
    missing: str = "",
    pad: str = FIGURE_SPACE,
    written: Callable[[float], str] | None = None,
) -> list[str]:
    """A column of numbers whose points stand below each other where it is set to the right.

    Large ones have units. The others have two digits after the point, and those below one as many
    as tell them from their neighbours: what the longest has more, the others have as blanks.

    Args:
        numbers: The numbers.
        missing: What stands for one that is not known.
        pad: A blank as wide as a digit.
        written: How to write each of them instead, whatever its size.
    """
    known = [abs(one) for one in numbers if one is not None and math.isfinite(one)]
    if written is None and max(known, default=0) >= _IN_UNITS:
        return [compact(one, missing=missing) for one in numbers]

    def text(number: Value) -> str:
        if number is None or math.isnan(number):
            return missing
        if written:
            return written(number)
        return "0.00" if number == 0 else price_text(number)

    texts = [text(one) for one in numbers]
    # The point counts too: a whole number has none.
    tails = [len("".join(one.partition(".")[1:])) for one in texts]
    return [
        one if one == missing else one + pad * (max(tails) - tail)
        for one, tail in zip(texts, tails, strict=True)
    ]


def small(number: float, digits: int = 1) -> str:
    """A number with a few digits, of which a little is not nothing: 0.04 is < 0.1.

    Args:
        number: The number, not below zero.
        digits: Digits after the point.
    """
    least = 10.0**-digits
    if 0 < number < least:
        return f"< {least:.{digits}f}"
    return f"{number:,.{digits}f}"


def count(number: int, noun: str) -> str:
    """A number of things, as ``1 coin`` and ``1,240 coins``.

    Args:
        number: How many there are.
        noun: The singular.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
