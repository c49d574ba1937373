"""The workflows: who may do what, and that every action is the one that was looked at."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from crypto_platform_tests import dagster_range

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)

# What runs code of packages, or of this repository.
_RUNS_CODE = re.compile(r"\b(make|pip|python|pytest|\.ci/)")


@cache
def workflow(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = workflow(path)["jobs"]
    return found


@EACH
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    used = [step["uses"] for job in jobs(path).values() for step in job["steps"] if "uses" in step]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one)] == []


@EACH
def test_an_action_is_the_same_commit_everywhere(path: Path) -> None:
    text = "\n".join(one.read_text() for one in WORKFLOWS)
    for action, commit in re.findall(r"uses: ([\w./-]+)@(\w+)", path.read_text()):
        assert set(re.findall(rf"uses: {action}@(\w+)", text)) == {commit}


@EACH
def test_a_workflow_is_given_no_more_than_reading_and_each_job_says_what_it_needs(
    path: Path,
) -> None:
    given = workflow(path)["permissions"]
    assert given in ({}, {"contents": "read"})
    assert given or all("permissions" in job for job in jobs(path).values())


@EACH
def test_every_job_ends_by_itself(path: Path) -> None:
    assert all("timeout-minutes" in job for job in jobs(path).values())


@EACH
def test_a_job_that_may_write_to_the_repository_runs_none_of_its_code(path: Path) -> None:
    for job in jobs(path).values():
        if "write" in (job.get("permissions", {}).get("contents"), job.get("packages")):
            scripts = [step["run"] for step in job["steps"] if "run" in step]
            assert [script for script in scripts if _RUNS_CODE.search(script)] == []


@EACH
def test_no_expression_stands_within_a_script(path: Path) -> None:
    """Whoever can choose its value could write a command into it."""
    scripts = [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]
    assert [script for script in scripts if "${{" in script] == []


def test_the_lock_is_resolved_anew_every_week_and_proposed_once_everything_passed() -> None:
    path = ROOT / ".github" / "workflows" / "refresh_lock.yml"
    # YAML takes the word on for true.
    triggers = workflow(path)[True]  # type: ignore[index]
    resolve, propose = jobs(path)["resolve"], jobs(path)["propose"]
    scripts = "\n".join(step.get("run", "") for step in resolve["steps"])

    assert [one["cron"] for one in triggers["schedule"]] == ["17 4 * * 1"]
    assert re.search(r"uv==[\d.]+$", scripts, flags=re.MULTILINE)
    assert [
        one for one in ("make lock", ".ci/run", "make test-dagster") if one not in scripts
    ] == []
    assert scripts.index("make lock") < scripts.index(".ci/run")
    assert propose["needs"] == "resolve"
    assert "gh pr create" in propose["steps"][-1]["run"]


def test_both_ends_of_the_versions_of_dagster_are_tested() -> None:
    matrix = jobs(ROOT / ".github" / "workflows" / "test.yml")["dagster-range"]["strategy"]
    assert matrix["matrix"]["end"] == list(dagster_range.ENDS)


def test_each_package_that_uses_private_code_of_dagster_is_tested_at_both_ends() -> None:
    private = re.compile(r"(?:from|import) dagster[\w.]*\._|\"dagster[\w.]*\._")
    using = {
        file.relative_to(ROOT / "crypto_platform").parts[0]
        for file in (ROOT / "crypto_platform").rglob("*.py")
        if private.search(file.read_text())
    }
    assert using == dagster_range.TESTS.keys()


def test_the_ends_are_those_that_the_project_allows() -> None:
    oldest, newest = map(dagster_range.requirements, dagster_range.ENDS)
    (allowed,) = newest
    assert re.fullmatch(r"dagster>=([\d.]+),<[\d.]+", allowed)
    assert f"dagster=={re.split('[>=,]+', allowed)[1]}" in oldest
    assert {"dagster-aws", "dagster-webserver"} <= {one.split("==")[0] for one in oldest}
