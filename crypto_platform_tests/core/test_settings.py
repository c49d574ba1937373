import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_platform.core.settings import Settings, SettingsError, TrackedCoinsSpec
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def example_variables() -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", EXAMPLE.read_text(), flags=re.MULTILINE))


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environment({})

    assert settings.profile == "local"
    assert settings.spark == "sail"
    assert settings.home == Path(".crypto")
    assert settings.tracked_coins == TrackedCoinsSpec(top=25)
    assert settings.first_window(HISTORICAL) == datetime(2025, 1, 1, tzinfo=UTC)
    assert settings.first_window(INTRA_DAY) == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_example_environment_shows_the_defaults() -> None:
    assert Settings.from_environment(example_variables()) == Settings.from_environment({})


def test_the_example_environment_lists_every_setting() -> None:
    names = {field.alias for field in Settings.model_fields.values()}

    assert names <= example_variables().keys()


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_environment({"VS_CURRENCY": ""}).vs_currency == "usd"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top:25", TrackedCoinsSpec(top=25)),
        ("bitcoin, ethereum", TrackedCoinsSpec(named=("bitcoin", "ethereum"))),
        ("bitcoin,bitcoin", TrackedCoinsSpec(named=("bitcoin",))),
        (
            "top:10,dogecoin,-terra-luna",
            TrackedCoinsSpec(top=10, named=("dogecoin",), removed=("terra-luna",)),
        ),
    ],
)
def test_tracked_coins_are_a_top_or_names_or_both_less_those_taken_out(
    text: str, expected: TrackedCoinsSpec
) -> None:
    assert Settings.from_environment({"TRACKED_COINS": text}).tracked_coins == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CRYPTO_PROFILE", "azure"),
        ("CRYPTO_DEPLOYMENT", "Crypto_Staging"),
        ("CRYPTO_SPARK", "flink"),
        ("HISTORY_START", "yesterday"),
        ("TRACKED_COINS", "top:many"),
        ("TRACKED_COINS", "bitcoin,,ethereum"),
        ("TRACKED_COINS", "../../etc"),
        ("TRACKED_COINS", "-bitcoin"),
        ("VS_CURRENCY", "us dollars"),
        ("HISTORY_START", "01/02/2025"),
        ("HISTORY_START", "1735689600"),
        ("INTRA_DAY_START", "1970-01-01"),
        ("DAGSTER_UI_URL", "dagster.example.com:3000"),
        ("AWS_REGION", "us-east2"),
        ("SNOWFLAKE_ACCOUNT", "https://myorg-me.snowflakecomputing.com"),
        ("SNOWFLAKE_ACCOUNT", "myorg-me.snowflakecomputing.com"),
        ("TRACKED_COINS", "top:25,top:10"),
    ],
)
def test_a_malformed_variable_is_named_with_what_it_holds(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({name: text})

    assert f"{name}={text!r}" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["top25", "top 25", "Top:25", "TOP-25", "top: 25", "top=25", "bitcoin,top25"]
)
def test_another_way_to_write_a_top_is_answered_with_the_right_one(text: str) -> None:
    with pytest.raises(SettingsError, match="write top:25"):
        Settings.from_environment({"TRACKED_COINS": text})


def test_all_malformed_variables_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"CRYPTO_PROFILE": "azure", "VS_CURRENCY": "us dollars"})

    assert "CRYPTO_PROFILE" in str(caught.value)
    assert "VS_CURRENCY" in str(caught.value)


def test_paths_begin_at_the_home_folder_where_they_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    settings = Settings.from_environment(
        {"CRYPTO_HOME": "~/crypto", "SNOWFLAKE_PRIVATE_KEY_PATH": "~/keys/one.p8"}
    )

    assert settings.home == tmp_path / "crypto"
    assert settings.snowflake_private_key_path == str(tmp_path / "keys" / "one.p8")
    assert settings.instance_folder({"DAGSTER_HOME": "~/dagster"}) == tmp_path / "dagster"


def test_one_variable_names_another_deployment() -> None:
    settings = Settings.from_environment(
        {"CRYPTO_DEPLOYMENT": "crypto-staging", "RAW_BUCKET": "my-own", "ALERTS_TOPIC_ARN": ""}
    )

    assert settings.raw_bucket == "my-own"
    assert settings.transformed_bucket == "crypto-staging-transformed-data-0704"
    assert settings.ingestion_function == "crypto-staging-ingestion:live"
    assert settings.alerts_topic == "crypto-staging-alerts"
    assert settings.snowflake_database == "CRYPTO_STAGING_DB"
    assert settings.glue_log_group == "/crypto-staging/glue/output"
