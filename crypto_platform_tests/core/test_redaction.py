"""Secrets are cut out of what leaves the platform."""

import pytest

from crypto_platform.core.redaction import Secrets


def test_what_is_left_of_a_message_can_still_be_read() -> None:
    text = "GET https://api/x?api_key=abc123&vs_currency=usd gave 401, ask for token usage"

    assert Secrets().redact(text) == (
        "GET https://api/x?api_key=[secret]&vs_currency=usd gave 401, ask for token usage"
    )


def test_secrets_are_known_by_the_names_of_their_variables() -> None:
    secrets = Secrets.of(
        {
            "COINGECKO_API_KEY": "CG-one/two",
            "SNOWFLAKE_PRIVATE_KEY_PATH": "/home/me/snowflake.p8",
            "DAGSTER_POSTGRES_PASSWORD": "dagster",
        }
    )

    assert secrets.redact("CG-one/two CG-one%2Ftwo /home/me/snowflake.p8 dagster") == (
        "[secret] [secret] /home/me/snowflake.p8 dagster"
    )


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "COINGECKO_API_KEY",
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    ],
)
@pytest.mark.parametrize("secret", ["pass", " CG-a-long-one\n", "with/a slash"])
def test_the_platforms_own_secrets_are_known_however_short(name: str, secret: str) -> None:
    said = Secrets.of({name: secret}).redact(f"The library says <{secret.strip()}>.")

    assert said == "The library says <[secret]>."


def test_an_empty_variable_is_no_secret() -> None:
    assert Secrets.of({"COINGECKO_API_KEY": " "}).redact("all is well") == "all is well"
