import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infrastructure import package
from infrastructure.package import PackagingError, artifacts, function_zip, version, zipped


@pytest.fixture(scope="module")
def code() -> bytes:
    return function_zip()


def test_the_same_sources_give_the_same_bytes(code: bytes) -> None:
    assert function_zip() == code


def test_the_zip_is_far_below_what_lambda_takes_and_holds_no_boto3(code: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        packages = {name.split("/")[0] for name in archive.namelist()}
    assert len(code) < 5_000_000
    assert not packages & {"boto3", "botocore", "dagster", "pyspark", "crypto_platform"}


def test_the_function_imports_with_nothing_but_its_zip(code: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        archive.extractall(tmp_path)
    imported = subprocess.run(
        # -S: without the packages of this environment.
        [sys.executable, "-S", "-E", "-W", "error", "-c", "import lambda_function.handler"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (imported.returncode, imported.stderr) == (0, "")


def test_the_order_of_files_does_not_matter() -> None:
    assert zipped({"a": b"1", "b": b"2"}) == zipped({"b": b"2", "a": b"1"})


def test_the_version_names_exactly_what_is_deployed() -> None:
    built = artifacts()
    assert version(built) == version(artifacts())
    assert version(built) != version({**built, "ingestion.zip": b""})


def test_a_requirement_of_another_version_than_pinned_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lambda_function").mkdir()
    (tmp_path / "requirements.lock").write_text("certifi==1.0 \\\n")
    monkeypatch.setattr(package, "ROOT", tmp_path)
    with pytest.raises(PackagingError, match=r"certifi .* is installed and .* pins 1\.0"):
        function_zip()
