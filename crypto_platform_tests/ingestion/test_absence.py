"""What several answers prove about windows that have no price."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crypto_platform.core.streams import HISTORICAL, Window, WindowBatch
from crypto_platform.ingestion.raw_windows import GONE, PROOF_PAUSE, PROVEN, commit_response
from crypto_platform.ingestion.responses import AbsentWindows, PricesResponse
from crypto_platform.lake.layers import Layer
from lambda_function.absence import ELSEWHERE, EMPTY, ENDED, MISSING, SECONDS

DAYS = HISTORICAL.windows(datetime(2026, 1, 28, tzinfo=UTC), datetime(2026, 2, 4, tzinfo=UTC))
NOON = datetime(2026, 2, 5, 12, tzinfo=UTC)
DOWN = "The API answered HTTP 503."

Places = tuple[int, int]


class Raw:
    """A raw lake, and runs that ask for days of it."""

    def __init__(self, folder: Path) -> None:
        self.layer = Layer(str(folder), "raw", "raw_prices")
        self.runs = 0

    def answered(
        self,
        days: Sequence[Window],
        absent: Mapping[str, Mapping[str, Places]],
        *,
        coins: Sequence[str] = ("bitcoin", "ethereum"),
        after: timedelta = timedelta(),
    ) -> None:
        """A run whose answers have all prices but those absent: reasons and places by coin."""
        self.runs += 1
        lacking = {
            (coin, place)
            for coin, reasons in absent.items()
            for first, last in reasons.values()
            for place in range(first, last + 1)
        }
        response = PricesResponse(
            objects=(),
            absent=tuple(
                AbsentWindows(
                    coin_id=coin,
                    status="missing_at_source" if reason == MISSING else "failed",
                    reason=reason,
                    windows=(places,),
                )
                for coin, reasons in absent.items()
                for reason, places in reasons.items()
            ),
            window_points=tuple(
                sum((coin, place) not in lacking for coin in coins) for place in range(len(days))
            ),
            rejected=(),
            calls=1,
            credits=1,
            source="simulated",
            fetched_at=NOON + after,
        )
        commit_response(
            self.layer,
            WindowBatch(HISTORICAL, days),
            coins,
            response,
            snapshots={},
            vs_currency="usd",
            run_id=f"run-{self.runs}",
        )

    def reasons(self, coin: str, days: Sequence[Window] = DAYS) -> list[str]:
        """The status and reason of each day, empty where there is a price."""
        found = []
        for manifest in self.layer.manifests(HISTORICAL, days):
            told = {one.coin_id: f"{one.status}: {one.reason}" for one in manifest.absent}
            found.append(told.get(coin, ""))
        return found


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path)


ALL = (0, len(DAYS) - 1)


def test_nothing_for_any_coin_is_a_failure(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {EMPTY: ALL}, "ethereum": {EMPTY: ALL}})

    assert raw.reasons("bitcoin") == raw.reasons("ethereum") == [f"failed: {EMPTY}"] * len(DAYS)


def test_a_second_answer_at_another_time_proves_absence(raw: Raw) -> None:
    nothing = {"bitcoin": {EMPTY: ALL}, "ethereum": {ENDED: ALL}}
    raw.answered(DAYS, nothing)
    raw.answered(DAYS, nothing, after=PROOF_PAUSE)

    proven = [f"missing_at_source: {PROVEN}"] * len(DAYS)
    assert raw.reasons("bitcoin") == raw.reasons("ethereum") == proven


def test_a_second_answer_of_the_same_minutes_proves_nothing_but_the_third_one_does(
    raw: Raw,
) -> None:
    nothing = {"bitcoin": {EMPTY: ALL}, "ethereum": {EMPTY: ALL}}
    for minutes in (0, 4, 8):
        raw.answered(DAYS, nothing, after=timedelta(minutes=minutes))
    assert raw.reasons("bitcoin") == [f"failed: {EMPTY}"] * len(DAYS)

    raw.answered(DAYS, nothing, after=timedelta(minutes=12))
    assert raw.reasons("bitcoin") == [f"missing_at_source: {PROVEN}"] * len(DAYS)


def test_that_the_api_was_down_between_two_answers_changes_nothing(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {EMPTY: ALL}, "ethereum": {EMPTY: ALL}})
    raw.answered(
        DAYS, {"bitcoin": {DOWN: ALL}, "ethereum": {DOWN: ALL}}, after=timedelta(minutes=5)
    )
    assert raw.reasons("bitcoin") == [f"failed: {EMPTY}"] * len(DAYS)

    raw.answered(DAYS, {"bitcoin": {ELSEWHERE: ALL}}, after=timedelta(minutes=30))
    assert raw.reasons("bitcoin") == [f"missing_at_source: {PROVEN}"] * len(DAYS)


def test_stamps_in_seconds_never_prove_absence(raw: Raw) -> None:
    for minutes in (0, 30, 60):
        raw.answered(DAYS, {"bitcoin": {SECONDS: ALL}}, after=timedelta(minutes=minutes))

    assert raw.reasons("bitcoin") == [f"failed: {SECONDS}"] * len(DAYS)


def test_a_coin_that_never_had_a_price_is_missing_at_once_where_others_have_them(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {EMPTY: ALL}})

    assert raw.reasons("bitcoin") == [f"missing_at_source: {MISSING}"] * len(DAYS)


def test_a_coin_that_had_prices_up_to_the_window_is_asked_for_again(raw: Raw) -> None:
    before, after = DAYS[:4], DAYS[4:]
    raw.answered(before, {})
    raw.answered(after, {"bitcoin": {EMPTY: (0, len(after) - 1)}})

    assert raw.reasons("bitcoin") == [""] * 4 + [f"failed: {EMPTY}"] * 4


def test_a_damaged_manifest_of_the_month_before_stops_no_run(raw: Raw) -> None:
    january, february = DAYS[:4], DAYS[4:]
    raw.answered(january, {})
    raw.layer.put("historical_data/month=2026-01/_manifest.json", b'{"format":')

    raw.answered(february, {"bitcoin": {ENDED: (0, 3)}})

    assert raw.reasons("bitcoin", february) == [f"failed: {ENDED}"] * 4


def test_windows_that_nobody_asked_for_hide_no_price_before_them(raw: Raw) -> None:
    raw.answered(DAYS[:1], {})
    raw.answered(DAYS[6:], {"bitcoin": {EMPTY: (0, 1)}})

    assert raw.reasons("bitcoin", DAYS[6:]) == [f"failed: {EMPTY}"] * 2


def test_prices_of_the_same_run_count_as_those_that_were_there(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {ENDED: (2, 3), EMPTY: (4, 7)}})

    assert raw.reasons("bitcoin")[2:] == [f"failed: {ENDED}"] * 2 + [f"failed: {EMPTY}"] * 4


def test_prices_before_the_windows_in_the_answer_alone_count_too(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {ENDED: (0, 0), EMPTY: (1, 7)}})

    assert raw.reasons("bitcoin") == [f"failed: {ENDED}"] + [f"failed: {EMPTY}"] * 7


def test_a_hole_inside_of_an_answer_is_missing_at_once(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {MISSING: (3, 4)}})

    assert raw.reasons("bitcoin")[3:5] == [f"missing_at_source: {MISSING}"] * 2


def test_prices_of_the_next_answer_of_the_run_prove_a_hole_at_the_end_of_one(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {ENDED: (3, 4)}})

    assert raw.reasons("bitcoin")[3:5] == [f"missing_at_source: {MISSING}"] * 2


def test_an_empty_answer_between_two_others_is_asked_for_again(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {EMPTY: (3, 4)}})

    assert raw.reasons("bitcoin")[3:5] == [f"failed: {EMPTY}"] * 2


def test_a_coin_whose_end_is_proven_is_not_asked_for_twice_window_by_window(raw: Raw) -> None:
    raw.answered(DAYS[:5], {"bitcoin": {ENDED: (2, 4)}})
    raw.answered(DAYS[2:5], {"bitcoin": {EMPTY: (0, 2)}}, after=PROOF_PAUSE)
    raw.answered(DAYS[5:], {"bitcoin": {EMPTY: (0, 2)}}, after=timedelta(days=1))

    assert raw.reasons("bitcoin") == (
        [""] * 2 + [f"missing_at_source: {PROVEN}"] * 3 + [f"missing_at_source: {GONE}"] * 3
    )


def test_an_api_that_has_nothing_for_any_coin_is_not_believed_of_a_coin_that_ended(
    raw: Raw,
) -> None:
    raw.answered(DAYS[:5], {"bitcoin": {ENDED: (2, 4)}})
    raw.answered(DAYS[2:5], {"bitcoin": {EMPTY: (0, 2)}}, after=PROOF_PAUSE)
    raw.answered(
        DAYS[5:],
        {"bitcoin": {EMPTY: (0, 2)}, "ethereum": {EMPTY: (0, 2)}},
        after=timedelta(days=1),
    )

    assert raw.reasons("bitcoin", DAYS[5:]) == [f"failed: {EMPTY}"] * 3


def test_a_price_that_comes_after_all_ends_the_absence(raw: Raw) -> None:
    raw.answered(DAYS, {"bitcoin": {EMPTY: ALL}, "ethereum": {EMPTY: ALL}})
    raw.answered(DAYS, {}, after=PROOF_PAUSE)

    assert raw.reasons("bitcoin") == [""] * len(DAYS)
