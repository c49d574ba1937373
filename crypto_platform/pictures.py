"""Numbers and pictures for people: in the market report, in the UI and on the command line."""

import math

_UNITS = ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " K"))


def compact(number: float | None, missing: str = "") -> str:
    """A number of any size in three or four digits, as 1.12 T; ``missing`` where there is none."""
    if number is None or math.isnan(number):
        return missing
    size = abs(number)
    for unit, letter in _UNITS:
        # What rounds up to the next thousand belongs to the next unit.
        if size >= unit * 0.9995:
            return f"{number / unit:.4g}{letter}"
    return f"{number:.4g}"
