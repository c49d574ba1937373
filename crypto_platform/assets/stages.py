"""The three stages as assets, declared once and built for each stream.

Each asset is an adapter: it takes the windows from Dagster's context, calls one function of
``crypto_platform.stages``, and tells Dagster what that made and found.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from crypto_platform.alerts.dead_man import SignOfLife, current_windows
from crypto_platform.assets.metadata import (
    add_partition_metadata,
    ingested_metadata,
    loaded_metadata,
    raw_metadata,
    run_loaded_metadata,
    transformed_metadata,
)
from crypto_platform.checks.definitions import (
    RAW_CHECKS,
    ROW_COUNTS,
    WAREHOUSE_CHECKS,
    Check,
    Finding,
    transformed_checks,
)
from crypto_platform.checks.freshness import freshness_policy
from crypto_platform.checks.results import (
    check_result,
    check_results,
    check_specs,
    raise_on_blocking,
)
from crypto_platform.core.errors import RETRIES, PermanentFailure
from crypto_platform.core.ownership import OWNERS
from crypto_platform.core.schema import RAW_COLUMNS
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import Stream, WindowBatch
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.resource import Ingestion
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.repair import RepairedMonth
from crypto_platform.profiles import PROFILES
from crypto_platform.stages.ingest import ingest_windows
from crypto_platform.stages.load import load_windows
from crypto_platform.stages.transform import transform_windows
from crypto_platform.transformation.resource import Transform
from crypto_platform.warehouse.catalogue import price_columns
from crypto_platform.warehouse.load import LoadMismatchError
from crypto_platform.warehouse.resource import Warehouse
from lambda_function.plans import configured_plan

API_POOL = "price_api"
"""One asset at a time asks the price API: the plan's calls a minute are shared by all runs."""


class RawPricesConfig(dg.Config):
    """What a run of ``raw_prices`` asks for, where that is not all.

    Attributes:
        coins: Ask for these tracked coins alone; the others keep what they have. None is all.
    """

    coins: list[str] = []  # noqa: RUF012 - a Config is a pydantic model, which copies it


def build_stream_assets(stream: Stream, settings: Settings) -> list[dg.AssetsDefinition]:
    """The three stages of a stream, from the API to the warehouse.

    Args:
        stream: The stream.
        settings: Which profile runs them, and where the partitions begin.
    """
    profile = PROFILES[settings.profile]

    def stage(
        name: str, checks: Sequence[Check], **options: Any
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """What all stages of the stream share."""
        decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
            key=[stream.name, name],
            check_specs=check_specs(checks, dg.AssetKey([stream.name, name])),
            group_name=stream.name,
            partitions_def=partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            owners=OWNERS,
            tags={"stream": stream.name},
            **options,
        )
        return decorator

    partitions = stream.partitions(settings.first_window(stream))
    checks_of_files = transformed_checks(stream)

    @stage(
        "raw_prices",
        RAW_CHECKS,
        deps=["tracked_coins"],
        description=(
            "What the price API said of each window, in gzip-compressed JSON lines, one line a "
            "coin: its arrays cut to the window, nothing rounded, joined or dropped.\n\n"
            f"Asked for: {stream.granularity} prices. A coin that could not be had is absent with "
            "a reason; asking again never makes a window poorer."
        ),
        kinds=set(profile.ingestion_kinds),
        metadata={"dagster/column_schema": RAW_COLUMNS},
        pool=API_POOL,
        retry_policy=RETRIES,
    )
    def raw_prices(
        context: dg.AssetExecutionContext, config: RawPricesConfig, ingestion: Ingestion, lake: Lake
    ) -> Iterator[dg.MaterializeResult[None]]:
        batch = _batch_of(stream, context)
        ingested = ingest_windows(
            batch,
            price_api(context, settings, ingestion, lake),
            settings.tracked_coins,
            config.coins,
            datetime.now(UTC),
        )
        _tell_repaired(context, ingested.repaired)
        if ingested.snapshot_problem:
            context.log.warning("No market snapshot was taken. %s", ingested.snapshot_problem)
        add_partition_metadata(context, raw_metadata(lake.raw, stream, ingested.manifests))
        yield dg.MaterializeResult(
            metadata=ingested_metadata(ingested),
            check_results=check_results(
                RAW_CHECKS, ingested.findings, ingested.evaluated, ingested.unjudged
            ),
        )

    @stage(
        "transformed_prices",
        checks_of_files,
        deps=[raw_prices],
        description=(
            f"The raw responses as Parquet, {stream.grain}: arrays joined by their timestamps, "
            "what cannot be a price set aside with its reason."
        ),
        kinds=set(profile.transform_kinds),
        metadata={"dagster/column_schema": price_columns()},
        # Of two runs on one window, the later one has to see what the earlier one read and wrote.
        pool=f"transform_{stream.name}",
        # A failure of the job itself is permanent, so this is for what is read and written around
        # it.
        retry_policy=RETRIES,
    )
    def transformed_prices(
        context: dg.AssetExecutionContext, lake: Lake, transform: Transform
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        batch = _batch_of(stream, context)
        done = transform_windows(batch, lake, transform, run_attempt(context))
        _tell_repaired(context, done.repaired)
        results = check_results(checks_of_files, done.findings, done.evaluated, done.unjudged)
        if done.blocked:
            yield from results
        raise_on_blocking(
            f"{stream.name}/transformed_prices",
            done.findings,
            consequence="Nothing was committed: lake and warehouse stay as they were.",
            remediation="Materialize it again for these partitions; report it if that fails.",
        )
        add_partition_metadata(
            context,
            (
                (batch.key(one.manifest.window), transformed_metadata(lake.transformed, one))
                for one in done.windows
            ),
        )
        yield dg.MaterializeResult(
            metadata={"run_engine": done.ran.ran_on, **done.ran.metadata}, check_results=results
        )

    @stage(
        "snowflake_prices",
        WAREHOUSE_CHECKS,
        # On the end of the stream alone: one stall is one change of state, and one alert.
        freshness_policy=freshness_policy(stream),
        deps=[transformed_prices],
        description=(
            f"The warehouse's table {stream.table}, {stream.grain}. A load replaces exactly its "
            "windows in one transaction, which counts only if no blocking check fails, and says "
            "in the ledger what is missing and why."
        ),
        kinds=set(profile.warehouse_kinds),
        metadata={"dagster/column_schema": price_columns(), "dagster/table_name": stream.table},
        pool=f"load_{stream.table}",
        retry_policy=RETRIES,
    )
    def snowflake_prices(
        context: dg.AssetExecutionContext,
        lake: Lake,
        warehouse: Warehouse,
        sign_of_life: SignOfLife,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        batch = _batch_of(stream, context)
        try:
            loaded = load_windows(batch, lake, warehouse, settings)
        except LoadMismatchError as refused:
            refusal = Finding(ROW_COUNTS, batch.partition_range, None, str(refused))
            yield check_result(ROW_COUNTS, [refusal], "what was to be loaded")
            raise
        results = check_results(
            WAREHOUSE_CHECKS, loaded.findings, loaded.evaluated, loaded.unjudged
        )
        if loaded.result is None:
            yield from results
            raise_on_blocking(
                f"{stream.name}/snowflake_prices",
                loaded.findings,
                consequence="Nothing was loaded: the warehouse stays as it was.",
                remediation="Materialize transformed_prices and then this again for these "
                "partitions; if the schema is at fault, make the table as "
                "snowflake_scripts/1_creation_tables.sql has it.",
            )
            return
        if current := current_windows(stream, loaded.manifests, datetime.now(UTC)):
            sign_of_life.windows_loaded(stream, current)
        uri = warehouse.table_uri(stream.table)
        add_partition_metadata(
            context,
            (
                (batch.key(one.window), loaded_metadata(one, loaded.result, uri))
                for one in loaded.manifests
            ),
        )
        yield dg.MaterializeResult(
            metadata=run_loaded_metadata(loaded.result), check_results=results
        )

    return [raw_prices, transformed_prices, snowflake_prices]


def _batch_of(stream: Stream, context: dg.AssetExecutionContext) -> WindowBatch:
    """The windows of a run.

    Raises:
        PermanentFailure: Its range is none.
    """
    keys = context.partition_keys
    if not keys:
        ends = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
        first, last = (context.run.tags[end] for end in ends)
        raise PermanentFailure(
            f"The range {first}...{last} has no partition of {stream.name}: a range goes from the "
            f"older partition to the newer one. Launch {last}...{first} instead."
        )
    return WindowBatch(stream, [stream.window(key) for key in keys])


def price_api(
    context: dg.AssetExecutionContext, settings: Settings, ingestion: Ingestion, lake: Lake
) -> PriceApi:
    """The price API as the asset of a context asks it.

    Args:
        context: Says which asset of which run asks.
        settings: The currency of all prices.
        ingestion: The function that asks.
        lake: Its raw layer takes what the API says, and the record of its use.
    """
    return PriceApi(
        ingestion=ingestion,
        layer=lake.raw,
        vs_currency=settings.vs_currency,
        plan=configured_plan(os.environ),
        asset=context.asset_key.to_user_string(),
        run_id=run_attempt(context),
    )


def _tell_repaired(context: dg.AssetExecutionContext, months: Iterable[RepairedMonth]) -> None:
    for month in months:
        context.log.warning(month.described)


def run_attempt(context: dg.AssetExecutionContext) -> str:
    """The run's id; a retry within the run gets one of its own, so that it starts from nothing."""
    run_id = context.run.run_id
    return f"{run_id}-{context.retry_number}" if context.retry_number else run_id
