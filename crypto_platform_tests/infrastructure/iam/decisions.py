"""What IAM decides: requests are simulated by a library of npm's, all of them by one process."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from crypto_platform_tests.infrastructure.iam.templates import ACCOUNT, REGION, UNKNOWN, Principal
from infrastructure.package import ROOT

SIMULATOR = Path(__file__).parent / "simulator"
_FILES = ("decide.mjs", "package.json", "package-lock.json")
# git does not see it, and `make clean` removes it.
_CACHE = ROOT / ".iam-simulator"
# Each package is asked for once: where no registry is reached, the tests go on without it soon.
_INSTALL = "npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=0 --fetch-timeout=30000"

GITHUB = "token.actions.githubusercontent.com"
# The simulator's data has no keys of a GitHub token's subject and audience; it has Google's.
_KNOWN_PROVIDER = "accounts.google.com"

# Services that are in no region, which IAM takes to be in this one.
_GLOBAL = {"billing", "budgets", "iam"}
# What an administrator has.
EVERYTHING = {
    "everything": {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
}


@dataclass(frozen=True)
class Request:
    """What IAM is asked.

    Attributes:
        action: As policies name it.
        resource: Its ARN, or ``*`` where the action knows no resource.
        context: The keys that conditions look at.
        why: Who makes it, for people.
    """

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)
    why: str = field(default="", compare=False)

    def __str__(self) -> str:
        keys = "".join(f", {key}={value}" for key, value in self.context.items())
        return f"{self.action} on {self.resource}{keys}" + (f" ({self.why})" if self.why else "")


class Simulator:
    """Decides requests, in one process for all of them.

    Attributes:
        process: It takes a line of simulations and gives a line of decisions.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def allowed(
        self,
        asked: Sequence[tuple[Principal, Request]],
        resource_policies: Mapping[str, Any] | None = None,
    ) -> list[bool]:
        """Whether each is allowed.

        Args:
            asked: Who, and what.
            resource_policies: By the ARN of the resource that has one.
        """
        given = resource_policies or {}
        decided = self._decided(
            [_simulation(who, request, _policy_of(request, given)) for who, request in asked]
        )
        return [one == "Allowed" for one in decided]

    def may_become(
        self, role_arn: str, trust: Any, action: str, context: Sequence[tuple[str, dict[str, str]]]
    ) -> list[bool]:
        """Whether each principal, with these keys, may become a role that trusts so."""
        known = json.loads(json.dumps(trust).replace(f"{GITHUB}:", f"{_KNOWN_PROVIDER}:"))
        simulations = [
            _simulation(Principal(who, EVERYTHING), Request(action, role_arn, keys), known)
            for who, keys in json.loads(
                json.dumps(context).replace(f"{GITHUB}:", f"{_KNOWN_PROVIDER}:")
            )
        ]
        return [one == "Allowed" for one in self._decided(simulations)]

    def _decided(self, simulations: list[dict[str, Any]]) -> list[str]:
        assert self.process.stdin and self.process.stdout  # noqa: PT018 - for the types alone
        self.process.stdin.write(json.dumps(simulations) + "\n")
        self.process.stdin.flush()
        answers = json.loads(self.process.stdout.readline())
        decided = []
        for simulation, answer in zip(simulations, answers, strict=True):
            request = simulation["request"]
            assert not answer.get("error"), (answer["error"], request)
            assert not answer["ignored"], (answer["ignored"], request)
            decided.append(answer["result"])
        return decided


@contextmanager
def running_simulator() -> Iterator[Simulator]:
    """The simulator, installed at its first use as its lock says; without npm the test skips."""
    folder = _installed()
    with subprocess.Popen(
        ["node", "decide.mjs"],  # noqa: S607 - the machine's own
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Simulator(process)


def _installed() -> Path:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Policies are not decided: install Node.js 20 or newer, with npm.")
    files = {name: (SIMULATOR / name).read_bytes() for name in _FILES}
    folder = _CACHE / hashlib.sha256(b"".join(files.values())).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "installed").exists():
            for name, content in files.items():
                (folder / name).write_bytes(content)
            npm = subprocess.run(
                _INSTALL.split(), cwd=folder, capture_output=True, text=True, check=False
            )
            if npm.returncode:
                reason = (npm.stderr.strip().splitlines() or ["without a reason"])[0]
                pytest.skip(
                    f"Policies are not decided: npm could not install what decides ({reason}). "
                    f"Give npm a registry that has it, or run `npm ci` in {folder}, then "
                    f"`touch installed`."
                )
            (folder / "installed").touch()
    return folder


def _simulation(who: Principal, request: Request, resource_policy: Any) -> dict[str, Any]:
    simulation = {
        "request": {
            "principal": who.arn.replace(UNKNOWN, "ABCDEF"),
            "action": request.action,
            "resource": {
                "resource": request.resource.replace(UNKNOWN, "ABCDEF"),
                "accountId": ACCOUNT,
            },
            "contextVariables": {
                "aws:SecureTransport": "true",
                "aws:RequestedRegion": _region(request.action),
                **request.context,
            },
        },
        "identityPolicies": _named(who.policies, request),
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
    }
    if who.boundary:
        simulation["permissionBoundaryPolicies"] = _named(who.boundary, request)
    if resource_policy:
        simulation["resourcePolicy"] = resource_policy
    return simulation


def _region(action: str) -> str:
    return "us-east-1" if action.split(":", maxsplit=1)[0] in _GLOBAL else REGION


def _named(policies: Mapping[str, Any], request: Request) -> list[dict[str, Any]]:
    return [
        {"name": name, "policy": _without_resource(policy) if request.resource == "*" else policy}
        for name, policy in policies.items()
    ]


def _without_resource(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What of a policy counts where no resource is named.

    The simulator takes ``*`` for any resource, and one that is allowed would do.
    """
    counting = [
        statement
        for statement in policy["Statement"]
        if statement["Effect"] == "Deny" or statement["Resource"] in ("*", ["*"])
    ]
    # A policy has to state something.
    nothing = {"Effect": "Deny", "Action": "none:Nothing", "Resource": "*"}
    return {**policy, "Statement": counting or [nothing]}


def _policy_of(request: Request, policies: Mapping[str, Any]) -> Any:
    return next(
        (
            policy
            for arn, policy in policies.items()
            if request.resource == arn or request.resource.startswith(f"{arn}/")
        ),
        None,
    )
