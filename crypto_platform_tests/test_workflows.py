"""The workflows: who may do what, and that every action is the one that was looked at."""

import os
import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import click
import pytest

from crypto_platform.cli.main import main
from crypto_platform_tests import dagster_range
from crypto_platform_tests.github_runner import ROOT, WORKFLOWS, evaluate, jobs, workflow
from infrastructure.deploy import deploy

EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)

# Each action that is used: the commit of its latest release, the release, and the runtime that its
# action.yml names there.
ACTIONS = {
    "actions/attest": ("1e69f48acb82d1966a394da916b4c1698aa569d6", "v4.2.2", "node24"),
    "actions/checkout": ("3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1", "node24"),
    "actions/download-artifact": ("3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1", "node24"),
    "actions/setup-python": ("5fda3b95a4ea91299a34e894583c3862153e4b97", "v7.0.0", "node24"),
    "actions/upload-artifact": ("bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "v7.0.0", "node24"),
    "aws-actions/configure-aws-credentials": (
        "e6de054238d6b7531b4efff3b6587d9aade6a06c",
        "v6.2.3",
        "node24",
    ),
}
READ_ON = date(2026, 11, 28)
# GitHub has ended these.
ENDED = {"node12", "node16", "node20"}

# What runs code of packages, or of this repository.
_RUNS_CODE = re.compile(r"\b(make|pip|python|pytest|\.ci/|\.venv|\.audit)")


def scripts(path: Path) -> list[str]:
    return [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]


@EACH
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    used = [step["uses"] for job in jobs(path).values() for step in job["steps"] if "uses" in step]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one)] == []


def test_every_action_is_the_release_that_was_looked_at_and_of_no_ended_runtime() -> None:
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    used = set(re.findall(r"uses: ([\w./-]+)@(\w+) # (\S+)", text))

    assert used == {(name, commit, tag) for name, (commit, tag, _) in ACTIONS.items()}
    assert not {runtime for _, _, runtime in ACTIONS.values()} & ENDED, READ_ON


@EACH
def test_bash_runs_the_scripts_and_is_told_to_stop_at_any_failure(path: Path) -> None:
    """By its name alone: GitHub's default shell goes on after a failure within a pipe."""
    assert workflow(path)["defaults"]["run"]["shell"] == "bash"
    assert "shell" not in {
        key for job in jobs(path).values() for step in job["steps"] for key in step
    }


@EACH
def test_no_failure_is_lost_within_a_command(path: Path) -> None:
    """Of ``$(…)`` bash looks at the status only where a line does nothing but keep the output."""
    lines = [line.strip() for script in scripts(path) for line in script.splitlines()]
    substituting = [line for line in lines if re.search(r"\$\(|`|<\(", line) and line[0] != "#"]

    assert [line for line in substituting if not re.fullmatch(r"\w+=\$\(.*\)", line)] == []
    assert [line for line in lines if re.search(r"\|\||set \+e|; *true$", line)] == []


@pytest.mark.parametrize(
    ("script", "stops"),
    [("version=$(false)\ntrue", True), ('echo "$(false)"\ntrue', False), ("false | true", True)],
)
def test_bash_stops_where_these_rules_say(script: str, stops: bool) -> None:  # noqa: FBT001 - a column of the table
    bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    assert bool(subprocess.run(bash, check=False, capture_output=True).returncode) is stops


def test_a_linter_of_workflows_finds_nothing() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).with_name("zizmor")), "--offline", *map(str, WORKFLOWS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


@EACH
def test_every_command_of_this_project_is_there_and_takes_what_it_is_given(path: Path) -> None:
    for script in scripts(path):
        for called in re.findall(
            r"bin/(crypto-platform|python -m infrastructure\.deploy) (.*)", script
        ):
            program, line = called
            words = shlex.split(re.split(r" [>|]|\)$", line)[0])
            command: click.Command = main if program == "crypto-platform" else deploy
            while isinstance(command, click.Group):
                name = words.pop(0)
                found = command.get_command(click.Context(command), name)
                assert found, f"{program} has no {name}"
                command = found
            command.make_parser(click.Context(command)).parse_args(words)


def test_snowflake_is_deployed_around_the_stack_and_stops_where_a_phase_fails(
    tmp_path: Path,
) -> None:
    (script,) = [
        step["run"]
        for step in jobs(ROOT / ".github" / "workflows" / "deploy_lambda_glue.yml")["deploy"][
            "steps"
        ]
        if step.get("name") == "Deploy the scripts of Snowflake"
    ]
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("crypto-platform", "python"):
        (programs / name).write_text('#!/bin/sh\necho "$@" >> called\n[ "$*" != "$FAILS" ]\n')
        (programs / name).chmod(0o755)

    def called(fails: str = "") -> list[str]:
        (tmp_path / "called").unlink(missing_ok=True)
        subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # noqa: S607 - the one of the PATH
            cwd=tmp_path,
            env={"FAILS": fails, "RUNNER_TEMP": str(tmp_path), "PATH": os.environ["PATH"]},
            check=not fails,
        )
        return (tmp_path / "called").read_text().splitlines()

    connect = f"-m infrastructure.deploy connect {tmp_path}/handover"
    phases = [
        *("snowflake integration", "snowflake handover", connect),
        *("snowflake apply", "snowflake handover", connect),
    ]
    assert called() == phases
    assert called("snowflake handover") == phases[:2]
    assert called("snowflake apply") == phases[:4]


@pytest.mark.parametrize(
    ("inputs", "staging", "expected"),
    [
        ({}, "", ["aws"]),
        ({}, "true", ["staging", "aws"]),
        ({"version": "abc", "environment": "staging"}, "true", ["staging"]),
    ],
)
def test_one_variable_puts_staging_before_what_is_live(
    inputs: dict[str, str], staging: str, expected: list[str]
) -> None:
    deploy = jobs(ROOT / ".github" / "workflows" / "deploy_lambda_glue.yml")["deploy"]
    (expression,) = re.findall(r"\{\{ (.*) \}\}", deploy["strategy"]["matrix"]["environment"])

    assert evaluate(expression, {"inputs": inputs, "vars": {"STAGING": staging}}) == expected
    assert deploy["strategy"]["max-parallel"] == 1
    assert deploy["strategy"]["fail-fast"]


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
def test_a_job_that_may_write_to_the_repository_or_sign_runs_none_of_its_code(path: Path) -> None:
    for job in jobs(path).values():
        given = job.get("permissions", {})
        if "write" in (given.get("contents"), given.get("packages"), given.get("attestations")):
            run = [step["run"] for step in job["steps"] if "run" in step]
            assert [script for script in run if _RUNS_CODE.search(script)] == []


@EACH
def test_no_expression_stands_within_a_script(path: Path) -> None:
    """Whoever can choose its value could write a command into it."""
    assert [script for script in scripts(path) if "${{" in script] == []


def test_every_week_the_locks_are_looked_at_for_known_faults() -> None:
    path = ROOT / ".github" / "workflows" / "weekly_look.yml"
    audit = "\n".join(step.get("run", "") for step in jobs(path)["audit"]["steps"])
    locks = {file.name: file.read_text() for file in ROOT.glob("requirements*.lock")}
    looked_at = set(re.findall(r"-r (\S+\.lock)", audit.partition("pip-audit")[2]))

    assert workflow(path)[True]["schedule"]  # type: ignore[index]
    assert "--require-hashes" in audit
    # The others are parts of the one of the tests.
    pinned = {
        name: set(re.findall(r"^\S+==\S+", text, re.MULTILINE)) for name, text in locks.items()
    }
    of_those = set().union(*(pinned[name] for name in looked_at))
    assert set().union(*pinned.values()) == of_those


def test_the_lock_is_resolved_anew_every_week_and_proposed_once_everything_passed() -> None:
    path = ROOT / ".github" / "workflows" / "refresh_lock.yml"
    # YAML takes the word on for true.
    triggers = workflow(path)[True]  # type: ignore[index]
    propose = jobs(path)["propose"]
    run = "\n".join(scripts(path))

    assert [one["cron"] for one in triggers["schedule"]] == ["17 4 * * 1"]
    assert [one for one in ("make lock", ".ci/run", "make test-dagster") if one not in run] == []
    assert run.index("make lock") < run.index(".ci/run")
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
