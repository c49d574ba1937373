"""Where what was fetched is kept: coin by coin as it arrives, object by object in the lake."""

import hashlib
import os
import re
import tempfile
import threading
import time
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Self, TypedDict
from uuid import uuid4

WRITERS = 8

_PART = re.compile(r"\..+\.[0-9a-f]{32}")
# By then nobody is at it any longer.
_LEFT_AFTER = 24 * 3600

_GZIP = 31
_FAST = 1
# What of an object on its way into a bucket is held in memory, before a disk has the rest.
_IN_MEMORY = 1024 * 1024


class LakeObject(TypedDict):
    """An object that was written.

    Attributes:
        uri: Where it is.
        rows: Its lines.
        bytes: Its size, compressed.
        sha256: Of its bytes, in hexadecimal.
    """

    uri: str
    rows: int
    bytes: int
    sha256: str


class Spool:
    """Turns coin-major arrival into object-major reading, on disk: memory stays flat.

    A coin's lines are kept as one compressed block an object, so that an object is written by one
    read a coin.

    Args:
        coins: How many coins.
    """

    def __init__(self, coins: int) -> None:
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

    def add(self, coin: int, lines: Sequence[bytes | bytearray]) -> None:
        """Keeps a coin's lines.

        Args:
            coin: Its place among the coins.
            lines: What each object has of it: any number of lines, each with its line break.
        """
        blocks = [zlib.compress(some, _FAST) if some else b"" for some in lines]
        with self._lock:
            offsets = accumulate(map(len, blocks), initial=self._end)
            self._offsets[coin] = array("Q", offsets)
            self._end = self._offsets[coin][-1]
            self._file.writelines(blocks)

    def write(self, uris: Sequence[str]) -> list[LakeObject | None]:
        """Writes each object that has any line: gzip-compressed, in the coins' order.

        Args:
            uris: Where each goes.

        Returns:
            What was written for each of ``uris``; ``None`` for an object without lines.
        """
        self._file.flush()
        with ThreadPoolExecutor(WRITERS) as pool:
            return list(pool.map(self._write, range(len(uris)), uris))

    def _write(self, place: int, uri: str) -> LakeObject | None:
        blocks = [offsets[place : place + 2] for offsets in self._offsets if offsets]
        filled = [(start, end) for start, end in blocks if start < end]
        return write_lines(uri, (self._read(*block) for block in filled)) if filled else None

    def _read(self, start: int, end: int) -> bytes:
        return zlib.decompress(os.pread(self._file.fileno(), end - start, start))


def write_lines(uri: str, lines: Iterable[bytes]) -> LakeObject:
    """Writes lines of JSON as one gzip object, whose bytes depend on nothing but the lines.

    Args:
        uri: Where it goes.
        lines: Its lines, any number of them at a time, each with its line break. They are
            compressed as they come, so that memory never has all of them.
    """
    compressor = zlib.compressobj(_FAST, wbits=_GZIP)
    checksum = hashlib.sha256()
    rows = 0
    with _new_object(uri) as stored:

        def store(part: bytes) -> None:
            checksum.update(part)
            stored.write(part)

        for some in lines:
            rows += some.count(b"\n")
            store(compressor.compress(some))
        store(compressor.flush())
        size = stored.tell()
    return {"uri": uri, "rows": rows, "bytes": size, "sha256": checksum.hexdigest()}


def packed(lines: Sequence[bytes]) -> bytes:
    """Lines as a gzip file, whose bytes depend on nothing but the lines."""
    return zlib.compress(b"\n".join([*lines, b""]), _FAST, _GZIP)


def put(uri: str, body: bytes) -> None:
    """Writes an object in one step: it is there as a whole, or it is as it was.

    Args:
        uri: A path or an ``s3://`` address.
        body: Its content.
    """
    if "://" not in uri:
        _sweep(Path(uri))
    with _new_object(uri) as stored:
        stored.write(body)


def is_part(name: str) -> bool:
    """Whether a file's name is that of a part: what becomes an object once it is whole.

    Args:
        name: The name, without its folder.
    """
    return _PART.fullmatch(name) is not None


def _sweep(path: Path) -> None:
    """Deletes the parts that killed processes left of a file, which is written again and again."""
    with suppress(FileNotFoundError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(f".{path.name}.") and is_part(entry.name):
                with suppress(FileNotFoundError):
                    if time.time() - entry.stat().st_mtime > _LEFT_AFTER:
                        Path(entry.path).unlink()


@contextmanager
def _new_object(uri: str) -> Iterator[IO[bytes]]:
    """A file to write to, which becomes the object in one step where no exception is raised."""
    path: Any = Path(uri)
    if "://" in uri:
        from cloudpathlib import AnyPath, S3Path  # noqa: PLC0415 - 0.25 s, and only for a bucket

        path = AnyPath(uri)
        if isinstance(path, S3Path):
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as body:
                yield body
                body.seek(0)
                # One request; the path's own write_bytes looks the object up first.
                path.client.client.put_object(Bucket=path.bucket, Key=path.key, Body=body)
            return
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("xb") as body:
            yield body
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
