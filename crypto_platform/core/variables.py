"""The variables that the platform reads, in one list, and those that were meant to be of it.

Nothing here needs Dagster: every command looks, before it does anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from crypto_platform.core.proxies import PROXY_VARIABLES

ENV_FILE = Path(".env")
"""Where a person's variables stand, in the working folder."""

API_VARIABLES = (
    "COINGECKO_API_KEY",
    "COINGECKO_BASE_URL",
    "COINGECKO_CALLS_A_MINUTE",
    "COINGECKO_HISTORY_DAYS",
    "COINGECKO_MONTHLY_CREDITS",
    "COINGECKO_PLAN",
    "FEAR_AND_GREED_BASE_URL",
)
"""What says how the APIs are asked; ``lambda_function`` reads them."""

SETTINGS = (
    "ALERTS_TOPIC_ARN",
    "AWS_REGION",
    "CRYPTO_DEPLOYMENT",
    "CRYPTO_HOME",
    "CRYPTO_PROFILE",
    "CRYPTO_SPARK",
    "DAGSTER_UI_URL",
    "HISTORICAL_GLUE_JOB",
    "HISTORY_START",
    "INGESTION_FUNCTION",
    "INTRA_DAY_GLUE_JOB",
    "INTRA_DAY_START",
    "RAW_BUCKET",
    "SNOWFLAKE_ACCOUNT",
    "SNOWFLAKE_DATABASE",
    "SNOWFLAKE_LOAD_MODE",
    "SNOWFLAKE_PRIVATE_KEY_PATH",
    "SNOWFLAKE_ROLE",
    "SNOWFLAKE_SCHEMA",
    "SNOWFLAKE_STORAGE_ROLE_ARN",
    "SNOWFLAKE_USER",
    "SNOWFLAKE_WAREHOUSE",
    "TRACKED_COINS",
    "TRANSFORMED_BUCKET",
    "VS_CURRENCY",
)
"""What ``Settings`` reads."""

VARIABLES = frozenset(
    {
        *API_VARIABLES,
        *SETTINGS,
        *PROXY_VARIABLES,
        # Read by the deployment, by the function on AWS, by Dagster, by Snowflake's log-in and by
        # docker compose.
        "ALERT_EMAIL",
        "ARTIFACT_BUCKET",
        "COINGECKO_API_KEY_SECRET_ARN",
        "DAGSTER_HOME",
        "DAGSTER_POSTGRES_PASSWORD",
        "LOG_RETENTION_DAYS",
        "MONTHLY_BUDGET",
        "PERMISSIONS_BOUNDARY_ARN",
        "SNOWFLAKE_PRIVATE_KEY",
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
        "STACK_ROLE_ARN",
        "UI_PORT",
    }
)
"""All that something of the platform reads."""

# Whatever begins so is meant for the platform; in a .env the second ones are too.
_OWN = ("COINGECKO_", "CRYPTO_", "FEAR_AND_GREED_")
_OWN_IN_FILE = (*_OWN, "SNOWFLAKE_")
# How alike a name has to be: an environment has many that have nothing to do with the platform.
_ALIKE, _ALIKE_IN_FILE = 0.87, 0.75


@dataclass(frozen=True)
class EnvFile:
    """What a file of variables says.

    Attributes:
        values: The variables that it sets, and those that it names alone, as empty.
        unreadable_lines: Numbers of the lines that set nothing, as nobody can tell what they say.
    """

    values: Mapping[str, str]
    unreadable_lines: tuple[int, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "EnvFile":
        """Read a file; one that is not there says nothing.

        Raises:
            OSError: It may not be read, or is none.
            UnicodeDecodeError: It is no text.
        """
        if not path.exists():
            return cls({})
        bindings = list(parse_stream(StringIO(path.read_text(encoding="utf-8-sig"))))
        return cls(
            {one.key: one.value or "" for one in bindings if one.key},
            tuple(one.original.line for one in bindings if one.error),
        )


def find_misnamed(environment: Mapping[str, str], file: EnvFile) -> list[str]:
    """What is wrong with the names of variables, a sentence each; no value is in any.

    Args:
        environment: The variables of the process.
        file: What ``.env`` says, which may be among them already.
    """
    said = [
        f"Line {number} of .env sets nothing: write NAME=value, with any quote closed."
        for number in file.unreadable_lines
    ]
    said += _misnamed(file.values, " in .env", _OWN_IN_FILE, _ALIKE_IN_FILE)
    others = [name for name in environment if name not in file.values]
    return said + _misnamed(others, "", _OWN, _ALIKE)


def _misnamed(names: Iterable[str], where: str, own: tuple[str, ...], alike: float) -> list[str]:
    said = []
    for name in sorted(set(names) - VARIABLES):
        # Names are told apart by their case; people do not.
        near = get_close_matches(name.upper(), sorted(VARIABLES), n=1, cutoff=alike)
        if near:
            meant = f"did you mean {near[0]}?"
        elif name.upper().startswith(own):
            meant = "docs/configuration.md lists those that there are."
        else:
            continue
        said.append(f"{name}{where} is no variable of the platform's and is not read: {meant}")
    return said
