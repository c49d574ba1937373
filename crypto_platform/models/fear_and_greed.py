"""The Fear & Greed index of the market, in a job of its own so that nothing else waits for it.

Where it cannot be fetched, its own run fails, and the models go on with what the warehouse has.
Where it is as it was loaded last, the schedule's run leaves the warehouse asleep.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from pydantic import AwareDatetime, BaseModel, ValidationError

from crypto_platform.core.errors import RETRIES, PermanentFailure
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.numbers import count
from crypto_platform.core.ownership import OWNERS
from crypto_platform.core.run_tags import SCHEDULE_TAG
from crypto_platform.core.settings import Settings
from crypto_platform.ingestion.metered_api import refuse_other_source
from crypto_platform.ingestion.resource import Ingestion
from crypto_platform.lake.layers import Lake, from_json_lines
from crypto_platform.models.assets import check_results
from crypto_platform.models.build import ModelCheck, rows_at_fault
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.catalogue import column_schema
from crypto_platform.warehouse.load import refuse_mixed_sources
from crypto_platform.warehouse.resource import Warehouse
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
_VALID = "entries_understood"
LOADED = f"{NAME}/loaded.json"
"""Where the raw lake says what the last load committed; see ``LoadedIndex``."""


@dataclass(frozen=True)
class FearAndGreedDay:
    """A day of the index.

    Attributes:
        day: The UTC day.
        value: From 0, extreme fear, to 100, extreme greed.
        classification: The value in the index's words.
    """

    day: date
    value: int
    classification: str | None


@dataclass(frozen=True)
class FearAndGreed:
    """What a response holds.

    Attributes:
        days: Its days, the oldest first, each once.
        invalid: The entries that cannot be a day of the index.
    """

    days: tuple[FearAndGreedDay, ...]
    invalid: tuple[Any, ...]

    @classmethod
    def parse(cls, response: Mapping[str, Any]) -> "FearAndGreed":
        """Read a response: strings and seconds, the newest first; days may be missing.

        Of a day that comes twice, the first value counts, which is the newer one.
        """
        days: dict[date, FearAndGreedDay] = {}
        invalid = []
        for entry in response["data"]:
            day = _day(entry)
            if day is None:
                invalid.append(entry)
            else:
                days.setdefault(day.day, day)
        return cls(tuple(days[day] for day in sorted(days)), tuple(invalid))


class LoadedIndex(BaseModel, frozen=True):
    """What the last load left in the lake of what it committed, if none of its checks failed.

    Attributes:
        checksum: Of the values and where they are from.
        rows: How many days stood in the table then.
        at: When that was.
    """

    checksum: str
    rows: int
    at: AwareDatetime


def keep_fear_and_greed(
    warehouse: Warehouse, days: Sequence[FearAndGreedDay], fetched_at: datetime, source: str
) -> None:
    """Add days to the table, and update those whose value has changed.

    Args:
        warehouse: The warehouse.
        days: The days.
        fetched_at: When the index was asked.
        source: Where the values are from: the host, or ``simulated``.

    Raises:
        MixedSourcesError: The warehouse holds simulated values and these are real, or the reverse.
    """
    added = {"fetched_at": fetched_at, "loaded_at": datetime.now(UTC), "source": source}
    rows = [{**asdict(day), **added} for day in days]
    with warehouse.session(read_only=False) as session:
        session.execute(model_statement("stage_fear_and_greed"))
        session.stage_rows("staged_fear_and_greed", rows)
        existing = {row["source"] for row in session.execute(statement("standing_sources"))}
        refuse_mixed_sources({source}, existing)
        session.execute(model_statement("merge_fear_and_greed"))


def build_fear_and_greed(settings: Settings) -> dg.AssetsDefinition:
    """The index as an asset: fetched, kept in the raw lake, loaded into its table."""
    profile = PROFILES[settings.profile]

    @dg.asset(
        name=NAME,
        description=(
            "The Fear & Greed index of alternative.me, one value a day since 2018: all of it is "
            "asked for each time, in one call without a key.\n\nThe response is kept in the raw "
            "lake as it came. Days that the index skipped are missing."
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
                _VALID,
                asset=NAME,
                description="Every entry of the response is a day with a value.",
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
        index = _read(lake, path)
        checksum = hashlib.sha256(repr((response.source, index.days)).encode()).hexdigest()
        newest = index.days[-1]
        metadata: dict[str, Any] = {
            "raw": response.uri,
            "value": newest.value,
            "newest_day": str(newest.day),
        }
        loaded = _loaded(lake) if SCHEDULE_TAG in context.run.tags else None
        if loaded and loaded.checksum == checksum:
            uri = warehouse.table_uri(NAME)
            yield _unchanged(index, loaded, {**metadata, "dagster/uri": uri})
            return
        keep_fear_and_greed(warehouse, index.days, response.fetched_at, response.source)
        with warehouse.session(read_only=True) as session:
            (summary,) = session.execute(model_statement("summary_of_fear_and_greed"))
            faults = rows_at_fault(session, NAME, _KEY, _CHECKS)
        if not any(faults.values()):
            done = LoadedIndex(checksum=checksum, rows=summary["row_count"], at=datetime.now(UTC))
            lake.raw.put(LOADED, done.model_dump_json().encode())
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": summary["row_count"],
                "dagster/uri": warehouse.table_uri(NAME),
                **metadata,
                "source": response.source,
                "preview": markdown_table(
                    [asdict(day) for day in reversed(index.days[-_SHOWN:])],
                ),
            },
            check_results=[
                *check_results(_CHECKS, faults, summary["row_count"]),
                _entries_check(index),
            ],
        )

    return fear_and_greed


def build_fear_and_greed_schedule() -> dg.ScheduleDefinition:
    """The schedule of the index, with its job: every six hours, five minutes before the prices.

    It changes once a day; asking more often makes up for a failed run.
    """
    # Dagster takes no job that is named like an asset.
    job = dg.define_asset_job(
        GROUP,
        description="Asks for the Fear & Greed index, apart from the prices, which do not need it.",
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


def _loaded(lake: Lake) -> LoadedIndex | None:
    """What the last load left; a damaged document is none, and the load makes it anew."""
    content = lake.raw.read(LOADED)
    with suppress(ValidationError):
        return LoadedIndex.model_validate_json(content) if content else None
    return None


def _unchanged(
    index: FearAndGreed, loaded: LoadedIndex, metadata: Mapping[str, Any]
) -> dg.MaterializeResult[None]:
    """What the schedule's run tells that found nothing to load."""
    said = f"Nothing changed since the load of {loaded.at:%Y-%m-%d %H:%M} UTC."
    held = [
        dg.AssetCheckResult(check_name=check.name, passed=True, description=said)
        for check in _CHECKS
    ]
    return dg.MaterializeResult(
        metadata={**metadata, "dagster/row_count": loaded.rows, "loaded": said},
        check_results=[*held, _entries_check(index)],
    )


def _read(lake: Lake, path: str) -> FearAndGreed:
    """The response at a path in the raw lake.

    Raises:
        PermanentFailure: It has no day.
    """
    (line,) = from_json_lines(lake.raw.read(path) or b"")
    index = FearAndGreed.parse(line["answer"])
    if not index.days:
        raise PermanentFailure(
            f"The Fear & Greed index answered without a single day; {lake.raw.uri(path)} has the "
            "response. The table stays as it was; the next run asks again."
        )
    return index


def _day(entry: Any) -> FearAndGreedDay | None:
    """An entry of the response, or ``None`` where it cannot be a day."""
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


def _entries_check(index: FearAndGreed) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=_VALID,
        passed=not index.invalid,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(index.invalid)} entries were left out."
        if index.invalid
        else f"Holds for {count(len(index.days), 'day')}.",
        metadata={"left_out": [str(entry) for entry in index.invalid[:_SHOWN]]},
    )
