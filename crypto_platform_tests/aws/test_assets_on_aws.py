"""The same assets on AWS: the real zip, the real scripts and Snowflake's connector behind them."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import requests
from botocore.client import BaseClient

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream, Window
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.aws.account import TRANSFORMED_BUCKET, client, keys
from crypto_platform_tests.aws.cloud import Cloud
from crypto_platform_tests.aws.permissions import acting, platform_policy
from crypto_platform_tests.conftest import STAGES
from crypto_platform_tests.test_end_to_end import newest_keys

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]

Price = tuple[str, datetime, float, float | None, float | None]

# So much asked for gives the points that each stream asks for.
SPANS = {HISTORICAL.name: timedelta(days=200), INTRA_DAY.name: timedelta(days=1)}


def truth(market: SimulatedMarket, stream: Stream, windows: list[Window]) -> list[Price]:
    """What the market itself says of windows."""
    now = datetime.now(UTC)
    prices = []
    for coin in ("bitcoin", "ethereum"):
        chart = requests.get(
            f"{market.base_url}/coins/{coin}/market_chart/range",
            params={
                "vs_currency": "usd",
                "from": str(int((now - SPANS[stream.name]).timestamp())),
                "to": str(int(now.timestamp())),
                "precision": "full",
            },
            timeout=120,
        ).json()
        series = (dict(chart[name]) for name in ("prices", "market_caps", "total_volumes"))
        price, cap, volume = series
        for stamp in price:
            at = datetime.fromtimestamp(stamp / 1000, UTC)
            if any(window.start <= at < window.end for window in windows):
                prices.append((coin, at, price[stamp], cap.get(stamp), volume.get(stamp)))
    return sorted(prices)


def existing(cloud: Cloud, stream: Stream) -> list[Price]:
    return [
        (
            row["coin_id"],
            row["price_at"],
            row["price"],
            row["market_cap"],
            row["total_volume"],
        )
        for row in cloud.query(f"SELECT * FROM {stream.table} ORDER BY coin_id, price_at")
    ]


@pytest.mark.parametrize(
    ("stream", "partitions"),
    [(HISTORICAL, 1), (HISTORICAL, 3), (INTRA_DAY, 1)],
    ids=["a day", "a range of days", "six hours"],
)
def test_what_the_market_says_ends_in_snowflake_to_the_last_bit(
    stream: Stream,
    partitions: int,
    build_cloud: Callable[..., Cloud],
    market: SimulatedMarket,
) -> None:
    cloud = build_cloud()
    partition_keys = newest_keys(stream, partitions)
    windows = [stream.window(key) for key in partition_keys]

    result = cloud.platform.materialize(
        stream, partition_keys[0], partition_keys[-1] if partitions > 1 else None
    )

    assert result.success
    expected = truth(market, stream, windows)
    assert len(expected) >= 2 * partitions
    assert existing(cloud, stream) == expected
    ledger = cloud.query("SELECT coin_id, window_start, status, points FROM ingestion_ledger")
    assert {(row["coin_id"], row["window_start"]) for row in ledger} == {
        (coin, window.start) for coin in ("bitcoin", "ethereum") for window in windows
    }
    assert {row["status"] for row in ledger} == {"present"}
    assert sum(row["points"] for row in ledger) == len(expected)
    for manifest in cloud.lake.transformed.manifests(stream, windows):
        assert manifest.points == len(expected) // partitions
        assert len(manifest.files_of("prices")) == 1
    assert len(cloud.jobs.started) == 1
    assert not keys(TRANSFORMED_BUCKET, "jobs/")
    assert not cloud.home.exists()


def test_a_run_over_months_asks_s3_by_the_month_and_not_by_the_window(
    build_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = build_cloud()
    # The first and the last may be parts of months.
    partition_keys = newest_keys(HISTORICAL, 75)
    windows = [HISTORICAL.window(key) for key in partition_keys]
    months = len(HISTORICAL.by_folder(windows))
    requests_of: Counter[str] = Counter()
    call = BaseClient._make_api_call  # noqa: SLF001 - what all requests of a process go through

    def counted(self: Any, operation: str, arguments: Any) -> Any:
        if self.meta.service_model.service_name == "s3":
            requests_of[operation] += 1
        return call(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", counted)

    cloud.platform.materialize(HISTORICAL, partition_keys[0], partition_keys[-1])

    assert len(existing(cloud, HISTORICAL)) == 2 * len(windows)
    # Beside those of the months, what a run asks once: the coins, and the record of loads.
    assert requests_of.total() <= 20 * months + 30, requests_of


def test_the_policies_of_the_stack_allow_all_that_a_run_does(
    build_cloud: Callable[..., Cloud],
) -> None:
    cloud = build_cloud()
    (key,) = newest_keys(HISTORICAL, 1)
    stages = ("tracked_coins", *STAGES)

    with acting([platform_policy()]):
        result = cloud.platform.materialize(HISTORICAL, key, stages=stages)

    assert result.success
    assert len(existing(cloud, HISTORICAL)) == 2


@pytest.mark.parametrize("role", ["FunctionRole", "GlueRole"])
def test_without_the_policy_of_its_role_the_work_is_refused(
    role: str, build_cloud: Callable[..., Cloud]
) -> None:
    cloud = build_cloud()
    (key,) = newest_keys(HISTORICAL, 1)
    iam = client("iam")
    (name,) = (one["RoleName"] for one in iam.list_roles()["Roles"] if role in one["RoleName"])
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    iam.delete_role_policy(RoleName=name, PolicyName=policy)

    with acting([platform_policy()]), pytest.raises(dg.Failure):
        cloud.platform.materialize(HISTORICAL, key)

    assert existing(cloud, HISTORICAL) == []
