"""The workflow's own steps, played against the account on this machine: push after push."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from moto.awslambda import urls
from moto.cloudformation.models import CloudFormationBackend

from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.aws.account import account, client, variables
from crypto_platform_tests.aws.lambda_runtime import Lambda, running_functions
from crypto_platform_tests.aws.stack import Deployment
from crypto_platform_tests.github_runner import WORKFLOWS, JobRun
from crypto_platform_tests.infrastructure.iam.accounts import (
    Account,
    drift_of,
    refused,
    unexplained,
)
from crypto_platform_tests.infrastructure.iam.calls import Call, recorded
from crypto_platform_tests.infrastructure.iam.decisions import Request, running_simulator
from crypto_platform_tests.infrastructure.iam.requests import requests_of, unused
from infrastructure.package import WHEELS, function_zip

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]

ROOT = Path(__file__).parents[2]
(DEPLOY,) = (path for path in WORKFLOWS if path.stem == "deploy_lambda_glue")
FUNCTION = "crypto-ingestion"
SECRET = "crypto/coingecko-api-key"  # noqa: S105 - its name
JOB = "crypto-historical-transformation"
# What a code version is made of, and what only reads it.
COPIED = ("glue_jobs", "infrastructure", "lambda_function")
LINKED = ("crypto_platform", "requirements.lock", "requirements-docker.lock", "snowflake_scripts")
BROKEN = 'raise RuntimeError("a bad version")\n'

# moto does not know this call; a new account has this limit.
LIMITS = {"AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}}
urls.url_paths[r"{0}/2016-08-19/account-settings/?$"] = lambda *_: (200, {}, json.dumps(LIMITS))  # type: ignore[assignment]


@dataclass(frozen=True)
class Push:
    """What came of a run of the workflow.

    Attributes:
        run: The job that deploys.
        code: The code version that was pushed, or gone back to.
        stack: The stack's status.
        serves: The number that the alias points to.
        script: Where the Glue job's script is.
    """

    run: JobRun
    code: str
    stack: str
    serves: str
    script: str


class Repository:
    """A repository on GitHub whose workflow deploys into the account.

    Attributes:
        folder: Where its runners work.
        settings: The environment's variables and secrets.
    """

    def __init__(
        self, folder: Path, address: str, base_url: str, settings: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.machine = {
            "PATH": os.environ["PATH"],
            **variables(address),
            "COINGECKO_BASE_URL": base_url,
        }
        self.runs = 0

    def push(self, change: Mapping[str, str] | None = None) -> Push:
        """Test, build and deploy a commit.

        Args:
            change: What the commit appends to which file.
        """
        built = self._job("test", change, {})
        assert not built.failed, built.output
        deployed = self._job("deploy", change, {})
        code = subprocess.run(
            [sys.executable, "-c", _VERSION],
            cwd=built.workspace,
            env={**self.machine, "PYTHONPATH": str(built.workspace)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        return self._seen(deployed, code)

    def go_back(self, version: str) -> Push:
        """Run the workflow by hand, with a version."""
        return self._seen(
            self._job("deploy", None, {"version": version, "environment": "aws"}), version
        )

    def _job(self, job: str, change: Mapping[str, str] | None, inputs: Mapping[str, str]) -> JobRun:
        self.runs += 1
        workspace = self.folder / f"{self.runs}-{job}"
        workspace.mkdir()
        return JobRun(
            DEPLOY,
            job,
            workspace,
            {**self.settings, "inputs": inputs, "matrix": {"environment": "aws"}},
            {**self.machine, "HOME": str(workspace), "PYTHONPATH": str(workspace)},
            {
                "actions/checkout": lambda where, _: _check_out(where, change or {}),
                "actions/setup-python": lambda *_: None,
                "actions/upload-artifact": self._upload,
                "actions/download-artifact": self._download,
                "aws-actions/configure-aws-credentials": lambda *_: None,
            },
            {
                ".ci/run": "true",
                # Without the lists of what is in them, which take longer than all the rest.
                _BUILD: f"mkdir sbom\n{_PACKAGE}",
                "Install what deploys and looks": "test -e .venv/bin/python",
            },
        ).run()

    def _upload(self, workspace: Path, inputs: Mapping[str, str]) -> None:
        kept = self.folder / "artifacts" / inputs["name"]
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(workspace / inputs["path"], kept)

    def _download(self, workspace: Path, inputs: Mapping[str, str]) -> None:
        shutil.copytree(self.folder / "artifacts" / inputs["name"], workspace / inputs["path"])

    @staticmethod
    def _seen(run: JobRun, code: str) -> Push:
        cloudformation, lambdas = client("cloudformation"), client("lambda")
        (stack,) = cloudformation.describe_stacks(StackName="crypto-platform")["Stacks"]
        job = client("glue").get_jobs()["Jobs"]
        scripts = {one["Name"]: one["Command"]["ScriptLocation"] for one in job}
        found = lambdas.list_functions()["Functions"]
        aliases = lambdas.list_aliases(FunctionName=FUNCTION)["Aliases"] if found else []
        (alias,) = aliases or [{"FunctionVersion": ""}]
        return Push(run, code, stack["StackStatus"], alias["FunctionVersion"], scripts.get(JOB, ""))


_BUILD = "Build the zip and the scripts, and list what is in them"
_PACKAGE = ".venv/bin/python -m infrastructure.package build sbom/function.txt\n"
_VERSION = (
    "import pathlib as p; from infrastructure.package import version; "
    "print(version({f.name: f.read_bytes() for f in p.Path('build').iterdir()}))"
)


def _check_out(workspace: Path, change: Mapping[str, str]) -> None:
    for name in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, workspace / name, ignore=ignored)
    shutil.copytree(WHEELS, workspace / WHEELS.name)
    for name in LINKED:
        (workspace / name).symlink_to(ROOT / name)
    (workspace / ".venv").symlink_to(sys.prefix)
    for name, text in change.items():
        with (workspace / name).open("a") as file:
            file.write(text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A repository whose account was bootstrapped, and has nothing else."""
    folder = tmp_path_factory.mktemp("deployment")
    with ExitStack() as stack:
        market = stack.enter_context(SimulatedMarket())
        address = stack.enter_context(account(folder / "objects", buckets=()))
        stack.enter_context(running_functions(folder / "lambda"))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Lambda, "invoke", _asking(market.base_url))
        patch.setattr(CloudFormationBackend, "execute_change_set", _with_outputs())
        # The wheels are fetched once, for every workspace.
        function_zip()
        Deployment().bootstrap()
        settings = {"vars": {}, "secrets": {"COINGECKO_API_KEY": "CG-planted-key"}}
        yield Repository(folder, address, market.base_url, settings)


def _asking(base_url: str) -> Callable[..., Any]:
    """Invocations whose function asks another address than the API's own."""
    invoke = Lambda.invoke

    def asking(self: Lambda, function: Any, event: Any = None) -> Any:
        function.environment_vars = {**function.environment_vars, "COINGECKO_BASE_URL": base_url}
        return invoke(self, function, event)

    return asking


def _with_outputs() -> Callable[..., None]:
    """Change sets whose stack has outputs, as moto gives it only by the other way."""
    execute = CloudFormationBackend.execute_change_set

    def executing(
        self: CloudFormationBackend, change_set_name: str, stack_name: str | None = None
    ) -> None:
        execute(self, change_set_name, stack_name)
        stack = self.get_stack(str(stack_name))
        if "ROLLBACK" not in stack.status:
            stack._parse_template()  # noqa: SLF001 - moto has no other way
            stack.output_map = stack._create_output_map()  # noqa: SLF001 - as above

    return executing


@pytest.fixture(scope="module")
def asked() -> Iterator[list[Call]]:
    """All that is asked of AWS meanwhile."""
    with recorded() as calls:
        yield calls


@pytest.fixture(scope="module")
def story(
    repository: Repository,
    asked: list[Call],  # noqa: ARG001 - it is listened to
) -> dict[str, Push]:
    """What happens to a deployment, one push after the other."""
    # Somebody made it by hand, before there was a stack.
    client("secretsmanager").create_secret(Name=SECRET)
    pushes = {"half-way": repository.push()}
    client("secretsmanager").delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    pushes["first"] = repository.push()
    later = {"lambda_function/__init__.py": "# Another version.\n"}
    pushes["second"] = repository.push(later)
    pushes["bad"] = repository.push({"lambda_function/handler.py": BROKEN})
    pushes["back"] = repository.go_back(pushes["first"].code)
    return pushes


def test_a_first_deployment_that_fails_half_way_says_why(story: dict[str, Push]) -> None:
    push = story["half-way"]
    assert push.run.failed == "Update the stack, beside what serves"
    assert push.stack == "ROLLBACK_COMPLETE"
    assert SECRET in push.run.output.partition("The change failed")[2]


def test_its_retry_deploys_and_what_was_seen_serves(story: dict[str, Push]) -> None:
    push = story["first"]
    assert not push.run.failed, push.run.output
    assert (push.stack, push.serves) == ("UPDATE_COMPLETE", "1")
    assert f"/code/{push.code}/" in push.script


def test_a_second_deployment_serves_beside_the_first(story: dict[str, Push]) -> None:
    push = story["second"]
    assert not push.run.failed, push.run.output
    assert push.serves not in {"", "1"}
    assert push.code != story["first"].code
    assert f"/code/{push.code}/" in push.script


def test_where_the_doctor_is_red_the_version_of_before_goes_on(story: dict[str, Push]) -> None:
    push = story["bad"]
    assert push.run.failed == "Look at the candidate"
    assert "a bad version" in push.run.output
    assert "Let the candidate serve" not in push.run.done
    assert (push.serves, push.script) == (story["second"].serves, story["second"].script)


def test_one_run_with_a_versions_name_goes_back(story: dict[str, Push]) -> None:
    push = story["back"]
    assert not push.run.failed, push.run.output
    assert "Update the stack, beside what serves" not in push.run.done
    assert (push.serves, push.script) == ("1", story["first"].script)


def test_snowflake_is_skipped_aloud_where_there_is_no_login(story: dict[str, Push]) -> None:
    assert "::notice title=Snowflake is skipped::" in story["first"].run.output


def test_no_key_is_shown(story: dict[str, Push]) -> None:
    assert [name for name, push in story.items() if "CG-planted-key" in push.run.output] == []


def of_the_role_that_deploys(asked: list[Call]) -> list[Request]:
    return [
        request
        for call in asked
        if call.caller == variables("")["AWS_ACCESS_KEY_ID"]
        for request in requests_of(call)
    ]


def test_every_call_is_allowed_to_the_role_that_deploys(
    story: dict[str, Push], asked: list[Call]
) -> None:
    assert story
    account, requests = Account(), of_the_role_that_deploys(asked)

    actions = {request.action for request in requests}
    assert actions > {"cloudformation:GetTemplateSummary", "cloudformation:DescribeStackEvents"}
    with running_simulator() as simulator:
        refusals = refused(simulator, account, account.deploy, [*requests, *drift_of(account)])
    assert refusals == []


# What the role may do and no push of the story does, each with the reason.
UNSEEN = {
    "cloudformation:DeleteChangeSet on *": "takes away a change set in which nothing changes",
    "iam:ListRoleTags on *": "drift of a role's tags",
    "lambda:* on *:function:crypto-ingestion*": "the function's or a version's, as Lambda asks",
    "s3:GetBucketAcl on *": "is read where a bucket is made, with all the rest",
}


def test_what_the_role_may_do_and_no_push_does_is_known(
    story: dict[str, Push], asked: list[Call]
) -> None:
    assert story
    account = Account()
    requests = [*of_the_role_that_deploys(asked), *drift_of(account)]

    assert unexplained(unused(account.deploy.policies.values(), requests), UNSEEN) == []
