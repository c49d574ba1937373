"""What is deployed to AWS, built so that the same sources give the same bytes.

The function's zip holds ``lambda_function`` and what it imports that Lambda's image lacks (boto3
is there). These are taken as they are installed here, after a look whether they are what
``requirements.lock`` pins, so that what was tested is what is deployed, and no index is asked.
"""

import base64
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackagePath, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]

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
_PORTABLE_SUFFIXES = (".py", ".pem")
_OLDEST = (1980, 1, 1, 0, 0, 0)


class PackagingError(RuntimeError):
    """What is installed here is not what is pinned."""


def function_zip() -> bytes:
    """The code of the ingestion function.

    Raises:
        PackagingError: A requirement is not installed as ``requirements.lock`` pins it.
    """
    files = _sources("lambda_function")
    for name in FUNCTION_REQUIREMENTS:
        files |= dict(_installed(name))
    return zipped(files)


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


def _installed(name: str) -> Iterator[tuple[str, bytes]]:
    found = distribution(name)
    pinned = _pinned(name)
    if found.version != pinned:
        raise PackagingError(
            f"{name} {found.version} is installed and requirements.lock pins {pinned}: install it "
            "with `pip install --require-hashes --no-deps -r requirements.lock`."
        )
    for file in found.files or ():
        if _is_portable(file):
            yield file.as_posix(), _intact(found, file)


def _pinned(name: str) -> str | None:
    lock = (ROOT / "requirements.lock").read_text()
    match = re.search(rf"^{name}==([^ ;]+)", lock, flags=re.MULTILINE)
    return match and match[1]


def _is_portable(file: PackagePath) -> bool:
    # cloudpathlib looks its own version up; a licence goes where its code goes.
    stays = file.name == "METADATA" or "licenses" in file.parts
    return ".." not in file.parts and (stays or file.suffix in _PORTABLE_SUFFIXES)


def _intact(found: Distribution, file: PackagePath) -> bytes:
    """A file of a distribution, as its wheel had it."""
    content = Path(str(file.locate())).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    if file.hash is None or file.hash.value != digest:
        raise PackagingError(
            f"{file} of {found.name} {found.version} is not as it was installed: install it again."
        )
    return content


def main() -> None:
    """Write what is deployed into a folder, and print the version that names it."""
    folder = Path(sys.argv[1])
    built = artifacts()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in built.items():
        (folder / name).write_bytes(content)
    sys.stdout.write(f"{version(built)}\n")


if __name__ == "__main__":
    main()
