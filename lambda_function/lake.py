"""Where what was fetched is kept: coin by coin as it arrives, window by window in the lake."""

import hashlib
import os
import tempfile
import threading
import zlib
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Self, TypedDict
from uuid import uuid4

WRITERS = 8

_BLOCK = 32
_GZIP = 31
_FAST = 1


class LakeObject(TypedDict):
    """An object that was written.

    Attributes:
        window: Index of its window among the event's.
        uri: Where it is.
        rows: Its lines.
        bytes: Its size, compressed.
        sha256: Of its bytes, in hexadecimal.
    """

    window: int
    uri: str
    rows: int
    bytes: int
    sha256: str


class Spool:
    """Turns coin-major arrival into window-major reading, on disk: memory stays flat.

    A coin's lines, one a window, are kept as compressed blocks of neighbouring windows, so that
    reading a block of windows takes one read a coin.

    Args:
        coins: How many coins.
        windows: How many windows.
    """

    def __init__(self, coins: int, windows: int) -> None:
        self._windows = windows
        self._offsets: list[Sequence[int]] = [()] * coins
        self._file = tempfile.TemporaryFile(prefix="ingestion-")  # noqa: SIM115 - closed on exit
        self._end = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """The spool itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Deletes what it holds."""
        self._file.close()

    def add(self, coin: int, lines: Sequence[bytes]) -> None:
        """Keeps a coin's lines.

        Args:
            coin: Its place among the coins.
            lines: One a window, in the windows' order, empty for nothing.
        """
        blocks = [
            zlib.compress(b"\n".join(lines[first : first + _BLOCK]), _FAST)
            for first in range(0, len(lines), _BLOCK)
        ]
        with self._lock:
            offsets = accumulate(map(len, blocks), initial=self._end)
            self._offsets[coin] = array("Q", offsets)
            self._end = self._offsets[coin][-1]
            self._file.writelines(blocks)

    def write(self, uris: Sequence[str]) -> list[LakeObject]:
        """Writes a gzip object of JSON lines for each window that has any, in the coins' order.

        Args:
            uris: The object of each window.
        """
        self._file.flush()
        blocks = range(-(-self._windows // _BLOCK))
        with ThreadPoolExecutor(WRITERS) as pool:
            return list(chain.from_iterable(pool.map(lambda n: self._write(n, uris), blocks)))

    def _write(self, block: int, uris: Sequence[str]) -> list[LakeObject]:
        coins = [self._read(offsets, block) for offsets in self._offsets if offsets]
        windows = enumerate(zip(*coins, strict=True), start=block * _BLOCK)
        return [
            write_lines(window, uris[window], lines)
            for window, candidates in windows
            if (lines := [line for line in candidates if line])
        ]

    def _read(self, offsets: Sequence[int], block: int) -> list[bytes]:
        start, end = offsets[block : block + 2]
        return zlib.decompress(os.pread(self._file.fileno(), end - start, start)).split(b"\n")


def write_lines(window: int, uri: str, lines: Sequence[bytes]) -> LakeObject:
    """Writes lines of JSON as one gzip object.

    Args:
        window: Index of its window among the event's.
        uri: Where it goes.
        lines: The lines, without their line breaks.
    """
    body = packed(lines)
    put(uri, body)
    return {
        "window": window,
        "uri": uri,
        "rows": len(lines),
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }


def packed(lines: Sequence[bytes]) -> bytes:
    """Lines as a gzip file, whose bytes depend on nothing but the lines."""
    return zlib.compress(b"\n".join([*lines, b""]), _FAST, _GZIP)


def put(uri: str, body: bytes) -> None:
    """Writes an object in one step: it is there as a whole, or it is as it was.

    Args:
        uri: A path or an ``s3://`` address.
        body: Its content.
    """
    path: Any = Path(uri)
    if "://" in uri:
        from cloudpathlib import AnyPath, S3Path  # noqa: PLC0415 - 0.25 s, and only for a bucket

        path = AnyPath(uri)
        if isinstance(path, S3Path):
            # One request; the path's own write_bytes looks the object up and downloads it first.
            path.client.client.put_object(Bucket=path.bucket, Key=path.key, Body=body)
            return
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(body)
    part.replace(path)
