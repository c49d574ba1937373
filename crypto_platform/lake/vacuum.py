"""What the lake no longer needs: files that no manifest names, a day after that came to be.

A run that began before a file was replaced may still be reading it, and one that has not committed
yet may still be writing: hence the day. Only the folders that windows share are looked at, and
those of jobs; of all else in the layers, what killed puts left is removed, and the rest is kept.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from crypto_platform.core.streams import DATASETS, STREAMS, Stream
from crypto_platform.lake.layers import (
    MANIFEST_NAME,
    SET_ASIDE,
    DamagedManifestError,
    Lake,
    Layer,
    folder_start,
)
from crypto_platform.lake.manifests import MonthManifest, NewerManifestError
from crypto_platform.lake.storage import StoredFile

KEPT_FOR = timedelta(days=1)
"""How long a file stays after it was replaced, or was written and never named."""

JOBS = "jobs"


@dataclass(frozen=True)
class Removed:
    """What was removed from a folder.

    Attributes:
        folder: The folder's address.
        files: How many files.
        bytes: Their size as stored.
    """

    folder: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Vacuumed:
    """What a vacuum did.

    Attributes:
        removed: By folder, in the order of the addresses; nothing for a folder that stays whole.
        problems: Why files of some months were left alone, in sentences.
    """

    removed: tuple[Removed, ...]
    problems: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """How many files were removed."""
        return sum(one.files for one in self.removed)

    @property
    def bytes(self) -> int:
        """The size of what was removed."""
        return sum(one.bytes for one in self.removed)

    @property
    def described(self) -> str:
        """How much was removed, in a few words."""
        return f"{self.files:,} file(s), {self.bytes:,} bytes, in {len(self.removed)} folder(s)"


def vacuum(
    lake: Lake,
    streams: Sequence[Stream] = STREAMS,
    now: datetime | None = None,
    *,
    dry_run: bool = False,
) -> Vacuumed:
    """Remove what no manifest has named for a day, and what jobs left behind.

    Runs may go on meanwhile, another vacuum among them. Killed, it is made good by the next one.

    Args:
        lake: Both layers.
        streams: All streams of the lake: they may share folders.
        now: The time; ``None`` is the clock's.
        dry_run: Say what would be removed, and remove nothing.

    Raises:
        LakeRefusedError: The bucket of a layer is not there, or may not be used.
    """
    before = (now or datetime.now(UTC)) - KEPT_FOR
    removed: list[Removed] = []
    problems: list[str] = []
    for layer in (lake.raw, lake.transformed):
        for name, files in _shared_folders(layer, streams).items():
            month = _Month(layer, streams, name, before)
            try:
                manifests = month.manifests()
            except (DamagedManifestError, NewerManifestError) as error:
                # Without its manifest nobody knows which of the month's files count.
                problems.append(
                    f"Files of {name} in {layer.root} were left alone, since a manifest of that "
                    f"month cannot be read. {error.description}"
                )
                continue
            doomed = month.doomed(manifests, files)
            removed += _by_folder(layer, doomed)
            if not dry_run:
                layer.each(layer.remove, [file.path for file in doomed])
                month.forget(manifests, {file.path for file in files} - {f.path for f in doomed})
    removed += _remove_jobs(lake.transformed, before, dry_run=dry_run)
    for layer in (lake.raw, lake.transformed):
        removed += _remove_parts(layer, before, removed, dry_run=dry_run)
    return Vacuumed(tuple(sorted(removed, key=lambda one: one.folder)), tuple(problems))


def _shared_folders(layer: Layer, streams: Iterable[Stream]) -> dict[str, list[StoredFile]]:
    """The files of all datasets by the name of the folder that windows share, as ``month=…``."""
    found: dict[str, list[StoredFile]] = defaultdict(list)
    tops = {stream.dataset_folder(dataset) for stream in streams for dataset in DATASETS}
    for top in sorted(tops):
        for file in layer.files(top):
            name, _, below = file.path.removeprefix(f"{top}/").partition("/")
            # The raw lake keeps responses that made no sense, and 0.2 had folders of other names.
            if below and any(folder_start(stream, name) is not None for stream in streams):
                found[name].append(file)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class _Month:
    """The folders of all streams and datasets that have one name."""

    layer: Layer
    streams: Sequence[Stream]
    name: str
    before: datetime

    def manifests(self) -> dict[Stream, MonthManifest]:
        """Read after the files were listed: what was committed meanwhile is named."""
        return {stream: self.layer.month(stream, self._folder(stream)) for stream in self.streams}

    def doomed(
        self, manifests: dict[Stream, MonthManifest], files: Iterable[StoredFile]
    ) -> list[StoredFile]:
        """The files that nothing has named for long enough."""
        # The streams share the folder of market snapshots: what any of them names stays.
        named = {file.path for month in manifests.values() for file in month.files()}
        named |= {f"{self._folder(stream)}/{MANIFEST_NAME}" for stream in self.streams}
        replaced = {p: since for month in manifests.values() for p, since in month.replaced.items()}
        return [
            file
            for file in files
            if file.path not in named
            # A person may want it.
            and f"/{MANIFEST_NAME}{SET_ASIDE}" not in file.path
            and replaced.get(file.path, file.written_at) < self.before
        ]

    def forget(self, manifests: dict[Stream, MonthManifest], there: set[str]) -> None:
        """Take the files that are gone out of the manifests' lists of what was replaced."""

        def without_gone(month: MonthManifest) -> MonthManifest:
            kept = {
                path: since
                for path, since in month.replaced.items()
                if path in there or since >= self.before
            }
            return month if len(kept) == len(month.replaced) else replace(month, replaced=kept)

        for stream, month in manifests.items():
            if without_gone(month) is not month:
                self.layer.update_month(stream, self._folder(stream), without_gone)

    def _folder(self, stream: Stream) -> str:
        return f"{stream.dataset_folder('prices')}/{self.name}"


def _remove_jobs(layer: Layer, before: datetime, *, dry_run: bool) -> list[Removed]:
    """Remove what jobs left behind: a folder a run, of which nothing is new."""
    runs: dict[str, list[StoredFile]] = defaultdict(list)
    for file in layer.files(JOBS):
        match file.path.split("/"):
            case [_, stream, run, _, *_]:
                runs[f"{JOBS}/{stream}/{run}"].append(file)
    left = {
        folder: files
        for folder, files in runs.items()
        if all(file.written_at < before for file in files)
    }
    if not dry_run:
        for folder in left:
            layer.remove_folder(folder)
    return [_removed(layer, folder, files) for folder, files in left.items()]


def _remove_parts(
    layer: Layer, before: datetime, removed: Iterable[Removed], *, dry_run: bool
) -> list[Removed]:
    """Remove what killed puts left of any file, in folders from which nothing was removed yet."""
    told = {one.folder for one in removed}
    left = [
        file
        for file in layer.parts()
        if file.written_at < before and not _is_below(layer.uri(file.path), told)
    ]
    if not dry_run:
        layer.each(layer.remove, [file.path for file in left])
    return _by_folder(layer, left)


def _is_below(uri: str, folders: Collection[str]) -> bool:
    return any(uri.startswith(f"{folder}/") for folder in folders)


def _by_folder(layer: Layer, files: Iterable[StoredFile]) -> list[Removed]:
    found: dict[str, list[StoredFile]] = defaultdict(list)
    for file in files:
        found[file.path.rpartition("/")[0]].append(file)
    return [_removed(layer, folder, some) for folder, some in found.items()]


def _removed(layer: Layer, folder: str, files: Sequence[StoredFile]) -> Removed:
    return Removed(layer.uri(folder), len(files), sum(file.bytes for file in files))
