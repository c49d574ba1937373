"""The Fear & Greed index of the market: asked by itself, so that nothing else waits for it.

It is in no job of the prices: where it cannot be had, its own run fails and says so, and the models
go on with what the warehouse has.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from crypto_platform.core.errors import RETRIES, PermanentFailure
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.settings import Settings
from crypto_platform.ingestion.metered_api import refuse_other_source
from crypto_platform.ingestion.resource import Ingestion
from crypto_platform.lake.layers import Lake, from_json_lines
from crypto_platform.models.assets import OWNERS, check_results
from crypto_platform.models.build import ModelCheck, rows_at_fault
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.catalogue import column_schema
from crypto_platform.warehouse.resource import Warehouse, refuse_mixed_sources
from crypto_platform.warehouse.sql import model_statement, statement

NAME = "fear_and_greed"
GROUP = "sentiment"

_KEY = ("day",)
_HIGHEST = 100
_SHOWN = 5
_CHECKS = (
    ModelCheck("key_unique", "One row for each day.", "repeated_keys"),
    ModelCheck(
        "values_in_range", "Every value is from 0 to 100.", "out_of_range_in_fear_and_greed"
    ),
)
_UNDERSTOOD = "entries_understood"


@dataclass(frozen=True)
class FearAndGreedDay:
    """A day of the index.

    Attributes:
        day: The UTC day.
        value: From 0, extreme fear, to 100, extreme greed.
        classification: The same in the index's words.
    """

    day: date
    value: int
    classification: str | None


@dataclass(frozen=True)
class FearAndGreed:
    """What an answer says.

    Attributes:
        days: Its days, the oldest first, each once.
        odd: The entries that cannot be a day of the index.
    """

    days: tuple[FearAndGreedDay, ...]
    odd: tuple[Any, ...]

    @classmethod
    def parse(cls, response: Mapping[str, Any]) -> "FearAndGreed":
        """Read an answer: strings and seconds, the newest first; days may be missing.

        A day that comes twice has the value that is told first, the newer one.
        """
        days: dict[date, FearAndGreedDay] = {}
        odd = []
        for entry in response["data"]:
            day = _day(entry)
            if day is None:
                odd.append(entry)
            else:
                days.setdefault(day.day, day)
        return cls(tuple(days[day] for day in sorted(days)), tuple(odd))


def keep_fear_and_greed(
    warehouse: Warehouse, days: Sequence[FearAndGreedDay], fetched_at: datetime, source: str
) -> None:
    """Add days to the table, and bring those that are there up to date.

    Days whose value is the same stay untouched.

    Raises:
        MixedSourcesError: The warehouse holds simulated values and these are real, or the reverse.
    """
    loaded_at = datetime.now(UTC)
    rows = [
        {
            "day": one.day,
            "value": one.value,
            "classification": one.classification,
            "fetched_at": fetched_at,
            "loaded_at": loaded_at,
            "source": source,
        }
        for one in days
    ]
    with warehouse.session(read_only=False) as session:
        session.execute(model_statement("stage_fear_and_greed"))
        session.stage_rows("staged_fear_and_greed", rows)
        existing = {row["source"] for row in session.execute(statement("standing_sources"))}
        refuse_mixed_sources({source}, existing)
        session.execute(model_statement("merge_fear_and_greed"))


def build_fear_and_greed(settings: Settings) -> dg.AssetsDefinition:
    """The index as an asset: asked, kept in the lake as it came, loaded into its table."""
    profile = PROFILES[settings.profile]

    @dg.asset(
        name=NAME,
        description=(
            "The Fear & Greed index of alternative.me, one value a day since 2018: all of it is "
            "asked for each time, in one call without a key.\n\nThe answer is kept in the raw lake "
            "as it came. Days that the index skipped are missing."
        ),
        group_name=GROUP,
        kinds={"json", *profile.warehouse_kinds},
        owners=OWNERS,
        metadata={"dagster/column_schema": column_schema(NAME), "dagster/table_name": NAME},
        check_specs=[
            *(
                dg.AssetCheckSpec(check.name, asset=NAME, description=check.description)
                for check in _CHECKS
            ),
            dg.AssetCheckSpec(
                _UNDERSTOOD,
                asset=NAME,
                description="Every entry of the answer is a day with a value.",
            ),
        ],
        pool=NAME,
        retry_policy=RETRIES,
    )
    def fear_and_greed(
        context: dg.AssetExecutionContext, ingestion: Ingestion, lake: Lake, warehouse: Warehouse
    ) -> Iterator[dg.MaterializeResult[None]]:
        run_id = f"{context.run.run_id}-{context.retry_number}"
        path = f"{NAME}/asked={datetime.now(UTC):%Y-%m-%d}/run={run_id}.json.gz"
        response = ingestion.fear_and_greed(run_id=run_id, uri=lake.raw.uri(path))
        refuse_other_source(lake.raw, response.source, "FEAR_AND_GREED_BASE_URL", unless_kept=path)
        index = _kept(lake, path)
        keep_fear_and_greed(warehouse, index.days, response.fetched_at, response.source)
        with warehouse.session(read_only=True) as session:
            (summary,) = session.execute(model_statement("summary_of_fear_and_greed"))
            faults = rows_at_fault(session, NAME, _KEY, _CHECKS)
        newest = index.days[-1]
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": summary["row_count"],
                "dagster/uri": warehouse.table_uri(NAME),
                "raw": response.uri,
                "value": newest.value,
                "newest_day": str(newest.day),
                "source": response.source,
                "preview": markdown_table(
                    [vars(one) for one in reversed(index.days[-_SHOWN:])],
                ),
            },
            check_results=[*check_results(_CHECKS, faults), _understood(index)],
        )

    return fear_and_greed


def build_fear_and_greed_job() -> dg.ScheduleDefinition:
    """When the index is asked: every six hours, shortly before the newest prices are.

    It changes once a day; asked more often, it heals by itself.
    """
    # Not named like the asset, which Dagster does not take.
    job = dg.define_asset_job(
        GROUP,
        description="Asks for the Fear & Greed index; apart from the prices, which go on without.",
        selection=dg.AssetSelection.groups(GROUP),
    )
    return dg.ScheduleDefinition(
        name=f"{GROUP}_schedule",
        job=job,
        cron_schedule="5 */6 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks for the Fear & Greed index.",
    )


def _kept(lake: Lake, path: str) -> FearAndGreed:
    """What the answer at a path in the raw lake says.

    Raises:
        PermanentFailure: It has no day.
    """
    (line,) = from_json_lines(lake.raw.read(path) or b"")
    index = FearAndGreed.parse(line["answer"])
    if not index.days:
        raise PermanentFailure(
            f"The Fear & Greed index answered without a single day; {lake.raw.uri(path)} has the "
            "answer. The table stays as it was; the next run asks again."
        )
    return index


def _day(entry: Any) -> FearAndGreedDay | None:
    """An entry of the answer, or ``None`` where it cannot be one."""
    if not isinstance(entry, dict):
        return None
    value, seconds = str(entry.get("value")), str(entry.get("timestamp"))
    if not re.fullmatch(r"\d{1,3}", value) or not re.fullmatch(r"\d{9,11}", seconds):
        return None
    if int(value) > _HIGHEST:
        return None
    words = entry.get("value_classification")
    return FearAndGreedDay(
        day=datetime.fromtimestamp(int(seconds), UTC).date(),
        value=int(value),
        classification=words if isinstance(words, str) else None,
    )


def _understood(index: FearAndGreed) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=_UNDERSTOOD,
        passed=not index.odd,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(index.odd)} entries were left out." if index.odd else None,
        metadata={"left_out": [str(entry) for entry in index.odd[:_SHOWN]]},
    )
