"""Where a run's job is defined."""

from pathlib import Path

from dagster._core.workspace.load_target import WorkspaceFileTarget

from crypto_platform.runs.origin import job_origin

ROOT = Path(__file__).parents[2]


def test_a_jobs_origin_is_the_one_that_the_workspace_of_the_ui_gives_it() -> None:
    (location,) = WorkspaceFileTarget([str(ROOT / "workspace.yaml")]).create_origins()

    origin = job_origin("historical")

    assert origin.repository_origin.code_location_origin == location
    assert origin.job_name == "historical"
