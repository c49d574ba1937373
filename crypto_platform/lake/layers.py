"""The lake: files in a folder or a bucket, and the manifests that make them count.

A run adds files of its own, one a month, and then commits its windows: a month's manifest is
replaced in one put, so a reader sees the old windows or the new ones, never half of either, and
what a killed run left behind does not count. The put has a condition, that nobody replaced the
manifest meanwhile: who comes second looks again, so that runs which know nothing of each other lose
nothing.
"""

import dataclasses
import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import dagster as dg

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.streams import DATASETS, Dataset, Stream, Window, WindowBatch
from crypto_platform.lake.documents import DocumentStorage
from crypto_platform.lake.manifests import (
    LakeFile,
    Manifest,
    MonthManifest,
    UnreadableManifestError,
    files_of,
)
from crypto_platform.lake.storage import sha256
from lambda_function.lake import packed

MANIFEST_NAME = "_manifest.json"

SET_ASIDE = ".damaged-"
"""In the name of a manifest that could not be read, beside the one that was made again."""

Merge = Callable[[Manifest | None, Manifest], Manifest]
"""From what the lake holds of a window, if anything, and its new manifest to what is to count."""


class MissingWindowError(PermanentFailure):
    """A window that a stage needs was not materialized by the stage before it."""


class DamagedManifestError(PermanentFailure):
    """A month's manifest is not what was written, so nobody knows which of its files count.

    Args:
        layer: The layer.
        stream: The stream.
        folder: The month's folder.
        what: What is wrong with the manifest.

    Attributes:
        folder: The month's folder.
    """

    def __init__(self, layer: "Layer", stream: Stream, folder: str, what: str) -> None:
        """See the class."""
        self.folder = folder
        super().__init__(
            f"The manifest {layer.uri(f'{folder}/{MANIFEST_NAME}')}, of {stream.name} in the "
            f"{layer.name} lake, is damaged: {what}. Materialize {stream.name}/{layer.made_by} for "
            "any partition of that month: the run sets the manifest aside, and makes it again from "
            f"{layer.made_from}."
        )


class CorruptFileError(PermanentFailure):
    """A file is not what its manifest says it is."""


def replace(held: Manifest | None, new: Manifest) -> Manifest:
    """The ``Merge`` by which the new manifest counts, whatever was there."""
    del held
    return new


class Layer(DocumentStorage):
    """One root of the lake: all raw files, or all transformed ones.

    Args:
        root: A folder's path or an ``s3://`` address.
        name: ``raw`` or ``transformed``, for messages.
        made_by: Name of the asset that fills it, for messages.
        made_from: From what that asset makes a month's manifest again, for messages.
    """

    def __init__(
        self, root: str, name: str, made_by: str, made_from: str = "the files beside it"
    ) -> None:
        """See the class."""
        super().__init__(root, name)
        self.made_by = made_by
        self.made_from = made_from

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

    def month(self, stream: Stream, folder: str) -> MonthManifest:
        """The manifest of a folder; without windows where nothing was ever committed.

        Args:
            stream: The stream.
            folder: What ``Stream.by_folder`` names.

        Raises:
            DamagedManifestError: It cannot be read; says what to do.
        """
        return self._month(stream, folder)[0]

    def damaged(self, stream: Stream, windows: Iterable[Window]) -> list[str]:
        """The folders of windows whose manifests cannot be read.

        Args:
            stream: The stream of the windows.
            windows: The windows.
        """

        def is_damaged(folder: str) -> bool:
            try:
                self.month(stream, folder)
            except DamagedManifestError:
                return True
            return False

        folders = list(stream.by_folder(windows))
        found = self.each(is_damaged, folders)
        return [folder for folder, damaged in zip(folders, found, strict=True) if damaged]

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
        try:
            return MonthManifest.from_json(content), version
        except UnreadableManifestError as error:
            raise DamagedManifestError(self, stream, folder, str(error)) from error

    def replace_damaged(self, stream: Stream, folder: str, windows: Iterable[Manifest]) -> bool:
        """Set a damaged manifest aside, and put one in its place that was made again.

        Args:
            stream: The stream.
            folder: What ``Stream.by_folder`` names.
            windows: All that the folder holds.

        Returns:
            Whether it was: another run may have been first.
        """
        path = f"{folder}/{MANIFEST_NAME}"
        content, version = self._read_version(path)
        if content is None or _is_readable(content):
            return False
        month = MonthManifest(stream.name).with_windows(windows, datetime.now(UTC))
        # By its content, so that what a killed run set aside is not there twice.
        self.put(f"{path}{SET_ASIDE}{sha256(content)[:16]}", content)
        return self._put_if_unchanged(path, self._without_old(stream, month).to_json(), version)

    def _without_old(self, stream: Stream, month: MonthManifest) -> MonthManifest:
        """The same month, of whose other files readers may have heard from the manifest before."""
        live, now = {file.path for file in month.files()}, datetime.now(UTC)
        windows = [manifest.window for manifest in month.windows.values()][:1]
        folders = {stream.window_folder(one, dataset) for one in windows for dataset in DATASETS}
        paths = [path for folder in sorted(folders) for path in self.paths(folder)]
        old = {path: now for path in paths if path not in live and MANIFEST_NAME not in path}
        return dataclasses.replace(month, replaced=old)

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
        return Layer(
            self.transformed_root, "transformed", "transformed_prices", made_from="the raw lake"
        )


def _is_readable(content: bytes) -> bool:
    try:
        MonthManifest.from_json(content)
    except UnreadableManifestError:
        return False
    return True


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
