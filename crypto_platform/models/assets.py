"""The models as assets and checks of Dagster."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from crypto_platform.checks.results import unjudged_result
from crypto_platform.core.errors import RETRIES
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.numbers import count
from crypto_platform.core.ownership import OWNERS
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import INTRA_DAY, STREAMS
from crypto_platform.models.build import MODELS, MadeModels, Model, ModelCheck, make_models
from crypto_platform.models.lineage import column_lineage
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.catalogue import column_schema
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Row
from crypto_platform.warehouse.sql import PRICE_TABLES, model_statement

GROUP = "models"

JOB = "models_and_report"
"""The job that makes by hand what the sensor makes after loads."""

# Which asset fills a table that is read, where it is not named like it. Snapshots of the market
# come with the intra-day prices.
_STREAMS_OF_TABLES = {
    **{stream.table: stream for stream in STREAMS},
    "market_snapshots": INTRA_DAY,
}


def build_models(settings: Settings) -> dg.AssetsDefinition:
    """The models as assets, which one step makes together."""
    profile = PROFILES[settings.profile]
    cache_folder = str(settings.home.absolute() / "cache" / "sql")

    @dg.multi_asset(
        name="models",
        specs=[
            dg.AssetSpec(
                key=model.name,
                deps=[asset_key(table) for table in model.reads],
                description=model.description,
                group_name=GROUP,
                kinds=set(profile.warehouse_kinds),
                owners=OWNERS,
                metadata={
                    "dagster/column_schema": column_schema(model.name),
                    "dagster/table_name": model.name,
                },
                automation_condition=follows_updates(
                    "prices were loaded and the models not made since"
                )
                if all(table in PRICE_TABLES for table in model.reads)
                else None,
            )
            for model in MODELS
        ],
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=model.name, description=check.description)
            for model in MODELS
            for check in model.checks
        ],
        pool="models",
        retry_policy=RETRIES,
    )
    def models(warehouse: Warehouse) -> Iterator[dg.MaterializeResult[None]]:
        made = make_models(warehouse)
        for model in MODELS:
            yield dg.MaterializeResult(
                asset_key=model.name,
                metadata={
                    **_metadata(model, made),
                    "dagster/column_lineage": _dagster_lineage(model, cache_folder),
                    "dagster/uri": warehouse.table_uri(model.name),
                },
                check_results=check_results(
                    model.checks,
                    made.models[model.name].faults,
                    made.models[model.name].rows,
                    asset=model.name,
                ),
            )

    return models


def follows_updates(label: str) -> dg.AutomationCondition[Any]:
    """When to make an asset after its inputs, where no run made it with them.

    Not while an input is being made: what is loaded meanwhile would not be in it.

    Args:
        label: The condition in words, for the UI.
    """
    condition = dg.AutomationCondition
    return (
        condition.any_deps_updated().since(condition.newly_requested() | condition.newly_updated())
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label(label)


def build_models_sensor() -> dg.AutomationConditionSensorDefinition:
    """The sensor that makes the models after loads, in a run of its own."""
    return dg.AutomationConditionSensorDefinition(
        "models_follow_loads",
        target=dg.AssetSelection.groups(GROUP).downstream(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Makes the models, and the report on them, once prices were loaded: in a run of its "
            "own, so that what fails in it is no failure of the prices."
        ),
    )


def check_results(
    checks: Sequence[ModelCheck],
    faults: Mapping[str, Sequence[Row]],
    rows: int,
    asset: str | None = None,
) -> list[dg.AssetCheckResult]:
    """The results of a table's checks.

    Args:
        checks: The checks.
        faults: The rows that ``rows_at_fault`` found.
        rows: How many rows the table has.
        asset: The asset; ``None`` where a step makes only one.
    """
    return [
        dg.AssetCheckResult(
            check_name=check.name,
            asset_key=asset,
            passed=not faults[check.name],
            severity=dg.AssetCheckSeverity.ERROR,
            description=_description(faults[check.name]) or f"Holds for {count(rows, 'row')}.",
            metadata={"faults": markdown_table(faults[check.name])},
        )
        if rows or faults[check.name]
        else unjudged_result(check.name, f"{asset} has no row yet. Load prices first", asset=asset)
        for check in checks
    ]


def asset_key(table: str) -> dg.AssetKey:
    """The asset that fills a table of the warehouse."""
    stream = _STREAMS_OF_TABLES.get(table)
    return dg.AssetKey([stream.name, "snowflake_prices"] if stream else table)


def _metadata(model: Model, made: MadeModels) -> dict[str, Any]:
    of_model = made.models[model.name]
    return {
        "dagster/row_count": of_model.rows,
        "made_rows": of_model.made,
        "made_from": str(made.first_day or "nothing had changed"),
        "newest_day": str(of_model.newest_day or "none"),
        "preview": markdown_table(of_model.preview),
    }


def _description(faults: Sequence[Row]) -> str | None:
    if not faults:
        return None
    first = ", ".join(f"{name} {value}" for name, value in faults[0].items())
    return f"Among others: {first}." if len(faults) > 1 else f"{first}."


def _dagster_lineage(model: Model, cache_folder: str) -> dg.TableColumnLineage:
    sql = model_statement(f"make_{model.name}", model.name)
    return dg.TableColumnLineage(
        deps_by_column={
            column: [dg.TableColumnDep(asset_key(table), name) for table, name in sources]
            for column, sources in column_lineage(sql, model.reads, cache_folder).items()
        }
    )
