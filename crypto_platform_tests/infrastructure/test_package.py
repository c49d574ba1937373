import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import certifi
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


def test_what_is_installed_here_does_not_matter(
    code: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where a company puts its own authority into certifi's bundle."""
    installed = Path(certifi.where()).parent
    shutil.copytree(installed, tmp_path / "certifi")
    (tmp_path / "certifi" / "cacert.pem").write_text("a company's own authority")
    monkeypatch.syspath_prepend(tmp_path)

    assert function_zip() == code
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        assert b"company" not in archive.read("certifi/cacert.pem")


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of wheels of its own, which has those that the lock pins."""
    function_zip()
    shutil.copytree(package.WHEELS, tmp_path / "wheels")
    monkeypatch.setattr(package, "WHEELS", tmp_path / "wheels")
    return tmp_path / "wheels"


def test_a_wheel_that_was_changed_is_fetched_again(
    code: bytes, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(package.ROOT / ".wheels"))
    (changed,) = wheels.glob("certifi-*.whl")
    changed.write_bytes(changed.read_bytes() + b"more")

    assert function_zip() == code


def test_without_an_index_it_says_how_to_give_a_folder(
    wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    for wheel in wheels.glob("*.whl"):
        wheel.unlink()

    with pytest.raises(PackagingError, match=r"PIP_FIND_LINKS to a folder.*certifi"):
        function_zip()


def test_a_wheel_of_another_hash_than_pinned_is_refused(
    wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = (package.ROOT / "requirements.lock").read_text()
    (wheel,) = wheels.glob("certifi-*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "lambda_function").mkdir()
    (tmp_path / "requirements.lock").write_text(lock.replace(digest, "0" * 64))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(package.ROOT / ".wheels"))
    monkeypatch.setattr(package, "ROOT", tmp_path)

    with pytest.raises(PackagingError, match="HASHES"):
        function_zip()


def test_what_is_in_the_zip_is_listed_for_programs(tmp_path: Path) -> None:
    """By the tool that the workflow runs."""
    listed = tmp_path / "function.txt"
    listed.write_text(package.function_requirements())
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", str(listed)]

    made = subprocess.run(command, capture_output=True, text=True, check=True)

    parts = {part["name"]: part for part in json.loads(made.stdout)["components"]}
    assert parts.keys() == set(package.FUNCTION_REQUIREMENTS)
    assert all(part["version"] and part["externalReferences"] for part in parts.values())
