"""Modules that wait until they are used."""

import subprocess
import sys

import pytest

from crypto_platform.core import lazy

MODULES = [name for name, held in vars(lazy).items() if isinstance(held, lazy._LazyModule)]  # noqa: SLF001 - its class tells it


def test_a_lazy_module_is_imported_by_its_first_use_and_not_before() -> None:
    code = (
        "import sys; from crypto_platform.core.lazy import duckdb; "
        "before = 'duckdb' in sys.modules; duckdb.connect; print(before, 'duckdb' in sys.modules)"
    )

    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert said.split() == ["False", "True"]


@pytest.mark.parametrize("name", MODULES)
def test_every_lazy_module_is_there(name: str) -> None:
    assert getattr(lazy, name).__name__


def test_libraries_are_among_the_lazy_modules() -> None:
    assert {"boto3", "duckdb", "pa", "pd"} <= set(MODULES)
