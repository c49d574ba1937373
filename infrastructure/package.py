"""What is deployed to AWS, built so that the same sources give the same bytes.

The function's zip holds ``lambda_function`` and what it imports that Lambda's image lacks (boto3
is there). These are taken from wheels that have the names and hashes of ``requirements.lock``,
whatever is installed here, which may have been changed on purpose: a company's authority in
certifi's bundle, say. pip fetches them once, with its own settings (``PIP_NO_INDEX`` and
``PIP_FIND_LINKS`` for a folder); afterwards no index is asked.
"""

import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import filelock

ROOT = Path(__file__).parents[1]

WHEELS = ROOT / ".wheels"
"""Where wheels are kept; each is looked at again before it is used."""

# What the function imports, and what that imports in turn.
FUNCTION_REQUIREMENTS = (
    "certifi",
    "charset-normalizer",
    "cloudpathlib",
    "idna",
    "requests",
    "urllib3",
)
GLUE_SCRIPTS = ("historical_data_transformation.py", "intra_day_transformation.py")

# Compiled parts are for one Python on one processor; all of these do without theirs.
_PORTABLE = ("--platform", "any", "--implementation", "py", "--abi", "none")
_PORTABLE_SUFFIXES = (".py", ".pem")
_OLDEST = (1980, 1, 1, 0, 0, 0)


class PackagingError(RuntimeError):
    """What is pinned cannot be had, or not as it is pinned."""


def function_zip() -> bytes:
    """The code of the ingestion function.

    Raises:
        PackagingError: A wheel that ``requirements.lock`` pins cannot be had; says what to do.
    """
    files = _sources("lambda_function")
    for wheel in _wheels():
        files |= dict(_portable_files(wheel))
    return zipped(files)


def function_requirements() -> str:
    """What the function's zip holds of others, as ``requirements.lock`` pins it."""
    return "".join(map(_pinned, FUNCTION_REQUIREMENTS))


def glue_library_zip() -> bytes:
    """The modules that the Glue scripts share, for ``--extra-py-files``."""
    return zipped(_sources("glue_jobs"))


def artifacts() -> dict[str, bytes]:
    """All that is deployed, by the names that the template expects."""
    scripts = {name: (ROOT / "glue_jobs" / name).read_bytes() for name in GLUE_SCRIPTS}
    return {"ingestion.zip": function_zip(), "glue_jobs.zip": glue_library_zip(), **scripts}


def version(built: Mapping[str, bytes]) -> str:
    """A name for exactly these artifacts."""
    digest = hashlib.sha256()
    for name, content in sorted(built.items()):
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip whose bytes depend on nothing but the files' names and contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _OLDEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Readable by whichever user Lambda runs as.
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _sources(package: str) -> dict[str, bytes]:
    files = (ROOT / package).rglob("*.py")
    return {file.relative_to(ROOT).as_posix(): file.read_bytes() for file in files}


def _wheels() -> list[bytes]:
    """The wheels of what the function imports, as the lock pins them."""
    pinned = {name: _pinned(name) for name in FUNCTION_REQUIREMENTS}
    WHEELS.mkdir(parents=True, exist_ok=True)
    # Several processes of a test run come at once.
    with filelock.FileLock(WHEELS / ".lock"):
        found = _kept(pinned)
        if found.keys() != pinned.keys():
            _fetch(pinned.values())
            found = _kept(pinned)
    lacking = sorted(pinned.keys() - found.keys())
    if lacking:
        raise PackagingError(
            f"No wheel of {', '.join(lacking)} for any platform has a hash that requirements.lock "
            "pins."
        )
    return [found[name] for name in FUNCTION_REQUIREMENTS]


def _pinned(name: str) -> str:
    """A requirement as the lock has it: its version, and the hashes of its files."""
    lock = (ROOT / "requirements.lock").read_text()
    match = re.search(rf"^{name}==.*\n(?: +--hash=.*\n?)+", lock, flags=re.MULTILINE)
    if match is None:
        raise PackagingError(f"requirements.lock does not pin {name} by a hash: run make lock.")
    return match[0]


def _kept(pinned: Mapping[str, str]) -> dict[str, bytes]:
    """The wheels that are there already; one that was changed is none."""
    names = {
        digest: name
        for name, requirement in pinned.items()
        for digest in re.findall(r"--hash=sha256:(\w+)", requirement)
    }
    found = {}
    for path in sorted(WHEELS.glob("*-none-any.whl")):
        content = path.read_bytes()
        name = names.get(hashlib.sha256(content).hexdigest())
        if name:
            found[name] = content
    return found


def _fetch(requirements: Iterable[str]) -> None:
    with TemporaryDirectory(dir=WHEELS) as folder:
        listed = Path(folder, "requirements.txt")
        listed.write_text("".join(requirements))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        fetched = subprocess.run(  # noqa: S603 - our own interpreter and arguments
            [
                *(*command, "--disable-pip-version-check", "--no-deps", "--require-hashes"),
                *("--only-binary", ":all:", *_PORTABLE, "--python-version", "3.12"),
                *("--requirement", str(listed), "--dest", folder),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if fetched.returncode:
            raise PackagingError(
                "pip could not fetch the wheels that requirements.lock pins for the function. "
                "Connect to your package index, or set PIP_NO_INDEX=1 and PIP_FIND_LINKS to a "
                f"folder that has them. pip says: {fetched.stderr.strip()}"
            )
        for wheel in Path(folder).glob("*.whl"):
            wheel.replace(WHEELS / wheel.name)


def _portable_files(wheel: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in archive.namelist():
            if _is_portable(PurePosixPath(name)):
                yield name, archive.read(name)


def _is_portable(file: PurePosixPath) -> bool:
    # cloudpathlib looks its own version up; a licence goes where its code goes.
    stays = file.name == "METADATA" or "licenses" in file.parts
    return stays or file.suffix in _PORTABLE_SUFFIXES


def main() -> None:
    """Write what is deployed into a folder, and print the version that names it.

    A second argument names a file for the requirements that the function's zip holds.
    """
    folder, *listed = map(Path, sys.argv[1:])
    built = artifacts()
    for file in listed:
        file.write_text(function_requirements())
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in built.items():
        (folder / name).write_bytes(content)
    sys.stdout.write(f"{version(built)}\n")


if __name__ == "__main__":
    main()
