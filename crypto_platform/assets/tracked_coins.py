"""The asset that says which coins are tracked."""

from collections.abc import Iterator

import dagster as dg

from crypto_platform.assets.stages import API_POOL, price_api
from crypto_platform.checks.definitions import TRACKED_LIST, Finding
from crypto_platform.checks.results import check_result, check_specs
from crypto_platform.core.errors import RETRIES, MixedSourcesError
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.ownership import OWNERS
from crypto_platform.core.settings import Settings
from crypto_platform.ingestion.resource import Ingestion
from crypto_platform.ingestion.tracked_coins import (
    DOCUMENT,
    CoinList,
    load_tracked_coins,
    refresh_tracked_coins,
)
from crypto_platform.lake.layers import Lake

NAME = "tracked_coins"


def build_tracked_coins(settings: Settings) -> dg.AssetsDefinition:
    """The asset that says which coins are tracked."""

    @dg.asset(
        name=NAME,
        description=(
            "The coins whose prices are kept. A coin once tracked stays tracked until "
            "TRACKED_COINS takes it out by name, so that history has no survivor bias.\n\nWhere "
            "the list cannot be brought up to date, a check fails, and the coins known stay."
        ),
        group_name="coins",
        check_specs=check_specs([TRACKED_LIST], dg.AssetKey(NAME)),
        kinds={"python"},
        owners=OWNERS,
        pool=API_POOL,
        retry_policy=RETRIES,
    )
    def tracked_coins(
        context: dg.AssetExecutionContext, ingestion: Ingestion, lake: Lake
    ) -> Iterator[dg.MaterializeResult[None]]:
        try:
            api = price_api(context, settings, ingestion, lake)
            refreshed = refresh_tracked_coins(api, settings.tracked_coins)
        except MixedSourcesError:
            # Nothing else of this run may come of that.
            raise
        except Exception as error:
            refreshed = CoinList(load_tracked_coins(lake.raw), str(error))
            # The prices of coins that are known need no newer list, and would be skipped with it or
            # wait for its retries.
            if not refreshed.coins.ids:
                raise
        coins, problem = refreshed.coins, refreshed.problem
        findings = [Finding(TRACKED_LIST, "", None, problem)] if problem else []
        if problem:
            context.log.warning(problem)
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(coins.ids),
                "dagster/uri": lake.raw.uri(DOCUMENT),
                "tracked": markdown_table(
                    [{"coin": coin.coin_id, "name": coin.name} for coin in coins.coins]
                ),
            },
            check_results=[check_result(TRACKED_LIST, findings, f"{len(coins.ids)} coins")],
        )

    return tracked_coins
