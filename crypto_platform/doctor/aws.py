"""What the doctor looks at on AWS: is all that the stack makes there, and of this version?"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from crypto_platform.core.lazy import boto3, botocore_config, botocore_exceptions, lazy_import
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

if TYPE_CHECKING:
    from infrastructure import package
else:
    package = lazy_import("infrastructure.package")

# Seconds to wait for a function that is busy. A candidate has to be seen before it serves: where a
# range is loaded, it has to get in between two invocations, and is asked for that often.
_PATIENCE = 15.0
_PATIENCE_WITH_A_CANDIDATE = 1200.0
_PAUSE_WITH_A_CANDIDATE = 2.0

_ACCOUNT = "AWS account"
_ALLOW = (
    "If it is not allowed, attach the platform's policy (crypto-platform, or what else "
    "CRYPTO_DEPLOYMENT names) to whoever Dagster runs as."
)
_LIBRARY = "glue_jobs.zip"

# The settings that the stack's outputs say too.
_NAMES_OF_THE_STACK = {
    "RAW_BUCKET": ("raw_bucket", "RawBucket"),
    "TRANSFORMED_BUCKET": ("transformed_bucket", "TransformedBucket"),
    "INGESTION_FUNCTION": ("ingestion_function", "IngestionFunction"),
    "HISTORICAL_GLUE_JOB": ("historical_glue_job", "HistoricalJob"),
    "INTRA_DAY_GLUE_JOB": ("intra_day_glue_job", "IntraDayJob"),
}


def _account(preflight: Preflight) -> str:
    identity = _client(preflight, "sts").get_caller_identity()
    return f"{identity['Arn']}, in {preflight.settings.aws_region}"


def _stack(preflight: Preflight) -> str:
    settings = preflight.settings
    found = _client(preflight, "cloudformation").describe_stacks(StackName=settings.stack)
    (stack,) = found["Stacks"]
    status = stack["StackStatus"]
    if status.endswith("_IN_PROGRESS"):
        raise CheckSkippedError(f"A deployment of {settings.stack} goes on: {status}.")
    if status == "ROLLBACK_COMPLETE" or status.endswith("_FAILED"):
        raise CheckFailedError(f"The stack {settings.stack} is {status}.")
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs") or ()}
    differing = [
        f"{variable} is {here} here, and the stack made {outputs[output]}"
        for variable, (name, output) in _NAMES_OF_THE_STACK.items()
        if (here := getattr(settings, name)) != outputs.get(output, here)
    ]
    if differing:
        raise CheckFailedError("; ".join(differing) + ".")
    remarks = "; its latest change failed and was taken back" if "ROLLBACK" in status else ""
    drift = stack.get("DriftInformation", {})
    if drift.get("StackDriftStatus") == "DRIFTED":
        changed = (
            f"something of {settings.stack} was changed by hand, as was found on "
            f"{drift['LastCheckTimestamp']:%Y-%m-%d}: python -m infrastructure.deploy drift says "
            "what, and looks again. Change it back, or put it into infrastructure/platform.yaml"
        )
        # It must not keep out the very version that puts it into the template.
        if not preflight.is_of_deployment:
            raise CheckFailedError(f"{changed[0].upper()}{changed[1:]}.")
        remarks += f"; {changed}"
    serving = outputs.get("LiveFunctionVersion")
    if not serving and not preflight.candidate:
        raise CheckFailedError(
            f"No version of the function serves yet: the first deployment of {settings.stack} did "
            "not come to its end."
        )
    return (
        f"{settings.stack} has the code {outputs.get('CodeVersion')}; "
        + (f"{outputs.get('LiveCodeVersion')} serves" if serving else "nothing serves yet")
        + remarks
    )


def _function_name(preflight: Preflight) -> str:
    """What serves, or the candidate, which has the same name and a number of its own."""
    serving = preflight.settings.ingestion_function
    if not preflight.candidate:
        return serving
    # An ARN has colons of its own.
    unqualified = re.sub(r"^(arn:.*:function:[^:]+|[^:]+).*$", r"\1", serving)
    return f"{unqualified}:{preflight.candidate}"


def _price_api(preflight: Preflight) -> str:
    name = _function_name(preflight)
    waiting = {"patience": _PATIENCE}
    if preflight.candidate:
        waiting = {
            "patience": _PATIENCE_WITH_A_CANDIDATE,
            "longest_pause": _PAUSE_WITH_A_CANDIDATE,
        }
    ingestion: LambdaIngestion = preflight.resource("ingestion")
    patient = LambdaIngestion(**{**dict(ingestion), "function_name": name, **waiting})
    try:
        response = patient.invoke({"action": "ping"})
    except FunctionBusy as error:
        busy = CheckFailedError if preflight.candidate else CheckSkippedError
        raise busy(
            f"A run has the function {name}, which does one thing at a time: look again when the "
            "run has ended."
        ) from error
    here = configured_plan(preflight.environment).name
    described = described_api(response)
    if response["plan"] != here:
        differs = (
            f"The function asks on the plan {response['plan']}, and COINGECKO_PLAN is {here} here, "
            "by which the month's credits are counted."
        )
        # An earlier version came back with the plan that it was published with.
        if not _is_earlier_code(preflight):
            raise CheckFailedError(differs)
        described += f". {differs} Set it to {response['plan']} where Dagster runs"
    if here == "keyless":
        described += (
            ". This plan is limited by address, and a function shares its addresses with others: "
            "expect refusals, or take a key of the plan demo, which costs nothing"
        )
    return described


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
    name = _function_name(preflight)
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
    built = hashlib.sha256(_expected(preflight)["ingestion.zip"]).digest()
    if function["CodeSha256"] != base64.b64encode(built).decode():
        raise CheckFailedError(f"The function {name} runs another version of lambda_function/.")
    return f"{name} is ready, and runs this version ({function['Version']} on Lambda)"


def _glue_job(stream: Stream, preflight: Preflight) -> str:
    name = preflight.resource("transform").jobs[stream.job]
    deployed = _scripts(stream, preflight)
    expected = _expected(preflight)
    for artifact, uri in deployed.items():
        if _object(preflight, uri) != expected[artifact]:
            raise CheckFailedError(
                f"The job {name} runs {uri or 'nothing'}, which is not this version of {artifact}."
            )
    if preflight.candidate:
        return f"{name} has this version to run"
    return f"{name} runs this version"


def _scripts(stream: Stream, preflight: Preflight) -> dict[str, str]:
    """Where a job's script and library are; for a candidate, where it would have them."""
    name = preflight.resource("transform").jobs[stream.job]
    job = _client(preflight, "glue").get_job(JobName=name)["Job"]
    script = job["Command"]["ScriptLocation"]
    if preflight.candidate:
        built = preflight.artifacts
        folder = f"{_code_folder(script)}/{package.version(built)}"
        return {one: f"{folder}/{one}" for one in (f"{stream.job}.py", _LIBRARY)}
    return {
        f"{stream.job}.py": script,
        _LIBRARY: job.get("DefaultArguments", {}).get("--extra-py-files", ""),
    }


def _code_folder(script: str) -> str:
    """The folder of all code versions, from where a job's script is."""
    return script.rsplit("/", 2)[0]


def _expected(preflight: Preflight) -> Mapping[str, bytes]:
    """What has to run: what this checkout builds, or an earlier code as it was uploaded."""
    here = preflight.artifacts
    if not _is_earlier_code(preflight):
        return here
    code = preflight.code_version
    name = preflight.resource("transform").jobs[STREAMS[0].job]
    job = _client(preflight, "glue").get_job(JobName=name)["Job"]
    folder = f"{_code_folder(job['Command']['ScriptLocation'])}/{code}"
    there = {artifact: _object(preflight, f"{folder}/{artifact}") for artifact in here}
    if package.version(there) != code:
        raise CheckFailedError(f"{folder} does not hold the code that its name says.")
    return there


def _is_earlier_code(preflight: Preflight) -> bool:
    code = preflight.code_version
    return bool(code) and code != package.version(preflight.artifacts)


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
        "stack",
        _stack,
        _deploy("CRYPTO_DEPLOYMENT and AWS_REGION"),
        needs=_ACCOUNT,
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
        "Correct the stack's parameter CoinGeckoPlan, the key in its secret (the output "
        "ApiKeySecret), and COINGECKO_PLAN where Dagster runs: they go together. "
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
