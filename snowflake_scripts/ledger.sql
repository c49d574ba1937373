-- The ledger of windows that are present, missing or not loaded yet, in Snowflake's SQL. As in
-- statements.sql, each statement runs on Snowflake and transpiled on DuckDB, its values bound with ?.

-- name: known_streams
SELECT stream, vs_currency, first_window, window_minutes
FROM streams
ORDER BY stream;

-- name: known_coins
SELECT coin_id
FROM coins
WHERE tracked
ORDER BY coin_id;

-- name: stage_streams
CREATE OR REPLACE TEMPORARY TABLE staged_streams AS
SELECT {columns:streams}
FROM streams
WHERE FALSE;

-- name: merge_streams
MERGE INTO streams
USING staged_streams AS seen ON streams.stream = seen.stream
WHEN MATCHED THEN UPDATE SET
    vs_currency = seen.vs_currency,
    first_window = seen.first_window,
    window_minutes = seen.window_minutes
WHEN NOT MATCHED THEN INSERT (stream, vs_currency, first_window, window_minutes)
VALUES (seen.stream, seen.vs_currency, seen.first_window, seen.window_minutes);

-- name: statuses
-- The coin-windows of a stream up to a window, by their status, and since when.
SELECT
    status,
    COUNT(*) AS coin_windows,
    MIN(window_start) AS since
FROM coin_windows
WHERE stream = ? AND window_start <= ?
GROUP BY status
ORDER BY status;

-- name: cells_by_month
-- How many windows of a coin have each status, a month.
SELECT
    coin_id,
    DATE_TRUNC('month', window_start) AS cell,
    status,
    COUNT(*) AS windows
FROM coin_windows
WHERE stream = ? AND window_start >= ? AND window_start <= ?
GROUP BY coin_id, DATE_TRUNC('month', window_start), status
ORDER BY coin_id, cell, status;

-- name: cells_by_day
-- How many windows of a coin have each status, a day.
SELECT
    coin_id,
    DATE_TRUNC('day', window_start) AS cell,
    status,
    COUNT(*) AS windows
FROM coin_windows
WHERE stream = ? AND window_start >= ? AND window_start <= ?
GROUP BY coin_id, DATE_TRUNC('day', window_start), status
ORDER BY coin_id, cell, status;

-- name: asked_windows
-- The first and the newest window of a stream that the ledger knows of.
SELECT
    MIN(ledger.window_start) AS oldest,
    MAX(ledger.window_start) AS newest
FROM ingestion_ledger AS ledger
INNER JOIN streams
    ON streams.stream = ledger.stream AND streams.vs_currency = ledger.vs_currency
WHERE ledger.stream = ?;

-- name: insert_pending
-- A window that was asked for, and that no load has reported on.
INSERT INTO ingestion_ledger
    (stream, coin_id, vs_currency, window_start, status, points, run_id, updated_at)
SELECT streams.stream, coins.coin_id, streams.vs_currency, ?, 'pending', 0, '', ?
FROM streams
CROSS JOIN coins
WHERE streams.stream = ? AND coins.tracked;

-- name: loaded_windows
-- What the ledger has of each window, in so few values that two ledgers can be told apart by them.
SELECT
    window_start,
    COUNT(*) AS coins,
    SUM(points) AS points,
    MAX(updated_at) AS updated_at
FROM ingestion_ledger
WHERE stream = ?
GROUP BY window_start
ORDER BY window_start;

-- name: loaded_rows
-- The ledger's own rows of a stretch of time, as the record in the lake keeps them.
SELECT {columns:ingestion_ledger}
FROM ingestion_ledger
WHERE stream = ? AND window_start >= ? AND window_start < ?
ORDER BY window_start, coin_id, vs_currency;

-- name: gaps
-- Neighbouring windows of a coin that lack a price for the same kind of reason, as one row.
-- alive_since tells when a later window of the coin first had a price; null where none has.
WITH windows AS (
    SELECT
        coin_id,
        window_number,
        window_start,
        status,
        reason,
        MIN(IFF(status = 'present', updated_at, NULL)) OVER (
            PARTITION BY coin_id
            ORDER BY window_number
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS alive_since,
        MAX(IFF(status = 'present', window_start, NULL)) OVER (
            PARTITION BY coin_id
        ) AS newest_present
    FROM coin_windows
    WHERE stream = ?
),

lacking AS (
    SELECT
        *,
        window_number
        - ROW_NUMBER() OVER (PARTITION BY coin_id, status ORDER BY window_number) AS island
    FROM windows
    WHERE
        window_start <= ?
        AND (
            status IN ('pending', 'failed')
            -- A source that has had nothing of a coin for so long is not merely late.
            OR (status = 'missing_at_source' AND window_start >= ? AND newest_present >= ?)
        )
)

SELECT
    coin_id,
    status,
    MIN(window_start) AS first_window,
    MAX(window_start) AS last_window,
    MAX(reason) AS reason,
    MIN(alive_since) AS alive_since
FROM lacking
GROUP BY coin_id, status, island
ORDER BY coin_id, first_window;

-- name: newest_windows
-- The newest window of each stream in which any coin has a price.
SELECT
    stream,
    MAX(window_start) AS newest
FROM coin_windows
WHERE status = 'present'
GROUP BY stream
ORDER BY stream;
