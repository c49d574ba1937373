from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.ingestion.raw_windows import merge, merge_absences
from crypto_platform.lake.manifests import Absence


def record(
    coin: str = "bitcoin",
    *,
    granularity: str = "daily",
    prices: int | list[list[Any]] = 1,
    **changes: Any,
) -> dict[str, Any]:
    return {
        "coin_id": coin,
        "vs_currency": "usd",
        "granularity": granularity,
        "fetched_at": "2026-11-23T00:45:00Z",
        "prices": [[index, 1.5] for index in range(prices)] if isinstance(prices, int) else prices,
        "market_caps": [],
        "total_volumes": [],
        **changes,
    }


def absence(coin: str = "bitcoin", *, status: str = "failed", run_id: str = "first") -> Absence:
    return Absence.model_validate(
        {
            "coin_id": coin,
            "vs_currency": "usd",
            "status": status,
            "reason": "because",
            "run_id": run_id,
            "seen_at": datetime(2026, 11, 23, tzinfo=UTC),
        }
    )


def test_a_response_that_says_the_same_again_changes_nothing() -> None:
    old, again = record(), record(fetched_at="2026-11-24T00:45:00Z")

    merged = merge([old], [again])

    assert merged.records == [old]
    assert merged.all_old


def test_a_changed_value_takes_the_place_of_the_old_one() -> None:
    revised = record(prices=1, market_caps=[[0, 9.0]])

    merged = merge([record()], [revised])

    assert merged.records == [revised]
    assert merged.all_new


def test_a_coin_without_a_response_keeps_its_record() -> None:
    held, new = record("bitcoin"), record("ethereum")

    merged = merge([held], [new])

    assert merged.records == [held, new]
    assert not merged.all_old
    assert not merged.all_new


def test_five_minute_points_are_not_replaced_by_hourly_ones() -> None:
    fine = record(granularity="5-minute", prices=72)

    assert merge([fine], [record(granularity="hourly", prices=6)]).records == [fine]


def test_hourly_points_make_way_for_five_minute_ones() -> None:
    fine = record(granularity="5-minute", prices=72)

    assert merge([record(granularity="hourly", prices=6)], [fine]).records == [fine]


def test_a_whole_window_is_not_replaced_by_a_part_of_it() -> None:
    whole = record(granularity="hourly", prices=6)

    assert merge([whole], [record(granularity="hourly", prices=2)]).records == [whole]


def test_a_value_is_not_replaced_by_a_null() -> None:
    whole = record(prices=2, market_caps=[[0, 9.0]])
    without_a_price = record(prices=[[0, 1.5], [1, None]], market_caps=[[0, 9.0]])
    without_a_cap = record(prices=2, market_caps=[[0, None]])

    assert merge([whole], [without_a_price]).records == [whole]
    assert merge([whole], [without_a_cap]).records == [whole]


def test_points_that_came_twice_do_not_make_a_response_richer_than_a_later_correction() -> None:
    doubled = record(prices=[[0, 1.0], [1, 2.0], [1, 2.002]])
    corrected = record(prices=[[0, 1.0], [1, 3.0]])

    assert merge([doubled], [corrected]).records == [corrected]


def test_prices_in_another_currency_stand_beside_each_other() -> None:
    assert len(merge([record()], [record(vs_currency="eur")]).records) == 2


values = st.one_of(st.none(), st.floats(0, 9))
series = st.lists(values, max_size=3).map(lambda points: [list(pair) for pair in enumerate(points)])
records = st.lists(
    st.builds(
        record,
        st.sampled_from(["bitcoin", "ethereum", "tether"]),
        granularity=st.sampled_from(["hourly", "5-minute"]),
        prices=series,
        market_caps=series,
    ),
    unique_by=lambda one: one["coin_id"],
)


def known(one: Mapping[str, Any]) -> int:
    """How many prices of a record are not null."""
    return sum(price is not None for _, price in one["prices"])


@given(responses=st.lists(records, min_size=1, max_size=4))
def test_a_window_never_becomes_poorer(responses: list[list[dict[str, Any]]]) -> None:
    held: list[Any] = []
    for response in responses:
        before = {one["coin_id"]: one for one in held}
        held = merge(held, response).records
        after = {one["coin_id"]: one for one in held}
        assert before.keys() <= after.keys()
        assert all(
            after[coin]["granularity"] != one["granularity"] or known(after[coin]) >= known(one)
            for coin, one in before.items()
        )


@given(old=records, new=records)
def test_merging_the_same_response_twice_is_merging_it_once(
    old: list[dict[str, Any]], new: list[dict[str, Any]]
) -> None:
    once = merge(old, new).records

    assert merge(once, new).records == once


def test_a_coin_with_a_record_is_not_absent() -> None:
    assert merge_absences([absence()], [absence()], {("bitcoin", "usd")}) == ()


def test_an_absence_that_is_still_so_keeps_its_first_run() -> None:
    assert merge_absences([absence()], [absence(run_id="second")], set()) == (absence(),)


def test_an_absence_for_another_reason_is_told_anew() -> None:
    now = absence(status="missing_at_source", run_id="second")

    assert merge_absences([absence()], [now], set()) == (now,)


def test_that_the_source_has_nothing_is_not_forgotten_when_it_cannot_be_asked() -> None:
    known = absence(status="missing_at_source")

    for status in ("failed", "out_of_plan"):
        assert merge_absences([known], [absence(status=status)], set()) == (known,)


def test_an_absence_that_nobody_asked_about_again_stays() -> None:
    assert merge_absences([absence("ethereum")], [absence()], set()) == (
        absence(),
        absence("ethereum"),
    )
