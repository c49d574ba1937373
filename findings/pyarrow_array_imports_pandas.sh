#!/usr/bin/env bash
# pyarrow 21.0.0 with pandas 2.3.3: pa.array([1]) imports pandas, if it is installed.
#
# Seen: `import pyarrow` loads no pandas, and the first list that becomes an array does, though nothing
# of the list is of pandas. Arrays that come out of other arrays do not ask. A short-lived process that
# makes one small array pays the start-up of pandas.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==21.0.0 pandas==2.3.3
said=$("$folder/venv/bin/python" - <<'PYTHON'
import sys

import pyarrow as pa

def loaded():
    return "pandas" in sys.modules

after_import = loaded()
pa.array(pa.nulls(1))
after_arrow = loaded()
pa.array([1])
print(f"import: {after_import}, array of arrays: {after_arrow}, array of a list: {loaded()}")
PYTHON
)
echo "$said"
test "$said" = "import: False, array of arrays: False, array of a list: True"
