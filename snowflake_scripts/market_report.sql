-- What the market report shows, in Snowflake's SQL, each statement under the name that the code
-- calls it by. {coins} stands for as many question marks as there are coins.

-- name: newest_windows
SELECT stream, MAX(window_start) AS window_start
FROM ingestion_ledger
WHERE vs_currency = ? AND status <> 'pending'
GROUP BY stream;

-- name: newest_of_each_coin
-- The newest day that has a close: a day that only just began has none yet.
SELECT
    moves.coin_id,
    coins.symbol,
    coins.name,
    moves.day,
    moves.close,
    moves.return_1d,
    moves.return_7d,
    moves.return_30d,
    moves.volatility_30d,
    moves.drawdown,
    daily.market_cap,
    volumes.volume,
    volumes.ratio_to_median,
    volumes.unusual
FROM price_moves AS moves
INNER JOIN daily_prices AS daily
    ON
        daily.coin_id = moves.coin_id
        AND daily.vs_currency = moves.vs_currency
        AND daily.day = moves.day
LEFT JOIN trading_volumes AS volumes
    ON
        volumes.coin_id = moves.coin_id
        AND volumes.vs_currency = moves.vs_currency
        AND volumes.day = moves.day
LEFT JOIN coins ON coins.coin_id = moves.coin_id
WHERE moves.vs_currency = ? AND moves.day >= ? AND moves.close IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY moves.coin_id ORDER BY moves.day DESC) = 1
ORDER BY daily.market_cap DESC NULLS LAST, moves.coin_id;

-- name: days_of_coins
SELECT coin_id, day, close, log_return_1d, volatility_30d, drawdown
FROM price_moves
WHERE vs_currency = ? AND day >= ? AND coin_id IN ({coins})
ORDER BY coin_id, day;

-- name: days_of_the_market
-- A day that only just began has no close yet, and is left out.
SELECT
    moves.day,
    COUNT(moves.close) AS coins,
    MEDIAN(moves.drawdown) AS drawdown,
    PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY moves.drawdown) AS drawdown_low,
    PERCENTILE_CONT(0.75) WITHIN GROUP (ORDER BY moves.drawdown) AS drawdown_high,
    MEDIAN(moves.volatility_30d) AS volatility_30d,
    PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY moves.volatility_30d) AS volatility_30d_low,
    PERCENTILE_CONT(0.75) WITHIN GROUP (ORDER BY moves.volatility_30d) AS volatility_30d_high,
    SUM(volumes.volume) AS volume,
    -- Null where it is not known of any coin.
    SUM(IFF(volumes.unusual, 1, IFF(volumes.unusual IS NULL, NULL, 0))) AS unusual
FROM price_moves AS moves
LEFT JOIN trading_volumes AS volumes
    ON
        volumes.coin_id = moves.coin_id
        AND volumes.vs_currency = moves.vs_currency
        AND volumes.day = moves.day
WHERE moves.vs_currency = ? AND moves.day >= ? AND moves.close IS NOT NULL
GROUP BY moves.day
ORDER BY moves.day;

-- name: days_of_sentiment
SELECT
    day,
    fear_and_greed,
    fear_and_greed_class,
    breadth_1d,
    breadth_7d,
    above_50d_mean,
    bitcoin_dominance,
    stablecoin_share,
    total_market_cap,
    total_market_cap_change_1d,
    coins
FROM market_sentiment
WHERE vs_currency = ? AND day >= ?
ORDER BY day;

-- name: days_of_completeness
-- The coin-windows of a stream in a stretch of time, by day and status.
SELECT
    stream,
    window_start::DATE AS day,
    status,
    COUNT(*) AS coin_windows
FROM coin_windows
WHERE stream = ? AND window_start >= ? AND window_start <= ?
GROUP BY stream, window_start::DATE, status
ORDER BY day, status;

-- name: reasons_of_gaps
SELECT
    stream,
    status,
    reason,
    COUNT(*) AS coin_windows,
    COUNT(DISTINCT coin_id) AS coins,
    MIN(coin_id) AS a_coin,
    MAX(window_start) AS newest
FROM coin_windows
WHERE stream = ? AND window_start >= ? AND window_start <= ? AND status <> 'present'
GROUP BY stream, status, reason
ORDER BY coin_windows DESC, status, reason
LIMIT 10;

-- name: newest_price_of_each_coin
-- Of the coins that are still asked for, however long ago that was; null where there is none at all.
SELECT coins.coin_id, coins.name, MAX(seen.price_at) AS price_at
FROM coins
LEFT JOIN (
    SELECT coin_id, price_at FROM historical_prices
    WHERE vs_currency = ?
    UNION ALL
    SELECT coin_id, price_at FROM intra_day_prices
    WHERE vs_currency = ?
) AS seen ON seen.coin_id = coins.coin_id
WHERE coins.tracked
GROUP BY coins.coin_id, coins.name
ORDER BY MAX(seen.price_at) NULLS FIRST, coins.coin_id;
