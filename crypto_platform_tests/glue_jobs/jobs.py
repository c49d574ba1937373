"""Raw records in, rows of Parquet out: what the tests of the jobs run them with."""

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from hypothesis import strategies as st

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.transformation.local import LocalTransform
from crypto_platform.transformation.spark_engines import Engine

Record = Mapping[str, Any]
Row = dict[str, Any]

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400_000


def milliseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def grain_of(stream: Stream) -> int:
    """What a stream's times are floored to, in milliseconds."""
    return stream.floored_to // timedelta(milliseconds=1)


def iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def record(  # noqa: PLR0913 - a record has many fields
    prices: Sequence[Any] | None = (),
    market_caps: Sequence[Any] | None = (),
    total_volumes: Sequence[Any] | None = (),
    *,
    coin: str = "bitcoin",
    start: datetime = START,
    stream: Stream = HISTORICAL,
) -> Record:
    """A raw record of one coin in one window."""
    return {
        "coin_id": coin,
        "vs_currency": "usd",
        "window_start": iso(start),
        "window_end": iso(start + stream.window_length),
        "granularity": "daily",
        "requested_from": milliseconds(start) // 1000,
        "requested_to": milliseconds(start + stream.window_length) // 1000,
        "fetched_at": "2026-11-23T00:45:12.123Z",
        "run_id": "fetch",
        "source": "coingecko",
        "prices": prices,
        "market_caps": market_caps,
        "total_volumes": total_volumes,
    }


def write_lines(path: Path, records: Sequence[Record]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return str(path)


@dataclass(frozen=True)
class JobRunner:
    """The jobs over a lake of one test.

    Attributes:
        engine: What they run on.
        cache_folder: See ``LocalTransform``.
        home: The lake's folder.
    """

    engine: Engine
    cache_folder: str
    home: Path

    def write_raw(self, records: Sequence[Record], name: str = "prices-00000") -> list[Row]:
        """Write records into a raw file a window; the job spec that names the files."""
        by_window = sorted(records, key=lambda record: record["window_start"])
        return [
            spec_line(
                start, [write_lines(self.home / "raw" / start[:13] / f"{name}.json.gz", [*group])]
            )
            for start, group in groupby(by_window, key=lambda record: record["window_start"])
        ]

    def run(
        self,
        job_spec: Sequence[Mapping[str, Any]],
        stream: Stream = HISTORICAL,
        run_id: str = "transform",
    ) -> None:
        """Run a stream's job on a job spec."""
        file = self.home / f"{run_id}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in job_spec))
        arguments = {
            "job_spec": str(file),
            "grain": str(grain_of(stream)),
            "prices_output": str(self.home / "prices"),
            "rejected_output": str(self.home / "rejected"),
            "partition_by": ",".join(stream.partition_columns),
            "run_id": run_id,
        }
        if stream.snapshot_within:
            arguments["snapshots_output"] = str(self.home / "snapshots")
        LocalTransform(engine=self.engine, cache_folder=self.cache_folder).run(
            stream.job, arguments
        )

    def transform(self, records: Sequence[Record], stream: Stream = HISTORICAL) -> list[Row]:
        """The prices that a stream's job makes of records."""
        self.run(self.write_raw(records), stream)
        return self.rows("prices")

    def files(self, dataset: str) -> list[Path]:
        return sorted((self.home / dataset).rglob("*.parquet"))

    def rows(self, dataset: str) -> list[Row]:
        """All rows of a dataset, as the files hold them, in the order of coin and time."""
        rows = [
            row
            for file in self.files(dataset)
            for row in ds.dataset(file, format="parquet").to_table().to_pylist()
        ]
        return sorted(rows, key=sort_key)


def spec_line(start: str, prices: Sequence[str], snapshots: Sequence[str] = ()) -> Row:
    """A job spec's line."""
    return {
        "window_start": start,
        "window_end": "not used by the jobs",
        "date": start[:10],
        "hour": start[11:13],
        "prices": list(prices),
        "snapshots": list(snapshots),
    }


def sort_key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row.get(name)) for name in ("coin_id", "window_start", "price_at", "stamp"))


def values(rows: Sequence[Row]) -> list[tuple[int, Any, Any, Any]]:
    """What the API said in each row: milliseconds, price, cap and volume."""
    return [
        (
            milliseconds(row["price_at"]),
            row["price"],
            row["market_cap"],
            row["total_volume"],
        )
        for row in rows
    ]


def bits(value: Any) -> Any:
    """A float told apart from any other, a negative zero from zero too."""
    return value.hex() if isinstance(value, float) else value


def exact(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Rows of either kind so that they compare to the bit."""
    plain = [
        {
            **row,
            "window_start": row["window_start"]
            if isinstance(row["window_start"], str)
            else iso(row["window_start"]),
            "price_at": row["price_at"]
            if isinstance(row["price_at"], int)
            else milliseconds(row["price_at"]),
        }
        for row in rows
    ]
    return [
        (
            *(row[name] for name in ("coin_id", "window_start", "price_at")),
            *(
                bits(None if row[name] is None else float(row[name]))
                for name in ("price", "market_cap", "total_volume")
            ),
        )
        for row in sorted(plain, key=sort_key)
    ]


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30)


@st.composite
def raw_records(draw: st.DrawFn, *, repeats: bool = True) -> list[Record]:
    """Records of a few coins in a few six-hour windows, with stamps on and off the grid."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(["bitcoin", "ethereum"]), st.integers(0, 3)),
            min_size=1,
            unique=True,
        ),
    )

    def points(start: datetime) -> list[list[Any]]:
        stamps = st.sampled_from([0, 1, 2, 3_600_000, 21_599_999])
        return [
            [milliseconds(start) + stamp, value]
            for stamp, value in draw(
                st.lists(
                    st.tuples(stamps, st.none() | numbers),
                    max_size=6,
                    unique_by=None if repeats else lambda point: point[0],
                ),
            )
        ]

    starts = [(coin, START + number * INTRA_DAY.window_length) for coin, number in keys]
    return [
        record(points(at), points(at), points(at), coin=coin, start=at, stream=INTRA_DAY)
        for coin, at in starts
    ]


RECORDED = Path(os.environ.get("RECORDED_DATA", Path(__file__).parents[3] / "shared" / "recorded"))


def recorded_records(recorded: Path, stream: Stream) -> list[Record]:
    """The recorded series of a stream's kind, as raw records.

    A window of the daily ones is a year here: the jobs rely on no length, and it makes few files.
    """
    folders, window = {
        HISTORICAL: (["daily"], timedelta(days=365)),
        INTRA_DAY: (["hourly", "5min"], INTRA_DAY.window_length),
    }[stream]
    files = [file for name in folders for file in (recorded / "market_chart" / name).glob("*.json")]
    return [one for file in sorted(files) for one in _cut(file, window)]


def _cut(file: Path, window: timedelta) -> list[Record]:
    series = json.loads(file.read_text())
    start = datetime.fromtimestamp(series["prices"][0][0] / 1000, UTC)
    start = start.replace(hour=0, minute=0, second=0, microsecond=0)
    windows: dict[datetime, dict[str, list[Any]]] = {}
    for name in ("prices", "market_caps", "total_volumes"):
        for stamp, value in series[name]:
            number = (stamp - milliseconds(start)) // (window // timedelta(milliseconds=1))
            arrays = windows.setdefault(start + number * window, {})
            arrays.setdefault(name, []).append([stamp, value])
    return [
        {**record(coin=file.stem, start=at), "window_end": iso(at + window), **arrays}
        for at, arrays in windows.items()
    ]
