"""How far this machine's clock is from the API's, by the ``Date`` of its answers."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

CLOCK_TOLERANCE = timedelta(minutes=5)
"""By how much the clocks may differ: an answer may take a minute, and no price is that young."""

# No clock that is right is before this program was made.
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)


def seconds_ahead(now: datetime, headers: Mapping[str, str]) -> float | None:
    """By how many seconds the clock is ahead of the sender's, negative where it is behind.

    Args:
        now: The clock's time when the answer was there.
        headers: The answer's; one from a cache says in ``Age`` how old it is.

    Returns:
        The seconds, or ``None`` where the answer has no time that can be one.
    """
    try:
        date = parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    # A date without a zone is UTC, as HTTP's dates are.
    date = date.replace(tzinfo=date.tzinfo or UTC).astimezone(UTC)
    age = headers.get("Age", "").strip()
    if re.fullmatch(r"[0-9]{1,8}", age):
        date += timedelta(seconds=int(age))
    return None if date < _EARLIEST else (now - date).total_seconds()


def describe_ahead(seconds: float) -> str:
    """A difference of the clocks in words."""
    way = "ahead of" if seconds > 0 else "behind"
    return f"this machine's clock is {abs(seconds) / 60:,.0f} minutes {way} the API's"
