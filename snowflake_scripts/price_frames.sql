-- Prices for notebooks and tools, in Snowflake's SQL, each statement under the name that the code
-- calls it by. {coins} stands for as many question marks as there are coins, {table} for a stream's.

-- name: known_coins
-- Also coins that were never listed, but asked for by name in a run without the list.
SELECT
    known.coin_id,
    MAX(coins.symbol) AS symbol,
    MAX(coins.name) AS name
FROM (
    SELECT coin_id FROM coins
    UNION
    SELECT coin_id FROM ingestion_ledger
) AS known
LEFT JOIN coins ON coins.coin_id = known.coin_id
GROUP BY known.coin_id
ORDER BY known.coin_id;

-- name: listed_coins
SELECT
    coin_id,
    symbol,
    name,
    tracked
FROM coins
ORDER BY coin_id;

-- name: coin_spans
-- What a stream's table has of each coin.
SELECT
    coin_id,
    COUNT(*) AS prices,
    MIN(price_at) AS first_at,
    MAX(price_at) AS newest_at,
    MIN_BY(price, price_at) AS first_price,
    MAX_BY(price, price_at) AS newest_price
FROM {table}
WHERE vs_currency = ?
GROUP BY coin_id
ORDER BY coin_id;

-- name: finest
SELECT
    price_at AS time,
    coin_id,
    symbol,
    vs_currency,
    price,
    market_cap,
    total_volume,
    price_at,
    granularity,
    source
FROM prices
WHERE vs_currency = ? AND price_at >= ? AND price_at < ? AND coin_id IN ({coins})
ORDER BY time, coin_id;

-- name: hourly
SELECT
    DATE_TRUNC('hour', price_at) AS time,
    coin_id,
    symbol,
    vs_currency,
    price,
    market_cap,
    total_volume,
    price_at,
    granularity,
    source
FROM prices
WHERE vs_currency = ? AND price_at >= ? AND price_at < ? AND coin_id IN ({coins})
QUALIFY
    ROW_NUMBER() OVER (PARTITION BY coin_id, DATE_TRUNC('hour', price_at) ORDER BY price_at) = 1
ORDER BY time, coin_id;

-- name: daily
SELECT
    DATE_TRUNC('day', price_at) AS time,
    coin_id,
    symbol,
    vs_currency,
    price,
    market_cap,
    total_volume,
    price_at,
    granularity,
    source
FROM prices
WHERE vs_currency = ? AND price_at >= ? AND price_at < ? AND coin_id IN ({coins})
QUALIFY
    ROW_NUMBER() OVER (PARTITION BY coin_id, DATE_TRUNC('day', price_at) ORDER BY price_at) = 1
ORDER BY time, coin_id;
