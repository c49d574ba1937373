"""The lake: files in a folder or a bucket, and the manifests that make them count.

A run adds files of its own, one a month, and then commits its windows: a month's manifest is
replaced in one put, so a reader sees the old windows or the new ones, never half of either, and
what a killed run left behind does not count. The put has a condition, that nobody replaced the
manifest meanwhile: who comes second looks again, so that runs which know nothing of each other lose
nothing.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import dagster as dg
import filelock

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import botocore_exceptions, cloudpathlib
from crypto_platform.core.streams import Dataset, Stream, Window, WindowBatch
from crypto_platform.lake.manifests import LakeFile, Manifest, MonthManifest, files_of
from lambda_function.lake import packed, put

MANIFEST_NAME = "_manifest.json"

LOCK_NAME = ".manifests.lock"
"""Held on disk while a manifest is replaced; in a bucket the put itself has a condition."""

# Enough to hide a bucket's latency behind its own.
_REQUESTS_AT_ONCE = 16

# S3's error codes for an account that is not set up: another attempt would get the same.
_ACCESS_ERRORS = {"403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "NoSuchBucket"}

# S3's error codes for a put whose condition does not hold: another run was first. The last two are
# of a put that meets another put, or a deletion, on its way.
_OUTRUN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}

Merge = Callable[[Manifest | None, Manifest], Manifest]
"""From what the lake holds of a window, if anything, and its new manifest to what is to count."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class MissingWindowError(PermanentFailure):
    """A window that a stage needs was not materialized by the stage before it."""


class CorruptFileError(PermanentFailure):
    """A file is not what its manifest says it is."""


class LakeRefusedError(PermanentFailure):
    """The bucket of a layer is not there, or may not be used."""


class StoredFile(NamedTuple):
    """A file that is there, whether or not anything names it.

    Attributes:
        path: Relative to the layer's root.
        written_at: When it was written.
        bytes: Its size as stored.
    """

    path: str
    written_at: datetime
    bytes: int


def replace(held: Manifest | None, new: Manifest) -> Manifest:
    """The ``Merge`` by which the new manifest counts, whatever was there."""
    del held
    return new


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
        self.made_by = made_by

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
        at = self._at(path)
        if not self._is_bucket:
            at.unlink(missing_ok=True)
            return
        # One request; the path's own unlink first looks twice whether the object is there.
        with self._explaining_refusal("What was committed counts; an old file stays."):
            at.client.client.delete_object(Bucket=at.bucket, Key=at.key)

    def remove_folder(self, folder: str) -> None:
        """Delete all that is in a folder, and the folder."""
        if not self._is_bucket:
            shutil.rmtree(self._at(folder), ignore_errors=True)
            return
        self.each(self.remove, self.paths(folder))

    def paths(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted; empty where there is no such folder."""
        return sorted(file.path for file in self.files(folder))

    def folders(self, stream: Stream) -> list[str]:
        """The folders of a stream in which anything was ever committed, the oldest first.

        Args:
            stream: The stream.
        """
        top = stream.dataset_folder("prices")
        parts = (path.removeprefix(f"{top}/").split("/") for path in self.paths(top))
        return [
            f"{top}/{one[0]}"
            for one in parts
            if one[1:] == [MANIFEST_NAME] and folder_start(stream, one[0]) is not None
        ]

    def subfolders(self, folder: str, beginning: str) -> Iterator[str]:
        """Paths of the folders in a folder whose names begin with a text, in any order.

        Args:
            folder: Where they are; it need not be there.
            beginning: Of their names.
        """
        if not self._is_bucket:
            with suppress(FileNotFoundError), os.scandir(self._at(folder)) as entries:
                for entry in entries:
                    if entry.name.startswith(beginning) and entry.is_dir():
                        yield f"{folder}/{entry.name}"
            return
        at = self._at(folder)
        listing = at.client.client.get_paginator("list_objects_v2")
        with self._explaining_refusal():
            for page in listing.paginate(
                Bucket=at.bucket, Prefix=f"{at.key}/{beginning}", Delimiter="/"
            ):
                for common in page.get("CommonPrefixes", ()):
                    yield self.path(f"s3://{at.bucket}/{common['Prefix'].rstrip('/')}")

    def month(self, stream: Stream, folder: str) -> MonthManifest:
        """The manifest of a folder; without windows where nothing was ever committed.

        Args:
            stream: The stream.
            folder: What ``Stream.by_folder`` names.
        """
        return self._month(stream, folder)[0]

    def held(self, stream: Stream, windows: Sequence[Window]) -> list[Manifest | None]:
        """The manifests of windows, or ``None`` for those that were never committed.

        Args:
            stream: The stream of the windows.
            windows: The windows; what is held is in their order.
        """
        folders = list(stream.by_folder(windows))
        months = self.each(lambda folder: self.month(stream, folder), folders)
        by_start = {start: held for month in months for start, held in month.windows.items()}
        return [by_start.get(window.start) for window in windows]

    def manifests(self, stream: Stream, windows: Sequence[Window]) -> list[Manifest]:
        """The manifests of windows that all have to be there.

        Args:
            stream: The stream of the windows.
            windows: The windows; the manifests are in their order.

        Raises:
            MissingWindowError: Names the windows that were never committed, and what to do.
        """
        found = self.held(stream, windows)
        missing = [w for w, manifest in zip(windows, found, strict=True) if manifest is None]
        if missing:
            raise MissingWindowError(
                f"The {self.name} lake has nothing for {WindowBatch(stream, missing).describe()}: "
                f"materialize {stream.name}/{self.made_by} for these partitions first."
            )
        return [manifest for manifest in found if manifest is not None]

    def commit(
        self, stream: Stream, manifests: Sequence[Manifest], merge: Merge = replace
    ) -> list[Manifest]:
        """Make windows count, all of a month in one put.

        Args:
            stream: The stream of the windows.
            manifests: One a window.
            merge: From what the lake holds of a window, if anything, and its new manifest to what
                counts from now on. It is asked again where another run was first, and may refuse
                by raising: then nothing of that month was changed.

        Returns:
            What counts, in the order of ``manifests``.
        """
        by_window = {manifest.window: manifest for manifest in manifests}

        def commit_month(entry: tuple[str, list[Window]]) -> list[Manifest]:
            folder, windows = entry
            news = [by_window[window] for window in windows]
            return self._commit_month(stream, folder, news, merge)

        months = self.each(commit_month, stream.by_folder(by_window).items())
        committed = {manifest.window: manifest for month in months for manifest in month}
        return [committed[manifest.window] for manifest in manifests]

    def _commit_month(
        self, stream: Stream, folder: str, news: Sequence[Manifest], merge: Merge
    ) -> list[Manifest]:
        def merged(month: MonthManifest) -> MonthManifest:
            held = month.windows
            counts = [merge(held.get(new.window.start), new) for new in news]
            changed = [one for one in counts if one is not held.get(one.window.start)]
            return month.with_windows(changed, datetime.now(UTC)) if changed else month

        windows = self.update_month(stream, folder, merged).windows
        return [windows[new.window.start] for new in news]

    def update_month(
        self, stream: Stream, folder: str, change: Callable[[MonthManifest], MonthManifest]
    ) -> MonthManifest:
        """Replace a month's manifest by what a function makes of it.

        Args:
            stream: The stream.
            folder: What ``Stream.by_folder`` names.
            change: From the manifest to the new one, or to itself for no change. It is asked again
                where another run was first.
        """
        while True:
            month, version = self._month(stream, folder)
            changed = change(month)
            path = f"{folder}/{MANIFEST_NAME}"
            if changed is month or self._put_if_unchanged(path, changed.to_json(), version):
                return changed

    def _month(self, stream: Stream, folder: str) -> tuple[MonthManifest, str | None]:
        content, version = self._read_version(f"{folder}/{MANIFEST_NAME}")
        if content is None:
            return MonthManifest(stream.name), None
        return MonthManifest.from_json(content), version

    def check(self, stream: Stream, manifests: Sequence[Manifest]) -> None:
        """Compare every file of the windows with its checksum.

        Args:
            stream: The stream of the windows.
            manifests: One a window.

        Raises:
            CorruptFileError: Names the files, their windows and what to do.
        """
        files = files_of(manifests)

        intact = self.each(self.is_intact, files)
        corrupt = [file for file, fine in zip(files, intact, strict=True) if not fine]
        if corrupt:
            hit = [m.window for m in manifests if any(file in corrupt for file in m.files)]
            raise CorruptFileError(
                f"{len(corrupt)} {self.name} file(s) of {WindowBatch(stream, hit).describe()} are "
                "gone or were changed after they were written: "
                f"{', '.join(self.uri(file.path) for file in corrupt[:5])}. "
                f"Materialize {stream.name}/{self.made_by} for these partitions again."
            )

    def is_intact(self, file: LakeFile) -> bool:
        """Whether a file is there, and as it was written."""
        content = self.read(file.path)
        return content is not None and sha256(content) == file.sha256

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

    def move(self, source: str, target: str) -> None:
        """Give a file another path, in one step: on disk it is renamed, in a bucket copied first.

        Args:
            source: Where it is.
            target: Where it is to be; what is there is replaced.
        """
        if not self._is_bucket:
            there = self._at(target)
            there.parent.mkdir(parents=True, exist_ok=True)
            self._at(source).replace(there)
            return
        old, new = self._at(source), self._at(target)
        with self._explaining_refusal():
            old.client.client.copy_object(
                Bucket=new.bucket, Key=new.key, CopySource={"Bucket": old.bucket, "Key": old.key}
            )
        self.remove(source)

    def _read_version(self, path: str) -> tuple[bytes | None, str | None]:
        """What is at a path, and by which its version is known to ``_put_if_unchanged``."""
        if not self._is_bucket:
            content = self.read(path)
            return content, None if content is None else sha256(content)
        at = self._at(path)
        s3 = at.client.client
        with self._explaining_refusal():
            try:
                stored = s3.get_object(Bucket=at.bucket, Key=at.key)
            except s3.exceptions.NoSuchKey:
                return None, None
            return stored["Body"].read(), stored["ETag"]

    def _put_if_unchanged(self, path: str, content: bytes, version: str | None) -> bool:
        """Write content unless another run wrote there since a version was read.

        Args:
            path: Relative to the root.
            content: All of the file.
            version: What ``_read_version`` gave; ``None`` for no file.

        Returns:
            Whether it was written.
        """
        if not self._is_bucket:
            Path(self._at("")).mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self._at(LOCK_NAME)):
                if self._read_version(path)[1] != version:
                    return False
                self.put(path, content)
                return True
        at = self._at(path)
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        with self._explaining_refusal():
            try:
                at.client.client.put_object(Bucket=at.bucket, Key=at.key, Body=content, **condition)
            except botocore_exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in _OUTRUN:
                    raise
                return False
            return True

    def files(self, folder: str) -> Iterator[StoredFile]:
        """Every file below a folder, in no order; none where there is no such folder."""
        if self._is_bucket:
            yield from self._files_in_bucket(folder)
            return
        top = str(self._at(folder))
        for parent, _, names in os.walk(top):
            for name in names:
                # Other runs put and sweep files meanwhile.
                with suppress(FileNotFoundError):
                    found = Path(parent, name).stat()
                    yield StoredFile(
                        path=f"{folder}{parent.removeprefix(top)}/{name}",
                        written_at=datetime.fromtimestamp(found.st_mtime, UTC),
                        bytes=found.st_size,
                    )

    def _files_in_bucket(self, folder: str) -> Iterator[StoredFile]:
        at = self._at(folder)
        # Not the path's own listing, which asks of each object again what it is.
        listing = at.client.client.get_paginator("list_objects_v2")
        with self._explaining_refusal():
            for page in listing.paginate(Bucket=at.bucket, Prefix=f"{at.key}/"):
                for stored in page.get("Contents", ()):
                    # Some tools mark folders by objects that no file could be.
                    if stored["Key"].endswith("/"):
                        continue
                    yield StoredFile(
                        path=self.path(f"s3://{at.bucket}/{stored['Key']}"),
                        written_at=stored["LastModified"],
                        bytes=stored["Size"],
                    )

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


def folder_start(stream: Stream, name: str) -> datetime | None:
    """Where the windows begin that share a folder, or ``None`` where it is none of the stream's.

    Args:
        stream: The stream.
        name: The folder's last part, such as ``month=2026-11``.
    """
    try:
        return datetime.strptime(name, stream.folder_format).replace(tzinfo=UTC)
    except ValueError:
        return None


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
