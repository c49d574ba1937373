"""Results that take long to compute and never change, kept in a folder for other processes."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from lambda_function.lake import put

T = TypeVar("T")


def kept_on_disk(folder: str | None, key: str, kind: type[T], compute: Callable[[], T]) -> T:
    """What was computed for a key, from the folder if it is there.

    Args:
        folder: The folder, made on first use; ``None`` keeps nothing.
        key: All that the result depends on.
        kind: The result's type, which JSON must be able to hold.
        compute: What computes it.
    """
    if folder is None:
        return compute()
    adapter = TypeAdapter(kind)
    file = Path(folder) / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    # Anything else than such a result is what a power failure left of it.
    with suppress(OSError, ValueError):
        return adapter.validate_json(file.read_bytes(), strict=True)
    result = compute()
    # Where it cannot be written, the next process computes it again.
    with suppress(OSError):
        put(str(file), adapter.dump_json(result))
    return result
