#!/usr/bin/env bash
# duckdb 2.0.1 (Python): after fetchone() has returned the only row of a result, the connection
# counts as busy. execute() goes on without a word, and so do cursors; any relation (sql, from_arrow,
# aggregate) is refused with ResourceInUseException until one more fetch has returned nothing. On the
# module's shared connection, code that reads one row makes other code's relations fail.
#
# Seen: one row read by fetchone(); execute() works; sql() is refused; after another fetchone(), which
# gives None, sql() works.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.1

"$work/venv/bin/python" - <<'PYTHON'
import duckdb


def relation(connection):
    try:
        return connection.sql("SELECT 2").fetchall()
    except duckdb.Error as error:
        return type(error).__name__


with duckdb.connect() as connection:
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert connection.cursor().sql("SELECT 2").fetchall() == [(2,)]
    refused = relation(connection)
    print("after the only row was fetched:", refused)
    assert refused == "ResourceInUseException", refused
    assert connection.fetchone() is None
    allowed = relation(connection)
    print("after a fetch that gave None:", allowed)
    assert allowed == [(2,)], allowed
PYTHON
echo "duckdb 2.0.1: a result is finished by the fetch after its last row, and relations wait for that"
