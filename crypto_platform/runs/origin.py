"""Where a run's job is defined, as Dagster's UI asks for it.

Dagster notes that of runs which its servers launch, and of no other. A run without it is missing
on the timeline and under its job.
"""

from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

LOCATION = "crypto_platform"
"""The code location's name in each ``workspace.yaml``, by which the UI finds its runs."""

_MODULE = "crypto_platform.definitions"


def job_origin(job: str) -> RemoteJobOrigin:
    """The origin of a job of the platform, as ``workspace.yaml`` gives it.

    Args:
        job: The job's name.
    """
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name=_MODULE), LOCATION
    )
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job)
