"""What the intra-day job makes of market snapshots, on both engines."""

import gzip
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from crypto_platform.core.streams import INTRA_DAY
from crypto_platform_tests.glue_jobs.examples import example
from crypto_platform_tests.glue_jobs.jobs import (
    RECORDED,
    START,
    JobRunner,
    Made,
    bits,
    iso,
    milliseconds,
    record,
    write_lines,
)

pytestmark = pytest.mark.integration

MARKET = {
    "id": "bitcoin",
    "current_price": 87000.123456789,
    "market_cap": 1723456789012,
    "market_cap_rank": 1,
    "fully_diluted_valuation": None,
    "total_volume": 0,
    "high_24h": 88000,
    "low_24h": 1.1e-05,
    "price_change_24h": None,
    "price_change_percentage_24h": -0.5,
    "market_cap_change_24h": -1.5,
    "circulating_supply": 19900000.0,
    "total_supply": 589735030408323000,
    "max_supply": 21000000.0,
    "ath": 126080,
    "ath_date": "2025-10-06T18:57:42.558Z",
    "atl": 67.81,
    "atl_date": "2013-07-06T00:00:00.000Z",
    "roi": {"times": 1.5, "currency": "usd", "percentage": 150.5},
    "last_updated": "2026-01-01T05:59:58.123Z",
}


def snapshot(
    market: dict[str, Any], coin: str = "bitcoin", at: str = "2026-01-01T06:10:00.456Z"
) -> dict[str, Any]:
    return {
        "coin_id": coin,
        "vs_currency": "usd",
        "observed_at": at,
        "window_start": iso(START),
        "window_end": iso(START + INTRA_DAY.window_length),
        "run_id": "fetch",
        "source": "coingecko",
        "market": market,
    }


of_snapshots = partial(example, stream=INTRA_DAY, source="snapshots")


@of_snapshots([snapshot(MARKET)])
def test_a_snapshot_is_the_market_as_the_api_gave_it(made: Made) -> None:
    [row] = made.snapshots
    assert row == {
        "coin_id": "bitcoin",
        "vs_currency": "usd",
        "observed_at": datetime(2026, 1, 1, 6, 10, 0, 456000, tzinfo=UTC),
        "window_start": START,
        "rank": 1,
        "current_price": 87000.123456789,
        "market_cap": 1723456789012.0,
        "total_volume": 0.0,
        "high_24h": 88000.0,
        "low_24h": 1.1e-05,
        "price_change_24h": None,
        "price_change_percentage_24h": -0.5,
        "circulating_supply": 19900000.0,
        "total_supply": 589735030408323000.0,
        "max_supply": 21000000.0,
        "fully_diluted_valuation": None,
        "ath": 126080.0,
        "ath_date": datetime(2025, 10, 6, 18, 57, 42, 558000, tzinfo=UTC),
        "atl": 67.81,
        "atl_date": datetime(2013, 7, 6, tzinfo=UTC),
        "last_updated": datetime(2026, 1, 1, 5, 59, 58, 123000, tzinfo=UTC),
        "source": "coingecko",
        "run_id": "fetch",
    }


NO_RECORDS = ["no json", '{"coin_id": "cut', "5", "{}"]


def test_a_snapshot_is_one_file_of_its_month_without_what_is_no_record(jobs: JobRunner) -> None:
    [line] = jobs.write_snapshots([snapshot(MARKET, coin) for coin in ("bitcoin", "ethereum")])
    with gzip.open(line["snapshots"][0], "at") as lines:
        lines.writelines(f"{no_record}\n" for no_record in NO_RECORDS)
    jobs.run([line], INTRA_DAY)
    assert [row["coin_id"] for row in jobs.rows("snapshots")] == ["bitcoin", "ethereum"]
    [file] = jobs.files("snapshots")
    assert file.parent == jobs.home / "output" / "dataset=snapshots" / "number=0"


OLDER = {**MARKET, "market_cap_rank": 250, "last_updated": "2026-01-01T05:58:00.000Z"}
FIRST, LATER = "2026-01-01T06:10:00.456Z", "2026-01-01T06:10:00.457Z"


@of_snapshots(
    [
        snapshot(MARKET, at=LATER),
        snapshot(OLDER, at=FIRST),
        snapshot(MARKET, "ethereum", at=LATER),
    ]
)
def test_of_several_snapshots_of_a_window_the_first_counts_coin_by_coin(made: Made) -> None:
    ranks = [(row["coin_id"], row["rank"]) for row in made.snapshots]
    assert ranks == [("bitcoin", 250), ("ethereum", 1)]


@of_snapshots([snapshot(OLDER), snapshot(MARKET), snapshot(OLDER)])
def test_a_coin_on_two_pages_is_one_row_of_the_fresher(made: Made) -> None:
    assert [row["rank"] for row in made.snapshots] == [1]


@of_snapshots([snapshot({"id": "dead-coin", "market_cap_rank": None}, "dead-coin")])
def test_an_entry_without_anything_is_nulls(made: Made) -> None:
    [row] = made.snapshots
    assert (row["coin_id"], row["rank"], row["current_price"]) == ("dead-coin", None, None)


ODD_NUMBERS: dict[str, tuple[Any, float | None]] = {
    "no text": ("", None),
    "text": ("unlimited", None),
    "a number in a text": ("21000000.5", 21000000.5),
    "an exponent in a text": ("1.1e-05", 1.1e-05),
    "a space before": (" 21", None),
    "NaN": ("NaN", None),
    "beyond doubles": ("1e999", None),
    "yes": (True, None),
    "object": ({"usd": 1}, None),
    "list": ([21], None),
    "the least": (5e-324, 5e-324),
    "zero": (-0.0, -0.0),
}


@of_snapshots(
    [snapshot({**MARKET, "max_supply": value}, name) for name, (value, _) in ODD_NUMBERS.items()]
)
def test_a_value_that_is_no_number_is_null_and_costs_no_other(made: Made) -> None:
    assert {row["coin_id"]: bits(row["max_supply"]) for row in made.snapshots} == {
        name: bits(number) for name, (_, number) in ODD_NUMBERS.items()
    }
    assert {row["current_price"] for row in made.snapshots} == {MARKET["current_price"]}


RANKS: dict[Any, int | None] = {
    "7": 7,
    8.0: 8,
    2.5: None,
    "none": None,
    2**31: None,
    True: None,
}


@of_snapshots([snapshot({**MARKET, "market_cap_rank": rank}, f"coin of {rank}") for rank in RANKS])
def test_a_rank_is_a_whole_number_or_null(made: Made) -> None:
    assert {row["coin_id"]: row["rank"] for row in made.snapshots} == {
        f"coin of {rank}": number for rank, number in RANKS.items()
    }


NO_DATES = ["", "never", "2025-02-31T00:00:00.000Z", "2025-13-01T00:00:00Z", "T12:00", 1.7e12]


@of_snapshots([snapshot({**MARKET, "ath_date": date}, str(date)) for date in NO_DATES])
def test_a_date_that_is_none_is_null(made: Made) -> None:
    assert [row["ath_date"] for row in made.snapshots] == [None] * len(NO_DATES)


@of_snapshots(lambda market: [snapshot(market, "a"), snapshot(MARKET, "b")])
@pytest.mark.parametrize("market", [None, [], "bitcoin", 5])
def test_an_entry_that_is_no_object_is_nulls(made: Made) -> None:
    ranks = [(row["coin_id"], row["rank"]) for row in made.snapshots]
    assert ranks == [("a", None), ("b", 1)]


@of_snapshots(
    [
        snapshot({**MARKET, "max_supply": ""}),
        snapshot({**MARKET, "market_cap_rank": 2}, at="2026-01-01T06:20:00.000Z"),
    ]
)
def test_a_later_snapshot_mends_a_value_that_was_none(made: Made) -> None:
    [row] = made.snapshots
    assert (row["rank"], row["max_supply"]) == (2, MARKET["max_supply"])


def test_snapshots_that_cannot_be_read_cost_no_price(jobs: JobRunner) -> None:
    [line] = jobs.write_raw([record([[milliseconds(START), 1.5]], stream=INTRA_DAY)], INTRA_DAY)
    damaged = jobs.home / "raw" / "snapshots-00000.json.gz"
    write_lines(damaged, [snapshot(MARKET)])
    damaged.write_bytes(damaged.read_bytes()[:-12])
    jobs.run([{**line, "snapshots": [str(damaged)]}], INTRA_DAY)
    assert [row["price"] for row in jobs.rows("prices")] == [1.5]


@pytest.mark.recorded
@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"There are no recorded responses in {RECORDED}.")
def test_recorded_markets_arrive_to_the_bit(jobs: JobRunner) -> None:
    markets = json.loads((RECORDED / "markets" / "markets_250_usd_2026-07-07.json").read_text())
    given = {market["id"]: market for market in markets}
    spec = jobs.write_snapshots([snapshot(market, coin) for coin, market in given.items()])
    jobs.run(spec, INTRA_DAY)
    rows = jobs.rows("snapshots")
    assert {row["coin_id"] for row in rows} == set(given)
    numbers = [name for name in rows[0] if isinstance(rows[0][name], float)]
    assert len(numbers) > 10
    for row in rows:
        values = {name: given[row["coin_id"]][name] for name in numbers}
        assert {name: bits(row[name]) for name in numbers} == {
            name: bits(None if value is None else float(value)) for name, value in values.items()
        }
