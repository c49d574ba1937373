from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import (
    HISTORICAL,
    INTRA_DAY,
    STREAMS,
    Stream,
    Window,
    WindowBatch,
)

WEEKLY = replace(
    HISTORICAL,
    name="weekly",
    window_length=timedelta(weeks=1),
    window_anchor=datetime(1970, 1, 5, tzinfo=UTC),
    partition_cron="0 0 * * 1",
    floored_to=timedelta(weeks=1),
)
"""Weeks begin on Monday; 1970 began on a Thursday."""

MOMENTS = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@pytest.mark.parametrize(
    ("stream", "key", "start", "end", "folder"),
    [
        (
            HISTORICAL,
            "2026-11-22",
            datetime(2026, 11, 22, tzinfo=UTC),
            datetime(2026, 11, 23, tzinfo=UTC),
            "historical_data/month=2026-11",
        ),
        (
            INTRA_DAY,
            "2026-11-22-18:00",
            datetime(2026, 11, 22, 18, tzinfo=UTC),
            datetime(2026, 11, 23, tzinfo=UTC),
            "intra_day/month=2026-11",
        ),
    ],
)
def test_a_partition_key_names_a_window_and_its_folder(
    stream: Stream, key: str, start: datetime, end: datetime, folder: str
) -> None:
    window = stream.window(key)

    assert window == Window(start=start, end=end)
    assert stream.window_folder(window) == folder


@given(days=st.integers(0, 5_000), quarter=st.integers(0, 3), stream=st.sampled_from(STREAMS))
def test_a_window_and_its_partition_key_name_each_other(
    days: int, quarter: int, stream: Stream
) -> None:
    steps = days if stream is HISTORICAL else days * 4 + quarter
    start = datetime(2015, 1, 1, tzinfo=UTC) + steps * stream.window_length
    window = Window(start=start, end=start + stream.window_length)

    assert stream.window(stream.partition_key(window)) == window


@pytest.mark.parametrize("stream", STREAMS)
def test_windows_follow_each_other_without_gap_or_overlap(stream: Stream) -> None:
    now = datetime(2026, 3, 30, 13, 5, tzinfo=UTC)
    partitions = stream.partitions(now - timedelta(days=3))

    with dg.partition_loading_context(effective_dt=now):
        windows = [stream.window(key) for key in partitions.get_partition_keys()]

    assert all(one.end == after.start for one, after in pairwise(windows))
    assert windows[-1].end <= now < windows[-1].end + stream.window_length


@pytest.mark.parametrize("stream", STREAMS)
def test_the_windows_that_start_in_a_month_share_a_folder(stream: Stream) -> None:
    windows = stream.windows(
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 31, 23, tzinfo=UTC)
    )

    shared = stream.by_folder(windows)

    assert list(shared) == [f"{stream.folder}/month=2026-0{month}" for month in (1, 2, 3)]
    assert [window for month in shared.values() for window in month] == windows
    assert all(len({window.start.month for window in month}) == 1 for month in shared.values())


@given(moment=MOMENTS, stream=st.sampled_from([*STREAMS, WEEKLY]))
def test_every_moment_lies_in_exactly_one_window(moment: datetime, stream: Stream) -> None:
    window = stream.window_at(moment)

    assert window.start <= moment < window.end
    assert stream.window_of_index(stream.index_at(moment)) == window
    assert stream.window_at(window.end).start == window.end


def test_a_weeks_window_begins_when_dagsters_partition_does() -> None:
    now = datetime(2026, 3, 30, 13, 5, tzinfo=UTC)
    partitions = WEEKLY.partitions(datetime(2026, 1, 1, tzinfo=UTC))

    with dg.partition_loading_context(effective_dt=now):
        keys = partitions.get_partition_keys()

    assert keys[0] == "2026-01-05"
    assert all(WEEKLY.key_at(WEEKLY.window(key).start) == key for key in keys)
    assert WEEKLY.key_at(datetime(2026, 1, 11, 23, tzinfo=UTC)) == "2026-01-05"


def test_a_stream_begins_with_the_first_whole_window_from_the_day_set() -> None:
    settings = Settings(HISTORY_START=date(2026, 1, 1))

    assert settings.first_window(HISTORICAL) == datetime(2026, 1, 1, tzinfo=UTC)
    assert settings.first_window(WEEKLY) == datetime(2026, 1, 5, tzinfo=UTC)


def test_a_batch_knows_its_span_and_names_its_partitions() -> None:
    windows = INTRA_DAY.windows(
        datetime(2026, 1, 1, 7, tzinfo=UTC), datetime(2026, 1, 2, 6, tzinfo=UTC)
    )
    batch = WindowBatch(INTRA_DAY, windows)

    assert batch.partition_range == "2026-01-01-06:00...2026-01-02-06:00"
    assert batch.span == Window(start=windows[0].start, end=windows[-1].end)
    assert batch.newest == windows[-1]
    assert batch.describe() == ("5 intra_day partitions from 2026-01-01-06:00 to 2026-01-02-06:00")
    assert WindowBatch(INTRA_DAY, windows[:2]).describe() == (
        "intra_day 2026-01-01-06:00, 2026-01-01-12:00"
    )
