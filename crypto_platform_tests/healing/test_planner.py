from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import dagster as dg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, STREAMS, Stream, Window
from crypto_platform.healing.attempts import MAX_ATTEMPTS, Attempt
from crypto_platform.healing.ledger import healing_check
from crypto_platform.healing.planner import (
    Gap,
    HealRequest,
    plan_requests,
    select_requests,
    with_attempts,
)
from crypto_platform.warehouse.completeness import STATUSES, Completeness
from lambda_function.request_planner import plan_spans
from lambda_function.windows import RequestedWindow

NOW = datetime(2026, 11, 24, 17, tzinfo=UTC)
DAY = timedelta(days=1)
NEWEST = {stream: stream.latest_due(NOW) for stream in STREAMS}


def start(stream: Stream, ago: int) -> datetime:
    """Start of the window that is so many windows older than the newest overdue one."""
    return NEWEST[stream].start - ago * stream.window_length


def gap_of(  # noqa: PLR0913 - facts of a gap, each with a default
    coin: str,
    first: int,
    last: int | None = None,
    *,
    stream: Stream = HISTORICAL,
    status: str = "failed",
    alive: datetime | None = None,
) -> Gap:
    """A coin's windows, both ends counted back from the newest overdue one."""
    ends = start(stream, first), start(stream, first if last is None else last)
    return Gap(coin, status, *ends, reason="because", alive_since=alive)


def attempt(first: int, last: int, *coins: str, hours_ago: float = 1) -> Attempt:
    ends = start(HISTORICAL, first), start(HISTORICAL, last)
    return Attempt(frozenset(coins), *ends, at=NOW - timedelta(hours=hours_ago))


def asked(request: HealRequest) -> list[RequestedWindow]:
    """The windows of a request, as ingestion is asked for them."""
    length = request.stream.window_length
    count = (request.last.end - request.first.start) // length
    starts = [request.first.start + number * length for number in range(count)]
    return [RequestedWindow(number, one, one + length, "") for number, one in enumerate(starts)]


def calls_a_coin(stream: Stream, windows: Sequence[RequestedWindow]) -> int:
    return len(plan_spans(windows, stream.granularity, NOW, None).spans)


# --- the newest window that healing asks for -----------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "now", "key"),
    [
        (INTRA_DAY, "2026-11-24T12:59", "2026-11-24-00:00"),
        (INTRA_DAY, "2026-11-24T13:00", "2026-11-24-06:00"),
        (HISTORICAL, "2026-11-24T01:59", "2026-11-22"),
        (HISTORICAL, "2026-11-24T02:00", "2026-11-23"),
    ],
)
def test_a_window_is_overdue_once_the_schedule_has_had_its_turn(
    stream: Stream, now: str, key: str
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert stream.partition_key(stream.latest_due(moment)) == key


# --- requests ------------------------------------------------------------------------------------


def test_a_gap_of_all_coins_is_one_request() -> None:
    (request,) = plan_requests(HISTORICAL, [gap_of("bitcoin", 3, 1), gap_of("ether", 3, 1)], NOW)

    assert request.partition_range == ("2026-11-20", "2026-11-22")
    assert request.coins == ("bitcoin", "ether")
    assert request.calls == 2


def test_one_call_brings_all_daily_windows_of_a_coin_however_far_apart() -> None:
    (request,) = plan_requests(HISTORICAL, [gap_of("bitcoin", 3000), gap_of("bitcoin", 0)], NOW)

    assert request.calls == 1
    assert request.last.end - request.first.start == 3001 * DAY


def test_coins_whose_gaps_lie_far_apart_are_not_asked_for_what_they_have() -> None:
    requests = plan_requests(HISTORICAL, [gap_of("bitcoin", 3000), gap_of("ether", 0)], NOW)

    assert [(request.coins, len(asked(request))) for request in requests] == [
        (("ether",), 1),
        (("bitcoin",), 1),
    ]


def test_a_long_gap_of_six_hour_windows_is_cut_where_a_call_ends() -> None:
    requests = plan_requests(INTRA_DAY, [gap_of("bitcoin", 800, 0, stream=INTRA_DAY)], NOW)

    # The last day is asked for in five-minute prices; then come 90 days a call.
    assert [len(asked(request)) for request in requests] == [4 - 1, 801 - 3 - 720, 360, 360]


def test_the_number_of_an_attempt_is_one_more_than_there_were() -> None:
    attempts = [attempt(3, 3, "bitcoin"), attempt(3, 3, "bitcoin")]
    (request,) = plan_requests(
        HISTORICAL, with_attempts([gap_of("bitcoin", 3)], attempts, DAY), NOW
    )

    assert request.number == 3


coins = st.sampled_from(["a", "b", "c"])


@cache
def fewest_calls(stream: Stream, numbers: tuple[int, ...]) -> int:
    """By trying: the first window's call may take any further ones that it also brings."""
    if not numbers:
        return 0
    best = len(numbers)
    for taken in range(1, len(numbers) + 1):
        ends = start(stream, numbers[0]), start(stream, numbers[taken - 1]) + stream.window_length
        request = HealRequest(
            stream,
            Window(start=ends[0], end=ends[0] + stream.window_length),
            Window(start=ends[1] - stream.window_length, end=ends[1]),
            ("a",),
            1,
        )
        cost = calls_a_coin(stream, asked(request))
        best = min(best, cost + fewest_calls(stream, numbers[taken:]))
    return best


@example(stream=INTRA_DAY, gaps={"a": {3, 4}, "b": {363, 3, 4}})
@given(
    stream=st.sampled_from(STREAMS),
    gaps=st.dictionaries(coins, st.sets(st.integers(0, 900), min_size=1, max_size=6), min_size=1),
)
def test_each_gap_is_asked_for_once_with_as_few_calls_as_there_can_be(
    stream: Stream, gaps: dict[str, set[int]]
) -> None:
    wanted = [gap_of(coin, ago, stream=stream) for coin, agos in gaps.items() for ago in agos]

    requests = plan_requests(stream, wanted, NOW)

    times_asked = Counter(
        (coin, window.start)
        for request in requests
        for window in asked(request)
        for coin in request.coins
    )
    assert all(times_asked[one.coin_id, one.first] == 1 for one in wanted)
    # What a request costs is what ingestion will need for it.
    assert all(calls_a_coin(stream, asked(one)) == 1 for one in requests)
    assert sum(request.calls for request in requests) == sum(
        fewest_calls(stream, tuple(sorted(agos, reverse=True))) for agos in gaps.values()
    )
    # Nothing is asked for outside what lacks a price: each range begins and ends with a gap.
    gap_starts = {(one.coin_id, one.first) for one in wanted}
    for request in requests:
        for end in (request.first, request.last):
            assert any((coin, end.start) in gap_starts for coin in request.coins)


@given(
    stream=st.sampled_from(STREAMS),
    ends=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=4),
)
def test_a_gap_counts_the_same_in_one_piece_or_in_many(
    stream: Stream, ends: list[tuple[int, int]]
) -> None:
    agos = {ago for one in ends for ago in range(min(one), max(one) + 1)}
    whole = [gap_of("a", max(one), min(one), stream=stream) for one in ends]
    pieces = [gap_of("a", ago, stream=stream) for ago in agos]

    assert plan_requests(stream, whole[:1], NOW) == plan_requests(
        stream,
        [gap_of("a", ago, stream=stream) for ago in range(min(ends[0]), max(ends[0]) + 1)],
        NOW,
    )
    covered = {window.start for one in plan_requests(stream, pieces, NOW) for window in asked(one)}
    assert {start(stream, ago) for ago in agos} <= covered


# --- what may be launched ------------------------------------------------------------------------


def window_of(first: int, last: int) -> Window:
    return Window(start=start(HISTORICAL, first), end=start(HISTORICAL, last) + DAY)


def test_windows_that_another_run_is_about_are_left_to_it() -> None:
    requests = plan_requests(HISTORICAL, [gap_of("a", 500), gap_of("b", 3, 1)], NOW)

    chosen, lacking = select_requests(requests, [window_of(9, 3)], 100)

    assert [request.coins for request in chosen] == [("a",)]
    assert lacking == 0


def test_a_run_on_the_neighbouring_window_is_no_obstacle() -> None:
    requests = plan_requests(HISTORICAL, [gap_of("b", 3, 1)], NOW)

    assert select_requests(requests, [window_of(9, 4), window_of(0, 0)], 100) == (requests, 0)


def test_requests_for_the_same_windows_go_one_after_the_other() -> None:
    gaps = [gap_of("a", 700, 400, stream=INTRA_DAY), gap_of("b", 500, 300, stream=INTRA_DAY)]
    requests = plan_requests(INTRA_DAY, gaps, NOW)
    assert any(
        one.overlaps(Window(start=other.first.start, end=other.last.end))
        for one in requests
        for other in requests
        if one is not other
    )

    chosen, _ = select_requests(requests, [], 100)

    taken = [window.start for request in chosen for window in asked(request)]
    assert len(taken) == len(set(taken))


def test_what_does_not_fit_into_the_budget_waits_coin_by_coin() -> None:
    requests = plan_requests(HISTORICAL, [gap_of(coin, 3) for coin in "abcde"], NOW)

    chosen, lacking = select_requests(requests, [], 3)

    assert [request.coins for request in chosen] == [("a", "b", "c")]
    assert lacking == 2
    assert select_requests(requests, [], 0) == ([], 5)
    assert select_requests(requests, [], -4) == ([], 5)


# --- attempts -------------------------------------------------------------------------------------


def test_the_first_attempt_is_due_at_once() -> None:
    (gap,) = with_attempts([gap_of("bitcoin", 3)], [], DAY)

    assert gap.retry_due_at is not None
    assert gap.retry_due_at < NOW


def test_the_pause_grows_with_each_attempt_up_to_a_day_and_then_it_is_given_up() -> None:
    pauses = []
    for count in range(1, MAX_ATTEMPTS + 1):
        (gap,) = with_attempts([gap_of("bitcoin", 3)], [attempt(3, 3, "bitcoin")] * count, DAY)
        again = gap.retry_due_at
        pauses.append(again and (again - (NOW - timedelta(hours=1))) / timedelta(hours=1))

    assert pauses == [0.5, 2, 8, 24, None]
    assert gap.given_up


def test_an_attempt_counts_only_for_its_coins_and_windows() -> None:
    alive = NOW - 9 * DAY
    parts = with_attempts(
        [gap_of("bitcoin", 5, 1, alive=alive), gap_of("ether", 5, 1, alive=alive)],
        [attempt(4, 3, "bitcoin"), attempt(9, 4, "bitcoin")],
        DAY,
    )

    assert [(part.coin_id, part.first, part.last, part.attempts) for part in parts] == [
        ("bitcoin", start(HISTORICAL, 5), start(HISTORICAL, 5), 1),
        ("bitcoin", start(HISTORICAL, 4), start(HISTORICAL, 4), 2),
        ("bitcoin", start(HISTORICAL, 3), start(HISTORICAL, 3), 1),
        ("bitcoin", start(HISTORICAL, 2), start(HISTORICAL, 1), 0),
        ("ether", start(HISTORICAL, 5), start(HISTORICAL, 1), 0),
    ]


def test_a_delisted_coin_is_given_up_as_one_its_new_windows_too() -> None:
    gap, new = gap_of("delisted", 9, 4), gap_of("delisted", 3, 0, status="pending")

    parts = with_attempts([gap, new], [attempt(9, 4, "delisted")] * MAX_ATTEMPTS, DAY)

    assert all(part.given_up for part in parts)


def test_a_live_coin_with_a_bad_window_has_attempts_for_others_still() -> None:
    alive = NOW - 9 * DAY
    bad, new = gap_of("live", 9, alive=alive), gap_of("live", 0, status="pending")

    given_up, fresh = with_attempts([bad, new], [attempt(9, 9, "live")] * MAX_ATTEMPTS, DAY)

    assert given_up.given_up
    assert fresh.attempts == 0


def test_the_attempts_of_a_coin_that_has_a_price_again_count_anew() -> None:
    gap = gap_of("back", 9, 4, alive=NOW - timedelta(minutes=5))

    (counted,) = with_attempts([gap], [attempt(9, 4, "back", hours_ago=1)] * MAX_ATTEMPTS, DAY)

    assert counted.attempts == 0


def test_what_the_source_lacks_is_let_go_and_not_given_up() -> None:
    gap = gap_of("bitcoin", 3, status="missing_at_source")

    (counted,) = with_attempts([gap], [attempt(3, 3, "bitcoin")] * MAX_ATTEMPTS, DAY)

    assert counted.retry_due_at is None
    assert not counted.given_up


@given(
    gap=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    runs=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6),
)
def test_each_window_counts_the_runs_that_were_about_it(
    gap: tuple[int, int], runs: list[tuple[int, int]]
) -> None:
    alive = NOW - 30 * DAY
    attempts = [attempt(max(run), min(run), "a") for run in runs]

    parts = with_attempts([gap_of("a", max(gap), min(gap), alive=alive)], attempts, DAY)

    counted = {
        part.first + number * DAY: part.attempts
        for part in parts
        for number in range((part.last - part.first) // DAY + 1)
    }
    assert counted == {
        start(HISTORICAL, ago): sum(min(run) <= ago <= max(run) for run in runs)
        for ago in range(min(gap), max(gap) + 1)
    }


# --- what the check says was given up -------------------------------------------------------------


COMPLETE = Completeness(
    "historical",
    since=datetime(2026, 11, 20, tzinfo=UTC),
    statuses={**dict.fromkeys(STATUSES, 0), "present": 3, "failed": 1},
)


INTRA_DAY_COMPLETE = Completeness(
    "intra_day",
    since=datetime(2026, 11, 21, 6, tzinfo=UTC),
    statuses={**dict.fromkeys(STATUSES, 0), "present": 2},
)


def given_up(**gaps: Gap) -> list[str]:
    """How the check names what was given up; an alert is sent for each name that is new."""
    exhausted = [replace(gap, coin_id=coin, attempts=MAX_ATTEMPTS) for coin, gap in gaps.items()]
    result = healing_check({HISTORICAL: exhausted}, [COMPLETE])
    listed = result.metadata["at_fault"].value
    assert isinstance(listed, list)
    return listed


def test_a_gap_that_was_given_up_is_named_by_its_windows_so_that_another_one_is_new() -> None:
    assert given_up(bitcoin=gap_of("", 5, 3, alive=NOW)) == [
        "bitcoin/2026-11-18",
        "bitcoin/2026-11-19",
        "bitcoin/2026-11-20",
    ]


def test_a_coin_without_a_later_price_keeps_its_name_while_its_gap_grows() -> None:
    names = [given_up(bitcoin=gap_of("", first, 0)) for first in (3, 4, 5)]

    assert names == [["bitcoin/historical"]] * 3


def test_every_coin_that_was_given_up_is_named_however_many_they_are() -> None:
    coins = {f"coin-{number:03}": gap_of("", 3) for number in range(200)}

    assert given_up(**coins) == [f"{coin}/historical" for coin in coins]


def test_what_was_not_given_up_is_not_named() -> None:
    result = healing_check({HISTORICAL: [gap_of("bitcoin", 3)]}, [COMPLETE, INTRA_DAY_COMPLETE])

    assert result.passed
    assert result.metadata["at_fault"].value == []
    assert result.description == (
        "Healing has given nothing up. In the warehouse are of historical 75.00 % of 4 "
        "coin-windows since 2026-11-20; of intra_day 100.00 % of 2 coin-windows since 2026-11-21 "
        "06:00."
    )


def test_where_nothing_was_asked_for_the_check_judges_nothing_and_alerts_nobody() -> None:
    result = healing_check({HISTORICAL: []}, [Completeness("historical")])

    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (result.description or "").startswith("Judged nothing: nothing was asked for yet.")
