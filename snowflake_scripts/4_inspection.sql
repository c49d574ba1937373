-- What a person runs to look at the warehouse. Each query only reads and stands alone. Those of the
-- first part run on Snowflake and DuckDB alike: all time is UTC on both. Those of the second part ask
-- for what only Snowflake has: pipes, the history of loads, and credits. The names are those of the
-- deployment crypto; another has its own in their place (see docs/snowflake.md).

USE DATABASE crypto_db;

-- How fresh is each coin? The newest price of each, with the coin that is furthest behind first.
SELECT
    coin_id,
    name,
    vs_currency,
    price_at,
    price,
    granularity,
    DATEDIFF('hour', price_at, SYSDATE()) AS hours_old,
    source
FROM transformed.prices
QUALIFY ROW_NUMBER() OVER (PARTITION BY coin_id, vs_currency ORDER BY price_at DESC) = 1
ORDER BY price_at, coin_id;

-- What is missing, and why? Coins without a price in a window, the newest windows first.
SELECT
    stream,
    window_start,
    coin_id,
    vs_currency,
    status,
    reason,
    run_id,
    updated_at
FROM transformed.ingestion_ledger
WHERE status <> 'present'
ORDER BY window_start DESC, stream, coin_id
LIMIT 200;

-- How much is missing of each kind, and since when?
SELECT
    stream,
    vs_currency,
    status,
    COUNT(*) AS coin_windows,
    COUNT(DISTINCT coin_id) AS coins,
    MIN(window_start) AS first_window,
    MAX(window_start) AS newest_window
FROM transformed.ingestion_ledger
GROUP BY stream, vs_currency, status
ORDER BY stream, vs_currency, status;

-- Which windows were never loaded? Each row is a hole between two windows of a stream that were, in
-- one currency.
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
    ) AS windows
) AS neighbours
WHERE next_window > DATEADD('hour', IFF(stream = 'historical', 24, 6), window_start)
ORDER BY stream, vs_currency, last_window_before;

-- How many rows has a day, in each stream and currency? A day that stands out is worth a look.
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
GROUP BY day, vs_currency
ORDER BY day DESC, vs_currency
LIMIT 300;

-- What did each load bring? A row counts with the load that its values stand since.
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
GROUP BY stream, loaded_at
ORDER BY loaded_at DESC
LIMIT 50;

-- What was revised? Values that stood in a table of prices and no longer do, the latest first. Without
-- a new price the window no longer has that moment, as when finer points took its place.
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
ORDER BY revised_at DESC, stream, price_at DESC, coin_id
LIMIT 200;

-- What was known a day ago? The daily prices as they stood then. Any moment can be put in its place.
WITH asked AS (SELECT DATEADD('day', -1, SYSDATE()) AS known_at)

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
WHERE loaded_at <= known_at
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
WHERE stream = 'historical' AND known_from <= known_at AND revised_at > known_at
ORDER BY price_at DESC, coin_id, vs_currency;

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
ORDER BY snapshots.rank, coins.coin_id, snapshots.vs_currency;

-- How did each coin move? The newest day of each that has a close, the largest risers first.
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
WHERE moves.close IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY moves.coin_id, moves.vs_currency ORDER BY moves.day DESC) = 1
ORDER BY moves.return_1d DESC NULLS LAST, moves.coin_id;

-- How does the market feel? The last two weeks, in each currency.
SELECT *
FROM transformed.market_sentiment
WHERE day > (SELECT MAX(day) - 14 FROM transformed.market_sentiment)
ORDER BY day DESC, vs_currency;

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

-- Only Snowflake from here on, as CRYPTO_LOADER. It remembers these histories for 7 to 14 days, and
-- refuses a start at the edge: 13 days are asked for. Further back they are in SNOWFLAKE.ACCOUNT_USAGE,
-- under the same names.

-- Do the pipes run? There are some in load mode snowpipe alone, or PAUSED after a change of the mode;
-- pendingFileCount is what they have yet to land.
SELECT
    SYSTEM$PIPE_STATUS('transformed.historical_prices_pipe') AS historical_prices,
    SYSTEM$PIPE_STATUS('transformed.intra_day_prices_pipe') AS intra_day_prices,
    SYSTEM$PIPE_STATUS('transformed.market_snapshots_pipe') AS market_snapshots;

-- What has landed and waits for a load? A load clears its windows, so old rows are worth a look.
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

-- What did the pipes land, and what could they not? Failures first.
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

-- What did each run of the platform ask of Snowflake, and what failed? By the tag of its statements.
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
        WAREHOUSE_NAME => 'CRYPTO_WH',
        RESULT_LIMIT => 10000
    )
)
WHERE TRY_PARSE_JSON(query_tag):platform::VARCHAR = 'crypto_platform'
GROUP BY run_id, stream, first_partition, last_partition
ORDER BY started_at DESC;

-- What does it cost? Credits a day of the warehouse.
SELECT
    start_time::DATE AS day,
    warehouse_name,
    SUM(credits_used) AS credits
FROM TABLE(
    information_schema.warehouse_metering_history(
        DATE_RANGE_START => DATEADD('day', -13, CURRENT_DATE()),
        WAREHOUSE_NAME => 'CRYPTO_WH'
    )
)
GROUP BY day, warehouse_name
ORDER BY day DESC;

-- And of the pipes, which need no warehouse.
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
