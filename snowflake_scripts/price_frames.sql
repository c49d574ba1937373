-- Prices for notebooks and tools, in Snowflake's SQL, each statement under the name that the code
-- calls it by. {coins} stands for as many question marks as there are coins, {unit} for an hour or a
-- day, {placed} for the query of that name, {table} for a stream's.

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

-- name: placed
-- Every price under the hour or day that it is of. The API means its points for marks five minutes
-- apart, and stamps each when it was seen: in what was recorded, up to 147 seconds before the mark. So
-- what is at most half of five minutes early is of the hour, or day, that follows. No recorded hourly
-- price is less than 13 minutes early, and those that are more are the only ones of their own hour. A
-- daily price is of its own day: recorded ones of 23:29 and 23:39 stand for the day that ends, and the
-- next day has its own.
SELECT
    DATE_TRUNC(
        '{unit}', IFF(granularity = 'daily', price_at, DATEADD('second', 150, price_at))
    ) AS time,
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
WHERE vs_currency = ? AND coin_id IN ({coins});

-- name: stepwise
-- Of each hour or day of a coin the price that is nearest to its start.
SELECT
    time,
    coin_id,
    symbol,
    vs_currency,
    price,
    market_cap,
    total_volume,
    price_at,
    granularity,
    source
FROM (
{placed}
) AS placed
WHERE
    time >= ? AND time < ?
    -- The same once more for the column that rows are sorted by, so that others are not read.
    AND price_at >= DATEADD('second', -150, CAST(? AS TIMESTAMP_NTZ))
    AND price_at < DATEADD('{unit}', 1, CAST(? AS TIMESTAMP_NTZ))
QUALIFY
    ROW_NUMBER() OVER (
        PARTITION BY coin_id, time
        ORDER BY ABS(DATEDIFF('millisecond', time, price_at)), price_at
    ) = 1
ORDER BY time, coin_id;

-- name: beside
-- What a coin has nearest to a time, before it and after: what holes at its ends are filled from, and
-- up to where.
SELECT
    time,
    coin_id,
    symbol,
    vs_currency,
    price,
    market_cap,
    total_volume,
    price_at,
    granularity,
    source
FROM (
{placed}
) AS placed
WHERE time < ? OR time >= ?
QUALIFY
    ROW_NUMBER() OVER (
        PARTITION BY coin_id, time < ?
        ORDER BY
            ABS(DATEDIFF('second', CAST(? AS TIMESTAMP_NTZ), time)),
            ABS(DATEDIFF('millisecond', time, price_at)),
            price_at
    ) = 1
ORDER BY time, coin_id;
