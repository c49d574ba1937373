"""How many rows raw answers have to become, where they have what is no number."""

from datetime import UTC, datetime
from typing import Any

import pytest

from crypto_platform.core.streams import HISTORICAL, Window
from crypto_platform.transformation.expected_counts import Counts, expected_counts

FIRST, SECOND = "2026-01-01", "2026-01-02"
AT = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000


def counted(*records: dict[str, Any]) -> dict[str, Counts]:
    """The counts of a coin in two days, by the day."""
    windows: list[Window] = [HISTORICAL.window(key) for key in (FIRST, SECOND)]
    made = {
        "coin_id": "bitcoin",
        "vs_currency": "usd",
        "window_start": windows[0].start.isoformat(),
        "window_end": windows[1].end.isoformat(),
        "granularity": "daily",
        "prices": [[AT, 1.5], [AT + DAY, None]],
        "market_caps": [],
        "total_volumes": [],
    }
    counts = expected_counts([{**made, **record} for record in records], HISTORICAL, windows)
    return {HISTORICAL.partition_key(window): one for (window, _), one in counts.items()}


def fault(series: str, stamp: int | None, value: str = "true") -> dict[str, Any]:
    return {"series": series, "stamp": stamp, "value": value}


@pytest.mark.parametrize(
    ("faults", "rejected"),
    [
        (None, (0, 1)),
        ([], (0, 1)),
        ([fault("prices", AT + DAY)], (0, 1)),
        ([fault("prices", None)], (1, 1)),
        ([fault("market_caps", AT), fault("total_volumes", AT)], (2, 1)),
        ([fault("market_caps", AT + DAY)], (0, 2)),
        ([fault("market_caps", None), fault("market_caps", None)], (1, 1)),
        ([fault("market_caps", AT, "x" * 61), fault("market_caps", AT, "x" * 62)], (1, 1)),
        ([fault("market_caps", AT, "x" * 60), fault("market_caps", AT, "x" * 61)], (2, 1)),
    ],
)
def test_a_fault_is_a_rejected_row_where_no_price_tells_it(
    faults: list[dict[str, Any]] | None, rejected: tuple[int, int]
) -> None:
    counts = counted({"faults": faults})
    assert (counts[FIRST], counts[SECOND]) == (Counts(1, rejected[0]), Counts(0, rejected[1]))


def test_the_fault_of_two_answers_is_one() -> None:
    record = {"faults": [fault("market_caps", AT)]}
    assert counted(record, record)[FIRST] == Counts(1, 1)
