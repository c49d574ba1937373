"""The API key of a function on AWS: a secret that it reads itself, never a plain variable."""

from collections.abc import Mapping
from typing import Any

from lambda_function.errors import InvalidSettings, Unreachable
from lambda_function.plans import configured_plan

SECRET_VARIABLE = "COINGECKO_API_KEY_SECRET_ARN"  # noqa: S105 - a variable's name
KEY_VARIABLE = "COINGECKO_API_KEY"


def with_api_key(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the key from Secrets Manager, where a secret is named and needed.

    The secret is read at every invocation, so that a new key counts at once.

    Raises:
        InvalidSettings: The secret cannot be read, or holds nothing.
        Unreachable: Secrets Manager gave no answer; it may later.
    """
    secret = environment.get(SECRET_VARIABLE, "")
    if not secret or environment.get(KEY_VARIABLE) or not configured_plan(environment).key_header:
        return environment
    return {**environment, KEY_VARIABLE: _read(secret)}


def _read(secret: str) -> str:
    # Lambda's image has them; a laptop's handler does without.
    import boto3  # noqa: PLC0415 - 0.3 s, and only where a secret is named
    from botocore.config import Config  # noqa: PLC0415 - as boto3
    from botocore.exceptions import (  # noqa: PLC0415 - as boto3
        BotoCoreError,
        ClientError,
        ConnectionError,  # noqa: A004 - its name there
        HTTPClientError,
    )

    # Within the time of an invocation; by default boto3 asks for five minutes where none answers.
    config = Config(
        connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}
    )
    try:
        client = boto3.client("secretsmanager", config=config)
        response: dict[str, Any] = client.get_secret_value(SecretId=secret)
    except (ConnectionError, HTTPClientError) as error:
        raise Unreachable(
            f"Secrets Manager gave no answer for the secret {secret}: {error} A function in a VPC "
            "needs a NAT gateway or an endpoint for Secrets Manager."
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise InvalidSettings(
            f"The API key cannot be read from the secret {secret}: {error} Put the key there with "
            f"`aws secretsmanager put-secret-value --secret-id {secret} --secret-string KEY`."
        ) from error
    return str(response["SecretString"]).strip()
