-- What a person runs to look at the warehouse: each query answers the question in the line below its
-- name, only reads and stands alone.
--
-- crypto-platform inspect lists them, and crypto-platform inspect <name> runs one, on Snowflake and on a
-- laptop's DuckDB alike. In Snowsight, run the lines that begin with SET once, changed as you like, and
-- then a query. All time is UTC. What is marked with "Only Snowflake" asks for what DuckDB has not: pipes,
-- the history of loads, and credits; run it as CRYPTO_LOADER. The names are those of the deployment
-- crypto; another has its own in their place (see docs/snowflake.md).

USE DATABASE crypto_db;

-- What the queries are narrowed by: * is every one, and of a time the start is in and the end is not.
SET coin = '*';
SET stream = '*';
SET start_at = '2009-01-01';
SET end_at = '9999-01-01';

-- Of which moment the query known tells what was known.
SET known_at = DATEADD('day', -1, SYSDATE());

-- What computes, of which credits and statements are told.
SET warehouse_name = 'CRYPTO_WH';

-- name: newest
-- How fresh is each coin?
-- The newest price of each, with the coin that is furthest behind first.
SELECT
    coin_id,
    name,
    vs_currency,
    price_at,
    price,
    granularity,
    ROUND(CAST(DATEDIFF('second', price_at, SYSDATE()) AS DOUBLE) / 3600, 1) AS hours_old,
    source
FROM transformed.prices
WHERE $coin IN (coin_id, '*')
QUALIFY ROW_NUMBER() OVER (PARTITION BY coin_id, vs_currency ORDER BY price_at DESC) = 1
ORDER BY price_at, coin_id;

-- name: gaps
-- What is missing, and why?
-- Windows on end in which a coin has no price for one reason, the newest first. A pending one has closed,
-- and no load has reported on it.
WITH windows AS (
    SELECT stream, coin_id, vs_currency, window_start, status, reason
    FROM transformed.ingestion_ledger
    UNION ALL
    SELECT
        stream,
        coin_id,
        vs_currency,
        window_start,
        status,
        'No load has reported on it yet.' AS reason
    FROM transformed.coin_windows
    WHERE status = 'pending'
),

numbered AS (
    SELECT
        windows.*,
        ROW_NUMBER() OVER (
            PARTITION BY stream, coin_id, vs_currency ORDER BY window_start
        ) - ROW_NUMBER() OVER (
            PARTITION BY stream, coin_id, vs_currency, status, reason ORDER BY window_start
        ) AS span
    FROM windows
    WHERE
        $coin IN (coin_id, '*')
        AND $stream IN (stream, '*')
        AND window_start >= CAST($start_at AS TIMESTAMP_NTZ)
        AND window_start < CAST($end_at AS TIMESTAMP_NTZ)
)

SELECT
    stream,
    coin_id,
    vs_currency,
    status,
    MIN(window_start) AS first_window,
    MAX(window_start) AS last_window,
    COUNT(*) AS windows,
    reason
FROM numbered
WHERE status <> 'present'
GROUP BY stream, coin_id, vs_currency, status, reason, span
ORDER BY last_window DESC, stream, coin_id, first_window
LIMIT 200;

-- name: statuses
-- How many windows of coins are there of each status, and since when?
SELECT
    stream,
    vs_currency,
    status,
    COUNT(*) AS coin_windows,
    COUNT(DISTINCT coin_id) AS coins,
    MIN(window_start) AS first_window,
    MAX(window_start) AS newest_window
FROM transformed.ingestion_ledger
WHERE $coin IN (coin_id, '*') AND $stream IN (stream, '*')
GROUP BY stream, vs_currency, status
ORDER BY stream, vs_currency, status;

-- name: completeness
-- How complete is each stream?
-- Its coin-windows since the first that was asked for, as crypto-platform status counts them: what closed a
-- moment ago is expected an hour later, of the daily history two, or once it is loaded.
WITH due AS (
    SELECT windows.*
    FROM transformed.coin_windows AS windows
    INNER JOIN transformed.streams
        ON streams.stream = windows.stream AND streams.vs_currency = windows.vs_currency
    INNER JOIN (
        SELECT stream, vs_currency, MAX(window_start) AS newest
        FROM transformed.ingestion_ledger
        GROUP BY stream, vs_currency
    ) AS loaded
        ON loaded.stream = windows.stream AND loaded.vs_currency = windows.vs_currency
    WHERE
        windows.window_start <= loaded.newest
        OR DATEADD('minute', streams.window_minutes, windows.window_start)
        <= DATEADD('hour', IFF(windows.stream = 'historical', -2, -1), SYSDATE())
)

SELECT
    stream,
    vs_currency,
    MIN(window_start) AS since,
    COUNT(*) AS expected,
    COUNT_IF(status = 'present') AS present,
    CAST(COUNT_IF(status = 'present') AS DOUBLE) / COUNT(*) AS complete,
    COUNT_IF(status = 'missing_at_source') AS missing_at_source,
    COUNT_IF(status = 'out_of_plan') AS out_of_plan,
    COUNT_IF(status = 'quarantined') AS quarantined,
    COUNT_IF(status = 'failed') AS failed,
    COUNT_IF(status = 'pending') AS pending
FROM due
WHERE $coin IN (coin_id, '*') AND $stream IN (stream, '*')
GROUP BY stream, vs_currency
ORDER BY stream, vs_currency;

-- name: completeness_by_coin
-- How complete is each coin?
-- By the same count, with the coin that lacks most first.
WITH due AS (
    SELECT windows.*
    FROM transformed.coin_windows AS windows
    INNER JOIN transformed.streams
        ON streams.stream = windows.stream AND streams.vs_currency = windows.vs_currency
    INNER JOIN (
        SELECT stream, vs_currency, MAX(window_start) AS newest
        FROM transformed.ingestion_ledger
        GROUP BY stream, vs_currency
    ) AS loaded
        ON loaded.stream = windows.stream AND loaded.vs_currency = windows.vs_currency
    WHERE
        windows.window_start <= loaded.newest
        OR DATEADD('minute', streams.window_minutes, windows.window_start)
        <= DATEADD('hour', IFF(windows.stream = 'historical', -2, -1), SYSDATE())
)

SELECT
    stream,
    coin_id,
    vs_currency,
    MIN(window_start) AS since,
    COUNT(*) AS expected,
    COUNT_IF(status = 'present') AS present,
    CAST(COUNT_IF(status = 'present') AS DOUBLE) / COUNT(*) AS complete,
    COUNT_IF(status = 'missing_at_source') AS missing_at_source,
    COUNT_IF(status = 'out_of_plan') AS out_of_plan,
    COUNT_IF(status = 'quarantined') AS quarantined,
    COUNT_IF(status = 'failed') AS failed,
    COUNT_IF(status = 'pending') AS pending
FROM due
WHERE $coin IN (coin_id, '*') AND $stream IN (stream, '*')
GROUP BY stream, coin_id, vs_currency
ORDER BY complete, stream, coin_id, vs_currency;

-- name: never_loaded
-- Which windows were never loaded?
-- Each row is a hole between two windows of a stream that were, in one currency.
SELECT
    stream,
    vs_currency,
    window_start AS last_window_before,
    next_window AS first_window_after
FROM (
    SELECT
        stream,
        vs_currency,
        window_start,
        LEAD(window_start) OVER (
            PARTITION BY stream, vs_currency ORDER BY window_start
        ) AS next_window
    FROM (
        SELECT DISTINCT stream, vs_currency, window_start
        FROM transformed.ingestion_ledger
        WHERE $stream IN (stream, '*')
    ) AS windows
) AS neighbours
WHERE next_window > DATEADD('hour', IFF(stream = 'historical', 24, 6), window_start)
ORDER BY stream, vs_currency, last_window_before;

-- name: quarantined
-- Which prices were refused, and why?
-- Windows of which the API gave nothing that can be a price; what it gave is in the lake, under
-- rejected, which crypto_platform.lake(stream, dataset="rejected") reads.
SELECT
    stream,
    window_start,
    coin_id,
    vs_currency,
    reason,
    run_id,
    updated_at
FROM transformed.ingestion_ledger
WHERE
    status = 'quarantined'
    AND $coin IN (coin_id, '*')
    AND $stream IN (stream, '*')
    AND window_start >= CAST($start_at AS TIMESTAMP_NTZ)
    AND window_start < CAST($end_at AS TIMESTAMP_NTZ)
ORDER BY window_start DESC, stream, coin_id
LIMIT 200;

-- name: revisions
-- What was revised?
-- Values that stood in a table of prices and no longer do, the latest first. Without a new price the
-- window no longer has that moment, as when finer points took its place.
SELECT
    stream,
    revised_at,
    coin_id,
    vs_currency,
    price_at,
    old_price,
    new_price,
    (new_price - old_price) / NULLIF(old_price, 0) AS price_change,
    old_granularity,
    new_granularity,
    old_fetched_at,
    new_fetched_at
FROM transformed.price_revisions
WHERE
    $coin IN (coin_id, '*')
    AND $stream IN (stream, '*')
    AND price_at >= CAST($start_at AS TIMESTAMP_NTZ)
    AND price_at < CAST($end_at AS TIMESTAMP_NTZ)
ORDER BY revised_at DESC, stream, price_at DESC, coin_id
LIMIT 200;

-- name: known
-- What was known a day ago?
-- The daily prices as they stood then, or at another moment.
WITH asked AS (SELECT CAST($known_at AS TIMESTAMP_NTZ) AS known_at)

SELECT
    coin_id,
    vs_currency,
    price_at,
    price,
    market_cap,
    total_volume,
    granularity,
    loaded_at AS known_from
FROM transformed.historical_prices
CROSS JOIN asked
WHERE
    loaded_at <= known_at
    AND $coin IN (coin_id, '*')
    AND price_at >= CAST($start_at AS TIMESTAMP_NTZ)
    AND price_at < CAST($end_at AS TIMESTAMP_NTZ)
UNION ALL
SELECT
    coin_id,
    vs_currency,
    price_at,
    old_price,
    old_market_cap,
    old_total_volume,
    old_granularity,
    known_from
FROM transformed.price_revisions
CROSS JOIN asked
WHERE
    stream = 'historical'
    AND known_from <= known_at
    AND revised_at > known_at
    AND $coin IN (coin_id, '*')
    AND price_at >= CAST($start_at AS TIMESTAMP_NTZ)
    AND price_at < CAST($end_at AS TIMESTAMP_NTZ)
ORDER BY price_at DESC, coin_id, vs_currency;

-- name: spans
-- From when to when has each coin prices, and how fine are they?
-- Days without a price of that kind count between the first and the newest.
SELECT
    stream,
    coin_id,
    vs_currency,
    granularity,
    COUNT(*) AS prices,
    MIN(price_at) AS first_price_at,
    MAX(price_at) AS newest_price_at,
    COUNT(DISTINCT price_at::DATE) AS days,
    DATEDIFF('day', MIN(price_at), MAX(price_at)) + 1
    - COUNT(DISTINCT price_at::DATE) AS days_without
FROM (
    SELECT 'historical' AS stream, coin_id, vs_currency, price_at, granularity
    FROM transformed.historical_prices
    UNION ALL
    SELECT 'intra_day' AS stream, coin_id, vs_currency, price_at, granularity
    FROM transformed.intra_day_prices
) AS observations
WHERE $coin IN (coin_id, '*') AND $stream IN (stream, '*')
GROUP BY stream, coin_id, vs_currency, granularity
ORDER BY coin_id, vs_currency, stream, first_price_at;

-- name: duplicates
-- Does any key stand twice?
-- Each load refuses that, so a row here was put in by hand or by another program.
SELECT
    'historical_prices' AS table_name,
    NULL AS stream,
    coin_id,
    vs_currency AS vs_currency,
    price_at AS moment,
    COUNT(*) AS times
FROM transformed.historical_prices
GROUP BY coin_id, vs_currency, price_at
HAVING COUNT(*) > 1
UNION ALL
SELECT
    'intra_day_prices' AS table_name,
    NULL AS stream,
    coin_id,
    vs_currency AS vs_currency,
    price_at AS moment,
    COUNT(*) AS times
FROM transformed.intra_day_prices
GROUP BY coin_id, vs_currency, price_at
HAVING COUNT(*) > 1
UNION ALL
SELECT
    'market_snapshots' AS table_name,
    NULL AS stream,
    coin_id,
    vs_currency AS vs_currency,
    observed_at AS moment,
    COUNT(*) AS times
FROM transformed.market_snapshots
GROUP BY coin_id, vs_currency, observed_at
HAVING COUNT(*) > 1
UNION ALL
SELECT
    'ingestion_ledger' AS table_name,
    stream AS stream,
    coin_id,
    vs_currency AS vs_currency,
    window_start AS moment,
    COUNT(*) AS times
FROM transformed.ingestion_ledger
GROUP BY stream, coin_id, vs_currency, window_start
HAVING COUNT(*) > 1
ORDER BY table_name, moment, coin_id
LIMIT 200;

-- name: days
-- How many rows has each day?
-- In each stream and currency. A day that stands out is worth a look.
SELECT
    price_at::DATE AS day,
    vs_currency,
    COUNT_IF(stream = 'historical') AS historical_rows,
    COUNT_IF(stream = 'intra_day') AS intra_day_rows,
    COUNT(DISTINCT coin_id) AS coins
FROM (
    SELECT 'historical' AS stream, coin_id, vs_currency, price_at
    FROM transformed.historical_prices
    UNION ALL
    SELECT 'intra_day' AS stream, coin_id, vs_currency, price_at
    FROM transformed.intra_day_prices
) AS observations
WHERE
    $coin IN (coin_id, '*')
    AND price_at >= CAST($start_at AS TIMESTAMP_NTZ)
    AND price_at < CAST($end_at AS TIMESTAMP_NTZ)
GROUP BY day, vs_currency
ORDER BY day DESC, vs_currency
LIMIT 300;

-- name: loads
-- What did each load bring?
-- A row counts with the load that its values stand since.
SELECT
    stream,
    loaded_at,
    COUNT(*) AS prices,
    COUNT(DISTINCT coin_id) AS coins,
    MIN(price_at) AS first_price_at,
    MAX(price_at) AS newest_price_at,
    MIN(source) AS source
FROM (
    SELECT 'historical' AS stream, coin_id, price_at, loaded_at, source
    FROM transformed.historical_prices
    UNION ALL
    SELECT 'intra_day' AS stream, coin_id, price_at, loaded_at, source
    FROM transformed.intra_day_prices
) AS observations
WHERE $stream IN (stream, '*')
GROUP BY stream, loaded_at
ORDER BY loaded_at DESC
LIMIT 50;

-- name: tables
-- How many rows has each table, and of which time?
SELECT
    'historical_prices' AS table_name,
    COUNT(*) AS row_count,
    MIN(price_at) AS first_at,
    MAX(price_at) AS newest_at
FROM transformed.historical_prices
UNION ALL
SELECT
    'intra_day_prices' AS table_name,
    COUNT(*) AS row_count,
    MIN(price_at) AS first_at,
    MAX(price_at) AS newest_at
FROM transformed.intra_day_prices
UNION ALL
SELECT
    'market_snapshots' AS table_name,
    COUNT(*) AS row_count,
    MIN(observed_at) AS first_at,
    MAX(observed_at) AS newest_at
FROM transformed.market_snapshots
UNION ALL
SELECT
    'coins' AS table_name,
    COUNT(*) AS row_count,
    MIN(first_tracked_at) AS first_at,
    MAX(first_tracked_at) AS newest_at
FROM transformed.coins
UNION ALL
SELECT
    'ingestion_ledger' AS table_name,
    COUNT(*) AS row_count,
    MIN(window_start) AS first_at,
    MAX(window_start) AS newest_at
FROM transformed.ingestion_ledger
UNION ALL
SELECT
    'price_revisions' AS table_name,
    COUNT(*) AS row_count,
    MIN(revised_at) AS first_at,
    MAX(revised_at) AS newest_at
FROM transformed.price_revisions
UNION ALL
SELECT
    'streams' AS table_name,
    COUNT(*) AS row_count,
    MIN(first_window) AS first_at,
    MAX(first_window) AS newest_at
FROM transformed.streams
UNION ALL
SELECT
    'fear_and_greed' AS table_name,
    COUNT(*) AS row_count,
    MIN(day)::TIMESTAMP_NTZ AS first_at,
    MAX(day)::TIMESTAMP_NTZ AS newest_at
FROM transformed.fear_and_greed
UNION ALL
SELECT
    'daily_prices' AS table_name,
    COUNT(*) AS row_count,
    MIN(day)::TIMESTAMP_NTZ AS first_at,
    MAX(day)::TIMESTAMP_NTZ AS newest_at
FROM transformed.daily_prices
UNION ALL
SELECT
    'price_moves' AS table_name,
    COUNT(*) AS row_count,
    MIN(day)::TIMESTAMP_NTZ AS first_at,
    MAX(day)::TIMESTAMP_NTZ AS newest_at
FROM transformed.price_moves
UNION ALL
SELECT
    'trading_volumes' AS table_name,
    COUNT(*) AS row_count,
    MIN(day)::TIMESTAMP_NTZ AS first_at,
    MAX(day)::TIMESTAMP_NTZ AS newest_at
FROM transformed.trading_volumes
UNION ALL
SELECT
    'market_sentiment' AS table_name,
    COUNT(*) AS row_count,
    MIN(day)::TIMESTAMP_NTZ AS first_at,
    MAX(day)::TIMESTAMP_NTZ AS newest_at
FROM transformed.market_sentiment
UNION ALL
SELECT
    'model_inputs' AS table_name,
    COUNT(*) AS row_count,
    MIN(day)::TIMESTAMP_NTZ AS first_at,
    MAX(day)::TIMESTAMP_NTZ AS newest_at
FROM transformed.model_inputs
ORDER BY table_name;

-- name: coins
-- Which coins are tracked, since when, and how do they stand in the latest snapshot of the market?
SELECT
    coins.coin_id,
    coins.symbol,
    coins.name,
    coins.tracked,
    coins.first_tracked_at,
    snapshots.vs_currency,
    snapshots.observed_at,
    snapshots.rank,
    snapshots.current_price,
    snapshots.price_change_percentage_24h
FROM transformed.coins
LEFT JOIN (
    SELECT *
    FROM transformed.market_snapshots
    QUALIFY ROW_NUMBER() OVER (PARTITION BY coin_id, vs_currency ORDER BY observed_at DESC) = 1
) AS snapshots ON snapshots.coin_id = coins.coin_id
WHERE $coin IN (coins.coin_id, '*')
ORDER BY snapshots.rank, coins.coin_id, snapshots.vs_currency;

-- name: moves
-- How did each coin move?
-- The newest day of each that has a close, the largest risers first.
SELECT
    moves.coin_id,
    moves.vs_currency,
    moves.day,
    moves.close,
    moves.return_1d,
    moves.return_7d,
    moves.volatility_30d,
    moves.drawdown,
    volumes.ratio_to_median,
    volumes.unusual
FROM transformed.price_moves AS moves
INNER JOIN transformed.trading_volumes AS volumes
    ON
        volumes.coin_id = moves.coin_id
        AND volumes.vs_currency = moves.vs_currency
        AND volumes.day = moves.day
WHERE moves.close IS NOT NULL AND $coin IN (moves.coin_id, '*')
QUALIFY ROW_NUMBER() OVER (PARTITION BY moves.coin_id, moves.vs_currency ORDER BY moves.day DESC) = 1
ORDER BY moves.return_1d DESC NULLS LAST, moves.coin_id;

-- name: sentiment
-- How does the market feel?
-- The last two weeks, in each currency.
SELECT *
FROM transformed.market_sentiment
WHERE day > (SELECT MAX(day) - 14 FROM transformed.market_sentiment)
ORDER BY day DESC, vs_currency;

-- name: inputs
-- What were the models made from, and when was that loaded?
SELECT
    input,
    COUNT(*) AS days,
    SUM(row_count) AS row_count,
    MIN(day) AS first_day,
    MAX(day) AS newest_day,
    MAX(loaded_at) AS loaded_at
FROM transformed.model_inputs
GROUP BY input
ORDER BY input;

-- name: pipes
-- Do the pipes run?
-- Only Snowflake, and in load mode snowpipe alone; after a change of the mode they are PAUSED. What they
-- have yet to land is pendingFileCount.
SELECT
    SYSTEM$PIPE_STATUS('transformed.historical_prices_pipe') AS historical_prices,
    SYSTEM$PIPE_STATUS('transformed.intra_day_prices_pipe') AS intra_day_prices,
    SYSTEM$PIPE_STATUS('transformed.market_snapshots_pipe') AS market_snapshots;

-- name: landing
-- What has landed and waits for a load?
-- Only Snowflake. A load clears its windows, so old rows are worth a look.
SELECT
    landing,
    window_start,
    COUNT(*) AS rows_waiting,
    COUNT(DISTINCT file_name) AS files_waiting
FROM (
    SELECT 'historical_prices' AS landing, window_start, file_name
    FROM transformed.historical_prices_landing
    UNION ALL
    SELECT 'intra_day_prices' AS landing, window_start, file_name
    FROM transformed.intra_day_prices_landing
    UNION ALL
    SELECT 'market_snapshots' AS landing, window_start, file_name
    FROM transformed.market_snapshots_landing
) AS waiting
GROUP BY landing, window_start
ORDER BY window_start DESC, landing
LIMIT 200;

-- name: landed
-- What did the pipes land, and what could they not?
-- Only Snowflake, which remembers 14 days and refuses a start at the edge: 13 are asked for. Further
-- back they are in SNOWFLAKE.ACCOUNT_USAGE, as are the histories below. Failures first.
SELECT
    table_name,
    status,
    file_name,
    row_count,
    last_load_time,
    first_error_message
FROM (
    SELECT *
    FROM TABLE(
        information_schema.copy_history(
            TABLE_NAME => 'TRANSFORMED.HISTORICAL_PRICES_LANDING',
            START_TIME => DATEADD('day', -13, CURRENT_TIMESTAMP())
        )
    )
    UNION ALL
    SELECT *
    FROM TABLE(
        information_schema.copy_history(
            TABLE_NAME => 'TRANSFORMED.INTRA_DAY_PRICES_LANDING',
            START_TIME => DATEADD('day', -13, CURRENT_TIMESTAMP())
        )
    )
    UNION ALL
    SELECT *
    FROM TABLE(
        information_schema.copy_history(
            TABLE_NAME => 'TRANSFORMED.MARKET_SNAPSHOTS_LANDING',
            START_TIME => DATEADD('day', -13, CURRENT_TIMESTAMP())
        )
    )
) AS landed
ORDER BY IFF(UPPER(status) = 'LOADED', 1, 0), last_load_time DESC
LIMIT 200;

-- name: statements
-- What did each run of the platform ask of Snowflake, and what failed?
-- Only Snowflake, which remembers 7 days. By the tag of the statements.
SELECT
    TRY_PARSE_JSON(query_tag):run::VARCHAR AS run_id,
    TRY_PARSE_JSON(query_tag):stream::VARCHAR AS stream,
    TRY_PARSE_JSON(query_tag):first_partition::VARCHAR AS first_partition,
    TRY_PARSE_JSON(query_tag):last_partition::VARCHAR AS last_partition,
    COUNT(*) AS statements,
    COUNT_IF(execution_status LIKE 'FAILED%') AS failed,
    SUM(total_elapsed_time) / 1000 AS seconds,
    MIN(start_time) AS started_at,
    MAX(error_message) AS an_error
FROM TABLE(
    information_schema.query_history_by_warehouse(
        WAREHOUSE_NAME => $warehouse_name,
        RESULT_LIMIT => 10000
    )
)
WHERE TRY_PARSE_JSON(query_tag):platform::VARCHAR = 'crypto_platform'
GROUP BY run_id, stream, first_partition, last_partition
ORDER BY started_at DESC;

-- name: credits
-- What does it cost?
-- Only Snowflake. Credits a day of the warehouse.
SELECT
    start_time::DATE AS day,
    warehouse_name,
    SUM(credits_used) AS credits
FROM TABLE(
    information_schema.warehouse_metering_history(
        DATE_RANGE_START => DATEADD('day', -13, CURRENT_DATE()),
        WAREHOUSE_NAME => $warehouse_name
    )
)
GROUP BY day, warehouse_name
ORDER BY day DESC;

-- name: pipe_credits
-- What do the pipes cost?
-- Only Snowflake. They need no warehouse.
SELECT
    start_time::DATE AS day,
    pipe_name,
    SUM(credits_used) AS credits,
    SUM(files_inserted) AS files
FROM TABLE(
    information_schema.pipe_usage_history(
        DATE_RANGE_START => DATEADD('day', -13, CURRENT_TIMESTAMP())
    )
)
GROUP BY day, pipe_name
ORDER BY day DESC, pipe_name;
