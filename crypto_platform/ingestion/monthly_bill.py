"""What a month of running costs on AWS and Snowflake, from the schedules as they are.

Rough, and made to show what matters: files and calls cost cents, waking Snowflake's warehouse costs
dollars. Each price and each assumption stands below with where it comes from; none was read off a
bill, as no account was at hand. Free tiers are not taken off.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from crypto_platform.core.streams import Stream
from crypto_platform.ingestion.estimate import (
    GLUE_DPUS,
    SNOWFLAKE_BASE_SECONDS,
    SNOWFLAKE_IDLE_SECONDS,
    SNOWFLAKE_MIN_SECONDS,
    estimate,
)
from lambda_function.plans import Plan

DAYS_A_MONTH = 365 / 12

CREDIT_PRICE = 3.00
"""Dollars a credit of Snowflake: edition Enterprise, on demand, AWS US East; Standard is 2.00. From
finout.io, "The complete guide to Snowflake pricing", read 2026-11-28: Snowflake's own list
(snowflake.com/legal-files/CreditConsumptionTable.pdf) could not be read here."""

GLUE_DPU_HOUR = 0.44
"""Dollars, from the examples of aws.amazon.com/glue/pricing, read 2026-11-28."""

LAMBDA_GB_SECOND = 0.0000133334
"""Dollars on Arm, US East. For x86 it is 0.0000166667 (docs.aws.amazon.com, "How AWS Pricing
Works", read 2026-11-28); that Arm is a fifth less is assumed."""

LAMBDA_REQUEST = 0.20 / 1_000_000
"""Dollars, as before."""

LAMBDA_GB = 1
"""Memory of the stack's function."""

S3_PUT, S3_GET, S3_GB = 0.005 / 1000, 0.0004 / 1000, 0.023
"""Dollars of a write or a list, of a read, and of a gigabyte for a month in S3 Standard, US East.
Assumed, after aws.amazon.com/s3/pricing."""

SECRET = 0.40
"""Dollars of a secret for a month. Assumed, after aws.amazon.com/secrets-manager/pricing."""

ALARM, METRIC, LOG_GB = 0.10, 0.30, 0.50
"""Dollars of an alarm and of a metric for a month, and of a gigabyte of log taken in. The metric is
from signoz.io/guides/cloudwatch-pricing, read 2026-11-28; the others are assumed, after
aws.amazon.com/cloudwatch/pricing."""

ALARMS, SECRETS = 3, 1
"""How many of each the stack has."""

# Assumed: the sensor looks every half minute for what was loaded and a run starts in a quarter of
# one, so that the warehouse, which sleeps after a minute, is still awake for the models.
_FOLLOW_SECONDS = 45
# Assumed: to make the models and the report, and to add a day to the index.
_MODELS_SECONDS = 15
_INDEX_SECONDS = 5
# Assumed: of a call of the price API, and of a start of the function.
_CALL_SECONDS = 0.5
_START_SECONDS = 1.0
# Assumed: what one run of a stream's job, one watch, and one tick of the sensor alerts ask of S3.
_PUTS_A_RUN, _GETS_A_RUN = 60, 200
_GETS_A_WATCH = 100
_ALERT_TICKS_A_DAY = 24 * 3600 / 30
# Assumed: what the function and the job of a run log, in gigabytes.
_LOG_GB_A_RUN = 0.002
# So long is the lake kept in the line of its storage.
_STORED_MONTHS = 12


@dataclass(frozen=True)
class Wake:
    """Something for which Snowflake's warehouse resumes from sleep.

    Attributes:
        what: The job.
        times: How often, in the time that is looked at.
        seconds: How long it is asked things, from the first to the last.
    """

    what: str
    times: float
    seconds: float

    @property
    def credits(self) -> float:
        """Of an X-Small warehouse: until it sleeps again, and a minute at least."""
        awake = max(SNOWFLAKE_MIN_SECONDS, self.seconds + SNOWFLAKE_IDLE_SECONDS)
        return self.times * awake / 3600


@dataclass(frozen=True)
class Line:
    """A line of the bill.

    Attributes:
        service: Who is paid.
        usd: Dollars a month.
        used: What is used, in words.
        assumed: The price, and what was assumed.
    """

    service: str
    usd: float
    used: str
    assumed: str


@dataclass(frozen=True)
class MonthlyBill:
    """What a month of running costs.

    Attributes:
        lines: Service by service.
    """

    lines: Sequence[Line]

    @property
    def usd(self) -> float:
        """Dollars of all lines."""
        return sum(line.usd for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {"usd": round(self.usd, 2), "lines": [asdict(line) for line in self.lines]}


def wakes(runs: Mapping[str, float], streams: Iterable[Stream]) -> list[Wake]:
    """What wakes the warehouse: loads, and nothing that runs by the clock.

    Args:
        runs: How often each scheduled job runs.
        streams: The streams, whose jobs load.

    Raises:
        ValueError: A job is not known here, so that nobody knows what it costs.
    """
    seconds = {
        # The models follow a load while the warehouse is still awake.
        stream.name: SNOWFLAKE_BASE_SECONDS + _FOLLOW_SECONDS + _MODELS_SECONDS
        for stream in streams
    }
    seconds |= {"sentiment": _INDEX_SECONDS, "watch": 0, "vacuum": 0}
    if unknown := runs.keys() - seconds.keys():
        raise ValueError(f"Say here what {', '.join(sorted(unknown))} asks of the warehouse.")
    # The index has a new value once a day, whenever it is asked for.
    times = {
        job: min(count, DAYS_A_MONTH) if job == "sentiment" else count
        for job, count in runs.items()
    }
    return [Wake(job, times[job], seconds[job]) for job in runs if seconds[job]]


def month_of_running(  # noqa: PLR0913 - what runs, for whom, at which price
    runs: Mapping[str, float],
    streams: Sequence[Stream],
    coins: int,
    plan: Plan,
    now: datetime,
    *,
    credit_price: float = CREDIT_PRICE,
) -> MonthlyBill:
    """Say what a month costs.

    Args:
        runs: How often each scheduled job runs in a month.
        streams: The streams.
        coins: How many coins.
        plan: The plan of the price API; what it costs itself is not in the bill.
        now: The time, for the newest window of each stream.
        credit_price: Dollars a credit of Snowflake.
    """
    loads = sum(runs.get(stream.name, 0) for stream in streams)
    dpu_hours = call_seconds = gigabytes = 0.0
    for stream in streams:
        newest = stream.window_of_index(stream.index_at(now) - 1)
        of_run = estimate(stream, [newest], coins, plan, now)
        count = runs.get(stream.name, 0)
        dpu_hours += count * of_run.one_run.glue_dpu_hours
        call_seconds += count * max(
            of_run.one_run.api_calls * _CALL_SECONDS, of_run.one_run.api_minutes * 60
        )
        gigabytes += count * (of_run.raw_bytes + of_run.parquet_bytes) / 1e9
    return MonthlyBill(
        [
            _snowflake(wakes(runs, streams), credit_price),
            Line(
                "AWS Glue",
                dpu_hours * GLUE_DPU_HOUR,
                f"{loads:,.0f} job runs of {GLUE_DPUS} DPUs, {dpu_hours:.1f} DPU-hours",
                f"{GLUE_DPU_HOUR} USD a DPU-hour, a minute a run at least",
            ),
            # Of a stream's run the list of coins, too, is an invocation.
            _lambda(2 * loads + runs.get("sentiment", 0), call_seconds),
            _s3(loads, runs.get("watch", 0), gigabytes * _STORED_MONTHS),
            Line(
                "CloudWatch and SNS",
                ALARMS * ALARM + len(streams) * METRIC + loads * _LOG_GB_A_RUN * LOG_GB,
                f"{ALARMS} alarms, {len(streams)} metrics, {loads * _LOG_GB_A_RUN:.1f} GB of logs",
                f"{ALARM:.2f}, {METRIC:.2f} and {LOG_GB:.2f} USD each; e-mails hardly anything",
            ),
            Line(
                "Secrets Manager",
                SECRETS * SECRET,
                f"{SECRETS} secret, the price API's key",
                f"{SECRET:.2f} USD each",
            ),
        ]
    )


def _snowflake(wakes: Sequence[Wake], credit_price: float) -> Line:
    credits_used = sum(wake.credits for wake in wakes)
    by_job = ", ".join(f"{wake.what} {wake.times:,.0f}" for wake in wakes)
    return Line(
        "Snowflake",
        credits_used * credit_price,
        f"{sum(one.times for one in wakes):,.0f} wake-ups ({by_job}), {credits_used:.1f} credits",
        f"{credit_price:.2f} USD a credit (Enterprise, AWS US East, on demand); X-Small; asleep "
        f"after {SNOWFLAKE_IDLE_SECONDS} s; neither the watch nor a sensor wakes it",
    )


def _lambda(invocations: float, call_seconds: float) -> Line:
    seconds = call_seconds + invocations * _START_SECONDS
    return Line(
        "AWS Lambda",
        seconds * LAMBDA_GB * LAMBDA_GB_SECOND + invocations * LAMBDA_REQUEST,
        f"{invocations:,.0f} invocations, {seconds:,.0f} s of {LAMBDA_GB} GB",
        f"{LAMBDA_GB_SECOND:.10f} USD a GB-second on Arm; {_CALL_SECONDS} s an API call",
    )


def _s3(loads: float, watches: float, gigabytes: float) -> Line:
    puts = loads * _PUTS_A_RUN
    gets = loads * _GETS_A_RUN + watches * _GETS_A_WATCH + DAYS_A_MONTH * _ALERT_TICKS_A_DAY
    return Line(
        "S3",
        puts * S3_PUT + gets * S3_GET + gigabytes * S3_GB,
        f"{puts:,.0f} writes, {gets:,.0f} reads, {gigabytes:.2f} GB",
        f"{_STORED_MONTHS} months of files; {S3_GB} USD a GB, {S3_PUT * 1000} and "
        f"{S3_GET * 1000} USD a thousand",
    )
