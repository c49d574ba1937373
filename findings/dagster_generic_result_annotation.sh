#!/usr/bin/env bash
# dagster 1.13.27: an asset that has checks may be annotated to return MaterializeResult, but not
# MaterializeResult[None], although both say the same, and strict type checkers ask for the second.
#
# Seen: the bare annotation defines the asset. The generic one is refused as the module is loaded:
#   DagsterInvariantViolationError: Expected Tuple annotation for multiple outputs, but received
#   non-tuple annotation.
# Without check_specs both are taken, and a generator annotated Iterator[MaterializeResult[None]] is
# taken with checks too: that is how such an asset can be typed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cat > "$folder/look.py" <<'PYTHON'
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg


def bare() -> dg.MaterializeResult:
    return dg.MaterializeResult()


def generic() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult()


def generator() -> Iterator[dg.MaterializeResult[None]]:
    yield dg.MaterializeResult()


def outcome(function: Callable[[], Any], *, checks: bool) -> str:
    specs = [dg.AssetCheckSpec("complete", asset=function.__name__)] if checks else []
    try:
        dg.asset(check_specs=specs)(function)
    except dg.DagsterInvariantViolationError as error:
        return str(error).partition(",")[0]
    return "defined"


REFUSED = "Expected Tuple annotation for multiple outputs"
LOOKED_AT = {
    (bare, True): "defined",
    (generic, True): REFUSED,
    (generic, False): "defined",
    (generator, True): "defined",
}
for (function, checks), expected in LOOKED_AT.items():
    seen = outcome(function, checks=checks)
    print(f"{function.__name__}, checks={checks}: {seen}")
    assert seen == expected, (function.__name__, checks, seen, expected)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
