"""The platform in the aws profile with all that stands behind it on this machine.

The stack in moto's account, from its template; the real zip behind the function, the real scripts
behind the jobs; Snowflake's connector over fakesnow, as the scripts make the account.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.definitions import build_definitions
from crypto_platform.doctor.snowflake import defined_pipes
from crypto_platform.lake.layers import Lake
from crypto_platform.profiles import PROFILES
from crypto_platform.simulated_market import MarketServer
from crypto_platform.transformation.glue import GlueTransform
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform_tests.aws.account import TRANSFORMED_BUCKET, client
from crypto_platform_tests.aws.glue_runs import GlueRuns, running_jobs
from crypto_platform_tests.aws.lambda_runtime import Lambda, running_functions
from crypto_platform_tests.aws.stack import Deployment, account_with_code
from crypto_platform_tests.conftest import Platform
from crypto_platform_tests.warehouse.fakesnow_server import Wire, answering, mirroring

PLAN = "pro"
SECRET = "crypto/coingecko-api-key"  # noqa: S105 - its name
API_KEY = "CG-planted-key"  # of nobody

BuildSnowflake = Callable[..., SnowflakeWarehouse]


@dataclass(frozen=True)
class Cloud:
    """A platform of one test, all of whose cloud is on this machine.

    Attributes:
        environment: Its variables, which this process has too.
        functions: What runs the function.
        jobs: What runs the Glue jobs.
        warehouse: Snowflake.
        wire: The way to Snowflake.
        market: The price API.
        home: The folder of this machine, which holds nothing of the platform's.
    """

    environment: Mapping[str, str]
    functions: Lambda
    jobs: GlueRuns
    warehouse: SnowflakeWarehouse
    wire: Wire
    market: MarketServer
    home: Path

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    @property
    def platform(self) -> Platform:
        """What materializes the assets; its own lake and warehouse are not used."""
        return Platform(build_definitions(self.settings), self.home)

    @property
    def lake(self) -> Lake:
        lake: Lake = PROFILES["aws"].builders["lake"](self.settings)
        return lake

    def query(self, sql: str) -> list[dict[str, Any]]:
        return self.warehouse.query(sql)


@contextmanager
def cloud(
    folder: Path,
    market: MarketServer,
    build_snowflake: BuildSnowflake,
    wire: Wire,
    variables: Mapping[str, str],
) -> Iterator[Cloud]:
    """Set all of it up, and take it down.

    Args:
        folder: For what the stand-ins keep.
        market: The price API.
        build_snowflake: Makes the account in Snowflake.
        wire: The way there.
        variables: Further ones.
    """
    with ExitStack() as stack:
        _, deploy = stack.enter_context(account_with_code(folder / "objects"))
        deploy(CoinGeckoPlan=PLAN)
        client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=API_KEY)
        functions = stack.enter_context(running_functions(folder / "lambda"))
        jobs = stack.enter_context(running_jobs(folder / "glue"))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        warehouse = build_snowflake(
            f"s3://{TRANSFORMED_BUCKET}", mirror=folder / "mirror", network_timeout=1
        )
        # Of this test alone: it may encrypt its key, or lose it.
        private_key = folder / "snowflake.p8"
        shutil.copy(warehouse.private_key_path, private_key)
        warehouse = SnowflakeWarehouse(**{**dict(warehouse), "private_key_path": str(private_key)})
        wire.rewrites += [mirroring(folder / "mirror", read_transformed), *as_documented()]
        environment = {
            "CRYPTO_PROFILE": "aws",
            "CRYPTO_HOME": str(folder / "home"),
            "TRACKED_COINS": "bitcoin,ethereum",
            "COINGECKO_BASE_URL": market.base_url,
            "COINGECKO_PLAN": PLAN,
            "SNOWFLAKE_ACCOUNT": "example",
            "SNOWFLAKE_USER": "loader",
            "SNOWFLAKE_PRIVATE_KEY_PATH": warehouse.private_key_path,
            **variables,
        }
        for name, text in environment.items():
            patch.setenv(name, text)
        configure_function(
            {"COINGECKO_BASE_URL": market.base_url, "COINGECKO_CALLS_A_MINUTE": "1000000"}
        )
        patch.setitem(PROFILES["aws"].builders, "warehouse", lambda _: warehouse)
        patch.setitem(PROFILES["aws"].builders, "transform", _impatient_glue)
        # A run that fails is tried again by the test, not by Dagster after half a minute.
        patch.setattr("crypto_platform.assets.stages.RETRIES", None)
        yield Cloud(environment, functions, jobs, warehouse, wire, market, folder / "home")


def configure_function(variables: Mapping[str, str]) -> None:
    """Give the function that serves further variables, beside those of the stack."""
    function, live = Deployment().function, {"FunctionName": Deployment().function, "Name": "live"}
    held = client("lambda").get_function_configuration(FunctionName=function)["Environment"]
    client("lambda").update_function_configuration(
        FunctionName=function, Environment={"Variables": {**held["Variables"], **variables}}
    )
    published = client("lambda").publish_version(FunctionName=function)["Version"]
    client("lambda").update_alias(**live, FunctionVersion=published)


def read_transformed(path: str) -> bytes:
    content: bytes = client("s3").get_object(Bucket=TRANSFORMED_BUCKET, Key=path)["Body"].read()
    return content


def as_documented() -> list[Callable[[str], str]]:
    """What fakesnow cannot say of an account in which the scripts were run."""
    return [
        answering(
            "CURRENT_USER()",
            "SELECT 'LOADER' AS user_name, 'CRYPTO_LOADER' AS role, 'CRYPTO_WH' AS warehouse",
        ),
        answering("LIST @", "SELECT 1 AS name WHERE FALSE"),
        answering("SHOW PIPES", shown_pipes(defined_pipes())),
        answering("SYSTEM$PIPE_STATUS", pipe_status("PAUSED")),
    ]


def shown_pipes(pipes: Mapping[str, str]) -> str:
    """A query that answers as SHOW PIPES does where these pipes are there."""
    return " UNION ALL ".join(
        f"SELECT {_quoted(name.upper())} AS name, {_quoted(copy)} AS definition"
        for name, copy in pipes.items()
    )


def pipe_status(state: str) -> str:
    """A query that answers as SYSTEM$PIPE_STATUS does."""
    return f"SELECT {_quoted(json.dumps({'executionState': state}))} AS status"


def _quoted(text: str) -> str:
    return "'" + re.sub("'", "''", text) + "'"


def _impatient_glue(settings: Settings) -> GlueTransform:
    built = _BUILD_GLUE(settings)
    return GlueTransform(**{**dict(built), "poll_seconds": 0.2})


_BUILD_GLUE = PROFILES["aws"].builders["transform"]
