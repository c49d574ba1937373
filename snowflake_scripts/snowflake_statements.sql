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
-- What the pipe did. COPY_HISTORY takes no start before fourteen days ago: at that very edge a clock or
-- a slow statement decides, so a day less is asked for.
SELECT
    stage_location,
    file_name,
    status,
    first_error_message
FROM TABLE(
    information_schema.copy_history(
        TABLE_NAME => '{landing}',
        START_TIME => DATEADD('day', -13, CURRENT_TIMESTAMP())
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
DESCRIBE INTEGRATION {integration};

-- name: show_pipes
SHOW PIPES IN SCHEMA transformed;

-- name: show_account_pipes
-- Those of a database that may not be there yet.
SHOW PIPES IN ACCOUNT;

-- name: pause_pipe
ALTER PIPE {database}.transformed.{pipe} SET PIPE_EXECUTION_PAUSED = TRUE;

-- name: resume_pipe
-- ALTER PIPE does not resume one whose owner has changed, or that was paused for more than 14 days.
SELECT SYSTEM$PIPE_FORCE_RESUME(
    '{database}.transformed.{pipe}',
    'staleness_check_override, ownership_transfer_check_override'
) AS status;

-- name: show_owned
-- Roles, warehouses, databases or integrations, each with its owner. In LIKE a _ stands for any letter.
SHOW {kinds} LIKE {pattern};

-- name: give_to
-- GRANT OWNERSHIP without COPY CURRENT GRANTS is refused where anything was granted.
GRANT OWNERSHIP ON {what} TO ROLE {owner} COPY CURRENT GRANTS;

-- name: grant_integration
GRANT USAGE ON INTEGRATION {integration} TO ROLE SYSADMIN;

-- name: show_limits
SHOW PARAMETERS LIKE 'STATEMENT%TIMEOUT_IN_SECONDS' IN WAREHOUSE {of};

-- name: show_monitors
SHOW RESOURCE MONITORS LIKE {pattern};

-- name: session_facts
-- A warehouse that does not exist, or is not for the role, is no error of the login.
SELECT
    CURRENT_USER() AS user_name,
    CURRENT_ROLE() AS role,
    CURRENT_WAREHOUSE() AS warehouse;

-- name: show_stages
SHOW STAGES IN SCHEMA transformed;

-- name: list_nothing
LIST @transformed_lake/nothing/;

-- name: pipe_status
SELECT SYSTEM$PIPE_STATUS('{database}.transformed.{pipe}') AS status;
