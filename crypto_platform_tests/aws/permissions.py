"""Asking IAM before anything is done: who acts, and what their policy allows.

moto can ask, with three gaps that are filled here: it cannot verify the signatures of all services,
it names an action by its operation, and outside of S3 it knows no resource, so that only the
actions are looked at there. It takes any condition for unmet.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
import requests
from cloudpathlib import S3Client
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.iam.access_control import IAMPolicyStatement, IAMRequestBase
from moto.sts.models import sts_backends

from crypto_platform_tests.aws.account import REGION, client

USER = "dagster"

# What IAM calls what an operation does, where that is not the operation's own name.
_ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction"}

_matches = IAMPolicyStatement._check_element_matches  # noqa: SLF001 - see the head of this module
_initialize = IAMRequestBase.__init__


def credentials_of(role_arn: str) -> dict[str, str]:
    """The variables by which a process acts as a role, as Lambda and Glue give them to theirs."""
    role = sts_backends[ACCOUNT_ID]["aws"].assume_role(REGION, "work", role_arn, "", 3600, "")
    return {
        "AWS_ACCESS_KEY_ID": role.access_key_id,
        "AWS_SECRET_ACCESS_KEY": role.secret_access_key,
        "AWS_SESSION_TOKEN": role.session_token,
    }


def _names_as_iam(self: IAMRequestBase, *arguments: Any, **named: Any) -> None:
    _initialize(self, *arguments, **named)
    self._action = _ACTIONS.get(self._action, self._action)


def _matches_where_known(self: IAMPolicyStatement, element: Any, value: str) -> bool:
    return value == "*" or _matches(self, element, value)


@contextmanager
def acting(policies: list[dict[str, Any]]) -> Iterator[Callable[[], None]]:
    """While this lasts, clients are those of a user who has just these policies.

    Yields:
        What makes the account believe everybody again.
    """
    iam = client("iam")
    iam.create_user(UserName=USER)
    for number, policy in enumerate(policies):
        iam.put_user_policy(
            UserName=USER, PolicyName=f"policy-{number}", PolicyDocument=json.dumps(policy)
        )
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    asked = f"{iam.meta.endpoint_url}/moto-api/reset-auth"
    cache = S3Client.get_default_client()._local_cache_dir  # noqa: SLF001 - it has no other name

    def believe() -> None:
        requests.post(asked, data="inf", timeout=120)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IAMRequestBase, "__init__", _names_as_iam)
        patch.setattr(IAMRequestBase, "check_signature", lambda _: None)
        patch.setattr(IAMPolicyStatement, "_check_element_matches", _matches_where_known)
        patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        # Both keep the credentials of before.
        boto3.setup_default_session()
        S3Client(local_cache_dir=cache).set_as_default_client()
        requests.post(asked, data="0", timeout=120)
        try:
            yield believe
        finally:
            believe()
    boto3.setup_default_session()
    S3Client(local_cache_dir=cache).set_as_default_client()


def platform_policy() -> dict[str, Any]:
    """What the stack allows to whoever Dagster runs as."""
    iam = client("iam")
    (policy,) = (
        one
        for one in iam.list_policies(Scope="Local")["Policies"]
        if one["PolicyName"] == "crypto-platform"
    )
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
    document: dict[str, Any] = version["PolicyVersion"]["Document"]
    return document
