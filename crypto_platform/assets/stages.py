"""The asset graph: the tracked coins, and the three stages, declared once and built per stream."""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from crypto_platform.assets.metadata import (
    add_partition_metadata,
    loaded_metadata,
    raw_metadata,
    transformed_metadata,
)
from crypto_platform.checks.definitions import (
    RAW_CHECKS,
    ROW_COUNTS,
    TRANSFORMED_CHECKS,
    WAREHOUSE_CHECKS,
    Check,
    Finding,
    check_result,
    check_results,
    check_specs,
    evaluate_raw,
    partition_range,
    raise_on_blocking,
)
from crypto_platform.checks.freshness import freshness_policy
from crypto_platform.checks.warehouse import evaluate_load, evaluate_revisions, reconcile
from crypto_platform.core.errors import RETRIES
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.schema import RAW_COLUMNS
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import Stream, Window
from crypto_platform.ingestion.estimate import estimate
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.raw_windows import commit_response
from crypto_platform.ingestion.resource import Ingestion
from crypto_platform.ingestion.responses import MarketsResponse, PricesResponse
from crypto_platform.ingestion.tracked_coins import (
    DOCUMENT,
    chosen_coins,
    ensure_tracked_coins,
    load_tracked_coins,
    refresh_tracked_coins,
)
from crypto_platform.lake.layers import Lake
from crypto_platform.profiles import PROFILES
from crypto_platform.transformation.resource import Transform
from crypto_platform.transformation.transformed_windows import (
    job_arguments,
    read_outputs,
    write_job_spec,
)
from crypto_platform.warehouse.catalogue import PRICE_COLUMNS
from crypto_platform.warehouse.resource import LoadMismatchError, Warehouse
from lambda_function.plans import configured_plan

API_POOL = "price_api"

_OWNERS = ["team:data-platform"]


class RawPricesConfig(dg.Config):
    """What a run of ``raw_prices`` asks for, where that is not all.

    Attributes:
        coins: Ask for these tracked coins alone; the others keep what they have. None is all.
    """

    coins: list[str] = []  # noqa: RUF012 - a Config is a pydantic model, which copies it


def build_tracked_coins(settings: Settings) -> dg.AssetsDefinition:
    """The asset that says which coins are tracked."""

    @dg.asset(
        description=(
            "The coins whose prices are kept. A coin once tracked stays tracked until "
            "TRACKED_COINS takes it out by name, so that history has no survivor bias."
        ),
        group_name="coins",
        kinds={"python"},
        owners=_OWNERS,
        pool=API_POOL,
        retry_policy=RETRIES,
    )
    def tracked_coins(
        context: dg.AssetExecutionContext, ingestion: Ingestion, lake: Lake, warehouse: Warehouse
    ) -> dg.MaterializeResult[None]:
        api = _price_api(context, settings, ingestion, lake)
        coins = refresh_tracked_coins(api, settings.tracked_coins)
        warehouse.upsert_coins(coins.coins)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(coins.ids),
                "dagster/uri": lake.raw.uri(DOCUMENT),
                "tracked": markdown_table(
                    [{"coin": coin.coin_id, "name": coin.name} for coin in coins.coins]
                ),
            }
        )

    return tracked_coins


def build_stream_assets(stream: Stream, settings: Settings) -> list[dg.AssetsDefinition]:
    """The three stages of a stream, from the API to the warehouse."""
    raw_prices = _build_raw_prices(stream, settings)
    transformed_prices = _build_transformed_prices(stream, settings, raw_prices)
    return [
        raw_prices,
        transformed_prices,
        _build_snowflake_prices(stream, settings, transformed_prices),
    ]


def _stage(
    stream: Stream,
    settings: Settings,
    name: str,
    checks: Sequence[Check],
    **options: Any,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """What all stages of a stream share."""
    decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        key=[stream.name, name],
        check_specs=check_specs(checks, dg.AssetKey([stream.name, name])),
        group_name=stream.name,
        partitions_def=stream.partitions(settings.first_window(stream)),
        backfill_policy=dg.BackfillPolicy.single_run(),
        owners=_OWNERS,
        tags={"stream": stream.name},
        **options,
    )
    return decorator


def _build_raw_prices(stream: Stream, settings: Settings) -> dg.AssetsDefinition:
    @_stage(
        stream,
        settings,
        "raw_prices",
        RAW_CHECKS,
        deps=["tracked_coins"],
        description=(
            "What the price API said of each window, in gzip-compressed JSON lines, one line a "
            "coin: its arrays cut to the window, nothing rounded, joined or dropped.\n\n"
            f"Asked for: {stream.granularity} prices. A coin that could not be had is absent with "
            "a reason; asking again never makes a window poorer."
        ),
        kinds=set(PROFILES[settings.profile].ingestion_kinds),
        metadata={"dagster/column_schema": RAW_COLUMNS},
        pool=API_POOL,
        retry_policy=RETRIES,
    )
    def raw_prices(
        context: dg.AssetExecutionContext,
        config: RawPricesConfig,
        ingestion: Ingestion,
        lake: Lake,
    ) -> Iterator[dg.MaterializeResult[None]]:
        run_id = _attempt(context)
        windows = _windows(context, stream)
        api = _price_api(context, settings, ingestion, lake)
        coins = ensure_tracked_coins(api, settings.tracked_coins).ids
        asked = chosen_coins(coins, config.coins)
        plan = configured_plan(os.environ)
        expected = estimate(stream, windows, len(asked), plan, datetime.now(UTC))
        response = api.prices(stream, windows, asked)
        # A window has one snapshot, so it is of all coins.
        snapshot = _snapshot(context, api, stream, windows, coins)
        responses: list[PricesResponse | MarketsResponse] = [response]
        responses += [snapshot] if snapshot else []
        committed = commit_response(
            lake.raw,
            stream,
            windows,
            response,
            snapshots={_newest(windows): snapshot.objects} if snapshot else {},
            vs_currency=settings.vs_currency,
            run_id=run_id,
        )
        add_partition_metadata(
            context,
            (
                (stream.partition_key(manifest.window), raw_metadata(lake.raw, manifest))
                for manifest in committed.manifests
            ),
        )
        yield dg.MaterializeResult(
            metadata={
                "run_api_calls": sum(one.calls for one in responses),
                "run_api_credits": sum(one.credits for one in responses),
                "run_estimate": expected.as_metadata(),
                "run_unchanged_windows": committed.unchanged,
                "run_rejected_answers": list(response.rejected),
                "source": response.source,
            },
            check_results=check_results(
                RAW_CHECKS,
                evaluate_raw(stream, committed.manifests, asked),
                f"{len(windows):,} window(s), {len(asked)} coins",
            ),
        )

    return raw_prices


def _build_transformed_prices(
    stream: Stream, settings: Settings, raw_prices: dg.AssetsDefinition
) -> dg.AssetsDefinition:
    @_stage(
        stream,
        settings,
        "transformed_prices",
        TRANSFORMED_CHECKS,
        deps=[raw_prices],
        description=(
            f"The raw answers as Parquet, {stream.grain}: arrays joined by their timestamps, what "
            "cannot be a price set aside with its reason."
        ),
        kinds=set(PROFILES[settings.profile].transform_kinds),
        metadata={"dagster/column_schema": PRICE_COLUMNS},
        # Of two runs on one window, the later one has to see what the earlier one read and wrote.
        pool=f"transform_{stream.name}",
    )
    def transformed_prices(
        context: dg.AssetExecutionContext, lake: Lake, transform: Transform
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        run_id = _attempt(context)
        raw = lake.raw.manifests(stream, _windows(context, stream))
        lake.raw.check(stream, raw)
        job_spec = write_job_spec(lake, stream, raw, run_id)
        ran = transform.run(stream.job, job_arguments(lake, stream, job_spec, run_id))
        windows = read_outputs(lake, stream, raw, run_id)
        findings = [finding for window in windows for finding in window.findings]
        prices = sum(window.manifest.points for window in windows)
        rejected = sum(window.rejected for window in windows)
        results = check_results(
            TRANSFORMED_CHECKS,
            findings,
            f"{len(windows):,} window(s), {prices:,} prices, {rejected:,} rejected points",
        )
        if any(finding.check.blocking for finding in findings):
            yield from results
        raise_on_blocking(
            f"{stream.name}/transformed_prices",
            findings,
            consequence="Nothing was committed: lake and warehouse stay as they were.",
            remediation="Materialize it again for these partitions; report it if that fails.",
        )
        lake.transformed.commit(stream, [window.manifest for window in windows])
        lake.transformed.remove(job_spec)
        add_partition_metadata(
            context,
            (
                (
                    stream.partition_key(window.manifest.window),
                    transformed_metadata(lake.transformed, window),
                )
                for window in windows
            ),
        )
        yield dg.MaterializeResult(
            metadata={"run_engine": ran.ran_on, **ran.metadata}, check_results=results
        )

    return transformed_prices


def _build_snowflake_prices(
    stream: Stream, settings: Settings, transformed_prices: dg.AssetsDefinition
) -> dg.AssetsDefinition:
    @_stage(
        stream,
        settings,
        "snowflake_prices",
        WAREHOUSE_CHECKS,
        # On the end of the stream alone: one stall is one change of state, and one alert.
        freshness_policy=freshness_policy(stream),
        deps=[transformed_prices],
        description=(
            f"The warehouse's table {stream.table}, {stream.grain}. A load replaces exactly its "
            "windows in one transaction, and says in the ledger what is missing and why."
        ),
        kinds=set(PROFILES[settings.profile].warehouse_kinds),
        metadata={"dagster/column_schema": PRICE_COLUMNS, "dagster/table_name": stream.table},
        pool=f"load_{stream.table}",
        retry_policy=RETRIES,
    )
    def snowflake_prices(
        context: dg.AssetExecutionContext, lake: Lake, warehouse: Warehouse
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        windows = _windows(context, stream)
        manifests = lake.transformed.manifests(stream, windows)
        try:
            loaded = warehouse.load(stream, manifests, lake.transformed.root)
        except LoadMismatchError as refused:
            refusal = Finding(ROW_COUNTS, partition_range(stream, windows), None, str(refused))
            yield check_result(ROW_COUNTS, [refusal], "what was to be loaded")
            raise
        coins = load_tracked_coins(lake.raw).ids
        with warehouse.session(read_only=True) as session:
            findings, counts = reconcile(stream, manifests, session)
            findings += evaluate_load(session, stream, windows, coins, settings.vs_currency)
        findings += evaluate_revisions(stream, loaded.revisions)
        add_partition_metadata(
            context,
            (
                (
                    stream.partition_key(manifest.window),
                    loaded_metadata(
                        manifest,
                        uri=warehouse.table_uri(stream.table),
                        preview=loaded.previews.get(manifest.window.start, ()),
                        revised=loaded.revisions.by_window.get(manifest.window.start, 0),
                    ),
                )
                for manifest in manifests
            ),
        )
        yield dg.MaterializeResult(
            metadata={
                "run_rows": loaded.prices,
                "run_market_snapshots": loaded.snapshots,
                "run_ledger": dict(loaded.ledger),
                "run_revised": loaded.revisions.total,
            },
            check_results=check_results(WAREHOUSE_CHECKS, findings, counts),
        )
        raise_on_blocking(
            f"{stream.name}/snowflake_prices",
            findings,
            consequence="It stands in the warehouse, and nothing downstream was run.",
            remediation="Materialize it again for these partitions; if the schema is at fault, "
            "make the table as snowflake_scripts/1_creation_tables.sql has it.",
        )

    return snowflake_prices


def _price_api(
    context: dg.AssetExecutionContext, settings: Settings, ingestion: Ingestion, lake: Lake
) -> PriceApi:
    return PriceApi(
        ingestion=ingestion,
        layer=lake.raw,
        vs_currency=settings.vs_currency,
        monthly_credits=configured_plan(os.environ).monthly_credits,
        asset=context.asset_key.to_user_string(),
        run_id=_attempt(context),
    )


def _attempt(context: dg.AssetExecutionContext) -> str:
    """The run's id; a retry within the run gets one of its own, so that it starts from nothing."""
    run_id = context.run.run_id
    return f"{run_id}-{context.retry_number}" if context.retry_number else run_id


def _windows(context: dg.AssetExecutionContext, stream: Stream) -> list[Window]:
    return [stream.window(key) for key in context.partition_keys]


def _newest(windows: Sequence[Window]) -> Window:
    return max(windows, key=lambda window: window.end)


def _snapshot(
    context: dg.AssetExecutionContext,
    api: PriceApi,
    stream: Stream,
    windows: Sequence[Window],
    coins: Sequence[str],
) -> MarketsResponse | None:
    """A snapshot of the market for the newest window, while it is still the newest.

    One that cannot be had costs no price: the run goes on without it, and says so.
    """
    newest = _newest(windows)
    if not stream.takes_snapshot(newest, datetime.now(UTC)):
        return None
    try:
        return api.markets(ids=coins, snapshot=(stream, newest))
    except dg.Failure as failure:
        context.log.warning("No market snapshot was taken. %s", failure.description)
        return None
