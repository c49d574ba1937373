"""A transformed lake as the transformation leaves it, written with pyarrow."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Dataset, Stream
from crypto_platform.lake.manifests import Absence, AbsenceStatus, LakeFile, Manifest

Row = dict[str, Any]

FETCHED_AT = datetime(2026, 11, 23, 0, 45, 12, 123000, tzinfo=UTC)

_UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
_SCHEMAS: dict[str, pa.Schema] = {
    "prices": pa.schema(
        {
            "coin_id": pa.string(),
            "vs_currency": pa.string(),
            "window_start": _UTC_MICROSECONDS,
            "price_at": _UTC_MICROSECONDS,
            "stamped_at": _UTC_MICROSECONDS,
            "price": pa.float64(),
            "market_cap": pa.float64(),
            "total_volume": pa.float64(),
            "granularity": pa.string(),
            "fetched_at": _UTC_MICROSECONDS,
            "source": pa.string(),
            "run_id": pa.string(),
            "stamp": pa.float64(),
            "reason": pa.string(),
        }
    ),
    "snapshots": pa.schema(
        {
            "coin_id": pa.string(),
            "vs_currency": pa.string(),
            "observed_at": _UTC_MICROSECONDS,
            "window_start": _UTC_MICROSECONDS,
            "rank": pa.int32(),
            **dict.fromkeys(
                [
                    "current_price",
                    "market_cap",
                    "total_volume",
                    "high_24h",
                    "low_24h",
                    "price_change_24h",
                    "price_change_percentage_24h",
                    "circulating_supply",
                    "total_supply",
                    "max_supply",
                    "fully_diluted_valuation",
                    "ath",
                ],
                pa.float64(),
            ),
            "ath_date": _UTC_MICROSECONDS,
            "atl": pa.float64(),
            "atl_date": _UTC_MICROSECONDS,
            "last_updated": _UTC_MICROSECONDS,
            "source": pa.string(),
            "run_id": pa.string(),
        }
    ),
}


def price(coin_id: str, at: str, value: float = 1.5, **others: Any) -> Row:
    """A row of prices; ``at`` is its moment in UTC."""
    return {
        "coin_id": coin_id,
        "vs_currency": "usd",
        "price_at": datetime.fromisoformat(at).replace(tzinfo=UTC),
        "price": value,
        "market_cap": 2.5,
        "total_volume": 3.5,
        "granularity": "daily",
        "fetched_at": FETCHED_AT,
        "source": "simulated",
        **others,
    }


def snapshot(coin_id: str, at: str, value: float = 1.5, **others: Any) -> Row:
    """A row of a market snapshot; ``at`` is its moment in UTC."""
    observed_at = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return {
        "coin_id": coin_id,
        "vs_currency": "usd",
        "observed_at": observed_at,
        "rank": 1,
        "current_price": value,
        "last_updated": observed_at - timedelta(minutes=1),
        "source": "simulated",
        **others,
    }


def absence(coin_id: str, status: AbsenceStatus = "missing_at_source") -> Absence:
    return Absence(
        coin_id=coin_id,
        vs_currency="usd",
        status=status,
        reason=f"the price API has no price of {coin_id}",
        run_id="run-that-missed",
        seen_at=FETCHED_AT,
    )


@dataclass
class TransformedLake:
    """Windows in a folder; each run writes a file a month of each dataset.

    A run is a call: what was written before stays, and other manifests may name it.
    """

    root: str
    _runs: int = field(default=0)

    def day(self, key: str, *prices: Row, **manifest: Any) -> Manifest:
        """A window of the historical stream."""
        return self.window(HISTORICAL, key, {"prices": prices}, **manifest)

    def six_hours(
        self, key: str, *prices: Row, snapshots: Sequence[Row] = (), **manifest: Any
    ) -> Manifest:
        """A window of the intra-day stream."""
        rows: dict[Dataset, Sequence[Row]] = {"prices": prices, "snapshots": snapshots}
        return self.window(INTRA_DAY, key, rows, **manifest)

    def window(
        self, stream: Stream, key: str, rows: Mapping[Dataset, Sequence[Row]], **manifest: Any
    ) -> Manifest:
        """A run of one window; see ``months``."""
        (described,) = self.months(stream, {key: rows}, **manifest)
        return described

    def months(
        self,
        stream: Stream,
        rows: Mapping[str, Mapping[Dataset, Sequence[Row]]],
        **manifest: Any,
    ) -> list[Manifest]:
        """Write the files of windows, and describe each of these.

        Args:
            stream: The stream of the windows.
            rows: The rows of each dataset, by the key of their window.
            manifest: What all manifests say otherwise.
        """
        self._runs += 1
        run = f"run-{self._runs}"
        by_file: dict[tuple[str, Dataset], list[Row]] = {}
        for key, datasets in rows.items():
            start = stream.window(key).start
            for dataset, written in datasets.items():
                folder = stream.window_folder(stream.window(key), dataset)
                shared = by_file.setdefault((folder, dataset), [])
                shared += [{"window_start": start, "run_id": run, **row} for row in written]
        files = {
            (folder, dataset): self._write(dataset, f"{folder}/{dataset}-{run}.parquet", written)
            for (folder, dataset), written in by_file.items()
            if written
        }

        def describe(key: str, datasets: Mapping[Dataset, Sequence[Row]]) -> Manifest:
            window = stream.window(key)
            named = (files.get((stream.window_folder(window, one), one)) for one in datasets)
            described = Manifest(
                stream=stream.name,
                window=window,
                run_id=run,
                written_at=FETCHED_AT,
                coins=len({(row["coin_id"], row["vs_currency"]) for row in datasets["prices"]}),
                points=len(datasets["prices"]),
                snapshots=len(datasets.get("snapshots", ())),
                files=tuple(file for file in named if file),
            )
            return replace(described, **manifest)

        return [describe(key, datasets) for key, datasets in rows.items()]

    def path(self, manifest: Manifest) -> Path:
        """The window's first file."""
        return Path(self.root) / manifest.files[0].path

    def _write(self, dataset: Dataset, name: str, rows: Sequence[Row]) -> LakeFile:
        path = Path(self.root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows), _SCHEMAS[dataset]), path)
        content = path.read_bytes()
        return LakeFile(
            dataset=dataset,
            path=name,
            rows=len(rows),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
