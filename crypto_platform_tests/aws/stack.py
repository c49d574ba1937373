"""The stacks of a deployment in the account on this machine, from their own templates."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from crypto_platform_tests.aws.account import account, client
from crypto_platform_tests.aws.cloudformation import MODELS
from infrastructure.package import artifacts, version

_TEMPLATES = Path(__file__).parents[2] / "infrastructure"
PLATFORM = _TEMPLATES / "platform.yaml"
BOOTSTRAP = _TEMPLATES / "bootstrap.yaml"
STACK = "crypto-platform"
CODE_BUCKET = "crypto-code-0704"
FILLED_IN = frozenset(model.cloudformation_type() for model in MODELS)

_built = cache(artifacts)


@dataclass
class Deployment:
    """A deployment of the platform, made as its stacks say.

    Attributes:
        name: What its names begin with.
        parameters: Those that its stack was given so far; each keeps its value.
    """

    name: str = "crypto"
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def stack(self) -> str:
        return f"{self.name}-platform"

    @property
    def function(self) -> str:
        return f"{self.name}-ingestion"

    @property
    def code_bucket(self) -> str:
        return f"{self.name}-code-0704"

    def bootstrap(self, **parameters: str) -> None:
        """Create or update what stands before the stack."""
        given = {"Deployment": self.name, "GitHubRepository": "owner/name", **parameters}
        _change(f"{self.name}-bootstrap", BOOTSTRAP, given)

    def upload(self, code_version: str | None = None) -> str:
        """Put today's code there, under its own version or another's name; return the version."""
        named = code_version or version(_built())
        for name, content in _built().items():
            client("s3").put_object(
                Bucket=self.code_bucket,
                Key=f"code/{named}/{name}",
                Body=content,
                IfNoneMatch="*",
            )
        return named

    def change(self, **parameters: str) -> None:
        """Create or update the stack."""
        self.parameters = {
            "Deployment": self.name,
            "ArtifactBucket": self.code_bucket,
            **self.parameters,
            **parameters,
        }
        _change(self.stack, PLATFORM, self.parameters)

    def publish(self) -> str:
        """The number of a version of the function as it is now."""
        published = client("lambda").publish_version(FunctionName=self.function)
        return str(published["Version"])

    def deploy(self, **parameters: str) -> None:
        """Create or update the stack, and let what it has now serve."""
        self.change(**parameters)
        self.change(
            LiveFunctionVersion=self.publish(), LiveCodeVersion=self.parameters["CodeVersion"]
        )

    def outputs(self) -> dict[str, str]:
        (found,) = client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


@contextmanager
def account_with_code(folder: Path) -> Iterator[tuple[str, Callable[..., None]]]:
    """An account that was bootstrapped and has the code, and what deploys the stack there."""
    with account(folder, buckets=()) as address:
        deployment = Deployment()
        deployment.bootstrap()
        deployment.parameters["CodeVersion"] = deployment.upload()
        yield address, deployment.deploy


def _change(stack: str, template: Path, parameters: dict[str, str]) -> None:
    cloudformation = client("cloudformation")
    try:
        cloudformation.describe_stacks(StackName=stack)
        change: Any = cloudformation.update_stack
    except ClientError:
        change = cloudformation.create_stack
    change(
        StackName=stack,
        TemplateBody=template.read_text(),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": text} for key, text in parameters.items()
        ],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
