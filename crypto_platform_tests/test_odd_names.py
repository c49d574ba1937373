"""Ids from outside, end to end: they are values, and never a part of SQL or of a path."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.simulated_market import Fault
from crypto_platform_tests.conftest import STAGES, Platform
from crypto_platform_tests.odd_names import ODD_IDS, TRACES, oddly_named_market
from crypto_platform_tests.test_end_to_end import newest_keys

pytestmark = pytest.mark.integration

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_whatever_a_coin_is_called_its_prices_end_under_that_name(
    stream: Stream, build_platform: BuildPlatform, tmp_path: Path
) -> None:
    (key,) = newest_keys(stream, 1)
    with oddly_named_market() as market:
        platform = build_platform(market.base_url, {"TRACKED_COINS": f"top:{len(ODD_IDS)}"})
        for _ in range(2):
            platform.materialize(stream, key, stages=("tracked_coins", *STAGES))

    for table in ("coins", stream.table):
        rows = platform.query(f"SELECT DISTINCT coin_id FROM {table}")
        assert {row["coin_id"] for row in rows} == set(ODD_IDS)
    ledger = platform.query("SELECT coin_id, status FROM ingestion_ledger")
    assert {(row["coin_id"], row["status"]) for row in ledger} == {
        (coin, "present") for coin in ODD_IDS
    }
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert [name for name in names if any(trace in name for trace in TRACES)] == []


def test_an_answer_that_is_refused_is_kept_under_no_name_of_its_coin(
    build_platform: BuildPlatform, tmp_path: Path
) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    with oddly_named_market() as market:
        market.inject(Fault(status=200, body='["no chart"]'), coin="../../escape")
        market.inject("delisted_coin", coin="'; DROP TABLE coins; --")
        platform = build_platform(market.base_url, {"TRACKED_COINS": f"top:{len(ODD_IDS)}"})
        platform.materialize(HISTORICAL, key, stages=("tracked_coins", *STAGES))

    failed = platform.query("SELECT coin_id FROM ingestion_ledger WHERE status <> 'present'")
    assert {row["coin_id"] for row in failed} == {"../../escape", "'; DROP TABLE coins; --"}
    assert platform.lake.raw.paths("rejected")
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert [name for name in names if any(trace in name for trace in TRACES)] == []
