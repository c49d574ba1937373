"""The lake: files in a folder or a bucket, and the manifests that make them count.

A run adds files of its own under ``…/run=<run id>/`` and then commits its windows: a window's
manifest is replaced in one put, so a reader sees the old window or the new one, never half of
either, and what a killed run left behind does not count.
"""

import gzip
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import cloudpathlib
from crypto_platform.core.streams import DATASETS, Dataset, Stream, Window, WindowBatch
from crypto_platform.lake.manifests import LakeFile, Manifest
from lambda_function.lake import packed, put

MANIFEST_NAME = "_manifest.json"

# A run that is still writing has files that no manifest names yet: only what is older than any
# run lasts is swept.
SWEEP_AFTER = timedelta(days=1)

# Enough to hide a bucket's latency behind its own.
_REQUESTS_AT_ONCE = 16

# S3's error codes for an account that is not set up: another attempt would get the same.
_ACCESS_ERRORS = {"403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "NoSuchBucket"}

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class MissingWindowError(PermanentFailure):
    """A window that a stage needs was not materialized by the stage before it."""


class CorruptFileError(PermanentFailure):
    """A file is not what its manifest says it is."""


class LakeRefusedError(PermanentFailure):
    """The bucket of a layer is not there, or may not be used."""


class Layer:
    """One root of the lake: all raw files, or all transformed ones.

    Args:
        root: A folder's path or an ``s3://`` address.
        name: ``raw`` or ``transformed``, for messages.
        made_by: Name of the asset that fills it, for messages.
    """

    def __init__(self, root: str, name: str, made_by: str) -> None:
        """See the class."""
        self.root = root.rstrip("/")
        self._is_bucket = root.startswith("s3://")
        self.name = name
        self._made_by = made_by

    def each(self, function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
        """Apply a function to many items; its results are in their order.

        Args:
            function: Reads or writes here.
            items: What it is given, one at a time.
        """
        if not self._is_bucket:
            # A disk has no latency to hide: threads would only wait for each other.
            return [function(item) for item in items]
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            return list(pool.map(function, items))

    def uri(self, path: str) -> str:
        """The address of a path below the root."""
        return f"{self.root}/{path}"

    def path(self, uri: str) -> str:
        """The path below the root of an address; the inverse of ``uri``."""
        return uri.removeprefix(f"{self.root}/")

    def read(self, path: str) -> bytes | None:
        """The content at a path, or ``None`` where nothing is."""
        at = self._at(path)
        if not self._is_bucket:
            try:
                content: bytes = at.read_bytes()
            except FileNotFoundError:
                return None
            return content
        # Not the path's own read_bytes: it keeps a copy, and takes what was replaced within the
        # same second for the same.
        s3 = at.client.client
        with self._explaining_refusal():
            try:
                stored: bytes = s3.get_object(Bucket=at.bucket, Key=at.key)["Body"].read()
            except s3.exceptions.NoSuchKey:
                return None
            return stored

    def put(self, path: str, content: bytes) -> None:
        """Write content so that no reader ever sees a part of it.

        Args:
            path: Relative to the root.
            content: All of the file.

        Raises:
            LakeRefusedError: The bucket is not there, or may not be used.
        """
        with self._explaining_refusal():
            put(self.uri(path), content)

    def remove(self, path: str) -> None:
        """Delete what is at a path, if anything is."""
        with self._explaining_refusal("What was committed counts; an old file stays."):
            self._at(path).unlink(missing_ok=True)

    def paths(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted; empty where there is no such folder."""
        return sorted(path for path, _ in self._files(folder))

    def manifest(self, stream: Stream, window: Window) -> Manifest | None:
        """A window's manifest, or ``None`` where the window was never committed.

        Args:
            stream: The stream of the window.
            window: The window.
        """
        content = self.read(f"{stream.window_folder(window)}/{MANIFEST_NAME}")
        return Manifest.model_validate_json(content) if content else None

    def manifests(self, stream: Stream, windows: Sequence[Window]) -> list[Manifest]:
        """The manifests of windows that all have to be there.

        Args:
            stream: The stream of the windows.
            windows: The windows; the manifests are in their order.

        Raises:
            MissingWindowError: Names the windows that were never committed, and what to do.
        """
        found = self.each(lambda window: self.manifest(stream, window), windows)
        missing = [w for w, manifest in zip(windows, found, strict=True) if manifest is None]
        if missing:
            raise MissingWindowError(
                f"The {self.name} lake has nothing for {WindowBatch(stream, missing).describe()}: "
                f"materialize {stream.name}/{self._made_by} for these partitions first."
            )
        return [manifest for manifest in found if manifest is not None]

    def commit(self, stream: Stream, manifests: Sequence[Manifest]) -> None:
        """Make windows count, each in one put, then sweep what they no longer name.

        Args:
            stream: The stream of the windows.
            manifests: One a window.
        """

        def commit_window(manifest: Manifest) -> None:
            replaced = self.manifest(stream, manifest.window)
            path = f"{stream.window_folder(manifest.window)}/{MANIFEST_NAME}"
            self.put(path, manifest.model_dump_json().encode())
            self._sweep(stream, [manifest, replaced] if replaced else [manifest])

        self.each(commit_window, manifests)

    def check(self, stream: Stream, manifests: Sequence[Manifest]) -> None:
        """Compare every file of the windows with its checksum.

        Args:
            stream: The stream of the windows.
            manifests: One a window.

        Raises:
            CorruptFileError: Names the files, their windows and what to do.
        """
        files = [(manifest, file) for manifest in manifests for file in manifest.files]

        def is_intact(entry: tuple[Manifest, LakeFile]) -> bool:
            content = self.read(entry[1].path)
            return content is not None and sha256(content) == entry[1].sha256

        intact = self.each(is_intact, files)
        corrupt = [entry for entry, fine in zip(files, intact, strict=True) if not fine]
        if corrupt:
            batch = WindowBatch(stream, [manifest.window for manifest, _ in corrupt])
            raise CorruptFileError(
                f"{len(corrupt)} {self.name} file(s) of {batch.describe()} are gone or were "
                "changed after they were written: "
                f"{', '.join(self.uri(file.path) for _, file in corrupt[:5])}. "
                f"Materialize {stream.name}/{self._made_by} for these partitions again."
            )

    def describe_file(self, dataset: Dataset, path: str, rows: int, content: bytes) -> LakeFile:
        """A file as its window's manifest names it.

        Args:
            dataset: The dataset of its rows.
            path: Relative to the root.
            rows: How many it has.
            content: Its bytes as stored.
        """
        return LakeFile(
            dataset=dataset, path=path, rows=rows, bytes=len(content), sha256=sha256(content)
        )

    def _sweep(self, stream: Stream, manifests: Sequence[Manifest]) -> None:
        """Delete old files of a window that neither it nor the manifest it replaced names.

        A reader may still be at the files of the replaced one; the next commit has them.
        """
        named = {file.path for manifest in manifests for file in manifest.files}
        oldest = datetime.now(UTC) - SWEEP_AFTER
        for folder in {stream.window_folder(manifests[0].window, dataset) for dataset in DATASETS}:
            for path, modified in self._files(folder):
                if path.startswith(f"{folder}/run=") and path not in named and modified < oldest:
                    self.remove(path)

    def _files(self, folder: str) -> Iterator[tuple[str, datetime]]:
        """Every file below a folder, with the time when it was written."""
        if self._is_bucket:
            yield from self._files_in_bucket(folder)
            return
        top = str(self._at(folder))
        for parent, _, names in os.walk(top):
            for name in names:
                # Other runs put and sweep files meanwhile.
                with suppress(FileNotFoundError):
                    written = Path(parent, name).stat().st_mtime
                    path = f"{folder}{parent.removeprefix(top)}/{name}"
                    yield path, datetime.fromtimestamp(written, UTC)

    def _files_in_bucket(self, folder: str) -> Iterator[tuple[str, datetime]]:
        at = self._at(folder)
        # Not the path's own listing, which asks of each object again what it is.
        listing = at.client.client.get_paginator("list_objects_v2")
        with self._explaining_refusal():
            for page in listing.paginate(Bucket=at.bucket, Prefix=f"{at.key}/"):
                for stored in page.get("Contents", ()):
                    # Some tools mark folders by objects that no file could be.
                    if stored["Key"].endswith("/"):
                        continue
                    yield self.path(f"s3://{at.bucket}/{stored['Key']}"), stored["LastModified"]

    @contextmanager
    def _explaining_refusal(self, meanwhile: str = "Nothing was committed.") -> Iterator[None]:
        """Says where S3 denies access, by whichever library, which bucket and what to do."""
        try:
            yield
        except Exception as error:
            response = getattr(error, "response", None) or {}
            if response.get("Error", {}).get("Code") not in _ACCESS_ERRORS:
                raise
            raise LakeRefusedError(
                f"The {self.name} lake, {self.root}, may not be used: {error} {meanwhile} "
                "Correct RAW_BUCKET, TRANSFORMED_BUCKET or the credentials, or attach "
                "the policy crypto-platform to whoever Dagster runs as; crypto-platform doctor "
                "looks at all of it."
            ) from error

    def _at(self, path: str) -> Any:
        return at(self.uri(path))


class Lake(dg.ConfigurableResource[None]):
    """Both layers of the lake.

    Attributes:
        raw_root: Folder or ``s3://`` address of the API's responses.
        transformed_root: Folder or ``s3://`` address of the Parquet files.
    """

    raw_root: str
    transformed_root: str

    @property
    def raw(self) -> Layer:
        """What ingestion wrote: JSON lines."""
        return Layer(self.raw_root, "raw", "raw_prices")

    @property
    def transformed(self) -> Layer:
        """What the transformation wrote: Parquet."""
        return Layer(self.transformed_root, "transformed", "transformed_prices")


def at(uri: str) -> Any:
    """The path, on disk or in a bucket, that an address names."""
    return cloudpathlib.AnyPath(uri) if "://" in uri else Path(uri)


def sha256(content: bytes) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def to_json_lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Records as gzip-compressed JSON lines; the same records give the same bytes."""
    return packed([json.dumps(record, separators=(",", ":")).encode() for record in records])


def from_json_lines(content: bytes, first: int | None = None) -> list[dict[str, Any]]:
    """Records from gzip-compressed JSON lines.

    Args:
        content: The compressed lines.
        first: How many to read, from the beginning; ``None`` for all.
    """
    with gzip.open(io.BytesIO(content)) as lines:
        return [json.loads(line) for line in islice(lines, first)]
