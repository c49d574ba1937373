"""Columns of numbers in the tables of the commands."""

from collections.abc import Sequence

from rich.text import Text


def column(texts: Sequence[str], name: str) -> list[Text]:
    """The cells of a column, all as wide as the widest of them.

    A table that sets them to the right cuts the blanks behind a number, by which the points stand
    below each other; it leaves what is set to the left.

    Args:
        texts: What stands in the cells; each line is set to the right.
        name: The column's name, which may be wider than all of them.
    """
    lines = [text.split("\n") for text in texts]
    width = max(map(len, [name, *(line for one in lines for line in one)]))
    return [Text("\n".join(line.rjust(width) for line in one), justify="left") for one in lines]
