"""Windows of time, and how times are written."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RequestedWindow:
    """A half-open UTC interval ``[start, end)`` of which the prices are wanted.

    Attributes:
        index: Its place among the event's windows.
        start: When it begins.
        end: When it ends.
        uri: The address, without its ending, of the object that it goes to; windows of a month
            share one.
    """

    index: int
    start: datetime
    end: datetime
    uri: str

    @cached_property
    def milliseconds(self) -> tuple[int, int]:
        """Its start and end, in UNIX milliseconds."""
        millisecond = timedelta(milliseconds=1)
        return (self.start - _EPOCH) // millisecond, (self.end - _EPOCH) // millisecond

    def is_continued_by(self, other: "RequestedWindow") -> bool:
        """Whether another window begins where this one ends, and goes to the same object."""
        return self.end == other.start and self.uri == other.uri

    def __str__(self) -> str:
        """The window as messages name it."""
        return f"{iso(self.start)} to {iso(self.end)}"


def index_ranges(indices: Iterable[int]) -> list[list[int]]:
    """Inclusive ranges of the indices, in their order."""
    ranges: list[list[int]] = []
    for index in sorted(indices):
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ranges


def iso(time: datetime, timespec: str = "auto") -> str:
    """A UTC time as ISO 8601 with a Z.

    Args:
        time: The time.
        timespec: The smallest unit to write, as ``datetime.isoformat`` takes it.
    """
    return time.isoformat(timespec=timespec).removesuffix("+00:00") + "Z"
