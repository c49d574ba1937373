"""How ``.env`` is written: in one step, for nobody else to read, with all else in it."""

import os
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from tempfile import NamedTemporaryFile

from dotenv.parser import parse_stream

_PLAIN = re.compile(r"[\w.:,/+@%-]*")

_HEAD = "# Written by crypto-platform init."


def updated(text: str, values: Mapping[str, str]) -> str:
    """The text of a ``.env`` that sets some variables, and has every other line as it was.

    Args:
        text: The text as it is.
        values: What is to be set. A variable that is set already is so where it stands.
    """
    lines = []
    there = set()
    for binding in parse_stream(StringIO(text)):
        if binding.key and binding.key in values:
            there.add(binding.key)
            lines.append(f"{_before(binding.original.string)}{_line(binding.key, values)}\n")
        else:
            lines.append(binding.original.string)
    whole = "".join(lines)
    added = [_line(name, values) for name in values if name not in there]
    if not added:
        return whole
    if whole and not whole.endswith("\n"):
        whole += "\n"
    between = "\n" if whole.strip() else ""
    return whole + between + "\n".join([_HEAD, *added]) + "\n"


def write(path: Path, text: str) -> None:
    """Put a text in a file's place, in one step, with a mode that lets the user alone read it.

    Args:
        path: The file; where it is a link, the file that it leads to.
        text: All of the text.

    Raises:
        OSError: It may not be written.
    """
    path = path.resolve()
    # It is made with that mode: there is no moment when others could read the key.
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=".env.", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _before(text: str) -> str:
    """The empty lines that the parser counts to the variable below them."""
    return text[: len(text) - len(text.lstrip("\r\n"))]


def _line(name: str, values: Mapping[str, str]) -> str:
    value = values[name]
    if not _PLAIN.fullmatch(value):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        value = f"'{escaped}'"
    return f"{name}={value}"
