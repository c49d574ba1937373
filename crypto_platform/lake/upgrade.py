"""Takes over a lake of version 0.1 or 0.2, which had a folder and a manifest a window.

A month at a time: what the old files hold becomes one file a dataset, all of it is committed in one
put a stream, and only then the old folders go. Killed anywhere and started again it goes on where
it was; what could not be read is not deleted but moved to ``damaged/``.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from uuid import uuid4

from pydantic import ValidationError

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.streams import DATASETS, STREAMS, Dataset, Stream, Window
from crypto_platform.lake.layers import MANIFEST_NAME, Lake, Layer
from crypto_platform.lake.manifests import LakeFile, Manifest
from crypto_platform.lake.old_layout import Examined, Form, OldManifest, ParquetForm, RawForm
from crypto_platform.lake.storage import sha256

DAMAGED = "damaged"
"""Where in its layer goes what could not be read, by the path that it had."""

# The old layout: <dataset's folder>/date=2026-11-22[/hour=18]/{_manifest.json, run=…/…}.
_OLD = "date="
_MONTH_OF_NAME = slice(len("date="), len("date=2026-11"))
_FOLDER_FORMATS = ("date=%Y-%m-%d/hour=%H", "date=%Y-%m-%d")

# Files that are read ahead of who uses them: enough to hide a bucket's latency.
_AT_ONCE = 16


class OldLayoutError(PermanentFailure):
    """The lake was made by an earlier version, which had another layout."""


def refuse_old_layout(layer: Layer, stream: Stream) -> None:
    """Raise where a layer has a stream as version 0.2 kept it; one cheap look.

    Args:
        layer: The layer.
        stream: The stream.

    Raises:
        OldLayoutError: It names the command that takes the lake over.
    """
    found = next(layer.subfolders(stream.folder, _OLD), None)
    if found:
        raise OldLayoutError(
            f"The {layer.name} lake has {stream.name} as version 0.2 kept it, a folder a window "
            f"({layer.uri(found)}), and this version keeps a month together. Nothing was changed. "
            "Let no run go on, and run: crypto-platform lake upgrade"
        )


@dataclass(frozen=True)
class Fault:
    """A file of the old lake that could not be taken over.

    Attributes:
        layer: The layer's name.
        path: Where the file was, relative to the layer's root.
        what: What is wrong with it, in a few words.
        asset: The asset to materialize again.
        partition: The partition of it.
    """

    layer: str
    path: str
    what: str
    asset: str
    partition: str


@dataclass(frozen=True)
class UpgradedMonth:
    """What became of a month of a layer.

    Attributes:
        layer: The layer's name.
        month: As ``2026-11``.
        windows: How many windows were taken over now, by the stream's name.
        already: How many windows stood in the new layout before.
        old_files: How many files the old layout had, manifests included.
        new_files: What was written, manifests not included.
        faults: What could not be taken over.
    """

    layer: str
    month: str
    windows: Mapping[str, int]
    already: int
    old_files: int
    new_files: Sequence[LakeFile]
    faults: Sequence[Fault]


def upgrade(lake: Lake, streams: Sequence[Stream] = STREAMS) -> Iterator[UpgradedMonth]:
    """Take over what earlier versions wrote, a month at a time; no run may go on meanwhile.

    A month is told once it counts, before its old folders go: what is wrong with it is told at
    least once, however often this is killed.

    Args:
        lake: Both layers; they are changed.
        streams: The streams; two that share a dataset's folder go together.

    Yields:
        What became of each month of the raw and then of the transformed layer.
    """
    for layer, form in ((lake.raw, RawForm()), (lake.transformed, ParquetForm())):
        for month, folders in _old_months(layer, streams).items():
            paths = [path for some in layer.each(layer.paths, folders) for path in some]
            taken = [_take_over(layer, form, stream, paths) for stream in streams]
            yield UpgradedMonth(
                layer=layer.name,
                month=month,
                windows={
                    stream.name: one.windows
                    for stream, one in zip(streams, taken, strict=True)
                    if one.windows
                },
                already=sum(one.already for one in taken),
                old_files=len(paths),
                new_files=[file for one in taken for file in one.files],
                faults=[fault for one in taken for fault in one.faults],
            )
            # The manifests before what they name: else a file would be missed that was taken over.
            damaged = {path for one in taken for path in one.damaged}
            _move_to_damaged(layer, [path for path in paths if path in damaged])
            layer.each(layer.remove, [path for path in paths if _is_manifest(path)])
            for folder in folders:
                layer.remove_folder(folder)
        for stream in streams:
            layer.remove_folder(f"job_specs/{stream.name}")


def _old_months(layer: Layer, streams: Sequence[Stream]) -> dict[str, list[str]]:
    """The old folders of each month; those by which ``refuse_old_layout`` knows them are last."""
    marking = {stream.folder for stream in streams}
    others = {stream.dataset_folder(dataset) for stream in streams for dataset in DATASETS}
    months: dict[str, list[str]] = defaultdict(list)
    for top in (*sorted(others - marking), *sorted(marking)):
        for folder in sorted(layer.subfolders(top, _OLD)):
            months[PurePosixPath(folder).name[_MONTH_OF_NAME]].append(folder)
    return dict(sorted(months.items()))


def _move_to_damaged(layer: Layer, paths: Sequence[str]) -> None:
    # The manifests last: as long as one is there, its files are not taken for leftovers.
    for path in sorted(paths, key=_is_manifest):
        layer.move(path, f"{DAMAGED}/{path}")


def _is_manifest(path: str) -> bool:
    return path.endswith(f"/{MANIFEST_NAME}")


@dataclass(frozen=True)
class _Taken:
    """What was taken over of a stream in a month.

    Attributes:
        windows: How many windows were.
        already: How many stood in the new layout.
        files: What was written.
        faults: What was not taken over.
        damaged: The old files, manifests among them, that are to be kept elsewhere.
    """

    windows: int
    already: int
    files: Sequence[LakeFile]
    faults: Sequence[Fault]
    damaged: Collection[str]


def _take_over(layer: Layer, form: Form, stream: Stream, paths: Sequence[str]) -> _Taken:
    """Make a stream's month count in the new layout.

    Args:
        layer: The layer.
        form: How it keeps rows.
        stream: The stream.
        paths: All files of the month in the old layout, of whichever stream.
    """
    old = _OldMonth(layer, form, stream, paths)
    manifests, sources = old.windows()
    held = layer.held(stream, list(manifests))
    todo = [window for window, there in zip(manifests, held, strict=True) if there is None]
    files: list[LakeFile] = []
    for windows in stream.by_folder(todo).values():
        for dataset in DATASETS:
            of_dataset = {
                window: [file for file in sources[window] if file.dataset == dataset]
                for window in windows
            }
            if any(of_dataset.values()):
                file = old.write(dataset, of_dataset)
                files.append(file)
                for window in (window for window, some in of_dataset.items() if some):
                    manifest = manifests[window]
                    manifests[window] = replace(manifest, files=(*manifest.files, file))
    layer.commit(stream, [manifests[window] for window in todo], _keep_held)
    return _Taken(len(todo), len(manifests) - len(todo), files, old.faults, old.damaged)


def _keep_held(held: Manifest | None, new: Manifest) -> Manifest:
    return held or new


class _OldMonth:
    """A month of a stream as it was, every file of it looked at.

    Args:
        layer: The layer.
        form: How it keeps rows.
        stream: The stream.
        paths: All files of the month in the old layout, of whichever stream.

    Attributes:
        faults: What cannot be taken over.
        damaged: The old files, manifests among them, that are to be kept elsewhere.
    """

    def __init__(self, layer: Layer, form: Form, stream: Stream, paths: Sequence[str]) -> None:
        self._layer = layer
        self._form = form
        self._stream = stream
        self._paths = paths
        self.faults: list[Fault] = []
        self.damaged: set[str] = set()
        self._manifests = self._read_manifests()
        self._examined = self._examine()

    def windows(self) -> tuple[dict[Window, Manifest], dict[Window, list[LakeFile]]]:
        """The windows that can be taken over: manifests without files, and their old files."""
        manifests, sources = {}, {}
        for manifest in self._manifests.values():
            intact = [file for file in manifest.files if file in self._examined]
            lost = [file for file in manifest.files if file not in self._examined]
            if not any(file.dataset in self._form.needed for file in lost):
                examined = {file: self._examined[file] for file in intact}
                manifests[manifest.window] = self._form.manifest(manifest, examined)
                sources[manifest.window] = intact
            else:
                self.damaged.update(file.path for file in intact)
        return manifests, sources

    def write(self, dataset: Dataset, sources: Mapping[Window, Sequence[LakeFile]]) -> LakeFile:
        """Write what the old files of windows hold as one file.

        Args:
            dataset: Of the files.
            sources: The files of each window; the windows share a folder.
        """
        [folder] = {self._folder(window, dataset) for window in sources}
        files = [file for some in sources.values() for file in some]
        return self._form.write(
            self._layer,
            dataset,
            # Of its own: what a killed one left does not count, and may be half of it.
            f"{folder}/{dataset}-upgrade-{uuid4()}",
            [self._examined[file] for file in files],
            (content or b"" for _, content in _read_ahead(self._layer, files)),
        )

    def _folder(self, window: Window, dataset: Dataset) -> str:
        return self._stream.window_folder(window, self._form.folder_of(dataset))

    def _read_manifests(self) -> dict[str, OldManifest]:
        """The windows' manifests, by their paths, in the order of time."""
        of_stream = f"{self._stream.folder}/"
        found = sorted(p for p in self._paths if p.startswith(of_stream) and _is_manifest(p))
        manifests = {}
        for path, content in zip(found, self._layer.each(self._layer.read, found), strict=True):
            try:
                manifests[path] = OldManifest.model_validate_json(content or b"")
            except ValidationError as error:
                self._blame(path, path, f"is no manifest: {error.errors()[0]['msg']}")
                # What it named is not known.
                window = path.removeprefix(of_stream).removesuffix(MANIFEST_NAME)
                self.damaged.update(one for one in self._paths if f"/{window}run=" in one)
        return manifests

    def _examine(self) -> dict[LakeFile, Examined]:
        """The files that can be read."""
        owners = {file: at for at, one in self._manifests.items() for file in one.files}
        examined = {}
        for file, content in _read_ahead(self._layer, list(owners)):
            if content is None:
                self._blame(owners[file], file.path, "is gone")
            elif sha256(content) != file.sha256:
                self._blame(owners[file], file.path, "was changed after it was written")
            else:
                try:
                    examined[file] = self._form.examine(file, content)
                except Exception as error:  # noqa: BLE001 - whatever is wrong with it costs it alone
                    self._blame(owners[file], file.path, f"cannot be read: {error!r}")
        return examined

    def _blame(self, manifest: str, path: str, what: str) -> None:
        self.faults.append(
            Fault(
                layer=self._layer.name,
                path=path,
                what=what,
                asset=f"{self._stream.name}/{self._layer.made_by}",
                partition=_partition(self._stream, manifest),
            )
        )
        self.damaged.update((manifest, path))


def _partition(stream: Stream, manifest: str) -> str:
    """The partition key of the window that had a manifest, by its path."""
    name = manifest.removeprefix(f"{stream.folder}/").removesuffix(f"/{MANIFEST_NAME}")
    for layout in _FOLDER_FORMATS:
        with suppress(ValueError):
            return stream.key_at(datetime.strptime(name, layout).replace(tzinfo=UTC))
    return name


def _read_ahead(layer: Layer, files: Sequence[LakeFile]) -> Iterator[tuple[LakeFile, bytes | None]]:
    """The content of each file, or ``None`` where it is gone; some at a time, side by side."""
    for first in range(0, len(files), _AT_ONCE):
        some = files[first : first + _AT_ONCE]
        yield from zip(some, layer.each(layer.read, [file.path for file in some]), strict=True)
