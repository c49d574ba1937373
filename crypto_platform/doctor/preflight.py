"""What the doctor is made of: a check, what there is to look at, and the result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from crypto_platform.core.lazy import lazy_import
from crypto_platform.core.settings import Settings
from crypto_platform.lake.layers import Lake
from crypto_platform.profiles import PROFILES
from lambda_function.api_time import CLOCK_TOLERANCE, describe_ahead

if TYPE_CHECKING:
    from infrastructure import package
else:
    package = lazy_import("infrastructure.package")

Status = Literal["passed", "failed", "skipped"]


class CheckSkippedError(Exception):
    """A check has nothing to look at here; the message says why."""


class CheckFailedError(Exception):
    """What a check looked at is not as it should be; the message says what was found."""


@dataclass(frozen=True)
class Preflight:
    """What there is to look at.

    Attributes:
        environment: The variables.
        send: Whether a message may really be sent, to see it arrive.
        candidate: Number of a published function to look at, with the scripts of its code, in
            the place of what serves.
        code_version: The code that has to serve; that of this checkout where it is empty.
    """

    environment: Mapping[str, str]
    send: bool = False
    candidate: str = ""
    code_version: str = ""

    @cached_property
    def settings(self) -> Settings:
        """The platform's settings.

        Raises:
            SettingsError: One or more variables are malformed; the message has a line for each.
        """
        return Settings.from_environment(self.environment)

    def resource(self, name: str) -> Any:
        """What the assets reach the world through under this name.

        Raises:
            SettingsError: A setting that it needs is missing.
        """
        return PROFILES[self.settings.profile].builders[name](self.settings)

    @property
    def is_of_deployment(self) -> bool:
        """Whether a version is looked at, on its way in or back."""
        return bool(self.candidate or self.code_version)

    @property
    def lake(self) -> Lake:
        """The profile's lake."""
        lake: Lake = self.resource("lake")
        return lake

    @cached_property
    def artifacts(self) -> Mapping[str, bytes]:
        """What a deployment of this checkout puts on AWS, by name.

        Raises:
            CheckSkippedError: This is no checkout.
            PackagingError: What is pinned cannot be had; says what to do.
        """
        try:
            artifacts = package.artifacts
        except ModuleNotFoundError as error:
            raise CheckSkippedError(
                "infrastructure/ is not installed here, so there is nothing to compare with: run "
                "the doctor in a checkout."
            ) from error
        return artifacts()


def skip_for_deployment(preflight: Preflight) -> None:
    """Leave a check out where a version is looked at: one that is about the data.

    What is wrong with the data is not made good by keeping the older version, and whoever deploys
    may not read it.

    Raises:
        CheckSkippedError: A version is looked at.
    """
    if preflight.is_of_deployment:
        raise CheckSkippedError(
            "It is about the data and not about the version that is looked at: the doctor looks "
            "at it where Dagster runs."
        )


def described_api(response: Mapping[str, Any]) -> str:
    """That the price API answers, and that the clock is right by it.

    Args:
        response: What the function answered to the action ``ping``.

    Raises:
        CheckFailedError: The clocks differ by more than windows can stand.
    """
    answers = f"{response['base_url']} answers on the plan {response['plan']}"
    ahead = response.get("clock_ahead")
    if ahead is not None and abs(ahead) > CLOCK_TOLERANCE.total_seconds():
        raise CheckFailedError(
            f"{answers}, and {describe_ahead(ahead)}: runs refuse windows that are still open by "
            "the API's time. Set the clock, as by NTP."
        )
    agrees = "" if ahead is None else f"; the clocks differ by {abs(ahead):.0f} s"
    return f"{answers} ({response['source']}){agrees}"


@dataclass(frozen=True)
class PreflightResult:
    """What came of a check.

    Attributes:
        check: The check's name.
        status: ``skipped`` where there was nothing to look at.
        found: What was found, or why nothing was looked at, in a sentence.
        what_to_do: How to resolve a failure; ``None`` where nothing failed.
    """

    check: str
    status: Status
    found: str
    what_to_do: str | None = None


@dataclass(frozen=True)
class PreflightCheck:
    """One thing that has to work.

    Attributes:
        name: What it is, in a word or two.
        look: Looks at it and says in a few words what it found; raises where it does not work.
        what_to_do: What a person does about a failure, beside what the error says.
        needs: Name of an earlier check without which there is nothing to look at.
    """

    name: str
    look: Callable[[Preflight], str]
    what_to_do: str
    needs: str | None = None

    def run(self, preflight: Preflight) -> PreflightResult:
        """Look, and give the outcome whatever it is."""
        try:
            return PreflightResult(self.name, "passed", self.look(preflight))
        except CheckSkippedError as reason:
            return PreflightResult(self.name, "skipped", str(reason))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what was found
            # An error of a library may be without words, and then its kind is all there is to say.
            described = str(error) or type(error).__name__
            return PreflightResult(self.name, "failed", described, self.what_to_do)
