"""An AWS account on this machine: moto's server, which boto3 reaches over HTTP."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from cloudpathlib import S3Client
from moto.server import ThreadedMotoServer

REGION = "us-east-2"
RAW_BUCKET = "crypto-raw-data-0704"
TRANSFORMED_BUCKET = "crypto-transformed-data-0704"

# By this a call that a test makes for itself is told from the platform's own.
OWN_CALLS = "made-by-the-tests"


@contextmanager
def account(
    cache: Path, buckets: Sequence[str] = (RAW_BUCKET, TRANSFORMED_BUCKET)
) -> Iterator[str]:
    """Run an account, and yield its address.

    Args:
        cache: Folder for the copies that cloudpathlib keeps of objects it reads.
        buckets: What it has from the start.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as environment:
            for name, text in variables(f"http://{host}:{port}").items():
                environment.setenv(name, text)
            # cloudpathlib keeps its client, and with it the address of the account before.
            S3Client(local_cache_dir=cache).set_as_default_client()
            for bucket in buckets:
                client("s3").create_bucket(
                    Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
                )
            yield f"http://{host}:{port}"
    finally:
        requests.post(f"http://{host}:{port}/moto-api/reset", timeout=120)
        server.stop()


def variables(address: str) -> dict[str, str]:
    """What makes any AWS client use the account, Sail's among them."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ENDPOINT": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION, config=Config(user_agent_extra=OWN_CALLS))


def role(service: str) -> str:
    """The ARN of a new role for a service."""
    trust = f'{{"Statement": [{{"Principal": {{"Service": "{service}.amazonaws.com"}}}}]}}'
    created = client("iam").create_role(RoleName=service, AssumeRolePolicyDocument=trust)
    return str(created["Role"]["Arn"])


def keys(bucket: str, prefix: str = "") -> list[str]:
    """Keys of all objects of a bucket, sorted."""
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))
