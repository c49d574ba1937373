"""The models as assets and checks of Dagster; what they are and how they are made: ``models``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from crypto_platform.core.errors import RETRIES
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS
from crypto_platform.models.build import MODELS, MadeModels, Model, ModelCheck, make_models
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.catalogue import column_schema
from crypto_platform.warehouse.resource import Row, Warehouse
from crypto_platform.warehouse.sql import PRICE_TABLES

GROUP = "models"
OWNERS = ["team:data-platform"]

# Which asset fills a table that is read, where it is not named like it.
_ASSETS = {stream.table: dg.AssetKey([stream.name, "snowflake_prices"]) for stream in STREAMS}


def build_models(settings: Settings) -> dg.AssetsDefinition:
    """The models as assets, which one step makes together."""
    profile = PROFILES[settings.profile]

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
                    "dagster/column_lineage": _column_lineage(model),
                    "dagster/table_name": model.name,
                },
                automation_condition=follows_updates(
                    "prices were loaded and the models not made since"
                )
                if model.reads == PRICE_TABLES
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
            yield _result(model, made, warehouse.table_uri(model.name))

    return models


def follows_updates(label: str) -> dg.AutomationCondition[Any]:
    """When to make an asset after what it reads, where no run makes it by itself.

    Args:
        label: When that is, for people.
    """
    # A run that makes it updates it after what it reads: nothing is left to be done.
    condition = dg.AutomationCondition
    return (
        condition.any_deps_updated().since(condition.newly_requested() | condition.newly_updated())
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label(label)


def build_models_sensor() -> dg.AutomationConditionSensorDefinition:
    """What makes the models after loads that were not part of a job, as those from the UI."""
    return dg.AutomationConditionSensorDefinition(
        "models_follow_loads",
        target=dg.AssetSelection.groups(GROUP).downstream(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Makes the models, and the report on them, where prices were loaded and the run did "
            "not make them."
        ),
    )


def check_results(
    checks: Sequence[ModelCheck], faults: Mapping[str, Sequence[Row]], asset: str | None = None
) -> list[dg.AssetCheckResult]:
    """What the checks of a table say, given the rows that ``rows_at_fault`` found."""
    return [
        dg.AssetCheckResult(
            check_name=check.name,
            asset_key=asset,
            passed=not faults[check.name],
            severity=dg.AssetCheckSeverity.ERROR,
            description=_said_of(faults[check.name]),
            metadata={"faults": markdown_table(faults[check.name])},
        )
        for check in checks
    ]


def asset_key(table: str) -> dg.AssetKey:
    """The asset that fills a table of the warehouse."""
    return _ASSETS.get(table) or dg.AssetKey(table)


def _result(model: Model, made: MadeModels, uri: str) -> dg.MaterializeResult[None]:
    of_model = made.models[model.name]
    metadata: dict[str, Any] = {
        "dagster/row_count": of_model.rows,
        "dagster/uri": uri,
        "dagster/column_lineage": _column_lineage(model),
        "made_rows": of_model.made,
        "made_from": str(made.first_day or "nothing had changed"),
        "newest_day": str(of_model.newest_day or "none"),
        "preview": markdown_table(of_model.preview),
    }
    return dg.MaterializeResult(
        asset_key=model.name,
        metadata=metadata,
        check_results=check_results(model.checks, of_model.faults, asset=model.name),
    )


def _said_of(faults: Sequence[Row]) -> str | None:
    if not faults:
        return None
    first = ", ".join(f"{name} {value}" for name, value in faults[0].items())
    return f"Among others: {first}." if len(faults) > 1 else f"{first}."


def _column_lineage(model: Model) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        deps_by_column={
            column: [dg.TableColumnDep(asset_key(table), name) for table, name in sources]
            for column, sources in model.lineage.items()
        }
    )
