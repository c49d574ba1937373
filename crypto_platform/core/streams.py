"""The two streams of prices, as values: everything in which they differ stands here.

Their tables and pipes stand in ``snowflake_scripts``, what AWS runs for them in
``infrastructure``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import dagster as dg
from pydantic import AwareDatetime, BaseModel

Dataset = Literal["prices", "snapshots", "rejected"]
DATASETS: tuple[Dataset, ...] = get_args(Dataset)

SIMULATED = "simulated"
"""The source of what a simulated market says; whatever else names a source is real."""

_DATASET_FOLDERS: dict[Dataset, str] = {
    "prices": "{stream}",
    "snapshots": "market_snapshots",
    "rejected": "rejected/{stream}",
}


class Window(BaseModel, frozen=True):
    """A partition's half-open UTC interval ``[start, end)``."""

    start: AwareDatetime
    end: AwareDatetime


@dataclass(frozen=True)
class LedgerCell:
    """A cell of the ledger's heat map.

    Attributes:
        unit: The calendar unit that a cell is.
        shown: How many of them the map shows, up to now.
    """

    unit: Literal["month", "day"]
    shown: int

    def first(self, now: datetime) -> datetime:
        """Start of the oldest cell that is shown."""
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.unit == "day":
            return day - timedelta(days=self.shown - 1)
        months = day.year * 12 + day.month - self.shown
        return day.replace(year=months // 12, month=months % 12 + 1, day=1)


@dataclass(frozen=True)
class Stream:
    """A way prices flow from the API to the warehouse.

    Attributes:
        name: Key prefix and group of the stream's assets.
        description: What the stream is for, for people who read the asset graph.
        grain: What one row is, in words.
        window_length: Length of a partition's window.
        window_anchor: Start of any one window, from which all others follow: for a week that begins
            on Monday, a Monday.
        partition_cron: When a window ends and the next begins, in UTC.
        key_format: A partition key, as a format of its window's start.
        start_setting: The field of ``Settings`` that says where the partitions begin.
        floored_to: What the transformation floors ``price_at`` to.
        granularity: What ingestion asks the API for: ``daily`` points, or the ``finest`` it has.
        folder: Top folder of the stream in both the raw and the transformed lake.
        folder_format: The lake's unit of storage: the folder below that which windows share, as a
            format of their starts.
        table: The warehouse's table of prices.
        job: The transformation, named as its script in ``glue_jobs`` is; streams may share one.
        schedule_cron: When the newest closed window is materialized, in UTC.
        late_after: How long after its close a window has to stand in the warehouse.
        scheduled_by_default: Whether that schedule runs without being switched on.
        overdue_after: How long after its close a window counts as overdue: the API has it, and the
            schedule has had its turn.
        may_come_within: How long after its close the API may yet have a price that it lacked.
        ledger_cell: How the ledger's heat map cuts the stream.
        snapshot_within: How long after its close the newest window may still take a market
            snapshot; ``None`` for a stream that takes none.
    """

    name: str
    description: str
    grain: str
    window_length: timedelta
    partition_cron: str
    key_format: str
    start_setting: str
    floored_to: timedelta
    granularity: Literal["daily", "finest"]
    folder: str
    folder_format: str
    table: str
    job: str
    schedule_cron: str
    late_after: timedelta
    scheduled_by_default: bool
    overdue_after: timedelta
    may_come_within: timedelta
    ledger_cell: LedgerCell
    snapshot_within: timedelta | None = None
    window_anchor: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    @property
    def schedule_name(self) -> str:
        """Name of the schedule that materializes the newest closed window."""
        return f"{self.name}_schedule"

    def partitions(self, first: datetime) -> dg.TimeWindowPartitionsDefinition:
        """Partitions from the window that starts at ``first`` to the newest closed one."""
        return dg.TimeWindowPartitionsDefinition(
            start=first.strftime(self.key_format),
            fmt=self.key_format,
            cron_schedule=self.partition_cron,
            timezone="UTC",
        )

    def window(self, partition_key: str) -> Window:
        """The window that a partition key names."""
        start = datetime.strptime(partition_key, self.key_format).replace(tzinfo=UTC)
        return Window(start=start, end=start + self.window_length)

    def partition_key(self, window: Window) -> str:
        """The partition key of a window; the inverse of ``window``."""
        return window.start.strftime(self.key_format)

    def index_at(self, moment: datetime) -> int:
        """Number of the window that a moment lies in, counted from ``window_anchor``."""
        return (moment - self.window_anchor) // self.window_length

    def window_of_index(self, index: int) -> Window:
        """The window with a number; the inverse of ``index_at``."""
        start = self.window_anchor + index * self.window_length
        return Window(start=start, end=start + self.window_length)

    def window_at(self, moment: datetime) -> Window:
        """The window that a moment lies in, whether or not it is closed."""
        return self.window_of_index(self.index_at(moment))

    def key_at(self, moment: datetime) -> str:
        """The partition key of the window that a moment lies in."""
        return self.partition_key(self.window_at(moment))

    def windows(self, first: datetime, last: datetime) -> list[Window]:
        """Neighbouring windows, in order.

        Args:
            first: A moment in the first of them.
            last: A moment in the last of them.
        """
        return [
            self.window_of_index(index)
            for index in range(self.index_at(first), self.index_at(last) + 1)
        ]

    def latest_due(self, now: datetime) -> Window:
        """The newest window that the API has, and that the schedule has had its turn at.

        Args:
            now: The time.
        """
        return self.window_at(now - self.overdue_after - self.window_length)

    def takes_snapshot(self, newest: Window, now: datetime) -> bool:
        """Whether a run takes a snapshot of the market for its newest window.

        Args:
            newest: That window.
            now: When the run asks.
        """
        return self.snapshot_within is not None and now - newest.end <= self.snapshot_within

    def dataset_folder(self, dataset: Dataset) -> str:
        """Where a dataset's files are, relative to the root of the transformed lake."""
        return _DATASET_FOLDERS[dataset].format(stream=self.folder)

    def window_folder(self, window: Window, dataset: Dataset = "prices") -> str:
        """The folder that a window shares, relative to the root of the raw or transformed lake.

        Args:
            window: The window.
            dataset: Whose folder; the raw lake has all datasets in that of the prices, where in
                both lakes the manifest is.
        """
        return f"{self.dataset_folder(dataset)}/{window.start.strftime(self.folder_format)}"

    def by_folder(self, windows: Iterable[Window]) -> dict[str, list[Window]]:
        """Windows by the folder that they share, see ``window_folder``."""
        shared: dict[str, list[Window]] = {}
        for window in windows:
            shared.setdefault(self.window_folder(window), []).append(window)
        return shared


@dataclass(frozen=True)
class WindowBatch:
    """Windows of one stream that a run handles together.

    Attributes:
        stream: The stream.
        windows: At least one window, in any order.
    """

    stream: Stream
    windows: Sequence[Window]

    def key(self, window: Window) -> str:
        """The partition key of one of the windows."""
        return self.stream.partition_key(window)

    @property
    def newest(self) -> Window:
        """The window that ends last."""
        return max(self.windows, key=lambda window: window.end)

    @property
    def span(self) -> Window:
        """From the start of the oldest to the end of the newest, gaps included."""
        return Window(start=min(window.start for window in self.windows), end=self.newest.end)

    @property
    def partition_range(self) -> str:
        """The partitions as Dagster writes a range, ``first...last``, or the only one."""
        keys = list(map(self.key, self.windows))
        return keys[0] if len(keys) == 1 else f"{keys[0]}...{keys[-1]}"

    def describe(self) -> str:
        """The partitions in a few words, for messages: the keys of a few, or how many and which."""
        keys = sorted(set(map(self.key, self.windows)))
        few = 3
        if len(keys) <= few:
            return f"{self.stream.name} {', '.join(keys)}"
        return f"{len(keys)} {self.stream.name} partitions from {keys[0]} to {keys[-1]}"


HISTORICAL = Stream(
    name="historical",
    description="Daily history: a range backfill builds the baseline.",
    grain="one row a coin a day, the price at 00:00 UTC",
    window_length=timedelta(days=1),
    partition_cron="0 0 * * *",
    key_format="%Y-%m-%d",
    start_setting="history_start",
    floored_to=timedelta(days=1),
    granularity="daily",
    folder="historical_data",
    folder_format="month=%Y-%m",
    table="historical_prices",
    job="historical_data_transformation",
    # The API has a finished day from 00:35 UTC and caches its responses until 00:40.
    schedule_cron="45 0 * * *",
    late_after=timedelta(hours=6),
    scheduled_by_default=False,
    overdue_after=timedelta(hours=2),
    may_come_within=timedelta(days=7),
    ledger_cell=LedgerCell("month", shown=120),
)

INTRA_DAY = Stream(
    name="intra_day",
    description="Every six hours, the latest window of prices and a snapshot of the market.",
    grain="one row a coin an observation, 5-minute where the API still has it, else hourly",
    window_length=timedelta(hours=6),
    partition_cron="0 */6 * * *",
    key_format="%Y-%m-%d-%H:%M",
    start_setting="intra_day_start",
    floored_to=timedelta(milliseconds=1),
    granularity="finest",
    folder="intra_day",
    folder_format="month=%Y-%m",
    table="intra_day_prices",
    job="intra_day_transformation",
    schedule_cron="10 */6 * * *",
    late_after=timedelta(hours=2),
    scheduled_by_default=True,
    overdue_after=timedelta(hours=1),
    may_come_within=timedelta(days=1),
    ledger_cell=LedgerCell("day", shown=60),
    snapshot_within=timedelta(hours=1),
)

STREAMS = (HISTORICAL, INTRA_DAY)
