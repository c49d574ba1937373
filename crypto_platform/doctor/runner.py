"""The preflight: is all that a profile needs there, and does it work, before anything is run?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import dagster as dg

from crypto_platform.alerts.channels import AlertChannel
from crypto_platform.core.redaction import Secrets
from crypto_platform.core.settings import SettingsError
from crypto_platform.core.variables import ENV_FILE, VARIABLES, EnvFile, find_misnamed
from crypto_platform.doctor.aws import AWS_CHECKS
from crypto_platform.doctor.lake import lake_checks
from crypto_platform.doctor.preflight import (
    CheckFailedError,
    CheckSkippedError,
    Preflight,
    PreflightCheck,
    PreflightResult,
    described_api,
    skip_for_deployment,
)
from crypto_platform.doctor.snowflake import SNOWFLAKE_CHECKS
from crypto_platform.ingestion.coin_search import CoinsNotFoundError, find_coins
from crypto_platform.ingestion.first_setup import CoinsOfApi, written
from crypto_platform.lake.layers import Layer
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import statement
from lambda_function.plans import configured_plan

_SETTINGS = "settings"


def _variables(preflight: Preflight) -> str:
    file = EnvFile.read(ENV_FILE)
    if misnamed := find_misnamed(preflight.environment, file):
        raise CheckFailedError(" ".join(misnamed))
    today = datetime.now(UTC).date()
    for name in ("HISTORY_START", "INTRA_DAY_START"):
        if (start := getattr(preflight.settings, name.lower())) >= today:
            raise CheckFailedError(
                f"{name} is {start}, which has not ended: no partition is there."
            )
    overruled = sorted(
        name
        for name, value in file.values.items()
        if name in VARIABLES and preflight.environment.get(name, value) != value
    )
    said = f"; the environment has others of {', '.join(overruled)}" if overruled else ""
    return f"each name that is set is one of the platform's{said}"


def _coins(preflight: Preflight) -> str:
    settings = preflight.settings
    api = CoinsOfApi(preflight.environment, settings.vs_currency)
    named = settings.tracked_coins.named
    unknown = set(named) - api.known(named)
    if unknown:
        described = "; ".join(_described(name, api) for name in sorted(unknown))
        raise CheckFailedError(
            f"TRACKED_COINS takes ids, and the API has none that is {described}."
        )
    return f"{written(settings.tracked_coins)}, in {settings.vs_currency}, as the API has them"


def _described(name: str, api: CoinsOfApi) -> str:
    """What is no id, and the id of what is meant by it: by a ticker, a name or a slip."""
    try:
        meant = find_coins([name], api.largest)
    except CoinsNotFoundError as error:
        meant = list(error.problems[0].nearest)
    return f"{name!r} (write {' or '.join(meant)})" if meant else repr(name)


def _price_api(preflight: Preflight) -> str:
    plan = configured_plan(preflight.environment)
    if plan.key_header and not preflight.environment.get("COINGECKO_API_KEY", "").strip():
        # A ping is answered without a key as well.
        raise CheckFailedError(
            f"The plan {plan.name} takes a key, and COINGECKO_API_KEY is not set."
        )
    return described_api(preflight.resource("ingestion").invoke({"action": "ping"}))


def _read_and_write(name: str, preflight: Preflight) -> str:
    layer: Layer = getattr(preflight.lake, name)
    path, content = f".doctor-{uuid4().hex}", b"A doctor's, to be removed at once."
    layer.put(path, content)
    try:
        if layer.read(path) != content:
            raise CheckFailedError(f"{layer.root} does not hold what was just written to it.")
    finally:
        layer.remove(path)
    return f"{layer.root} can be written and read"


def _spark(preflight: Preflight) -> str:
    return f"{preflight.resource('transform').try_engine()} runs"


def _relations(warehouse: Warehouse) -> dict[str, str]:
    """The type of each column, and the query of each view, by their names."""
    columns = warehouse.query(statement("columns"))
    views = warehouse.query(statement("views"))
    return {
        **{f"column {row['relation']}.{row['name']}": row["type"] for row in columns},
        **{f"view {row['relation']}": row["definition"] for row in views},
    }


def _duckdb(preflight: Preflight) -> str:
    warehouse: DuckDBWarehouse = preflight.resource("warehouse")
    older = [change.fault for change in warehouse.schema_changes()] if warehouse.exists() else []
    there = _relations(warehouse)
    with TemporaryDirectory() as folder:
        expected = _relations(DuckDBWarehouse(path=str(Path(folder) / "crypto_db.duckdb")))
    missing = expected.keys() - there.keys()
    different = {name for name in expected.keys() & there.keys() if expected[name] != there[name]}
    if missing or different:
        faults = [f"no {name}" for name in missing] + [f"another {name}" for name in different]
        raise CheckFailedError(
            f"{warehouse.path} is not what the scripts 1 and 5 of snowflake_scripts make: it has "
            f"{', '.join(sorted(faults))}."
        )
    gained = f"; until now {', '.join(older)}" if older else ""
    return f"{warehouse.path} is as the scripts define it{gained}"


def _dagster_instance(preflight: Preflight) -> str:
    folder = preflight.settings.instance_folder(preflight.environment)
    if not folder.is_absolute():
        raise CheckFailedError(f"DAGSTER_HOME={folder} is not an absolute path.")
    if not folder.exists():
        raise CheckSkippedError(f"{folder} is not there yet: make dev makes it.")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        runs = instance.get_runs_count()
        limit = instance.get_concurrency_config().pool_config.default_pool_limit
    if limit != 1:
        raise CheckFailedError(
            f"{folder} has no dagster.yaml that lets one asset at a time ask the price API "
            f"(concurrency.pools.default_limit is {limit}, not 1)."
        )
    return f"{folder} opens, with {runs} runs"


def _alerts_arrive(preflight: Preflight) -> str:
    skip_for_deployment(preflight)
    channel: AlertChannel = preflight.resource("alerts")
    state = channel.latest_state()
    if state is None:
        return "nothing was to be sent so far: the sensor runs with make dev"
    if aside := state.put_aside:
        raise CheckFailedError(
            f"{len(aside)} message(s) could not be delivered to {channel.place} and were put "
            f"aside, the last one {aside[-1].alert.subject!r}: {aside[-1].delivery.reason}"
        )
    if failed := state.failed_deliveries:
        (*_, last) = failed.values()
        raise CheckFailedError(
            f"{len(failed)} message(s) could not be delivered to {channel.place} so far: "
            f"{last.reason}"
        )
    return f"no message to {channel.place} failed"


_ALERTS_ARRIVE = PreflightCheck(
    "alerts delivered",
    _alerts_arrive,
    "Remove what the message names; crypto-platform alerts shows the messages. What waits is sent "
    "then by itself; what was put aside is shown for 90 days.",
)

_DAGSTER_INSTANCE = PreflightCheck(
    "Dagster instance",
    _dagster_instance,
    "Start Dagster with make dev, which puts dagster.yaml there, or set DAGSTER_HOME to the "
    "absolute path of a folder that has it.",
)

_VARIABLES = PreflightCheck(
    "variables",
    _variables,
    "Correct these names in the environment or in .env; docs/configuration.md lists all.",
)

LOCAL_CHECKS = (
    _VARIABLES,
    PreflightCheck(
        "price API",
        _price_api,
        "Correct COINGECKO_PLAN, COINGECKO_API_KEY or COINGECKO_BASE_URL in .env, or restore "
        "this machine's way to the internet.",
    ),
    PreflightCheck(
        "tracked coins",
        _coins,
        "Correct TRACKED_COINS or VS_CURRENCY in .env; crypto-platform init finds coins by name.",
        needs="price API",
    ),
    *(
        PreflightCheck(
            f"{name} lake",
            partial(_read_and_write, name),
            "Set CRYPTO_HOME to a folder that this user may write.",
        )
        for name in ("raw", "transformed")
    ),
    *lake_checks("lake"),
    PreflightCheck(
        "Spark",
        _spark,
        "Set CRYPTO_SPARK=sail, which needs no Java, and install the requirements anew.",
    ),
    PreflightCheck(
        "warehouse",
        _duckdb,
        "If another program has the file open, close it. Else move the file away and materialize "
        "snowflake_prices for all partitions: that loads the lake again and asks no API.",
    ),
    _ALERTS_ARRIVE,
    _DAGSTER_INSTANCE,
)
"""What the local profile needs."""

CHECKS: Mapping[str, Sequence[PreflightCheck]] = {
    "local": LOCAL_CHECKS,
    "aws": (
        _VARIABLES,
        *AWS_CHECKS,
        *SNOWFLAKE_CHECKS,
        # What is remembered of messages stands there.
        replace(_ALERTS_ARRIVE, needs="raw bucket"),
        _DAGSTER_INSTANCE,
    ),
}
"""What each profile needs, in the order in which it is looked at."""


def examine(
    environment: Mapping[str, str],
    *,
    send: bool = False,
    candidate: str = "",
    code_version: str = "",
) -> list[PreflightResult]:
    """Run all checks of the profile that an environment chooses.

    Args:
        environment: The variables.
        send: Whether a message may really be sent.
        candidate: Number of a published function to look at before it serves.
        code_version: The code that has to serve; that of this checkout where it is empty.

    Returns:
        A result for each check; none holds a secret of the environment.
    """
    checks = CHECKS.get(environment.get("CRYPTO_PROFILE") or "local", LOCAL_CHECKS)
    preflight = Preflight(environment, send, candidate, code_version)
    try:
        found = f"well-formed, for the profile {preflight.settings.profile}"
    except SettingsError as error:
        what_to_do = "Correct these variables in the environment or in .env."
        results = [PreflightResult(_SETTINGS, "failed", str(error), what_to_do)]
        reason = "Not looked at while the settings cannot be used."
        results += [PreflightResult(check.name, "skipped", reason) for check in checks]
    else:
        results = [PreflightResult(_SETTINGS, "passed", found)]
        for check in checks:
            results.append(_unless_pointless(check, preflight, results))
    secrets = Secrets.of(environment)
    return [replace(result, found=secrets.redact(result.found)) for result in results]


def _unless_pointless(
    check: PreflightCheck, preflight: Preflight, earlier: Iterable[PreflightResult]
) -> PreflightResult:
    for result in earlier:
        if result.check == check.needs and result.status != "passed":
            reason = f"Not looked at: {result.check} {result.status}."
            return PreflightResult(check.name, "skipped", reason)
    return check.run(preflight)
