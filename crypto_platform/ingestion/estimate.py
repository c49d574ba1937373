"""What loading a range will take, known before it is launched: calls, time, bytes, Glue, Snowflake.

API calls come from the planner that ingestion itself uses, so they and their minutes are exact. All
else is rough: it follows from the constants below, each with where it comes from.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crypto_platform.core.errors import InvalidInputError
from crypto_platform.core.numbers import small
from crypto_platform.core.streams import Stream, Window
from lambda_function.plans import Plan, id_pages, markets_pages
from lambda_function.rate_limiter import RateLimiter
from lambda_function.request_planner import SpanPlan, plan_spans
from lambda_function.windows import RequestedWindow

RAW_BYTES = (250, 19, 43)
"""Of a window's raw file, of each coin and of each point in it, a point being a price, a market cap
and a volume with their stamps. Fitted to files of the simulated market with 10, 25 and 100 coins,
daily, hourly and 5-minute; 9 % off on average."""

PARQUET_BYTES = (3900, 8, 33)
"""The same of its Parquet file; 2 % off on average."""

GLUE_DPUS = 2
"""Two G.1X workers of one unit each, as the stack's jobs have."""

GLUE_MIN_SECONDS = 60
"""What Glue bills at least for a job run (aws.amazon.com/glue/pricing)."""

# Assumed, as no account was at hand: a job run that has next to nothing to do, and its speed; each
# window is a file to write.
_GLUE_BASE_SECONDS = 45
_GLUE_POINTS_A_SECOND = 20_000
_GLUE_WINDOWS_A_SECOND = 20

SNOWFLAKE_MIN_SECONDS = 60
"""An X-Small warehouse takes a credit an hour, and a minute at least whenever it resumes
(docs.snowflake.com, "Overview of warehouses")."""

SNOWFLAKE_IDLE_SECONDS = 60
"""It suspends after the scripts' AUTO_SUSPEND."""

SNOWFLAKE_BASE_SECONDS = 10
"""Of a load that has next to nothing to do. Assumed, as is its speed: a file a window to copy."""

_SNOWFLAKE_WINDOWS_A_SECOND = 50

_POINTS_AN_HOUR = {"daily": 1 / 24, "hourly": 1, "5-minute": 12}


@dataclass(frozen=True)
class Cost:
    """What some runs take together.

    Attributes:
        runs: How many runs they are.
        api_calls: Requests to the price API.
        api_credits: Of the month's credits, as only answered requests cost them.
        api_minutes: How long the plan's calls a minute make them take, at least.
        glue_dpu_hours: Of the transformation on Glue, about.
        snowflake_credits: Of the load into Snowflake, about.
    """

    runs: int
    api_calls: int
    api_credits: int
    api_minutes: float
    glue_dpu_hours: float
    snowflake_credits: float


@dataclass(frozen=True)
class Estimate:
    """What a range of windows takes in one run, and what it would take one run a window.

    Attributes:
        stream: The stream's name.
        windows: How many windows were asked for.
        out_of_plan: How many of them begin before the plan's history, so that nothing is asked.
        coins: How many coins.
        plan: The plan of the price API.
        monthly_credits: The plan's credits a month; ``None`` where no limit is known.
        points: Prices to be had, if every coin has all of them.
        raw_bytes: Of the raw lake, compressed.
        parquet_bytes: Of the transformed lake.
        one_run: The range as one run, as a backfill does it.
        run_a_window: The same, window by window.
    """

    stream: str
    windows: int
    out_of_plan: int
    coins: int
    plan: str
    monthly_credits: int | None
    points: int
    raw_bytes: int
    parquet_bytes: int
    one_run: Cost
    run_a_window: Cost

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return asdict(self)

    def as_rows(self, *, cloud: bool) -> list[tuple[str, str, str]]:
        """What people want to know, then the figure for one run and for one run a window.

        Args:
            cloud: Whether it runs in the cloud, where Glue and Snowflake take their part.
        """
        texts: dict[str, Callable[[Cost], str]] = {
            "runs": lambda cost: f"{cost.runs:,}",
            "API calls": lambda cost: f"{cost.api_calls:,}",
            "API credits": lambda cost: f"{cost.api_credits:,}",
            # A call takes a moment, though it waits for no minute to pass.
            "minutes at the plan's rate": lambda cost: small(
                cost.api_minutes or (0.01 if cost.api_calls else 0)
            ),
        }
        if cloud:
            texts |= {
                "Glue DPU-hours, about": lambda cost: small(cost.glue_dpu_hours, digits=2),
                "Snowflake credits, about": lambda cost: small(cost.snowflake_credits, digits=2),
            }
        return [(name, text(self.one_run), text(self.run_a_window)) for name, text in texts.items()]

    def remarks(self) -> list[str]:
        """What has to be known before it is launched, in sentences."""
        remarks = []
        if self.out_of_plan:
            remarks.append(
                f"{self.out_of_plan:,} of the windows begin before the history that the plan "
                f"{self.plan} has: nothing is asked for them, and the ledger will say so."
            )
        if self.monthly_credits is not None and self.one_run.api_credits > self.monthly_credits:
            remarks.append(
                f"The plan {self.plan} has {self.monthly_credits:,} credits a month: a run that "
                "would take more asks nothing. Load fewer coins, or a shorter range."
            )
        return remarks

    def as_metadata(self) -> dict[str, Any]:
        """The few numbers that a run shows beside what it then used."""
        return {
            "api_calls": self.one_run.api_calls,
            "api_credits": self.one_run.api_credits,
            "api_minutes": round(self.one_run.api_minutes, 1),
            "points": self.points,
            "raw_bytes": self.raw_bytes,
            "glue_dpu_hours": round(self.one_run.glue_dpu_hours, 3),
            "snowflake_credits": round(self.one_run.snowflake_credits, 3),
            "api_calls_one_run_a_partition": self.run_a_window.api_calls,
        }


def windows_of(stream: Stream, text: str, now: datetime) -> list[Window]:
    """The windows that a partition key, or a range such as ``first...last``, names.

    Args:
        stream: The stream of the windows.
        text: The key or the range.
        now: The time.

    Raises:
        InvalidInputError: It names none, or one that is not closed; the message says what does.
    """
    first, _, last = text.partition("...")
    try:
        start, end = (stream.window(key) for key in (first, last or first))
    except ValueError:
        example = datetime(now.year, 1, 1, tzinfo=UTC).strftime(stream.key_format)
        raise InvalidInputError(
            f"{text!r} is neither a partition of {stream.name} nor a range of them, such as "
            f"{example}...{example}."
        ) from None
    if end.start < start.start:
        raise InvalidInputError(f"The range {text} ends before it begins.")
    if end.end > now:
        raise InvalidInputError(
            f"The window {last or first} is not closed yet: end the range before it."
        )
    return stream.windows(start.start, end.start)


def estimate(  # noqa: PLR0913 - what is asked for, and how
    stream: Stream,
    windows: Sequence[Window],
    coins: int,
    plan: Plan,
    now: datetime,
    *,
    tracked: Sequence[str] = (),
) -> Estimate:
    """Say what loading windows takes.

    Args:
        stream: The stream of the windows.
        windows: Closed windows, each once.
        coins: How many coins.
        plan: The plan of the price API.
        now: The time at which the run asks: it decides what the plan has, and how finely.
        tracked: Ids of all coins tracked, which a snapshot of the market is of, where they are
            known: long ones take more calls.
    """
    asked = [RequestedWindow(n, window.start, window.end, "") for n, window in enumerate(windows)]
    earliest_allowed = plan.earliest_allowed(now)
    together = plan_spans(asked, stream.granularity, now, earliest_allowed)
    alone = [plan_spans([window], stream.granularity, now, earliest_allowed) for window in asked]
    points = coins * round(sum(map(_points, alone)))
    files = len(windows) - len(together.out_of_plan)
    newest = max(windows, key=lambda window: window.end)
    snapshot_calls = len(id_pages(tracked)) if tracked else markets_pages(coins)
    if not stream.takes_snapshot(newest, now):
        snapshot_calls = 0
    return Estimate(
        stream=stream.name,
        windows=len(windows),
        out_of_plan=len(together.out_of_plan),
        coins=coins,
        plan=plan.name,
        monthly_credits=plan.monthly_credits,
        points=points,
        raw_bytes=_bytes(RAW_BYTES, files, coins, points),
        parquet_bytes=_bytes(PARQUET_BYTES, files, coins, points),
        one_run=_cost(
            plan,
            calls=coins * len(together.spans) + snapshot_calls,
            points_a_run=[points],
            windows_a_run=[files],
        ),
        run_a_window=_cost(
            plan,
            calls=coins * sum(len(one.spans) for one in alone) + snapshot_calls,
            points_a_run=[coins * _points(one) for one in alone],
            windows_a_run=[len(one.spans) for one in alone],
        ),
    )


def _bytes(model: tuple[float, float, float], files: int, coins: int, points: int) -> int:
    a_file, a_coin, a_point = model
    return round(files * (a_file + coins * a_coin) + points * a_point)


def _points(plan: SpanPlan) -> float:
    """Prices of one coin that the spans of a plan have in their windows."""
    return sum(
        (window.end - window.start) / timedelta(hours=1) * _POINTS_AN_HOUR[span.granularity]
        for span in plan.spans
        for window in span.windows
    )


def _cost(
    plan: Plan, *, calls: int, points_a_run: Sequence[float], windows_a_run: Sequence[int]
) -> Cost:
    # The first calls of a minute go out at once; each further batch waits for a minute to pass.
    waits = max(0, -(-calls // plan.calls_a_minute) - 1)
    return Cost(
        runs=len(points_a_run),
        api_calls=calls,
        api_credits=calls,
        api_minutes=waits * RateLimiter.PERIOD / 60,
        glue_dpu_hours=sum(map(_glue_dpu_hours, points_a_run, windows_a_run)),
        snowflake_credits=sum(map(_snowflake_credits, windows_a_run)),
    )


def _glue_dpu_hours(points: float, windows: int) -> float:
    work = points / _GLUE_POINTS_A_SECOND + windows / _GLUE_WINDOWS_A_SECOND
    return GLUE_DPUS * max(GLUE_MIN_SECONDS, _GLUE_BASE_SECONDS + work) / 3600


def _snowflake_credits(windows: int) -> float:
    loading = SNOWFLAKE_BASE_SECONDS + windows / _SNOWFLAKE_WINDOWS_A_SECOND
    return max(SNOWFLAKE_MIN_SECONDS, loading + SNOWFLAKE_IDLE_SECONDS) / 3600
