-- What a person runs to look at the warehouse. Each query only reads, stands alone, and runs on
-- Snowflake and DuckDB alike: all time is UTC on both.

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
    status,
    COUNT(*) AS coin_windows,
    COUNT(DISTINCT coin_id) AS coins,
    MIN(window_start) AS first_window,
    MAX(window_start) AS newest_window
FROM transformed.ingestion_ledger
GROUP BY stream, status
ORDER BY stream, status;

-- Which windows were never loaded? Each row is a hole between two windows of a stream that were.
SELECT
    stream,
    window_start AS last_window_before,
    next_window AS first_window_after
FROM (
    SELECT
        stream,
        window_start,
        LEAD(window_start) OVER (PARTITION BY stream ORDER BY window_start) AS next_window
    FROM (SELECT DISTINCT stream, window_start FROM transformed.ingestion_ledger) AS windows
) AS neighbours
WHERE next_window > DATEADD('hour', IFF(stream = 'historical', 24, 6), window_start)
ORDER BY stream, last_window_before;

-- How many rows has a day, in each stream? A day that stands out is worth a look.
SELECT
    price_at::DATE AS day,
    COUNT_IF(stream = 'historical') AS historical_rows,
    COUNT_IF(stream = 'intra_day') AS intra_day_rows,
    COUNT(DISTINCT coin_id) AS coins
FROM (
    SELECT 'historical' AS stream, coin_id, price_at
    FROM transformed.historical_prices
    UNION ALL
    SELECT 'intra_day' AS stream, coin_id, price_at
    FROM transformed.intra_day_prices
) AS observations
GROUP BY day
ORDER BY day DESC
LIMIT 100;

-- What did each load leave? Rows that a later load replaced count with the later one.
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

-- Which coins are tracked, since when, and how do they stand in the latest snapshot of the market?
SELECT
    coins.coin_id,
    coins.symbol,
    coins.name,
    coins.tracked,
    coins.first_tracked_at,
    snapshots.observed_at,
    snapshots.rank,
    snapshots.current_price,
    snapshots.price_change_percentage_24h
FROM transformed.coins
LEFT JOIN (
    SELECT *
    FROM transformed.market_snapshots
    QUALIFY ROW_NUMBER() OVER (PARTITION BY coin_id ORDER BY observed_at DESC) = 1
) AS snapshots ON snapshots.coin_id = coins.coin_id
ORDER BY snapshots.rank, coins.coin_id;
