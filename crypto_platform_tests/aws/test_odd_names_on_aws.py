"""Ids from outside, end to end on AWS and in Snowflake; as on a laptop, in ``test_odd_names``."""

from collections.abc import Callable, Iterator

import pytest

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.simulated_market import MarketServer
from crypto_platform_tests.aws.account import RAW_BUCKET, TRANSFORMED_BUCKET, keys
from crypto_platform_tests.aws.cloud import Cloud
from crypto_platform_tests.conftest import STAGES
from crypto_platform_tests.odd_names import ODD_IDS, TRACES, oddly_named_market
from crypto_platform_tests.test_end_to_end import newest_keys

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]


@pytest.fixture
def market() -> Iterator[MarketServer]:
    with oddly_named_market() as market:
        yield market


def test_whatever_a_coin_is_called_its_prices_end_under_that_name(
    build_cloud: Callable[..., Cloud],
) -> None:
    cloud = build_cloud(TRACKED_COINS=f"top:{len(ODD_IDS)}")
    (key,) = newest_keys(HISTORICAL, 1)

    cloud.platform.materialize(HISTORICAL, key, stages=("tracked_coins", *STAGES))

    for table in ("coins", "historical_prices"):
        rows = cloud.query(f"SELECT DISTINCT coin_id FROM {table}")
        assert {row["coin_id"] for row in rows} == set(ODD_IDS)
    ledger = cloud.query("SELECT coin_id, status FROM ingestion_ledger")
    assert {(row["coin_id"], row["status"]) for row in ledger} == {
        (coin, "present") for coin in ODD_IDS
    }
    names = [*keys(RAW_BUCKET), *keys(TRANSFORMED_BUCKET)]
    assert [name for name in names if any(trace in name for trace in TRACES)] == []
    # Values are bound; none of them is ever in a statement's text.
    assert [text for text in cloud.wire.statements if any(odd in text for odd in ODD_IDS)] == []
