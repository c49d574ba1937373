"""How versions 0.1 and 0.2 kept a window, and how its rows are written as they are kept now.

A layer has one form of rows, lines of JSON or Parquet; what happens to the months of a lake is the
upgrade's.
"""

import gzip
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import AwareDatetime, BaseModel

from crypto_platform.core.lazy import pa, pq
from crypto_platform.core.streams import DATASETS, Dataset, Window
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.manifests import Absence, CoinKey, LakeFile, Manifest
from lambda_function.lake import write_lines

# So many rows are in memory before they are written: a group of rows of a file of Parquet.
_ROWS_AT_ONCE = 500_000

# What the transformation writes of prices and rejected points since 0.3: beside the time that they
# stand at the one that the API said, and as the last columns the others.
_STANDS_AT, _STAMPED_AT = "price_at", "stamped_at"
_ADDED = {"stamp": "float64", "reason": "string"}


class OldManifest(BaseModel, frozen=True):
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
class Examined:
    """An old file that can be read.

    Attributes:
        coins: How many prices each coin has that has any; of raw prices.
        schema: Of its rows as they are written again; of Parquet.
    """

    coins: Mapping[CoinKey, int] = field(default_factory=dict)
    schema: "pa.Schema | None" = None


class Form(Protocol):
    """How a layer keeps rows."""

    @property
    def needed(self) -> Collection[Dataset]:
        """The datasets of which a window has to have all of its files, or it does not count."""

    def folder_of(self, dataset: Dataset) -> Dataset:
        """The dataset in whose folder files of a dataset are."""

    def examine(self, file: LakeFile, content: bytes) -> Examined:
        """Read a file; whatever is raised is what is wrong with it."""

    def write(
        self,
        layer: Layer,
        dataset: Dataset,
        uri: str,
        examined: Sequence[Examined],
        contents: Iterable[bytes],
    ) -> LakeFile:
        """Write what many files hold as one."""

    def manifest(self, old: OldManifest, examined: Mapping[LakeFile, Examined]) -> Manifest:
        """A window's manifest, without files."""


class RawForm:
    """Lines of JSON, which are copied as they are."""

    # Without some of its prices a window would be transformed into fewer rows than stand already;
    # one that does not count is not transformed. A snapshot cannot be asked for again.
    needed: tuple[Dataset, ...] = ("prices",)

    def folder_of(self, dataset: Dataset) -> Dataset:
        """See ``Form.folder_of``."""
        del dataset
        return "prices"

    def examine(self, file: LakeFile, content: bytes) -> Examined:
        """See ``Form.examine``."""
        coins: dict[CoinKey, int] = {}
        for line in _lines(content):
            record = json.loads(line)
            if file.dataset == "prices" and record["prices"]:
                coin = record["coin_id"], record["vs_currency"]
                coins[coin] = coins.get(coin, 0) + len(record["prices"])
        return Examined(coins)

    def write(
        self,
        layer: Layer,
        dataset: Dataset,
        uri: str,
        examined: Sequence[Examined],
        contents: Iterable[bytes],
    ) -> LakeFile:
        """See ``Form.write``."""
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

    def manifest(self, old: OldManifest, examined: Mapping[LakeFile, Examined]) -> Manifest:
        """See ``Form.manifest``."""
        coins = [one.coins for one in examined.values()]
        present = frozenset(coin for some in coins for coin in some)
        points = sum(sum(some.values()) for some in coins)
        return _manifest(old, coins=len(present), points=points, present=present)


class ParquetForm:
    """Rows of Parquet, which gain the columns that are new."""

    # It can be made again.
    needed: tuple[Dataset, ...] = DATASETS

    def folder_of(self, dataset: Dataset) -> Dataset:
        """See ``Form.folder_of``."""
        return dataset

    def examine(self, file: LakeFile, content: bytes) -> Examined:
        """See ``Form.examine``."""
        return Examined(schema=_new_schema(file.dataset, pq.read_schema(io.BytesIO(content))))

    def write(
        self,
        layer: Layer,
        dataset: Dataset,
        uri: str,
        examined: Sequence[Examined],
        contents: Iterable[bytes],
    ) -> LakeFile:
        """See ``Form.write``."""
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

    def manifest(self, old: OldManifest, examined: Mapping[LakeFile, Examined]) -> Manifest:
        """See ``Form.manifest``."""
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


def _manifest(old: OldManifest, **counted: Any) -> Manifest:
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
