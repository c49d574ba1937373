from datetime import UTC, datetime, timedelta
from itertools import pairwise

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, STREAMS, Stream, Window


@pytest.mark.parametrize(
    ("stream", "key", "start", "end", "folder"),
    [
        (
            HISTORICAL,
            "2026-11-22",
            datetime(2026, 11, 22, tzinfo=UTC),
            datetime(2026, 11, 23, tzinfo=UTC),
            "historical_data/date=2026-11-22",
        ),
        (
            INTRA_DAY,
            "2026-11-22-18:00",
            datetime(2026, 11, 22, 18, tzinfo=UTC),
            datetime(2026, 11, 23, tzinfo=UTC),
            "intra_day/date=2026-11-22/hour=18",
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
def test_the_partition_columns_are_those_of_the_folder(stream: Stream) -> None:
    folder = stream.window_folder(stream.window(datetime.now(UTC).strftime(stream.key_format)))

    names = tuple(part.partition("=")[0] for part in folder.split("/") if "=" in part)

    assert names == stream.partition_columns
