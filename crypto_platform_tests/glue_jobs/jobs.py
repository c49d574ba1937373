"""Raw records in, rows of Parquet out: what the tests of the jobs run them with."""

import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
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


def length_of(stream: Stream) -> int:
    """Length of a stream's window, in milliseconds."""
    return stream.window_length // timedelta(milliseconds=1)


def from_milliseconds(stamp: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(stamp))


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
    windows: int = 1,
    granularity: str = "daily",
    fetched_at: str = "2026-11-23T00:45:12.123Z",
    run_id: str = "fetch",
) -> Record:
    """A raw record: what one answer says of one coin in neighbouring windows."""
    end = start + windows * stream.window_length
    return {
        "coin_id": coin,
        "vs_currency": "usd",
        "window_start": iso(start),
        "window_end": iso(end),
        "granularity": granularity,
        "requested_from": milliseconds(start) // 1000,
        "requested_to": milliseconds(end) // 1000,
        "fetched_at": fetched_at,
        "run_id": run_id,
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


Source = Literal["prices", "snapshots"]


@dataclass(frozen=True)
class Made:
    """What a job made of an example: the rows of each dataset, in the order of coin and time."""

    prices: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)
    snapshots: list[Row] = field(default_factory=list)


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

    def write_raw(
        self,
        records: Sequence[Record],
        stream: Stream = HISTORICAL,
        name: str = "prices-00000",
    ) -> list[Row]:
        """Write records into a raw file a month; the job spec that names the files."""
        by_month = sorted(records, key=lambda record: record["window_start"])
        return [
            spec_line(
                number,
                windows_of(group := [*grouped], stream),
                [write_lines(self.home / "raw" / month / f"{name}.json.gz", group)],
            )
            for number, (month, grouped) in enumerate(
                groupby(by_month, key=lambda record: record["window_start"][:7])
            )
        ]

    def run(
        self,
        job_spec: Sequence[Mapping[str, Any]],
        stream: Stream = HISTORICAL,
        output: str = "output",
    ) -> None:
        """Run a stream's job on a job spec."""
        file = self.home / f"{output}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in job_spec))
        LocalTransform(engine=self.engine, cache_folder=self.cache_folder).run(
            stream.job, {"job_spec": str(file), **arguments(stream, self.home / output)}
        )

    def transform(self, records: Sequence[Record], stream: Stream = HISTORICAL) -> list[Row]:
        """The prices that a stream's job makes of records."""
        self.run(self.write_raw(records, stream), stream)
        return self.rows("prices")

    def run_apart(
        self,
        examples: Sequence[Sequence[Record]],
        stream: Stream = HISTORICAL,
        source: Source = "prices",
    ) -> list[Made]:
        """What one job makes of several examples, as it would of each alone.

        A currency is part of the key of all that it writes, and each example has one of its own.
        """
        made = {f"currency-{number}": Made() for number in range(len(examples))}
        records = [
            {**one, "vs_currency": currency}
            for currency, example in zip(made, examples, strict=True)
            for one in example
        ]
        write = self.write_raw if source == "prices" else self.write_snapshots
        self.run(write(records, stream), stream)
        for dataset in ("prices", "rejected", "snapshots"):
            for row in self.rows(dataset):
                rows: list[Row] = getattr(made[row["vs_currency"]], dataset)
                rows.append({**row, "vs_currency": "usd"})
        return [*made.values()]

    def write_snapshots(self, records: Sequence[Record], stream: Stream = INTRA_DAY) -> list[Row]:
        """Write market snapshots into one raw file; the job spec that names it."""
        file = write_lines(self.home / "raw" / "snapshots-00000.json.gz", records)
        return [spec_line(0, windows_of(records, stream), [], [file])]

    def files(self, dataset: str, output: str = "output") -> list[Path]:
        return sorted((self.home / output / f"dataset={dataset}").rglob("*.parquet"))

    def rows(self, dataset: str, output: str = "output") -> list[Row]:
        """All rows of a dataset, as the files hold them, in the order of coin and time."""
        rows = [
            row
            for file in self.files(dataset, output)
            for row in pq.ParquetFile(file).read().to_pylist()
        ]
        return sorted(rows, key=sort_key)


def arguments(stream: Stream, output: Path) -> dict[str, str]:
    """The job's arguments of a stream, but for its job spec."""
    return {
        "output": str(output),
        "grain": str(grain_of(stream)),
        "window_length": str(length_of(stream)),
        "window_anchor": str(milliseconds(stream.window_anchor)),
    }


def windows_of(records: Sequence[Record], stream: Stream) -> list[str]:
    """The starts of all windows that records are of."""
    spans = [
        tuple(datetime.fromisoformat(one[f"window_{end}"]) for end in ("start", "end"))
        for one in records
    ]
    return sorted(
        {
            iso(start + number * stream.window_length)
            for start, end in spans
            for number in range((end - start) // stream.window_length)
        }
    )


def spec_line(
    number: int, windows: Sequence[str], prices: Sequence[str], snapshots: Sequence[str] = ()
) -> Row:
    """A job spec's line."""
    return {
        "number": number,
        "windows": list(windows),
        "prices": list(prices),
        "snapshots": list(snapshots),
        "kept_prices": [],
        "kept_rejected": [],
        "kept_snapshots": [],
        "points": 1,
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


def exact(rows: Sequence[Row]) -> list[Row]:
    """Rows so that they compare to the bit, each column of them."""
    return [
        {name: bits(value) for name, value in row.items()} for row in sorted(rows, key=sort_key)
    ]


FINENESS = ("daily", "hourly", "5-minute")
HALF_SPACING = {"daily": 12 * 3_600_000, "hourly": 30 * 60_000, "5-minute": 150_000}
SERIES = {"prices": "price", "market_caps": "market_cap", "total_volumes": "total_volume"}


def is_price(value: float | None) -> bool:
    return value is not None and 0 < value < float("inf")


def expected_rows(records: Sequence[Record], stream: Stream) -> list[Row]:
    """The rules once more, in plain Python: the rows of both datasets that answers give."""
    stamps: dict[Any, list[tuple[Record, dict[str, list[float | None]]]]] = {}
    for one in sorted(records, key=lambda one: (one["fetched_at"], one["run_id"]), reverse=True):
        start, end = (
            milliseconds(datetime.fromisoformat(one[f"window_{side}"])) for side in ("start", "end")
        )
        said: dict[Any, dict[str, list[float | None]]] = {}
        for series in SERIES:
            for point in one[series] or ():
                stamp, value = [*point, None, None][:2]
                inside = stamp is not None and start <= stamp < end
                key = (one["coin_id"], stamp, None if inside else start)
                said.setdefault(key, {name: [] for name in SERIES})[series].append(value)
        for key, values in said.items():
            stamps.setdefault(key, []).append((one, values))
    made = [_row_at(key, answers, stream) for key, answers in stamps.items()]
    priced = sorted((row for row in made if row["reason"] is None), key=itemgetter("stamp"))
    grain = grain_of(stream)
    kept: dict[Any, Row] = {}
    for row in priced:
        of_window = row["stamp"] - milliseconds(row["window_start"])
        kept.setdefault((row["coin_id"], row["window_start"], of_window // grain), row)
    by_window: dict[Any, list[Row]] = {}
    for row in kept.values():
        by_window.setdefault((row["coin_id"], row["window_start"]), []).append(row)
    rows = [row for rows in by_window.values() for row in rows if not superseding(row, rows)]
    return rows + [row for row in made if row["reason"] is not None]


def superseding(row: Row, others: Iterable[Row]) -> list[Row]:
    """The finer observations that are near enough for a row to give way."""
    reach = HALF_SPACING.get(row["granularity"], HALF_SPACING["daily"])
    return [
        other
        for other in others
        if (other["coin_id"], other["window_start"]) == (row["coin_id"], row["window_start"])
        and fineness(other) > fineness(row)
        and abs(milliseconds(other["price_at"]) - milliseconds(row["price_at"])) < reach
    ]


def fineness(row: Mapping[str, Any]) -> int:
    name = row["granularity"]
    return FINENESS.index(name) if name in FINENESS else -1


def _row_at(key: Any, answers: Sequence[tuple[Record, Any]], stream: Stream) -> Row:
    """What answers, the newest first, together say at one stamp."""
    coin, stamp, outside_of = key
    anchor, length, grain = milliseconds(stream.window_anchor), length_of(stream), grain_of(stream)

    def values_of(series: str) -> list[float | None]:
        return [value for _, said in answers for value in said[series]]

    price = next(filter(is_price, values_of("prices")), None)
    caps, volumes = (
        next((value for value in values_of(series) if value is not None), None)
        for series in ("market_caps", "total_volumes")
    )
    if outside_of is None:
        start = anchor + (stamp - anchor) // length * length
        stamped_at = from_milliseconds(stamp)
        floored = from_milliseconds(start + (stamp - start) // grain * grain)
        price_at = floored if stamped_at - floored <= timedelta(hours=2) else stamped_at
    else:
        start, price_at, stamped_at = outside_of, None, None
    if stamp is None:
        reason = "The point has no timestamp."
    elif outside_of is not None:
        reason = "The timestamp is outside the record's window."
    elif price is not None:
        reason = None
    elif not values_of("prices"):
        reason = "There is a market cap or a volume, but no price."
    elif values_of("prices")[0] is None:
        reason = "The price is null."
    else:
        reason = "The price is not a positive number."
    priced = [one for one, said in answers if any(map(is_price, said["prices"]))]
    same = [one for one, said in answers if price in filter(is_price, said["prices"])]
    named = same[-1] if reason is None else answers[0][0]
    finest = max(priced, key=fineness) if reason is None else named
    return {
        "coin_id": coin,
        "vs_currency": "usd",
        "window_start": from_milliseconds(int(start)),
        "price_at": price_at,
        "stamped_at": stamped_at,
        **{
            name: None if value is None else float(value)
            for name, value in zip(SERIES.values(), (price, caps, volumes), strict=True)
        },
        "granularity": finest["granularity"],
        "fetched_at": datetime.fromisoformat(named["fetched_at"]),
        "source": named["source"],
        "run_id": named["run_id"],
        "stamp": None if stamp is None else float(stamp),
        "reason": reason,
    }


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30)


HOUR = 3_600_000
STAMPS = (-1, 0, 1, 2, 1_799_999, 1_800_000, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR - 1, 6 * HOUR)


@st.composite
def answers(draw: st.DrawFn, *, repeats: bool = True) -> list[Record]:
    """Several answers on a few coins in six-hour windows, with stamps on and off the grid."""
    names = draw(
        st.lists(
            st.tuples(st.integers(1, 3), st.sampled_from(["a", "b"])),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    few = st.none() | st.sampled_from([0, 1.5, 2.5, -1]) | numbers

    def points(start: datetime) -> list[list[Any]]:
        return [
            [milliseconds(start) + stamp, value]
            for stamp, value in draw(
                st.lists(
                    st.tuples(st.sampled_from(STAMPS), few),
                    max_size=6,
                    unique_by=None if repeats else lambda point: point[0],
                ),
            )
        ]

    def of_answer(second: int, run_id: str) -> list[Record]:
        keys = st.tuples(st.sampled_from(["bitcoin", "ethereum"]), st.integers(0, 1))
        coins = draw(st.lists(keys, min_size=1, max_size=3, unique_by=lambda key: key[0]))
        return [
            record(
                *(points(START + number * INTRA_DAY.window_length) for _ in SERIES),
                coin=coin,
                start=START + number * INTRA_DAY.window_length,
                stream=INTRA_DAY,
                windows=draw(st.sampled_from([1, 2])),
                granularity=draw(st.sampled_from([*FINENESS, "new"])),
                fetched_at=f"2026-11-23T00:45:0{second}.123Z",
                run_id=run_id,
            )
            for coin, number in coins
        ]

    return [one for second, run_id in names for one in of_answer(second, run_id)]


RECORDED = Path(os.environ.get("RECORDED_DATA", Path(__file__).parents[3] / "shared" / "recorded"))


def recorded_records(recorded: Path, stream: Stream) -> list[Record]:
    """The recorded series of a stream's kind, as raw records: a coin a month."""
    kinds = {
        HISTORICAL.name: {"daily": "daily"},
        INTRA_DAY.name: {"hourly": "hourly", "5min": "5-minute"},
    }[stream.name]
    return [
        one
        for folder, granularity in kinds.items()
        for file in sorted((recorded / "market_chart" / folder).glob("*.json"))
        for one in _cut(file, granularity)
    ]


def _cut(file: Path, granularity: str) -> list[Record]:
    series = json.loads(file.read_text())
    months: dict[str, dict[str, list[Any]]] = {}
    for name in SERIES:
        for stamp, value in series[name]:
            month = months.setdefault(iso(from_milliseconds(stamp))[:7], {})
            month.setdefault(name, []).append([stamp, value])
    return [
        {
            **record(coin=file.stem, granularity=granularity),
            "window_start": f"{month}-01T00:00:00Z",
            "window_end": iso(
                (datetime.fromisoformat(f"{month}-01") + timedelta(days=31)).replace(day=1)
            ),
            **arrays,
        }
        for month, arrays in months.items()
    ]
