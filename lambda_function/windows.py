"""Windows of time, and how times are written."""

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
        uri: The folder its objects go to.
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

    @cached_property
    def members(self) -> str:
        """Its start and end, as a JSON object has them between its braces."""
        return f'"window_start":"{iso(self.start)}","window_end":"{iso(self.end)}"'

    def __str__(self) -> str:
        """The window as messages name it."""
        return f"{iso(self.start)} to {iso(self.end)}"


def iso(time: datetime, timespec: str = "auto") -> str:
    """A UTC time as ISO 8601 with a Z.

    Args:
        time: The time.
        timespec: The smallest unit to write, as ``datetime.isoformat`` takes it.
    """
    return time.isoformat(timespec=timespec).removesuffix("+00:00") + "Z"
