"""Takes over a lake of version 0.1 or 0.2, which had a folder and a manifest a window.

A month at a time: what the old files hold becomes one file a dataset, all of it is committed in one
put a stream, and only then the old folders go. Killed anywhere and started again it goes on where
it was; what could not be read is not deleted but moved to ``damaged/``.
"""

import gzip
import io
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Protocol
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ValidationError

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import pa, pq
from crypto_platform.core.streams import DATASETS, STREAMS, Dataset, Stream, Window
from crypto_platform.lake.layers import MANIFEST_NAME, Lake, Layer
from crypto_platform.lake.manifests import Absence, CoinKey, LakeFile, Manifest
from crypto_platform.lake.storage import sha256
from lambda_function.lake import write_lines

DAMAGED = "damaged"
"""Where in its layer goes what could not be read, by the path that it had."""

# The old layout: <dataset's folder>/date=2026-11-22[/hour=18]/{_manifest.json, run=…/…}.
_OLD = "date="
_MONTH_OF_NAME = slice(len("date="), len("date=2026-11"))
_FOLDER_FORMATS = ("date=%Y-%m-%d/hour=%H", "date=%Y-%m-%d")

# Files that are read ahead of who uses them: enough to hide a bucket's latency.
_AT_ONCE = 16

# So many rows are in memory before they are written: a group of rows of a file of Parquet.
_ROWS_AT_ONCE = 500_000

# What the transformation writes of prices and rejected points since 0.3: beside the time that they
# stand at the one that the API said, and as the last columns the others.
_STANDS_AT, _STAMPED_AT = "price_at", "stamped_at"
_ADDED = {"stamp": "float64", "reason": "string"}


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
    for layer, form in ((lake.raw, _RawForm()), (lake.transformed, _ParquetForm())):
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


class _OldManifest(BaseModel, frozen=True):
    """A window's manifest as versions 0.1 and 0.2 stored it."""

    stream: str
    window: Window
    run_id: str
    written_at: AwareDatetime
    coins: int
    points: int
    files: tuple[LakeFile, ...]
    absent: tuple[Absence, ...] = ()


@dataclass(frozen=True)
class _Examined:
    """An old file that can be read.

    Attributes:
        coins: How many prices each coin has that has any; of raw prices.
        schema: Of its rows as they are written again; of Parquet.
    """

    coins: Mapping[CoinKey, int] = field(default_factory=dict)
    schema: "pa.Schema | None" = None


class _Form(Protocol):
    """How a layer keeps rows."""

    @property
    def needed(self) -> Collection[Dataset]:
        """The datasets of which a window has to have all of its files, or it does not count."""

    def folder_of(self, dataset: Dataset) -> Dataset:
        """The dataset in whose folder files of a dataset are."""

    def examine(self, file: LakeFile, content: bytes) -> _Examined:
        """Read a file; whatever is raised is what is wrong with it."""

    def write(
        self,
        layer: Layer,
        dataset: Dataset,
        uri: str,
        examined: Sequence[_Examined],
        contents: Iterable[bytes],
    ) -> LakeFile:
        """Write what many files hold as one."""

    def manifest(self, old: _OldManifest, examined: Mapping[LakeFile, _Examined]) -> Manifest:
        """A window's manifest, without files."""


class _RawForm:
    """Lines of JSON, which are copied as they are."""

    # Without some of its prices a window would be transformed into fewer rows than stand already;
    # one that does not count is not transformed. A snapshot cannot be asked for again.
    needed: tuple[Dataset, ...] = ("prices",)

    def folder_of(self, dataset: Dataset) -> Dataset:
        del dataset
        return "prices"

    def examine(self, file: LakeFile, content: bytes) -> _Examined:
        coins: dict[CoinKey, int] = {}
        for line in _lines(content):
            record = json.loads(line)
            if file.dataset == "prices" and record["prices"]:
                coin = record["coin_id"], record["vs_currency"]
                coins[coin] = coins.get(coin, 0) + len(record["prices"])
        return _Examined(coins)

    def write(
        self,
        layer: Layer,
        dataset: Dataset,
        uri: str,
        examined: Sequence[_Examined],
        contents: Iterable[bytes],
    ) -> LakeFile:
        del examined
        path = f"{uri}.json.gz"
        lines = (line for content in contents for line in _lines(content))
        written = write_lines(layer.uri(path), lines)
        return LakeFile(
            dataset=dataset,
            path=path,
            rows=written["rows"],
            bytes=written["bytes"],
            sha256=written["sha256"],
        )

    def manifest(self, old: _OldManifest, examined: Mapping[LakeFile, _Examined]) -> Manifest:
        coins = [one.coins for one in examined.values()]
        present = frozenset(coin for some in coins for coin in some)
        points = sum(sum(some.values()) for some in coins)
        return _manifest(old, coins=len(present), points=points, present=present)


class _ParquetForm:
    """Rows of Parquet, which gain the columns that are new."""

    # It can be made again.
    needed: tuple[Dataset, ...] = DATASETS

    def folder_of(self, dataset: Dataset) -> Dataset:
        return dataset

    def examine(self, file: LakeFile, content: bytes) -> _Examined:
        return _Examined(schema=_new_schema(file.dataset, pq.read_schema(io.BytesIO(content))))

    def write(
        self,
        layer: Layer,
        dataset: Dataset,
        uri: str,
        examined: Sequence[_Examined],
        contents: Iterable[bytes],
    ) -> LakeFile:
        path = f"{uri}.parquet"
        schema = pa.unify_schemas([one.schema for one in examined], promote_options="permissive")
        body = io.BytesIO()
        rows = 0
        with pq.ParquetWriter(body, schema, compression="snappy") as writer:
            for some in _in_groups(_with_schema(content, schema) for content in contents):
                writer.write_table(some)
                rows += some.num_rows
        layer.put(path, body.getvalue())
        return layer.describe_file(dataset, path, rows, body.getvalue())

    def manifest(self, old: _OldManifest, examined: Mapping[LakeFile, _Examined]) -> Manifest:
        rows: dict[Dataset, int] = dict.fromkeys(DATASETS, 0)
        for file in examined:
            rows[file.dataset] += file.rows
        return _manifest(
            old,
            coins=old.coins,
            points=rows["prices"],
            rejected=rows["rejected"],
            snapshots=rows["snapshots"],
        )


def _manifest(old: _OldManifest, **counted: Any) -> Manifest:
    return Manifest(
        stream=old.stream,
        window=old.window,
        run_id=old.run_id,
        written_at=old.written_at,
        files=(),
        absent=old.absent,
        **counted,
    )


def _lines(content: bytes) -> Iterator[bytes]:
    with gzip.open(io.BytesIO(content)) as lines:
        for line in lines:
            yield line if line.endswith(b"\n") else line + b"\n"


def _new_schema(dataset: Dataset, schema: "pa.Schema") -> "pa.Schema":
    """The columns as they are written now, which are as the transformation's."""
    # One type each, whichever engine wrote them.
    types = {
        one.name: pa.timestamp("us", "UTC")
        if pa.types.is_timestamp(one.type)
        else pa.string()
        if pa.types.is_large_string(one.type)
        else one.type
        for one in schema
    }
    if dataset != "snapshots":
        kept = [one for one in types.items() if one[0] not in {*_ADDED, _STAMPED_AT}]
        place = [name for name, _ in kept].index(_STANDS_AT) + 1
        added = [(name, pa.type_for_alias(alias)) for name, alias in _ADDED.items()]
        types = dict([*kept[:place], (_STAMPED_AT, types[_STANDS_AT]), *kept[place:], *added])
    return pa.schema(list(types.items()))


def _with_schema(content: bytes, schema: "pa.Schema") -> "pa.Table":
    table = pq.ParquetFile(io.BytesIO(content)).read()
    columns = [
        table[one.name].cast(one.type)
        if one.name in table.column_names
        else pa.nulls(table.num_rows, one.type)
        for one in schema
    ]
    return pa.table(columns, schema=schema)


def _in_groups(tables: Iterable["pa.Table"]) -> Iterator["pa.Table"]:
    """Tables put together until they have enough rows for a group."""
    some: list[pa.Table] = []
    for table in tables:
        some.append(table)
        if sum(one.num_rows for one in some) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(some)
            some = []
    if some:
        yield pa.concat_tables(some)


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


def _take_over(layer: Layer, form: _Form, stream: Stream, paths: Sequence[str]) -> _Taken:
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

    def __init__(self, layer: Layer, form: _Form, stream: Stream, paths: Sequence[str]) -> None:
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

    def _read_manifests(self) -> dict[str, _OldManifest]:
        """The windows' manifests, by their paths, in the order of time."""
        of_stream = f"{self._stream.folder}/"
        found = sorted(p for p in self._paths if p.startswith(of_stream) and _is_manifest(p))
        manifests = {}
        for path, content in zip(found, self._layer.each(self._layer.read, found), strict=True):
            try:
                manifests[path] = _OldManifest.model_validate_json(content or b"")
            except ValidationError as error:
                self._blame(path, path, f"is no manifest: {error.errors()[0]['msg']}")
                # What it named is not known.
                window = path.removeprefix(of_stream).removesuffix(MANIFEST_NAME)
                self.damaged.update(one for one in self._paths if f"/{window}run=" in one)
        return manifests

    def _examine(self) -> dict[LakeFile, _Examined]:
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
