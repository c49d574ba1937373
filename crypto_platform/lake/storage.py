"""Files below one root, a folder or a bucket: read, written in one step, moved, listed, removed.

What is in the files, and which of them count, is the business of ``layers``.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import filelock

from crypto_platform.core.disk import explaining_disk
from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import botocore_exceptions, cloudpathlib, tenacity
from lambda_function.lake import is_part, put

LOCK_NAME = ".manifests.lock"
"""Held on disk while a manifest is replaced; in a bucket the put itself has a condition."""

# Enough to hide a bucket's latency behind its own.
_REQUESTS_AT_ONCE = 16

_READS = 3

# S3's error codes for an account that is not set up: another attempt would get the same.
_ACCESS_ERRORS = {"403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "NoSuchBucket"}

# S3's error codes for a put whose condition does not hold: another run was first. The last two are
# of a put that meets another put, or a deletion, on its way.
_OUTRUN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}

_In = TypeVar("_In")
_Out = TypeVar("_Out")


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


class Storage:
    """One root and the files below it.

    Args:
        root: A folder's path or an ``s3://`` address.
        name: What it is called in messages.
    """

    def __init__(self, root: str, name: str) -> None:
        """See the class."""
        self.root = root.rstrip("/")
        self._is_bucket = root.startswith("s3://")
        self.name = name

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
        if self._is_bucket:
            return self._get(path)[0]
        with self._explaining_refusal():
            try:
                content: bytes = self._at(path).read_bytes()
            except FileNotFoundError:
                return None
            return content

    def put(self, path: str, content: bytes) -> None:
        """Write content so that no reader ever sees a part of it.

        Args:
            path: Relative to the root.
            content: All of the file.

        Raises:
            LakeRefusedError: The bucket is not there, or may not be used.
            DiskRefusedError: The folder may not be written.
            DiskFullError: There is no room.
        """
        with self._explaining_refusal():
            put(self.uri(path), content)

    def update(self, path: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace what is at a path by what a function makes of it.

        Args:
            path: Relative to the root.
            change: From the content, or ``None`` where nothing is, to the new one. It is asked
                again where another run was first.
        """
        while True:
            held, version = self._read_version(path)
            content = change(held)
            if content == held or self._put_if_unchanged(path, content, version):
                return

    def remove(self, path: str) -> None:
        """Delete what is at a path, if anything is."""
        at = self._at(path)
        with self._explaining_refusal("What was committed counts; an old file stays."):
            if not self._is_bucket:
                at.unlink(missing_ok=True)
                return
            # One request; the path's own unlink first looks twice whether the object is there.
            at.client.client.delete_object(Bucket=at.bucket, Key=at.key)

    def remove_folder(self, folder: str) -> None:
        """Delete all that is in a folder, and the folder."""
        if not self._is_bucket:
            shutil.rmtree(self._at(folder), ignore_errors=True)
            return
        self.each(self.remove, self.paths(folder))

    def paths(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted; empty where there is no such folder.

        What a put has not ended, or a killed one has left, is no file yet.
        """
        return sorted(
            file.path for file in self.files(folder) if not is_part(PurePosixPath(file.path).name)
        )

    def parts(self) -> Iterator[StoredFile]:
        """What puts have not ended, or killed ones have left: on disk alone, a bucket has none."""
        if not self._is_bucket:
            for file in self.files("."):
                if is_part(PurePosixPath(file.path).name):
                    yield file._replace(path=file.path.removeprefix("./"))

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

    def move(self, source: str, target: str) -> None:
        """Give a file another path, in one step: on disk it is renamed, in a bucket copied first.

        Args:
            source: Where it is.
            target: Where it is to be; what is there is replaced.
        """
        if not self._is_bucket:
            there = self._at(target)
            with self._explaining_refusal():
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
        if self._is_bucket:
            return self._get(path)
        content = self.read(path)
        return content, None if content is None else sha256(content)

    def _get(self, path: str) -> tuple[bytes | None, str | None]:
        """An object of the bucket and its tag."""
        at = self._at(path)
        # Not the path's own read_bytes: it keeps a copy, and takes what was replaced within the
        # same second for the same.
        s3 = at.client.client

        def get() -> tuple[bytes | None, str | None]:
            try:
                stored = s3.get_object(Bucket=at.bucket, Key=at.key)
            except s3.exceptions.NoSuchKey:
                return None, None
            return stored["Body"].read(), stored["ETag"]

        # boto3 makes a request again, and no longer once its body has begun.
        while_it_breaks = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                (botocore_exceptions.HTTPClientError, botocore_exceptions.IncompleteReadError)
            ),
            wait=tenacity.wait_random_exponential(max=4),
            stop=tenacity.stop_after_attempt(_READS),
            reraise=True,
        )
        with self._explaining_refusal():
            got: tuple[bytes | None, str | None] = while_it_breaks(get)
            return got

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
            with self._explaining_refusal():
                self._at("").mkdir(parents=True, exist_ok=True)
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
        """Says where S3 or a disk denies access, by whichever library, and what to do."""
        try:
            with explaining_disk(self.root):
                yield
        except Exception as error:
            response = getattr(error, "response", None) or {}
            if response.get("Error", {}).get("Code") not in _ACCESS_ERRORS:
                raise
            raise LakeRefusedError(
                f"The {self.name} lake, {self.root}, may not be used: {error} {meanwhile} "
                "Correct RAW_BUCKET, TRANSFORMED_BUCKET or the credentials, or attach "
                "the platform's policy to whoever Dagster runs as; crypto-platform doctor looks at "
                "all of it."
            ) from error

    def _at(self, path: str) -> Any:
        return at(self.uri(path))


def at(uri: str) -> Any:
    """The path, on disk or in a bucket, that an address names."""
    return cloudpathlib.AnyPath(uri) if "://" in uri else Path(uri)


def sha256(content: bytes) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
