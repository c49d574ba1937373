"""What reads the warehouse for people, on each engine: the report's facts, and prices as frames."""

from datetime import UTC, datetime, timedelta

from crypto_platform.report.asset import render
from crypto_platform.report.panels import panels
from crypto_platform.warehouse.price_frames import GRANULARITIES, price_frame
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform_tests.report.test_asset import NEWEST, facts_of, fill

ALWAYS = datetime(2009, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def test_the_report_is_read_on_each_engine(warehouse: Warehouse) -> None:
    fill(warehouse, ["bitcoin", "ethereum"], 40, missing=lambda _, day: day == 5)
    facts = facts_of(warehouse)

    assert facts.window is not None
    assert facts.window.end == NEWEST + timedelta(days=1)
    assert [coin["coin_id"] for coin in facts.current] == ["bitcoin", "ethereum"]
    assert facts.newest_day == (NEWEST - timedelta(days=1)).date()
    assert len(facts.days_of_the_market) == 37
    assert (facts.complete.present, facts.complete.expected) == (78, 80)
    assert sum(row["coin_windows"] for row in facts.days_of_completeness) == 2 * 30
    assert facts.stale == []
    assert "Bitcoin" in render(facts, panels(facts))


def test_a_frame_is_the_same_on_each_engine(warehouse: Warehouse) -> None:
    fill(warehouse, ["bitcoin", "ethereum"], 3)

    for granularity in GRANULARITIES:
        frame = price_frame(
            warehouse, ["ethereum"], ALWAYS, granularity=granularity, vs_currency="usd"
        )
        assert list(frame["time"]) == [NEWEST - timedelta(days=days) for days in (2, 1, 0)]
        assert set(frame["coin_id"]) == {"ethereum"}
        assert frame["price"].notna().all()
