"""The image, built as far as it can be without an engine: its own files, its own commands."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()

# The doctor compares with it in a checkout, and says in the image that there is none.
LEFT_OUT = {"infrastructure"}


@dataclass(frozen=True)
class Rule:
    """A line of ``.dockerignore``, read as Docker reads it."""

    pattern: PurePosixPath
    keeps: bool

    def decides(self, path: PurePosixPath) -> bool:
        """Whether it speaks of a file, by its own name or by that of a folder above it."""
        return any(re.fullmatch(self._regex, str(one)) for one in (path, *path.parents))

    def may_speak_below(self, folder: PurePosixPath) -> bool:
        return self.keeps and (
            self.pattern.is_relative_to(folder) or str(self.pattern).startswith("**")
        )

    @property
    def _regex(self) -> str:
        meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        parts = re.split(r"(\*\*/|\*\*|\*|\?)", str(self.pattern))
        return "".join(meanings.get(part, re.escape(part)) for part in parts)


def rules(text: str) -> list[Rule]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [Rule(PurePosixPath(line.removeprefix("!")), line.startswith("!")) for line in lines]


def is_ignored(path: PurePosixPath, given: Sequence[Rule]) -> bool:
    """Whether Docker leaves a path out: the last line that speaks of it decides."""
    return next((not rule.keeps for rule in reversed(given) if rule.decides(path)), False)


def build_context(root: Path) -> Iterator[PurePosixPath]:
    """The files that Docker is given of a folder."""
    given = rules((root / ".dockerignore").read_text())
    for folder, folders, files in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        folders[:] = [
            name
            for name in folders
            if not is_ignored(here / name, given)
            or any(rule.may_speak_below(here / name) for rule in given)
        ]
        yield from (here / name for name in files if not is_ignored(here / name, given))


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("secret.env", True),
        ("kept.txt", False),
        ("folder/deep/file.py", False),
        ("folder/__pycache__/file.pyc", True),
        ("docker/storage.yaml", False),
        ("docker/deep/storage.yaml", True),
        ("other/kept.txt", True),
    ],
)
def test_the_last_line_that_speaks_of_a_file_decides(path: str, ignored: bool) -> None:  # noqa: FBT001 - a column of the table
    text = "# All.\n*\n!kept.txt\n!folder/\n!docker/*.yaml\n**/__pycache__/\n"
    assert is_ignored(PurePosixPath(path), rules(text)) is ignored


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what Docker is given."""
    folder = tmp_path_factory.mktemp("context")
    for file in build_context(ROOT):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    return folder


def test_no_secret_lake_or_environment_gets_into_the_image(context: Path) -> None:
    names = {file.relative_to(context).parts[0] for file in context.rglob("*")}
    assert [name for name in names if name.startswith((".", "crypto_platform_tests"))] == []


def test_what_the_dockerfile_copies_is_there(context: Path) -> None:
    copied = re.findall(r"^COPY (\S+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    assert copied
    assert [name for name in copied if not (context / name).exists()] == []


def test_every_package_of_the_project_is_in_the_image_or_is_left_out_on_purpose(
    context: Path,
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {name for name in named if not name.endswith(".*")}
    assert {name for name in packages if not (context / name).is_dir()} == LEFT_OUT


@pytest.mark.integration
def test_the_image_installs_from_its_own_files_and_starts(context: Path, tmp_path: Path) -> None:
    """By the Dockerfile's own commands, over the packages that are installed here."""
    venv.create(tmp_path / "venv")
    site = sysconfig.get_path("purelib", "venv", {"base": str(tmp_path / "venv")})
    Path(site, "installed.pth").write_text(sysconfig.get_path("purelib"))
    pip = tmp_path / "venv" / "bin" / "pip"
    pip.write_text('#!/bin/sh\nexec python -m pip "$@"\n')
    pip.chmod(0o755)
    environment = {
        "PATH": f"{pip.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DAGSTER_HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
    }
    *_, install = re.findall(r"^RUN ((?:.*\\\n)*.*)$", DOCKERFILE, flags=re.MULTILINE)
    command = json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, flags=re.MULTILINE)[0])

    for words in (["sh", "-c", install], command):
        finished = subprocess.run(
            words, cwd=context, env=environment, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr

    assert "doctor" in finished.stdout
    assert "storage" in (tmp_path / "dagster.yaml").read_text()
    loaded = subprocess.run(
        ["python", "-c", "import crypto_platform; print(crypto_platform.__file__)"],  # noqa: S607 - that of the environment
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.startswith(str(context))
