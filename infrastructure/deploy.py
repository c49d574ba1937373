"""Deploy the platform to AWS, step by step: ``python -m infrastructure.deploy COMMAND``.

The workflow's steps and those by hand are these commands, in this order: ``names``, ``upload``,
``stage``, ``publish``, then the doctor looks at the candidate, then ``promote``. Each may be run
again after it failed. What is deployed is named by its own bytes, the *code version*: that is the
folder in the artifact bucket, it ends the description of the published function, and ``rollback``
takes it.

Names and settings come from the variables that the doctor and the platform read too. A variable
that is not set leaves the stack's parameter as it is.
"""

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from infrastructure.deployment import Deployment, code_version
from infrastructure.package import version
from infrastructure.stack_changes import Change, StackError

TEMPLATE = Path(__file__).with_name("platform.yaml")

# A refusal comes at once; this is for an API that is slow or busy.
_SECONDS_TO_ASK = 60
_THERE_ALREADY = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class _Commands(click.Group):
    """Shows what AWS refuses as a sentence, not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (BotoCoreError, ClientError, StackError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands)
@click.pass_context
def deploy(context: click.Context) -> None:
    """Deploy the platform to AWS, step by step."""
    context.obj = Deployment(os.environ)


@deploy.command()
@click.pass_obj
def names(deployment: Deployment) -> None:
    """See that the buckets' names can be had, before anything is made."""
    account = deployment.identity["Account"]
    resources = deployment.stack.resources()
    faults = []
    if deployment.bucket_status(deployment.artifact_bucket) != "ours":
        faults.append(
            f"There is no bucket {deployment.artifact_bucket} for the code: deploy "
            "infrastructure/bootstrap.yaml first. If the name is taken, give its parameter "
            f"ArtifactBucketName another one, such as {deployment.artifact_bucket}-{account}, and "
            "set the variable ARTIFACT_BUCKET to it."
        )
    for variable, name, logical in deployment.buckets():
        status = deployment.bucket_status(name)
        if status == "taken":
            faults.append(
                f"The bucket {name} belongs to another account, or may not be looked at: names of "
                f"buckets are global. Set the variable {variable}, to {name}-{account} for "
                "example, give bootstrap.yaml the same name, and deploy again."
            )
        elif status == "ours" and resources.get(logical) != name:
            faults.append(
                f"The bucket {name} is there and is not of the stack {deployment.stack.name}, "
                "which so cannot create it: another deployment has it, or a deleted stack left "
                f"it. Set the variable {variable} to another name; or delete the bucket, if it is "
                "empty; or import it into the stack (docs/deploying.md)."
            )
        else:
            click.echo(f"{name}: {status}")
    if faults:
        raise click.ClickException("\n".join(faults))


@deploy.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_obj
def upload(deployment: Deployment, folder: Path) -> None:
    """Upload what ``python -m infrastructure.package`` built, and print its code version.

    No object is ever overwritten.
    """
    built = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    s3, bucket = deployment.client("s3"), deployment.artifact_bucket
    for name, content in built.items():
        key = f"code/{version(built)}/{name}"
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THERE_ALREADY:
                raise
            if s3.get_object(Bucket=bucket, Key=key)["Body"].read() != content:
                raise click.ClickException(
                    f"s3://{bucket}/{key} is there already with other bytes than were built here, "
                    "though its folder is named by them: somebody changed it. Delete this "
                    "object's versions once you know who, and deploy again."
                ) from error
        click.echo(f"s3://{bucket}/{key}", err=True)
    click.echo(version(built))


@deploy.command()
@click.argument("code")
@click.pass_obj
def stage(deployment: Deployment, code: str) -> None:
    """Update the stack, with the code version CODE beside the one that serves."""
    deployment.stack.prepare()
    parameters = {
        **deployment.parameters(),
        "ArtifactBucket": deployment.artifact_bucket,
        "Deployment": deployment.name,
        "CodeVersion": code,
        "ReserveConcurrency": str(deployment.may_reserve()).lower(),
    }
    _change(deployment, f"stage-{code}", parameters, TEMPLATE.read_text(), deployment.tags())


@deploy.command()
@click.pass_obj
def key(deployment: Deployment) -> None:
    """Put COINGECKO_API_KEY into the secret that the function reads, once the API has accepted it.

    The version that serves reads the same secret at each invocation, so a mistyped key must not
    get there.
    """
    text = deployment.environment.get("COINGECKO_API_KEY", "").strip()
    if not text:
        raise click.ClickException("COINGECKO_API_KEY is not set.")
    secret = deployment.stack.outputs()["ApiKeySecret"]
    plan = (
        deployment.environment.get("COINGECKO_PLAN")
        or (deployment.stack.parameters()["CoinGeckoPlan"])
    )
    _ask_with(text, plan, deployment.environment.get("COINGECKO_BASE_URL", ""))
    deployment.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=text)
    click.echo(f"The price API accepts the key on the plan {plan}: {secret} has it.")


@deploy.command()
@click.argument("file", type=click.File())
@click.pass_obj
def connect(deployment: Deployment, file: Iterable[str]) -> None:
    """Give the stack what Snowflake said of itself.

    FILE has the lines that ``crypto-platform snowflake handover`` prints: names of parameters and
    their values.
    """
    lines = [line.strip().partition("=") for line in file if line.strip()]
    if not deployment.stack.prepare():
        raise deployment.stack.missing()
    _change(deployment, "connect", {name: text for name, _, text in lines if text})


@deploy.command()
@click.argument("code")
@click.pass_obj
def publish(deployment: Deployment, code: str) -> None:
    """Publish the function that was staged as CODE, and print the number it got."""
    lambdas = deployment.client("lambda")
    lambdas.get_waiter("function_updated_v2").wait(FunctionName=deployment.function)
    staged = lambdas.get_function_configuration(FunctionName=deployment.function)
    if code_version(staged) != code:
        raise click.ClickException(
            f"The function {deployment.function} has the code {code_version(staged) or 'unknown'}, "
            f"and not {code}: another deployment came between. Deploy again."
        )
    published = lambdas.publish_version(
        # Refused where the code was changed since it was looked at.
        FunctionName=deployment.function,
        CodeSha256=staged["CodeSha256"],
        Description=staged["Description"],
    )
    lambdas.get_waiter("published_version_active").wait(
        FunctionName=deployment.function, Qualifier=published["Version"]
    )
    click.echo(published["Version"])


@deploy.command()
@click.argument("number")
@click.pass_obj
def promote(deployment: Deployment, number: str) -> None:
    """Let the published function NUMBER, and the scripts of its code, serve from now on."""
    function = deployment.client("lambda").get_function_configuration(
        FunctionName=deployment.function, Qualifier=number
    )
    _serve(deployment, number, code_version(function))


@deploy.command()
@click.argument("code")
@click.pass_obj
def rollback(deployment: Deployment, code: str) -> None:
    """Let the code version CODE serve again, which was published before."""
    published = deployment.code_versions()
    numbers = [number for number, one in published.items() if one == code]
    if not numbers:
        known = ", ".join(dict.fromkeys(published.values())) or "none"
        raise click.ClickException(
            f"The code version {code} was never published here. There are, oldest first: {known}."
        )
    _serve(deployment, numbers[-1], code)


@deploy.command()
@click.pass_obj
def versions(deployment: Deployment) -> None:
    """List the code versions that were published, oldest first, and the one that serves."""
    live = deployment.stack.parameters().get("LiveFunctionVersion", "")
    for number, code in deployment.code_versions().items():
        click.echo(f"{code}  {number:>4}{'  serves' if number == live else ''}")


@deploy.command()
@click.pass_obj
def settings(deployment: Deployment) -> None:
    """Print the lines for ``.env`` where Dagster runs, from what the stack made."""
    outputs, parameters = deployment.stack.outputs(), deployment.stack.parameters()
    lines = {
        "CRYPTO_PROFILE": "aws",
        "AWS_REGION": deployment.region,
        "CRYPTO_DEPLOYMENT": deployment.name,
        "RAW_BUCKET": outputs["RawBucket"],
        "TRANSFORMED_BUCKET": outputs["TransformedBucket"],
        "INGESTION_FUNCTION": outputs["IngestionFunction"],
        "HISTORICAL_GLUE_JOB": outputs["HistoricalJob"],
        "INTRA_DAY_GLUE_JOB": outputs["IntraDayJob"],
        "ALERTS_TOPIC_ARN": outputs["AlertsTopicArn"],
        "COINGECKO_PLAN": parameters["CoinGeckoPlan"],
        "SNOWFLAKE_STORAGE_ROLE_ARN": outputs["SnowflakeRoleArn"],
    }
    for name, text in lines.items():
        click.echo(f"{name}={text}")


@deploy.command()
@click.pass_obj
def drift(deployment: Deployment) -> None:
    """Look for what was changed past CloudFormation; exit with 1 where there is something."""
    table = Table("resource", "type", "what differs", title=deployment.stack.name)
    for row in deployment.stack.drifts():
        table.add_row(*row)
    if table.row_count:
        Console(width=160).print(table)
        sys.exit(1)
    click.echo(f"{deployment.stack.name} is as its template says.")


def _ask_with(api_key: str, plan: str, base_url: str) -> None:
    """See that the price API accepts a key, as the function would ask it, but from here."""
    # Here, since the way back must not depend on the code that is to be left.
    from lambda_function.coingecko import CoinGecko  # noqa: PLC0415 - see above
    from lambda_function.errors import IngestionError, RequestProblem  # noqa: PLC0415 - as above
    from lambda_function.plans import ApiSettings  # noqa: PLC0415 - as above
    from lambda_function.rate_limiter import SYSTEM_CLOCK, RateLimiter  # noqa: PLC0415 - as above

    asking = {
        "COINGECKO_API_KEY": api_key,
        "COINGECKO_BASE_URL": base_url,
        "COINGECKO_PLAN": plan,
    }
    try:
        settings = ApiSettings.from_environment(asking)
        limiter = RateLimiter(settings.plan.calls_a_minute, SYSTEM_CLOCK)
        end = SYSTEM_CLOCK.monotonic() + _SECONDS_TO_ASK
        with CoinGecko(settings, limiter, SYSTEM_CLOCK, end) as api:
            api.ping()
    except (IngestionError, RequestProblem) as error:
        raise click.ClickException(
            "The secret stays as it is: the price API did not accept COINGECKO_API_KEY on the plan "
            f"{plan}. {error}"
        ) from error


def _serve(deployment: Deployment, number: str, code: str) -> None:
    before = deployment.stack.parameters().get("LiveCodeVersion", "")
    if not deployment.stack.prepare():
        raise deployment.stack.missing()
    _change(deployment, f"serve-{code}", {"LiveFunctionVersion": number, "LiveCodeVersion": code})
    click.echo(f"{code} serves, as version {number} of {deployment.function}.")
    if before and before != code:
        click.echo(f"Back to what served before: python -m infrastructure.deploy rollback {before}")


def _change(
    deployment: Deployment,
    name: str,
    parameters: Mapping[str, str],
    template: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Propose a change, show it, and carry it out unless it would let go of data."""
    change_set = f"{name}-{time.time_ns()}"
    changes = deployment.stack.propose(change_set, parameters, template, tags)
    if not changes:
        click.echo(f"{deployment.stack.name} is already so: nothing to change.")
        return
    Console(width=160).print(_table(deployment.stack.name, changes))
    losing = [change.name for change in changes if change.loses_data]
    if losing:
        raise click.ClickException(
            f"This would remove or replace {', '.join(losing)}, which hold data: nothing was "
            "changed. A bucket is replaced when its name changes: set the variable back. If it is "
            "meant, move the data first and carry the change set out by hand: aws cloudformation "
            f"execute-change-set --stack-name {deployment.stack.name} --change-set-name "
            f"{change_set}"
        )
    deployment.stack.execute(change_set)


def _table(title: str, changes: Sequence[Change]) -> Table:
    table = Table("action", "resource", "type", "replacement", "what changes", title=title)
    for change in changes:
        properties = ", ".join(change.properties)
        table.add_row(change.action, change.name, change.kind, change.replacement, properties)
    return table


if __name__ == "__main__":
    deploy()
