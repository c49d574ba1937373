"""The stack where an operation fails, is changed, or is deleted; each test in its own account."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from crypto_platform.core.settings import Settings
from crypto_platform_tests.aws.account import account, client, keys
from crypto_platform_tests.aws.stack import Deployment, account_with_code

pytestmark = pytest.mark.integration

SETTINGS = Settings.from_environment({})


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Deploys in an account that has nothing but the code; a second call updates."""
    with account_with_code(tmp_path) as (_, deploy):
        yield deploy


def status(deployment: Deployment) -> str:
    (found,) = client("cloudformation").describe_stacks(StackName=deployment.stack)["Stacks"]
    return str(found["StackStatus"])


def test_a_first_creation_that_fails_half_way_leaves_nothing_in_the_way_of_the_next(
    tmp_path: Path,
) -> None:
    """Neither the buckets nor the secret, though all of them outlive a stack that was made."""
    with account(tmp_path, buckets=()):
        deployment = Deployment()
        deployment.bootstrap()
        in_the_way = {"logGroupName": "/aws/lambda/crypto-ingestion"}
        client("logs").create_log_group(**in_the_way)

        deployment.change(CodeVersion=deployment.upload())

        assert status(deployment) == "ROLLBACK_COMPLETE"
        left = [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]]
        assert left == [deployment.code_bucket]
        assert client("secretsmanager").list_secrets()["SecretList"] == []

        client("logs").delete_log_group(**in_the_way)
        client("cloudformation").delete_stack(StackName=deployment.stack)
        deployment.deploy()

        assert status(deployment) == "UPDATE_COMPLETE"


def test_an_update_adds_the_role_that_snowflake_assumes(stack: Callable[..., None]) -> None:
    stack()
    with pytest.raises(ClientError, match="NoSuchEntity"):
        client("iam").get_role(RoleName="crypto-snowflake-reader")

    stack(SnowflakeUserArn="arn:aws:iam::123456789012:user/snowflake", SnowflakeExternalId="ID_1")

    assert client("iam").get_role(RoleName="crypto-snowflake-reader")


def test_a_budget_goes_when_it_is_set_to_nothing(stack: Callable[..., None]) -> None:
    def budgets() -> list[str]:
        found = client("budgets").describe_budgets(AccountId="123456789012")["Budgets"]
        return [budget["BudgetName"] for budget in found]

    stack(AlertEmail="someone@example.org", MonthlyBudget="20")
    assert budgets() == ["crypto-monthly"]

    stack(MonthlyBudget="0")

    assert budgets() == []


def test_a_deleted_stack_leaves_the_data_and_the_key_and_nothing_that_runs(
    stack: Callable[..., None],
) -> None:
    stack()
    client("s3").put_object(Bucket=SETTINGS.raw_bucket, Key="historical_data/x", Body=b"1")

    client("cloudformation").delete_stack(StackName=Deployment().stack)

    assert client("lambda").list_functions()["Functions"] == []
    assert client("glue").get_jobs()["Jobs"] == []
    assert keys(SETTINGS.raw_bucket) == ["historical_data/x"]
    (secret,) = client("secretsmanager").list_secrets()["SecretList"]
    assert secret["Name"] == "crypto/coingecko-api-key"
