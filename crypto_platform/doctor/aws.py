"""What the doctor looks at on AWS: is all that the stack makes there, and of this version?"""

import base64
import hashlib
from functools import partial
from typing import Any
from uuid import uuid4

from crypto_platform.core.lazy import boto3, botocore_config, botocore_exceptions
from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.doctor.lake import lake_checks
from crypto_platform.doctor.preflight import (
    CheckFailedError,
    CheckSkippedError,
    Preflight,
    PreflightCheck,
    described_api,
)
from crypto_platform.ingestion.aws_lambda import LambdaIngestion
from crypto_platform.ingestion.resource import FunctionBusy
from crypto_platform.lake.layers import Layer
from lambda_function.plans import configured_plan

# Seconds to wait for a function that is busy: a run may have it for a quarter of an hour.
_PATIENCE = 15.0

_ACCOUNT = "AWS account"
_ALLOW = "If it is not allowed, attach the policy crypto-platform to whoever Dagster runs as."
_LIBRARY = "glue_jobs.zip"


def _account(preflight: Preflight) -> str:
    identity = _client(preflight, "sts").get_caller_identity()
    return f"{identity['Arn']}, in {preflight.settings.aws_region}"


def _price_api(preflight: Preflight) -> str:
    ingestion: LambdaIngestion = preflight.resource("ingestion")
    with_timeout = LambdaIngestion(**{**dict(ingestion), "patience": _PATIENCE})
    try:
        response = with_timeout.invoke({"action": "ping"})
    except FunctionBusy as error:
        raise CheckSkippedError(
            f"A run has the function {ingestion.function_name}, which does one thing at a time: "
            "look again when the run has ended."
        ) from error
    here = configured_plan(preflight.environment).name
    if response["plan"] != here:
        raise CheckFailedError(
            f"The function asks on the plan {response['plan']}, and COINGECKO_PLAN is {here} here, "
            "by which the month's credits are counted."
        )
    return described_api(response)


def _bucket(layer: str, preflight: Preflight) -> str:
    bucket: Layer = getattr(preflight.lake, layer)
    path, content = f".doctor/{uuid4().hex}", b"A doctor's, to be removed at once."
    bucket.put(path, content)
    try:
        if path not in bucket.paths(".doctor") or bucket.read(path) != content:
            raise CheckFailedError(f"{bucket.root} does not hold what was just written to it.")
    finally:
        bucket.remove(path)
    return f"{bucket.root} can be written, listed and read"


def _function(preflight: Preflight) -> str:
    name = preflight.settings.ingestion_function
    function = _client(preflight, "lambda").get_function_configuration(FunctionName=name)
    states = {key: function.get(key) for key in ("State", "LastUpdateStatus")}
    if states != {"State": "Active", "LastUpdateStatus": "Successful"}:
        reason = function.get("StateReason") or function.get("LastUpdateStatusReason") or ""
        said = ", ".join(f"{key} {state}" for key, state in states.items())
        raise CheckFailedError(f"The function {name} is not ready: {said}. {reason}".strip())
    waits = preflight.resource("ingestion").function_timeout
    if function["Timeout"] > waits:
        raise CheckFailedError(
            f"The function {name} may take {function['Timeout']} s, and the platform waits {waits}."
        )
    built = hashlib.sha256(preflight.artifacts["ingestion.zip"]).digest()
    if function["CodeSha256"] != base64.b64encode(built).decode():
        raise CheckFailedError(f"The function {name} runs another version of lambda_function/.")
    return f"{name} is ready, and runs this version"


def _glue_job(stream: Stream, preflight: Preflight) -> str:
    name = preflight.resource("transform").jobs[stream.job]
    job = _client(preflight, "glue").get_job(JobName=name)["Job"]
    deployed = {
        f"{stream.job}.py": job["Command"]["ScriptLocation"],
        _LIBRARY: job.get("DefaultArguments", {}).get("--extra-py-files", ""),
    }
    for artifact, uri in deployed.items():
        if _object(preflight, uri) != preflight.artifacts[artifact]:
            raise CheckFailedError(
                f"The job {name} runs {uri or 'nothing'}, which is not this version of {artifact}."
            )
    return f"{name} runs this version"


def _object(preflight: Preflight, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not key:
        return b""
    try:
        response = _client(preflight, "s3").get_object(Bucket=bucket, Key=key)
    except botocore_exceptions.ClientError as error:
        raise CheckFailedError(f"{uri} cannot be read: {error}") from error
    content: bytes = response["Body"].read()
    return content


def _client(preflight: Preflight, service: str) -> Any:
    config = botocore_config.Config(
        connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3}
    )
    return boto3.client(service, region_name=preflight.settings.aws_region, config=config)


def _deploy(variables: str) -> str:
    return (
        "Run the workflow that deploys, or the steps of it in docs/deploying.md. If it is there "
        f"under another name, correct {variables}. {_ALLOW}"
    )


AWS_CHECKS = (
    PreflightCheck(
        _ACCOUNT,
        _account,
        "Give this machine credentials, as aws configure or a role does, and correct AWS_REGION.",
    ),
    PreflightCheck(
        "function",
        _function,
        _deploy("INGESTION_FUNCTION and AWS_REGION"),
        needs=_ACCOUNT,
    ),
    PreflightCheck(
        "price API",
        _price_api,
        "Correct the stack's parameter CoinGeckoPlan, the key in the secret "
        "crypto/coingecko-api-key, and COINGECKO_PLAN where Dagster runs: they go together. "
        f"{_ALLOW}",
        needs=_ACCOUNT,
    ),
    *(
        PreflightCheck(
            f"{layer} bucket",
            partial(_bucket, layer),
            _deploy(f"{layer.upper()}_BUCKET"),
            needs=_ACCOUNT,
        )
        for layer in ("raw", "transformed")
    ),
    *lake_checks("bucket"),
    *(
        PreflightCheck(
            f"{stream.name} Glue job",
            partial(_glue_job, stream),
            _deploy(f"{stream.name.upper()}_GLUE_JOB and AWS_REGION"),
            needs=_ACCOUNT,
        )
        for stream in STREAMS
    ),
    PreflightCheck(
        "alerts topic",
        lambda preflight: preflight.resource("alerts").verify(send=preflight.send),
        _deploy("ALERTS_TOPIC_ARN"),
        needs=_ACCOUNT,
    ),
)
"""What the aws profile needs on AWS."""
