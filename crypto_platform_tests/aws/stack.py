"""The stack of the platform in the account on this machine, from its own template."""

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crypto_platform_tests.aws.account import account, client
from crypto_platform_tests.aws.cloudformation import MODELS
from infrastructure.package import artifacts, version

_TEMPLATES = Path(__file__).parents[2] / "infrastructure"
PLATFORM = _TEMPLATES / "platform.yaml"
BOOTSTRAP = _TEMPLATES / "bootstrap.yaml"
STACK = "crypto-platform"
CODE_BUCKET = "crypto-code-0704"
FILLED_IN = frozenset(model.cloudformation_type() for model in MODELS)


@contextmanager
def account_with_code(folder: Path) -> Iterator[tuple[str, Callable[..., None]]]:
    """An account that was bootstrapped and has the code, and what creates and updates the stack."""
    with account(folder, buckets=()) as address:
        built = artifacts()
        _change("create_stack", "crypto-bootstrap", BOOTSTRAP, {"GitHubRepository": "owner/name"})
        for name, content in built.items():
            client("s3").put_object(
                Bucket=CODE_BUCKET, Key=f"code/{version(built)}/{name}", Body=content
            )
        actions = iter(["create_stack", "update_stack"])
        given = {"ArtifactBucket": CODE_BUCKET, "CodeVersion": version(built)}

        def deploy(**parameters: str) -> None:
            _change(next(actions), STACK, PLATFORM, {**given, **parameters})

        yield address, deploy


def _mend_policies() -> None:
    """moto keeps a role's policy as Python writes it, which its own IAM cannot read."""
    iam = client("iam")
    for role in iam.list_roles()["Roles"]:
        of_role = {"RoleName": role["RoleName"]}
        for name in iam.list_role_policies(**of_role)["PolicyNames"]:
            written = iam.get_role_policy(**of_role, PolicyName=name)["PolicyDocument"]
            if isinstance(written, str):
                policy = json.dumps(ast.literal_eval(written))
                iam.put_role_policy(**of_role, PolicyName=name, PolicyDocument=policy)


def _change(action: str, stack: str, template: Path, parameters: Mapping[str, str]) -> None:
    getattr(client("cloudformation"), action)(
        StackName=stack,
        TemplateBody=template.read_text(),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": text} for key, text in parameters.items()
        ],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    _mend_policies()
