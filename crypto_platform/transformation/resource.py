"""The seam to Spark: where a transformation job runs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from crypto_platform.core.errors import PermanentFailure


class TransformError(PermanentFailure):
    """A transformation job failed, or its engine did not start."""


class TransformUnreachableError(dg.Failure):
    """What runs jobs could not be reached, or was too busy; trying again may help."""


@dataclass(frozen=True)
class TransformResult:
    """What there is to know of a job that succeeded.

    Attributes:
        ran_on: The engine that ran it, in words, such as ``Sail 0.7.2``.
        metadata: What else the engine says of the run, such as its cost, by name.
    """

    ran_on: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Transform(dg.ConfigurableResource[Any], ABC):
    """Runs transformation jobs."""

    @abstractmethod
    def run(self, job: str, arguments: Mapping[str, str]) -> TransformResult:
        """Run a job to its end.

        Args:
            job: Name of the job, which is the name of its script in ``glue_jobs``.
            arguments: The job's arguments by name, without the dashes.

        Raises:
            TransformError: The job failed; the message says what it was doing and why it failed.
            TransformUnreachableError: Whether it could run is not known; it runs no more.
        """
