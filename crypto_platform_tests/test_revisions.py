"""What a person is told of values that a load changed."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from crypto_platform.checks.definitions import REVISIONS
from crypto_platform.checks.results import check_result
from crypto_platform.checks.warehouse import evaluate_revisions
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.warehouse.load import Revisions
from crypto_platform_tests.conftest import Platform

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]
DAY = datetime(2026, 11, 22, tzinfo=UTC)


def test_a_load_that_changes_nothing_has_no_finding() -> None:
    assert evaluate_revisions(HISTORICAL, Revisions(by_window={}, examples=[])) == []


def test_revised_windows_are_named_in_the_order_of_time() -> None:
    later = DAY + timedelta(hours=18)

    findings = evaluate_revisions(INTRA_DAY, Revisions(by_window={later: 2, DAY: 1}, examples=[]))

    assert [str(finding) for finding in findings] == [
        "2026-11-22-00:00: 1 observation(s) revised",
        "2026-11-22-18:00: 2 observation(s) revised",
    ]
    result = check_result(REVISIONS, findings, "a load")
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)


@pytest.mark.integration
def test_a_run_that_revises_prices_succeeds_and_warns_with_examples(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    keys = [f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m-%d}" for ago in (3, 2)]
    variables = {"TRACKED_COINS": "bitcoin,ethereum"}
    build_platform(market.base_url, variables).materialize(HISTORICAL, *keys)
    with SimulatedMarket(seed=2) as corrected:
        platform = build_platform(corrected.base_url, variables)
        result = platform.materialize(HISTORICAL, keys[1])
        again = platform.materialize(HISTORICAL, keys[1])

    (check,) = (one for one in result.get_asset_check_evaluations() if "revis" in one.check_name)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["partitions"] == dg.JsonMetadataValue([keys[1]])
    assert "bitcoin at " in str(check.metadata["found"].value)
    assert "price from " in str(check.metadata["found"].value)
    (event,) = result.asset_materializations_for_node("historical__snowflake_prices")
    assert event.metadata["revised"] == dg.IntMetadataValue(2)
    assert all(
        one.passed for one in again.get_asset_check_evaluations() if "revis" in one.check_name
    )
