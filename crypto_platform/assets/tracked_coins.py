"""The asset that says which coins are tracked."""

import dagster as dg

from crypto_platform.assets.stages import API_POOL, price_api
from crypto_platform.core.errors import RETRIES
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.ownership import OWNERS
from crypto_platform.core.settings import Settings
from crypto_platform.ingestion.resource import Ingestion
from crypto_platform.ingestion.tracked_coins import DOCUMENT, refresh_tracked_coins
from crypto_platform.lake.layers import Lake
from crypto_platform.warehouse.resource import Warehouse


def build_tracked_coins(settings: Settings) -> dg.AssetsDefinition:
    """The asset that says which coins are tracked."""

    @dg.asset(
        description=(
            "The coins whose prices are kept. A coin once tracked stays tracked until "
            "TRACKED_COINS takes it out by name, so that history has no survivor bias."
        ),
        group_name="coins",
        kinds={"python"},
        owners=OWNERS,
        pool=API_POOL,
        retry_policy=RETRIES,
    )
    def tracked_coins(
        context: dg.AssetExecutionContext, ingestion: Ingestion, lake: Lake, warehouse: Warehouse
    ) -> dg.MaterializeResult[None]:
        api = price_api(context, settings, ingestion, lake)
        refreshed = refresh_tracked_coins(api, settings.tracked_coins)
        coins = refreshed.coins
        if refreshed.problem:
            context.log.warning(refreshed.problem)
        warehouse.upsert_coins(coins.coins)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(coins.ids),
                "dagster/uri": lake.raw.uri(DOCUMENT),
                "tracked": markdown_table(
                    [{"coin": coin.coin_id, "name": coin.name} for coin in coins.coins]
                ),
                "problem": refreshed.problem or "none",
            }
        )

    return tracked_coins
