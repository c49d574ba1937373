#!/usr/bin/env bash
# fakesnow 0.12.1: a PRIMARY KEY refuses a second row of the same key, which Snowflake takes.
#
# In Snowflake a primary key on a standard table is a note for readers: only NOT NULL is enforced. Seen:
# the same INSERT twice. The stand-in, which keeps the key for DuckDB, raises an error of DuckDB's at
# the second, by its own name and not as the connector's ProgrammingError. So a test on it cannot show
# that a load relies on a key that the real warehouse would not keep.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fakesnow==0.12.1 \
    snowflake-connector-python==4.8.1
cat > "$folder/twice.py" <<'PYTHON'
import fakesnow
import snowflake.connector

with fakesnow.patch():
    connection = snowflake.connector.connect(database="prices", schema="public")
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE coins (coin_id VARCHAR PRIMARY KEY)")
    for _ in range(2):
        try:
            cursor.execute("INSERT INTO coins VALUES ('bitcoin')")
        except Exception as error:
            print(type(error).__module__.split(".")[0], type(error).__name__)
        else:
            print("taken")
PYTHON
said=$("$folder/venv/bin/python" "$folder/twice.py" 2>/dev/null)
echo "$said"
test "$said" = "taken
_duckdb ConstraintException"
