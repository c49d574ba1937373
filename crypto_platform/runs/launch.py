"""Dagster's own command line, with an origin for the runs that it executes by itself."""

import runpy
from typing import Any

from dagster import DagsterInstance, DagsterRun, JobDefinition

from crypto_platform.runs.origin import job_origin

_create_run = DagsterInstance.create_run_for_job


def _create_run_with_origin(
    instance: DagsterInstance, job_def: JobDefinition, **options: Any
) -> DagsterRun:
    return _create_run(
        instance, job_def, **{"remote_job_origin": job_origin(job_def.name), **options}
    )


if __name__ == "__main__":
    # What executes a run right here gives none, and has no option for it.
    DagsterInstance.create_run_for_job = _create_run_with_origin  # type: ignore[method-assign, assignment]
    runpy.run_module("dagster_dg_cli.cli.entrypoint", run_name="__main__")
