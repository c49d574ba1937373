"""What is installed is used: each package is imported, or someone that is imported needs it."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("crypto_platform", "glue_jobs", "infrastructure", "lambda_function")

# Nothing here imports these, and without them something here does not run.
NEEDED_BY_OTHERS = {
    "dagster-aws": "dagster.yaml names what keeps the logs of runs in a bucket",
    "dagster-dg-cli": "crypto-platform launch calls its command",
    "dagster-webserver": "dagster dev starts it",
    "googleapis-common-protos": "Spark Connect's client",
    "grpcio": "Spark Connect's client",
    "grpcio-status": "Spark Connect's client",
    "setuptools": "pyspark, for distutils",
}

_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [_NAME.match(requirement) for requirement in project["dependencies"]]
    return sorted(canonical(match[0]) for match in found if match)


def imported_modules() -> Iterator[str]:
    """The modules that the product imports, those of ``core/lazy.py`` among them."""
    for package in PRODUCT:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                match node:
                    case ast.Import(names=names):
                        yield from (name.name for name in names)
                    case ast.ImportFrom(module=str(module), level=0):
                        yield module
                    case ast.Call(
                        func=ast.Name(id="_LazyModule"), args=[ast.Constant(value=str(module))]
                    ):
                        yield module


@pytest.fixture(scope="module")
def imported() -> set[str]:
    distributions = packages_distributions()
    tops = {module.split(".")[0] for module in imported_modules()}
    return {canonical(name) for top in tops for name in distributions.get(top, ())}


@pytest.mark.parametrize("name", direct_dependencies())
def test_each_package_is_imported_or_needed_by_one_that_is(name: str, imported: set[str]) -> None:
    assert (name in imported) != (name in NEEDED_BY_OTHERS)


def test_the_docs_say_of_each_package_what_it_is_for() -> None:
    section = (ROOT / "docs" / "development.md").read_text().split("## What is installed")[1]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", section.split("\n## ")[0], flags=re.MULTILINE)

    assert rows == direct_dependencies()
