"""The platform's settings, read from the environment once and checked; all but the API's own."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from crypto_platform.core.errors import InvalidInputError
from crypto_platform.core.streams import Stream

_COIN_ID = re.compile(r"[^\s,/\\]+")
_COIN_NAME = re.compile(r"[^,]+")


FIRST_PRICES = date(2009, 1, 1)
"""Before the first coin there is nothing to ask for."""


class SettingsError(InvalidInputError):
    """A variable holds something the platform cannot use; the message names it and what fits."""


class TrackedCoinsSpec(BaseModel, frozen=True):
    """What ``TRACKED_COINS`` asks for.

    Attributes:
        top: Track this many coins by market capitalization; 0 for none.
        named: Track these, by the API's ids.
        removed: Stop tracking these; the only way a tracked coin is ever dropped.
    """

    top: int = 0
    named: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: object, *, by_name: bool = False) -> Self:
        """Read ``top:25``, ``bitcoin,ethereum``, ``top:25,dogecoin,-terra-luna`` and the like.

        Args:
            text: What is asked for.
            by_name: Whether coins may be called by their names too, which may have blanks.

        Raises:
            ValueError: A part is none of these forms, or nothing is left to track.
        """
        if isinstance(text, cls):
            return text
        coin = _COIN_NAME if by_name else _COIN_ID
        top, named, removed = 0, [], []
        for part in (part.strip() for part in str(text).split(",")):
            if match := re.fullmatch(r"top:(\d{1,5})", part):
                if top:
                    raise ValueError(f"it has both top:{top} and {part}; one of them counts")
                top = int(match[1])
            elif meant := re.fullmatch(r"(?i)top[\s:=_-]*(\d{1,5})", part):
                raise ValueError(f"for the largest coins write top:{meant[1]}")
            elif part.startswith("-") and coin.fullmatch(part[1:]):
                removed.append(part[1:])
            elif coin.fullmatch(part) and not part.startswith("top:"):
                named.append(part)
            else:
                raise ValueError(
                    f"{part!r} is neither top:N, a coin's id, nor -id; "
                    "write for example top:25 or bitcoin,ethereum,-dogecoin"
                )
        if not top and not named:
            raise ValueError("it tracks no coin; write for example top:25 or bitcoin,ethereum")
        return cls(top=top, named=tuple(dict.fromkeys(named)), removed=tuple(removed))


def _lower_case_code(text: object) -> str:
    code = str(text).strip().lower()
    if not re.fullmatch(r"[a-z0-9]{2,10}", code):
        raise ValueError("expected a currency code such as usd, eur or btc")
    return code


def _identifier(text: object) -> str:
    name = str(text).strip().upper()
    if not re.fullmatch(r"[A-Z_][A-Z0-9_$]*", name):
        raise ValueError("expected a name of letters, digits and _, as Snowflake takes unquoted")
    return name


def _day(text: object) -> date:
    if isinstance(text, date):
        return text
    try:
        day = date.fromisoformat(str(text).strip())
    except ValueError:
        raise ValueError("expected a day such as 2025-01-01") from None
    if day < FIRST_PRICES:
        raise ValueError(f"no coin had a price before {FIRST_PRICES}")
    return day


_Day = Annotated[date, BeforeValidator(_day)]


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError("expected an address that begins with http:// or https://")
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-\d", text):
        raise ValueError("expected a region of AWS such as us-east-2")
    return text


def _account(text: str) -> str:
    if text.lower().endswith(".snowflakecomputing.com") or not re.fullmatch(r"[\w.-]*", text):
        raise ValueError(
            "expected the account's identifier alone, such as myorg-myaccount: what stands in its "
            "address before .snowflakecomputing.com"
        )
    return text


_Identifier = Annotated[str, BeforeValidator(_identifier)]


# In a .env or a compose file no shell has put the home folder in the place of ~.
_Path = Annotated[Path, AfterValidator(Path.expanduser)]

_TextOfPath = Annotated[str, AfterValidator(os.path.expanduser)]


def _deployment(text: str) -> str:
    # As the templates allow it, which put it into the names of buckets and roles.
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,18}[a-z0-9]", text):
        raise ValueError("expected 2 to 20 lower-case letters, digits and hyphens, a letter first")
    return text


def names_of(deployment: str) -> dict[str, str]:
    """What is named after a deployment on AWS and in Snowflake, by the variables that rename it."""
    in_snowflake = deployment.upper().replace("-", "_")
    return {
        "RAW_BUCKET": f"{deployment}-raw-data-0704",
        "TRANSFORMED_BUCKET": f"{deployment}-transformed-data-0704",
        "INGESTION_FUNCTION": f"{deployment}-ingestion:live",
        "HISTORICAL_GLUE_JOB": f"{deployment}-historical-transformation",
        "INTRA_DAY_GLUE_JOB": f"{deployment}-intra-day-transformation",
        "ALERTS_TOPIC_ARN": f"{deployment}-alerts",
        "SNOWFLAKE_ROLE": f"{in_snowflake}_LOADER",
        "SNOWFLAKE_WAREHOUSE": f"{in_snowflake}_WH",
        "SNOWFLAKE_DATABASE": f"{in_snowflake}_DB",
    }


class Settings(BaseModel):
    """The environment's variables, by name; an unset or empty one takes its default.

    The price API's own variables (``COINGECKO_*``) are read where the API is called, in
    ``lambda_function``, so that a key never travels through here. Neither does Snowflake's: here is
    only the path of its file.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    profile: Literal["local", "aws"] = Field("local", alias="CRYPTO_PROFILE")
    spark: Literal["sail", "spark"] = Field("sail", alias="CRYPTO_SPARK")
    home: _Path = Field(Path(".crypto"), alias="CRYPTO_HOME")
    tracked_coins: Annotated[TrackedCoinsSpec, BeforeValidator(TrackedCoinsSpec.parse)] = Field(
        TrackedCoinsSpec(top=25), alias="TRACKED_COINS"
    )
    vs_currency: Annotated[str, BeforeValidator(_lower_case_code)] = Field(
        "usd", alias="VS_CURRENCY"
    )
    history_start: _Day = Field(date(2025, 1, 1), alias="HISTORY_START")
    intra_day_start: _Day = Field(date(2026, 1, 1), alias="INTRA_DAY_START")
    dagster_ui_url: Annotated[str, AfterValidator(_address)] = Field(
        "http://127.0.0.1:3000", alias="DAGSTER_UI_URL"
    )
    aws_region: Annotated[str, AfterValidator(_region)] = Field("us-east-2", alias="AWS_REGION")
    deployment: Annotated[str, AfterValidator(_deployment)] = Field(
        "crypto", alias="CRYPTO_DEPLOYMENT"
    )
    # These have names of the deployment where they are not set.
    raw_bucket: str = Field(alias="RAW_BUCKET")
    transformed_bucket: str = Field(alias="TRANSFORMED_BUCKET")
    ingestion_function: str = Field(alias="INGESTION_FUNCTION")
    historical_glue_job: str = Field(alias="HISTORICAL_GLUE_JOB")
    intra_day_glue_job: str = Field(alias="INTRA_DAY_GLUE_JOB")
    alerts_topic: str = Field(alias="ALERTS_TOPIC_ARN")
    snowflake_role: _Identifier = Field(alias="SNOWFLAKE_ROLE")
    snowflake_warehouse: _Identifier = Field(alias="SNOWFLAKE_WAREHOUSE")
    snowflake_database: _Identifier = Field(alias="SNOWFLAKE_DATABASE")
    snowflake_account: Annotated[str, AfterValidator(_account)] = Field(
        "", alias="SNOWFLAKE_ACCOUNT"
    )
    snowflake_user: str = Field("", alias="SNOWFLAKE_USER")
    snowflake_private_key_path: _TextOfPath = Field("", alias="SNOWFLAKE_PRIVATE_KEY_PATH")
    snowflake_schema: _Identifier = Field("TRANSFORMED", alias="SNOWFLAKE_SCHEMA")
    snowflake_load_mode: Literal["copy", "snowpipe"] = Field("copy", alias="SNOWFLAKE_LOAD_MODE")
    snowflake_storage_role_arn: str = Field("", alias="SNOWFLAKE_STORAGE_ROLE_ARN")

    @model_validator(mode="before")
    @classmethod
    def _named_after_the_deployment(cls, given: Mapping[str, str]) -> dict[str, str]:
        return {**names_of(given.get("CRYPTO_DEPLOYMENT", "crypto")), **given}

    @property
    def stack(self) -> str:
        """The deployment's stack on AWS."""
        return f"{self.deployment}-platform"

    @property
    def glue_log_group(self) -> str:
        """Where the Glue jobs write what they print."""
        return f"/{self.deployment}/glue/output"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check the settings.

        Raises:
            SettingsError: One or more variables are malformed; the message has a line for each.
        """
        try:
            return cls.model_validate({name: text for name, text in environment.items() if text})
        except ValidationError as error:
            lines = [
                f"{fault['loc'][0]}={fault['input']!r}: "
                + fault["msg"].removeprefix("Value error, ")
                for fault in error.errors()
            ]
            raise SettingsError(
                "These variables cannot be used; correct them in the environment or in .env:\n  "
                + "\n  ".join(lines)
            ) from None

    def instance_folder(self, environment: Mapping[str, str]) -> Path:
        """Folder of the Dagster instance: ``DAGSTER_HOME``, or where ``dev`` makes one."""
        named = environment.get("DAGSTER_HOME")
        return Path(named).expanduser() if named else self.home.absolute() / "dagster"

    def first_window(self, stream: Stream) -> datetime:
        """Start of a stream's first partition: of its first window that begins on the day set."""
        first: date = getattr(self, stream.start_setting)
        day = datetime(first.year, first.month, first.day, tzinfo=UTC)
        start = stream.window_at(day).start
        return start if start == day else start + stream.window_length
