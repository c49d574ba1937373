"""Everything Dagster loads, put together; the parts are in their own modules."""

import gc
import os
import warnings
from collections.abc import Sequence

import dagster as dg

from crypto_platform.alerts.sensor import build_alerts_sensor
from crypto_platform.assets.schedules import build_schedule, build_vacuum, build_watch
from crypto_platform.assets.stages import build_stream_assets
from crypto_platform.assets.tracked_coins import build_tracked_coins
from crypto_platform.checks.freshness import build_freshness_check
from crypto_platform.checks.quota import build_month_budget_check
from crypto_platform.core.proxies import direct_loopback
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.healing.ledger import build_ledger
from crypto_platform.healing.sensor import build_healing_sensor
from crypto_platform.models.assets import GROUP as MODELS_GROUP
from crypto_platform.models.assets import JOB as MODELS_JOB
from crypto_platform.models.assets import build_models, build_models_sensor
from crypto_platform.models.fear_and_greed import (
    build_fear_and_greed,
    build_fear_and_greed_schedule,
)
from crypto_platform.profiles import PROFILES
from crypto_platform.report.asset import GROUP as REPORT_GROUP
from crypto_platform.report.asset import build_market_report
from crypto_platform.runs.executor import one_process_executor


def build_definitions(settings: Settings, streams: Sequence[Stream] = STREAMS) -> dg.Definitions:
    """The platform for some settings.

    Args:
        settings: Which profile, which coins, which partitions.
        streams: The streams to build.

    Raises:
        SettingsError: A setting that the profile needs is missing.
    """
    with warnings.catch_warnings():
        # Backfill policies and links to code are in beta in the Dagster that is pinned.
        warnings.simplefilter("ignore", dg.BetaWarning)
        tracked_coins = build_tracked_coins(settings)
        stages = [asset for stream in streams for asset in build_stream_assets(stream, settings)]
        ledger = build_ledger(settings, streams)
        models = [build_fear_and_greed(settings), build_models(settings)]
        report = build_market_report(settings)
        assets = dg.with_source_code_references([tracked_coins, *stages, ledger, *models, report])
    watched = [
        *(build_freshness_check(stream, settings) for stream in streams),
        build_month_budget_check(settings, streams),
    ]
    jobs = [
        dg.define_asset_job(
            stream.name,
            description=stream.description,
            # Nothing that follows the load: what fails there is no failure of the prices.
            selection=dg.AssetSelection.groups(stream.name)
            | dg.AssetSelection.assets(tracked_coins),
            tags={"stream": stream.name},
        )
        for stream in streams
    ]
    models_job = dg.define_asset_job(
        MODELS_JOB,
        description="Makes the models, and the report on them, from the prices that are loaded.",
        selection=dg.AssetSelection.groups(MODELS_GROUP, REPORT_GROUP),
    )
    return dg.Definitions(
        assets=assets,
        asset_checks=watched,
        jobs=[*jobs, models_job],
        schedules=[
            *(build_schedule(stream, settings.first_window(stream)) for stream in streams),
            build_watch(assets=[ledger], checks=watched),
            build_fear_and_greed_schedule(),
            build_vacuum(streams),
        ],
        sensors=[
            build_alerts_sensor(settings),
            build_healing_sensor(settings, streams, jobs),
            build_models_sensor(),
        ],
        resources=PROFILES[settings.profile].resources(settings),
        # One run is one process, with one of Spark beside it on a laptop.
        executor=one_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The platform for the environment's settings, as Dagster's tools load it.

    Raises:
        SettingsError: Variables are malformed, or one that the profile needs is missing.
    """
    # What is loaded by now stays. Else the collector looks at all of it time and again, and at the
    # end of the process once more: a twentieth of a second each time, in every run.
    gc.freeze()
    # Here as well as on the command line: Dagster's own commands come this way.
    os.environ.update(direct_loopback(os.environ))
    return build_definitions(Settings.from_environment(os.environ))
