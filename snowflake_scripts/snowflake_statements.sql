-- The statements that only Snowflake has, each under the name that the code calls it by.
-- Values are bound with ?. What stands in braces cannot be bound; it is checked or quoted first.

-- name: copy_files
-- FORCE: a file that was loaded once must load again. At most 1,000 files fit into one statement.
COPY INTO {table} ({columns})
FROM (SELECT {values} FROM @transformed_lake)
FILES = ({files})
FILE_FORMAT = (FORMAT_NAME = 'lake_parquet')
FORCE = TRUE;

-- name: columns
SELECT *
FROM {table}
LIMIT 0;

-- name: insert_rows
INSERT INTO {table} ({columns})
VALUES ({places});

-- name: keep_windows
DELETE FROM {table}
WHERE NOT EXISTS (
    SELECT 1
    FROM {windows} AS asked_for
    WHERE asked_for.window_start = {table}.window_start
);

-- name: stage_landed_files
-- The files of a load, each with the table where its pipe lands it.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_files (landing VARCHAR, file_name VARCHAR);

-- name: landed_history
-- What the pipe did in the fourteen days that Snowflake remembers.
SELECT
    stage_location,
    file_name,
    status,
    first_error_message
FROM TABLE(
    information_schema.copy_history(
        TABLE_NAME => '{landing}',
        START_TIME => DATEADD('day', -14, CURRENT_TIMESTAMP())
    )
);

-- name: take_landed
-- All of a file, as a copy takes all of it: what is of other windows goes afterwards.
INSERT INTO {table} ({columns})
SELECT {columns}
FROM {landing}
WHERE file_name IN (SELECT file_name FROM staged_files);

-- name: not_landed
-- An earlier load of the same files has cleared them from landing, or they never came there.
SELECT file_name FROM staged_files
WHERE landing = '{landing}'
EXCEPT
SELECT file_name FROM {landing};

-- name: clear_landed
-- The files of the load, and all others that have a row in its windows: of runs whose files no
-- manifest names any longer, and newer ones, which their own load copies. Never a part of a file: a
-- later load would take what is left for all of it.
DELETE FROM {landing}
WHERE
    file_name IN (SELECT file_name FROM staged_files)
    OR file_name IN (
        SELECT landed.file_name
        FROM {landing} AS landed
        INNER JOIN staged_ranges
            ON
                landed.window_start >= staged_ranges.range_start
                AND landed.window_start < staged_ranges.range_end
    );

-- name: describe_integration
DESCRIBE INTEGRATION crypto_lake;

-- name: show_pipes
SHOW PIPES IN SCHEMA crypto_db.transformed;

-- name: session_facts
-- A warehouse that does not exist, or is not for the role, is no error of the login.
SELECT
    CURRENT_USER() AS user_name,
    CURRENT_ROLE() AS role,
    CURRENT_WAREHOUSE() AS warehouse;

-- name: show_stages
SHOW STAGES IN SCHEMA crypto_db.transformed;

-- name: list_nothing
LIST @crypto_db.transformed.transformed_lake/nothing/;

-- name: pipe_status
SELECT SYSTEM$PIPE_STATUS('crypto_db.transformed.{pipe}') AS status;
