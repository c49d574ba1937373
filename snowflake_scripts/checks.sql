-- What the asset checks ask of the warehouse, in Snowflake's SQL, each under the name that the code calls it by.
-- They run unchanged on Snowflake and transpiled on DuckDB, in a session whose schema is transformed.
-- Values are bound with ?, cast where their type decides what is meant. {table} is the stream's table of prices, filled in from the known ones only.
-- A run's windows are one range: what evaluates a load looks at that range, and at a short time before it.

-- name: columns_of_table
SELECT
    LOWER(column_name) AS name,
    data_type AS type
FROM information_schema.columns
WHERE LOWER(table_schema) = 'transformed' AND LOWER(table_name) = ?;

-- name: faulty_rows
-- NaN sorts above every number on both engines, and so above the largest double too.
SELECT
    'keys' AS broken,
    coin_id,
    price_at,
    'the key stands there ' || COUNT(*) || ' times' AS fault
FROM {table}
WHERE price_at >= ? AND price_at < ?
GROUP BY coin_id, vs_currency, price_at
HAVING COUNT(*) > 1
UNION ALL
SELECT
    'prices' AS broken,
    coin_id,
    price_at,
    'price ' || price AS fault
FROM {table}
WHERE price_at >= ? AND price_at < ? AND NOT (price > 0 AND price <= 1.7976931348623157E308)
UNION ALL
SELECT
    'caps_and_volumes' AS broken,
    coin_id,
    price_at,
    'market cap ' || COALESCE(market_cap::VARCHAR, 'null')
    || ', volume ' || COALESCE(total_volume::VARCHAR, 'null') AS fault
FROM {table}
WHERE
    price_at >= ? AND price_at < ?
    AND (
        NOT (market_cap >= 0 AND market_cap <= 1.7976931348623157E308)
        OR NOT (total_volume >= 0 AND total_volume <= 1.7976931348623157E308)
    )
ORDER BY broken, price_at, coin_id
LIMIT 1000;

-- name: ledger_by_coin
SELECT
    coin_id,
    COUNT(*) AS windows,
    SUM(IFF(status = 'failed', 1, 0)) AS failed
FROM ingestion_ledger
WHERE stream = ? AND vs_currency = ? AND window_start >= ? AND window_start < ?
GROUP BY coin_id;

-- name: ledger_to_explain
-- What failed, and all that the ledger has of coins which lack some of the windows.
SELECT
    coin_id,
    window_start,
    status,
    reason
FROM ingestion_ledger
WHERE stream = ? AND vs_currency = ? AND window_start >= ? AND window_start < ?
QUALIFY COUNT(*) OVER (PARTITION BY coin_id) < ? OR status = 'failed'
ORDER BY coin_id, window_start;

-- name: price_jumps
-- How far a price moved from one observation to the next, against what is usual for this coin at this
-- spacing: the median absolute deviation of its log returns, which the jump itself hardly moves.
-- A move over a hole in the series is no jump.
WITH series AS (
    SELECT
        coin_id,
        vs_currency,
        granularity,
        price_at,
        price,
        LAG(price_at) OVER (
            PARTITION BY coin_id, vs_currency, granularity ORDER BY price_at
        ) AS before_at,
        LAG(price) OVER (
            PARTITION BY coin_id, vs_currency, granularity ORDER BY price_at
        ) AS price_before
    FROM {table}
    WHERE price_at >= ? AND price_at < ? AND price > 0
),

moves AS (
    SELECT
        coin_id,
        vs_currency,
        granularity,
        price_at,
        price,
        before_at,
        price_before,
        LN(price / price_before) AS log_return,
        DATEDIFF('second', before_at, price_at) AS seconds
    FROM series
    WHERE before_at IS NOT NULL
),

middles AS (
    SELECT
        coin_id,
        vs_currency,
        granularity,
        MEDIAN(log_return) AS middle,
        MEDIAN(seconds) AS usual_seconds,
        COUNT(*) AS returns
    FROM moves
    GROUP BY coin_id, vs_currency, granularity
),

deviations AS (
    SELECT
        moves.*,
        middles.usual_seconds,
        middles.returns,
        ABS(moves.log_return - middles.middle) AS deviation
    FROM moves
    INNER JOIN middles
        ON
            middles.coin_id = moves.coin_id
            AND middles.vs_currency = moves.vs_currency
            AND middles.granularity = moves.granularity
),

usual AS (
    SELECT
        coin_id,
        vs_currency,
        granularity,
        MEDIAN(deviation) AS usual_deviation
    FROM deviations
    GROUP BY coin_id, vs_currency, granularity
)

SELECT
    deviations.coin_id,
    deviations.vs_currency,
    deviations.price_at,
    deviations.price,
    deviations.before_at,
    deviations.price_before,
    COUNT(*) OVER (PARTITION BY deviations.coin_id, deviations.vs_currency) AS jumps
FROM deviations
INNER JOIN usual
    ON
        usual.coin_id = deviations.coin_id
        AND usual.vs_currency = deviations.vs_currency
        AND usual.granularity = deviations.granularity
WHERE
    deviations.price_at >= ?
    AND deviations.seconds <= 3 * deviations.usual_seconds
    AND deviations.returns >= CAST(? AS INTEGER)
    AND ABS(deviations.log_return) > CAST(? AS DOUBLE)
    AND deviations.deviation > CAST(? AS DOUBLE) * 1.4826 * usual.usual_deviation
-- A long history has many: the largest of each coin say what there is to say.
QUALIFY ROW_NUMBER() OVER (
    PARTITION BY deviations.coin_id, deviations.vs_currency
    ORDER BY deviations.deviation DESC, deviations.price_at
) <= CAST(? AS INTEGER)
ORDER BY deviations.deviation DESC, deviations.price_at, deviations.coin_id
LIMIT 100;

-- name: disagreements_at_midnight
-- The daily price is the day's open: the intra-day stream has it too, in the point nearest to the
-- moment that the API gave it for.
WITH opens AS (
    SELECT
        coin_id,
        vs_currency,
        price_at,
        COALESCE(stamped_at, price_at) AS moment,
        price
    FROM historical_prices
    WHERE price_at >= ? AND price_at <= ?
),

nearest AS (
    SELECT
        opens.coin_id,
        opens.price_at AS midnight,
        opens.price AS daily_price,
        intra_day.price_at AS seen_at,
        intra_day.price AS intra_day_price
    FROM opens
    INNER JOIN intra_day_prices AS intra_day
        ON
            intra_day.coin_id = opens.coin_id
            AND intra_day.vs_currency = opens.vs_currency
            AND intra_day.price_at >= DATEADD('minute', -10, opens.moment)
            AND intra_day.price_at <= DATEADD('minute', 10, opens.moment)
    WHERE
        intra_day.price_at >= DATEADD('minute', -10, CAST(? AS TIMESTAMP_NTZ))
        AND intra_day.price_at <= DATEADD('minute', 10, CAST(? AS TIMESTAMP_NTZ))
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY opens.coin_id, opens.vs_currency, opens.price_at
        ORDER BY ABS(DATEDIFF('millisecond', opens.moment, intra_day.price_at)), intra_day.price_at
    ) = 1
)

SELECT
    coin_id,
    midnight,
    daily_price,
    seen_at,
    intra_day_price
FROM nearest
WHERE ABS(intra_day_price - daily_price) > CAST(? AS DOUBLE) * daily_price
ORDER BY ABS(intra_day_price - daily_price) / NULLIF(daily_price, 0) DESC, midnight, coin_id
LIMIT 1000;

-- name: judged_in_load
-- How much those checks have to look at that compare prices with others: coins with enough returns, prices at
-- midnight that both streams have, and coins that the ledger promises prices of.
SELECT
    (
        SELECT COUNT(*)
        FROM (
            SELECT coin_id
            FROM {table}
            WHERE price_at >= ? AND price_at < ?
            GROUP BY coin_id, vs_currency, granularity
            HAVING COUNT(*) > CAST(? AS INTEGER)
        ) AS with_returns
    ) AS coins_with_returns,
    (
        SELECT COUNT(*)
        FROM historical_prices AS opens
        INNER JOIN intra_day_prices AS intra_day
            ON
                intra_day.coin_id = opens.coin_id
                AND intra_day.vs_currency = opens.vs_currency
                AND intra_day.price_at >= DATEADD('minute', -10, COALESCE(opens.stamped_at, opens.price_at))
                AND intra_day.price_at <= DATEADD('minute', 10, COALESCE(opens.stamped_at, opens.price_at))
        WHERE opens.price_at >= ? AND opens.price_at <= ?
    ) AS midnights,
    (
        SELECT COUNT(DISTINCT coin_id)
        FROM ingestion_ledger
        WHERE stream = ? AND vs_currency = ? AND status = 'present'
    ) AS promised_coins;

-- name: prices_behind_ledger
-- Coins whose newest price is older than the newest window in which the ledger has them: somebody took
-- prices out, or restored the table and not the ledger.
WITH promised AS (
    SELECT
        coin_id,
        MAX(window_start) AS newest_window
    FROM ingestion_ledger
    WHERE stream = ? AND vs_currency = ? AND status = 'present'
    GROUP BY coin_id
),

prices AS (
    SELECT
        coin_id,
        MAX(price_at) AS newest_price
    FROM {table}
    WHERE vs_currency = ?
    GROUP BY coin_id
)

SELECT
    promised.coin_id,
    promised.newest_window,
    prices.newest_price
FROM promised
LEFT JOIN prices ON prices.coin_id = promised.coin_id
WHERE prices.newest_price IS NULL OR prices.newest_price < promised.newest_window
ORDER BY promised.coin_id;
