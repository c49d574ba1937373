"""Modules that wait until they are used."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from crypto_platform.core.lazy import REASONS, lazy_import


def test_a_lazy_module_is_imported_by_its_first_use_and_not_before() -> None:
    code = (
        "import sys; from crypto_platform.core.lazy import lazy_import; "
        "duckdb = lazy_import('duckdb'); before = 'duckdb' in sys.modules; "
        "duckdb.connect; print(before, 'duckdb' in sys.modules)"
    )

    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert said.split() == ["False", "True"]


def test_a_module_without_a_reason_is_not_lazy() -> None:
    with pytest.raises(KeyError, match="json has no reason to be lazy"):
        lazy_import("json")


@pytest.mark.parametrize("name", REASONS)
def test_every_lazy_module_is_there(name: str) -> None:
    assert find_spec(name) is not None
