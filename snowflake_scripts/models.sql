-- How the models are made, in Snowflake's SQL, each statement under the name that the code calls it by.
-- They run unchanged on Snowflake and transpiled on DuckDB, in a session whose schema is transformed.
-- What each column means stands in 5_creation_models.sql.
--
-- Models are made from a day on: the first day of which an input differs from what they were made
-- from, less one, since a day closes with the next one's open. Nothing looks further ahead, so what
-- stands before that day is what a making of the whole would give. In what makes or clears a model,
-- each question mark is that day.
--
-- Numbers are the same to the bit, in whatever order their prices were loaded: what is rounded is
-- summed in a fixed order, as an array (REDUCE). SUM, AVG and STDDEV of doubles promise no order, and
-- on DuckDB those of a moving window depend on the rows before it.

-- name: stage_inputs
-- Read before anything is made: what is loaded meanwhile differs, and is made the next time.
CREATE OR REPLACE TEMPORARY TABLE staged_inputs AS
SELECT
    'historical_prices' AS input,
    price_at::DATE AS day,
    COUNT(*) AS row_count,
    MAX(loaded_at) AS loaded_at
FROM historical_prices
GROUP BY price_at::DATE
UNION ALL
SELECT
    'intra_day_prices' AS input,
    price_at::DATE AS day,
    COUNT(*) AS row_count,
    MAX(loaded_at) AS loaded_at
FROM intra_day_prices
GROUP BY price_at::DATE
UNION ALL
SELECT
    'market_snapshots' AS input,
    window_start::DATE AS day,
    COUNT(*) AS row_count,
    MAX(loaded_at) AS loaded_at
FROM market_snapshots
GROUP BY window_start::DATE
UNION ALL
SELECT
    'fear_and_greed' AS input,
    day,
    COUNT(*) AS row_count,
    MAX(loaded_at) AS loaded_at
FROM fear_and_greed
GROUP BY day;

-- name: first_day_to_make
-- The newest day that stands is always made again once anything is: it may have gone on.
SELECT LEAST(MIN(differing.day) - 1, COALESCE(MIN(standing.newest), MIN(differing.day))) AS day
FROM (
    SELECT COALESCE(staged_inputs.day, model_inputs.day) AS day
    FROM staged_inputs
    FULL OUTER JOIN model_inputs
        ON
            model_inputs.input = staged_inputs.input
            AND model_inputs.day = staged_inputs.day
    WHERE
        staged_inputs.day IS NULL
        OR model_inputs.day IS NULL
        OR model_inputs.row_count <> staged_inputs.row_count
        OR model_inputs.loaded_at <> staged_inputs.loaded_at
        OR model_inputs.definition <> ?
) AS differing
CROSS JOIN (SELECT MAX(day) AS newest FROM daily_prices) AS standing;

-- name: clear_inputs
DELETE FROM model_inputs;

-- name: keep_inputs
INSERT INTO model_inputs (input, day, row_count, loaded_at, definition)
SELECT input, day, row_count, loaded_at, ?
FROM staged_inputs;

-- name: clear_model
DELETE FROM {table}
WHERE day >= CAST(? AS DATE);

-- name: insert_model
-- Of the query of a model, make_…, each column goes where it is called.
INSERT INTO {table} ({columns:{table}})
SELECT {columns:{table}}
FROM (
{query}
) AS made;

-- name: make_daily_prices
-- The point that the API stamps with a midnight is the open of the day that begins, so it also is
-- the close of the day that ends. Volume and market capitalization are of the moment of the close:
-- a volume is that of the 24 hours before.
WITH daily AS (
    SELECT
        coin_id,
        vs_currency,
        price_at::DATE AS day,
        price_at,
        COALESCE(stamped_at, price_at) AS seen_at,
        -- A daily price of another moment is a price of its day, and not the day's midnight.
        COALESCE(stamped_at, price_at) < DATEADD('hour', 2, price_at::DATE::TIMESTAMP_NTZ) AS opens,
        price,
        market_cap,
        total_volume
    FROM historical_prices
    WHERE price_at >= CAST(? AS DATE)
),

intra_day AS (
    SELECT
        coin_id,
        vs_currency,
        price_at::DATE AS day,
        MIN(price_at) AS first_at,
        MAX(price_at) AS last_at,
        MAX(price) AS high,
        MIN(price) AS low,
        COUNT(price_at) AS observations,
        -- Hourly prices are stamped some minutes before the full hour as often as after it. What is
        -- nearest to the next midnight is of the next day's hours.
        COUNT(
            DISTINCT IFF(
                DATEADD('minute', 30, price_at)::DATE = price_at::DATE,
                DATE_TRUNC('hour', DATEADD('minute', 30, price_at)),
                NULL
            )
        ) AS hours_observed,
        MIN(DECODE(granularity, '5-minute', 1, 'hourly', 2, 3)) AS coarseness
    FROM intra_day_prices
    WHERE price_at >= CAST(? AS DATE)
    GROUP BY coin_id, vs_currency, price_at::DATE
),

ends AS (
    SELECT
        intra_day.*,
        first_prices.price AS first_price,
        first_prices.market_cap AS first_cap,
        first_prices.total_volume AS first_volume,
        last_prices.price AS last_price,
        last_prices.market_cap AS last_cap,
        last_prices.total_volume AS last_volume,
        intra_day.first_at < DATEADD('hour', 2, intra_day.day::TIMESTAMP_NTZ) AS seen_at_first
    FROM intra_day
    INNER JOIN intra_day_prices AS first_prices
        ON
            first_prices.coin_id = intra_day.coin_id
            AND first_prices.vs_currency = intra_day.vs_currency
            AND first_prices.price_at = intra_day.first_at
            AND first_prices.price_at >= CAST(? AS DATE)
    INNER JOIN intra_day_prices AS last_prices
        ON
            last_prices.coin_id = intra_day.coin_id
            AND last_prices.vs_currency = intra_day.vs_currency
            AND last_prices.price_at = intra_day.last_at
            AND last_prices.price_at >= CAST(? AS DATE)
),

days AS (
    SELECT
        COALESCE(daily.coin_id, ends.coin_id) AS coin_id,
        COALESCE(daily.vs_currency, ends.vs_currency) AS vs_currency,
        COALESCE(daily.day, ends.day) AS day,
        CASE
            WHEN daily.opens THEN daily.price_at
            WHEN ends.seen_at_first THEN ends.first_at
        END AS open_at,
        CASE
            WHEN daily.opens THEN daily.price
            WHEN ends.seen_at_first THEN ends.first_price
        END AS open,
        CASE
            WHEN daily.opens THEN daily.market_cap
            WHEN ends.seen_at_first THEN ends.first_cap
        END AS open_cap,
        CASE
            WHEN daily.opens THEN daily.total_volume
            WHEN ends.seen_at_first THEN ends.first_volume
        END AS open_volume,
        ends.high,
        ends.low,
        -- Whether the day's last price is the daily one.
        NOT daily.opens AND (ends.last_at IS NULL OR daily.seen_at > ends.last_at) AS is_daily,
        IFF(is_daily, daily.seen_at, ends.last_at) AS last_at,
        IFF(is_daily, daily.price, ends.last_price) AS last_price,
        IFF(is_daily, daily.market_cap, ends.last_cap) AS last_cap,
        IFF(is_daily, daily.total_volume, ends.last_volume) AS last_volume,
        IFF(daily.price_at IS NULL, 0, 1) + COALESCE(ends.observations, 0) AS observations,
        COALESCE(ends.hours_observed, 0) AS hours_observed,
        DECODE(ends.coarseness, 1, '5-minute', 2, 'hourly', 'daily') AS granularity
    FROM daily
    FULL OUTER JOIN ends
        ON
            ends.coin_id = daily.coin_id
            AND ends.vs_currency = daily.vs_currency
            AND ends.day = daily.day
),

neighbours AS (
    SELECT
        days.*,
        day = MAX(day) OVER (PARTITION BY vs_currency) AS is_newest,
        LEAD(day) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) = day + 1 AS is_followed,
        LEAD(open_at) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) AS next_at,
        LEAD(open) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) AS next_open,
        LEAD(open_cap) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) AS next_cap,
        LEAD(open_volume) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) AS next_volume
    FROM days
),

closing AS (
    SELECT
        neighbours.*,
        CASE
            WHEN is_followed AND next_at IS NOT NULL THEN 'next open'
            WHEN last_at >= DATEADD('hour', 22, day::TIMESTAMP_NTZ) THEN 'last price'
            WHEN is_newest AND last_at > COALESCE(open_at, day::TIMESTAMP_NTZ) THEN 'last price'
        END AS closes_with
    FROM neighbours
),

closed AS (
    SELECT
        closing.*,
        DECODE(closes_with, 'next open', next_open, 'last price', last_price) AS close,
        DECODE(closes_with, 'next open', next_at, 'last price', last_at) AS close_at,
        DECODE(closes_with, 'next open', next_volume, 'last price', last_volume) AS volume,
        DECODE(closes_with, 'next open', next_cap, 'last price', last_cap) AS market_cap
    FROM closing
)

SELECT
    coin_id,
    vs_currency,
    day,
    open,
    GREATEST(high, COALESCE(open, high), COALESCE(close, high)) AS high,
    LEAST(low, COALESCE(open, low), COALESCE(close, low)) AS low,
    close,
    close_at,
    volume,
    NULLIF(market_cap, 0) AS market_cap,
    observations,
    hours_observed,
    granularity
FROM closed;

-- name: make_price_moves
-- Thirty returns need the thirty closes before them: what is read begins 31 days earlier. What came
-- before that is only needed as a peak.
WITH closes AS (
    SELECT
        coin_id,
        vs_currency,
        day,
        close,
        COALESCE(
            high, GREATEST(COALESCE(open, close), COALESCE(close, open))
        ) AS highest,
        IFF(hours_observed >= 20, (high - low) / NULLIF(open, 0), NULL) AS range_24h
    FROM daily_prices
    WHERE day >= CAST(? AS DATE) - 31
),

-- Of days that have a price: nothing else may stand in for one that has none.
neighbours AS (
    SELECT
        closes.*,
        close / NULLIF(
            IFF(
                LAG(day) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) = day - 1,
                LAG(close) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                NULL
            ),
            0
        ) AS ratio_1d,
        close / NULLIF(
            IFF(
                LAG(day, 7) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) = day - 7,
                LAG(close, 7) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                NULL
            ),
            0
        ) AS ratio_7d,
        close / NULLIF(
            IFF(
                LAG(day, 30) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) = day - 30,
                LAG(close, 30) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                NULL
            ),
            0
        ) AS ratio_30d
    FROM closes
),

returns AS (
    SELECT
        neighbours.*,
        LN(IFF(ratio_1d > 0, ratio_1d, NULL)) AS log_return_1d
    FROM neighbours
),

months AS (
    SELECT
        returns.*,
        COUNT(log_return_1d) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day ROWS BETWEEN 29 PRECEDING AND CURRENT ROW
        ) AS known_30d,
        ARRAY_AGG(log_return_1d) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day ROWS BETWEEN 29 PRECEDING AND CURRENT ROW
        )::ARRAY(DOUBLE) AS returns_30d
    FROM returns
),

deviations AS (
    SELECT
        months.*,
        -- How many there are, their mean, and the sum of the squares of their distances from it, one
        -- return after the other (Welford): equal returns deviate by nothing at all.
        REDUCE(
            IFF(known_30d = 30, returns_30d, NULL),
            ARRAY_CONSTRUCT(0::DOUBLE, 0::DOUBLE, 0::DOUBLE)::ARRAY(DOUBLE),
            (acc, v) -> ARRAY_CONSTRUCT(
                acc[0]::DOUBLE + 1,
                acc[1]::DOUBLE + (v - acc[1]::DOUBLE) / (acc[0]::DOUBLE + 1),
                acc[2]::DOUBLE
                + (v - acc[1]::DOUBLE) * (v - acc[1]::DOUBLE)
                * acc[0]::DOUBLE / (acc[0]::DOUBLE + 1)
            )::ARRAY(DOUBLE)
        )[2]::DOUBLE AS squares_30d
    FROM months
),

-- Each snapshot tells the all-time high anew: it takes back what an earlier one, or a price, was wrong in.
earlier_snapshots AS (
    SELECT coin_id, vs_currency, window_start::DATE AS day, ath
    FROM market_snapshots
    WHERE window_start < CAST(? AS DATE) - 31 AND ath IS NOT NULL
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY coin_id, vs_currency ORDER BY window_start DESC, observed_at DESC
    ) = 1
),

snapshots AS (
    SELECT coin_id, vs_currency, window_start::DATE AS day, ath
    FROM market_snapshots
    WHERE window_start >= CAST(? AS DATE) - 31 AND ath IS NOT NULL
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY coin_id, vs_currency, window_start::DATE
        ORDER BY window_start DESC, observed_at DESC
    ) = 1
),

earlier_days AS (
    SELECT
        daily_prices.coin_id,
        daily_prices.vs_currency,
        daily_prices.close,
        earlier_snapshots.ath,
        IFF(
            daily_prices.day > earlier_snapshots.day,
            COALESCE(high, GREATEST(COALESCE(open, close), COALESCE(close, open))),
            NULL
        ) AS highest_since
    FROM daily_prices
    LEFT JOIN earlier_snapshots
        ON
            earlier_snapshots.coin_id = daily_prices.coin_id
            AND earlier_snapshots.vs_currency = daily_prices.vs_currency
    WHERE daily_prices.day < CAST(? AS DATE) - 31
),

earlier_peaks AS (
    SELECT coin_id, vs_currency, MAX(close) AS peak, MAX(highest_since) AS highest_since
    FROM earlier_days
    GROUP BY coin_id, vs_currency
),

-- A day with a snapshot and no price has a row too, which is left out at the end.
days AS (
    SELECT
        COALESCE(deviations.coin_id, snapshots.coin_id) AS coin_id,
        COALESCE(deviations.vs_currency, snapshots.vs_currency) AS vs_currency,
        COALESCE(deviations.day, snapshots.day) AS day,
        deviations.day IS NOT NULL AS priced,
        deviations.close,
        deviations.highest,
        deviations.range_24h,
        deviations.ratio_1d,
        deviations.ratio_7d,
        deviations.ratio_30d,
        deviations.log_return_1d,
        deviations.squares_30d,
        snapshots.ath
    FROM deviations
    FULL OUTER JOIN snapshots
        ON
            snapshots.coin_id = deviations.coin_id
            AND snapshots.vs_currency = deviations.vs_currency
            AND snapshots.day = deviations.day
),

spans AS (
    SELECT
        days.*,
        COUNT(ath) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS snapshots_so_far
    FROM days
),

windows AS (
    SELECT
        spans.*,
        MAX(close) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS peak,
        -- The prices of the snapshot's own day are what it was taken from.
        MAX(COALESCE(ath, highest)) OVER (
            PARTITION BY coin_id, vs_currency, snapshots_so_far ORDER BY day
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS highest_since
    FROM spans
),

peaks AS (
    SELECT
        windows.*,
        GREATEST(
            windows.peak, COALESCE(earlier_peaks.peak, windows.peak)
        ) AS peak_of_all,
        CASE
            WHEN windows.snapshots_so_far > 0 THEN windows.highest_since
            WHEN earlier_snapshots.ath IS NOT NULL
                THEN GREATEST(
                    earlier_snapshots.ath,
                    COALESCE(earlier_peaks.highest_since, earlier_snapshots.ath),
                    COALESCE(windows.highest_since, earlier_snapshots.ath)
                )
        END AS all_time_high
    FROM windows
    LEFT JOIN earlier_peaks
        ON
            earlier_peaks.coin_id = windows.coin_id
            AND earlier_peaks.vs_currency = windows.vs_currency
    LEFT JOIN earlier_snapshots
        ON
            earlier_snapshots.coin_id = windows.coin_id
            AND earlier_snapshots.vs_currency = windows.vs_currency
    WHERE windows.priced AND windows.day >= CAST(? AS DATE)
)

SELECT
    coin_id,
    vs_currency,
    day,
    close,
    ratio_1d - 1 AS return_1d,
    ratio_7d - 1 AS return_7d,
    ratio_30d - 1 AS return_30d,
    log_return_1d,
    SQRT(squares_30d / 29) * SQRT(365) AS volatility_30d,
    close / NULLIF(peak_of_all, 0) - 1 AS drawdown,
    close / NULLIF(IFF(close > all_time_high, close, all_time_high), 0) - 1 AS ath_distance,
    range_24h
FROM peaks;

-- name: make_trading_volumes
-- The day itself is not in its own median, so that a burst does not hide itself. Snowflake has no
-- median over a moving window: it is taken from the thirty volumes in order of their size.
WITH totals AS (
    SELECT
        vs_currency,
        day,
        REDUCE(
            (ARRAY_AGG(volume) WITHIN GROUP (ORDER BY coin_id))::ARRAY(DOUBLE),
            0::DOUBLE,
            (acc, v) -> acc + COALESCE(v, 0)
        ) AS volume
    FROM daily_prices
    WHERE day >= CAST(? AS DATE) - 30
    GROUP BY vs_currency, day
),

volumes AS (
    SELECT
        daily_prices.coin_id,
        daily_prices.vs_currency,
        daily_prices.day,
        daily_prices.volume,
        daily_prices.volume / daily_prices.market_cap AS turnover,
        daily_prices.volume / NULLIF(totals.volume, 0) AS market_share
    FROM daily_prices
    INNER JOIN totals
        ON
            totals.vs_currency = daily_prices.vs_currency
            AND totals.day = daily_prices.day
    WHERE daily_prices.day >= CAST(? AS DATE) - 30
),

months AS (
    SELECT
        volumes.*,
        LAG(day, 30) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) = day - 30
        AND COUNT(volume) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day ROWS BETWEEN 30 PRECEDING AND 1 PRECEDING
        ) = 30 AS is_known,
        ARRAY_SORT(
            ARRAY_CONSTRUCT(
                LAG(volume, 1) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 2) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 3) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 4) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 5) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 6) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 7) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 8) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 9) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 10) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 11) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 12) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 13) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 14) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 15) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 16) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 17) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 18) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 19) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 20) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 21) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 22) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 23) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 24) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 25) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 26) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 27) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 28) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 29) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
                LAG(volume, 30) OVER (PARTITION BY coin_id, vs_currency ORDER BY day)
            )
        ) AS by_size
    FROM volumes
),

medians AS (
    SELECT
        months.*,
        IFF(is_known, (by_size[14]::DOUBLE + by_size[15]::DOUBLE) / 2, NULL) AS median_30d
    FROM months
    WHERE day >= CAST(? AS DATE)
)

SELECT
    coin_id,
    vs_currency,
    day,
    volume,
    median_30d,
    volume / NULLIF(median_30d, 0) AS ratio_to_median,
    turnover,
    market_share,
    volume / NULLIF(median_30d, 0) >= 2.5 AS unusual
FROM medians;

-- name: make_market_sentiment
-- Stablecoins are listed by name: the API has the category only in responses that nobody keeps.
WITH stablecoins (coin_id) AS (
    SELECT coin_id
    FROM (
        VALUES
        ('tether'), ('usd-coin'), ('dai'), ('usds'), ('ethena-usde'), ('usd1-wlfi'),
        ('paypal-usd'), ('global-dollar'), ('ripple-usd'), ('first-digital-usd'), ('true-usd'),
        ('usdd'), ('falcon-finance'), ('bfusd'), ('usdtb'), ('gho'), ('usual-usd'), ('frax'),
        ('frax-usd'), ('crvusd'), ('agora-dollar'), ('united-stables'), ('usdgo'), ('usx'),
        ('usdai'), ('megausd'), ('gusd'), ('gemini-dollar'), ('paxos-standard'), ('binance-usd'),
        ('husd'), ('nusd'), ('liquity-usd'), ('magic-internet-money'), ('terrausd'),
        ('euro-coin'), ('societe-generale-forge-eurcv'), ('stasis-eurs'), ('tether-eurt'),
        ('binance-bridged-usdt-bnb-smart-chain'), ('bridged-usdc-polygon-pos-bridge')
    ) AS pegged (coin_id)
),

moments AS (
    SELECT
        coin_id,
        vs_currency,
        day,
        close,
        market_cap,
        COUNT(close) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day ROWS BETWEEN 49 PRECEDING AND CURRENT ROW
        ) AS known_50d,
        ARRAY_AGG(close) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day ROWS BETWEEN 49 PRECEDING AND CURRENT ROW
        )::ARRAY(DOUBLE) AS closes_50d,
        MIN(close) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day ROWS BETWEEN 49 PRECEDING AND CURRENT ROW
        ) AS lowest_50d,
        MAX(close) OVER (
            PARTITION BY coin_id, vs_currency ORDER BY day ROWS BETWEEN 49 PRECEDING AND CURRENT ROW
        ) AS highest_50d,
        LAG(day, 49) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) AS day_of_first,
        IFF(
            LAG(day) OVER (PARTITION BY coin_id, vs_currency ORDER BY day) = day - 1,
            LAG(market_cap) OVER (PARTITION BY coin_id, vs_currency ORDER BY day),
            NULL
        ) AS cap_before
    FROM daily_prices
    WHERE day >= CAST(? AS DATE) - 50
),

coin_days AS (
    SELECT
        moments.coin_id,
        moments.vs_currency,
        moments.day,
        moments.market_cap,
        IFF(stablecoins.coin_id IS NULL, NULL, moments.market_cap) AS stablecoin_cap,
        IFF(moments.coin_id = 'bitcoin', moments.market_cap, NULL) AS bitcoin_cap,
        IFF(moments.cap_before IS NULL, NULL, moments.market_cap) AS cap_on_both,
        IFF(moments.market_cap IS NULL, NULL, moments.cap_before) AS cap_before,
        price_moves.return_1d,
        price_moves.return_7d,
        -- A mean lies between the lowest and the highest, which rounding must not leave: fifty equal
        -- closes have themselves as their mean.
        IFF(
            moments.known_50d = 50 AND moments.day_of_first = moments.day - 49,
            LEAST(
                moments.highest_50d,
                GREATEST(
                    moments.lowest_50d,
                    REDUCE(moments.closes_50d, 0::DOUBLE, (acc, v) -> acc + COALESCE(v, 0)) / 50
                )
            ),
            NULL
        ) AS mean_50d,
        moments.close
    FROM moments
    INNER JOIN price_moves
        ON
            price_moves.coin_id = moments.coin_id
            AND price_moves.vs_currency = moments.vs_currency
            AND price_moves.day = moments.day
    LEFT JOIN stablecoins ON stablecoins.coin_id = moments.coin_id
    WHERE moments.day >= CAST(? AS DATE)
),

markets AS (
    SELECT
        vs_currency,
        day,
        COUNT_IF(return_1d > 0)::DOUBLE / NULLIF(COUNT(return_1d), 0) AS breadth_1d,
        COUNT_IF(return_7d > 0)::DOUBLE / NULLIF(COUNT(return_7d), 0) AS breadth_7d,
        COUNT_IF(close > mean_50d)::DOUBLE / NULLIF(COUNT(mean_50d), 0) AS above_50d_mean,
        MAX(bitcoin_cap) AS bitcoin_cap,
        COUNT(market_cap) AS coins,
        COUNT(stablecoin_cap) AS stablecoins,
        COUNT(cap_on_both) AS coins_on_both,
        (ARRAY_AGG(market_cap) WITHIN GROUP (ORDER BY coin_id))::ARRAY(DOUBLE) AS caps,
        (ARRAY_AGG(stablecoin_cap) WITHIN GROUP (ORDER BY coin_id))::ARRAY(DOUBLE) AS stablecoin_caps,
        (ARRAY_AGG(cap_on_both) WITHIN GROUP (ORDER BY coin_id))::ARRAY(DOUBLE) AS caps_on_both,
        (ARRAY_AGG(cap_before) WITHIN GROUP (ORDER BY coin_id))::ARRAY(DOUBLE) AS caps_before
    FROM coin_days
    GROUP BY vs_currency, day
),

totals AS (
    SELECT
        markets.*,
        IFF(coins > 0, REDUCE(caps, 0::DOUBLE, (acc, v) -> acc + COALESCE(v, 0)), NULL) AS total,
        IFF(stablecoins > 0, REDUCE(stablecoin_caps, 0::DOUBLE, (acc, v) -> acc + COALESCE(v, 0)), NULL)
            AS stablecoin_total,
        IFF(coins_on_both > 0, REDUCE(caps_on_both, 0::DOUBLE, (acc, v) -> acc + COALESCE(v, 0)), NULL)
            AS total_on_both,
        IFF(coins_on_both > 0, REDUCE(caps_before, 0::DOUBLE, (acc, v) -> acc + COALESCE(v, 0)), NULL)
            AS total_before
    FROM markets
)

SELECT
    totals.vs_currency,
    totals.day,
    fear_and_greed.value AS fear_and_greed,
    fear_and_greed.classification AS fear_and_greed_class,
    totals.breadth_1d,
    totals.breadth_7d,
    totals.above_50d_mean,
    totals.bitcoin_cap / totals.total AS bitcoin_dominance,
    totals.stablecoin_total / totals.total AS stablecoin_share,
    totals.total AS total_market_cap,
    totals.total_on_both / NULLIF(totals.total_before, 0) - 1 AS total_market_cap_change_1d,
    totals.coins
FROM totals
LEFT JOIN fear_and_greed ON fear_and_greed.day = totals.day;

-- name: newest_rows
SELECT {columns:{table}}
FROM {table}
WHERE day = (SELECT MAX(day) FROM {table})
ORDER BY {key}
LIMIT 5;

-- name: size
SELECT
    COUNT(*) AS row_count,
    COUNT_IF(day >= CAST(? AS DATE)) AS made,
    MAX(day) AS newest_day
FROM {table};

-- name: repeated_keys
SELECT {key}, COUNT(*) AS row_count
FROM {table}
GROUP BY {key}
HAVING COUNT(*) > 1
ORDER BY {key}
LIMIT 5;

-- name: out_of_range_in_daily_prices
SELECT coin_id, vs_currency, day, fault
FROM (
    SELECT
        coin_id,
        vs_currency,
        day,
        CASE
            WHEN LEAST(COALESCE(open, 1), COALESCE(low, 1), COALESCE(close, 1)) <= 0
                THEN 'a price is zero or less'
            WHEN low > high THEN 'low is above high'
            WHEN open > high OR close > high THEN 'open or close is above high'
            WHEN open < low OR close < low THEN 'open or close is below low'
            WHEN market_cap <= 0 THEN 'market_cap is zero or less'
            WHEN volume < 0 THEN 'volume is less than zero'
            WHEN close_at <= day::TIMESTAMP_NTZ OR close_at > DATEADD('hour', 26, day::TIMESTAMP_NTZ)
                THEN 'close_at is not of the day'
            WHEN observations < 1 OR hours_observed > 24 THEN 'a count cannot be'
        END AS fault
    FROM daily_prices
) AS evaluated
WHERE fault IS NOT NULL
ORDER BY day DESC, coin_id
LIMIT 5;

-- name: out_of_range_in_price_moves
SELECT coin_id, vs_currency, day, fault
FROM (
    SELECT
        coin_id,
        vs_currency,
        day,
        CASE
            WHEN return_1d < -1 OR return_7d < -1 OR return_30d < -1
                THEN 'a return is below -1, which is all there was'
            WHEN volatility_30d < 0 THEN 'volatility_30d is less than zero'
            WHEN drawdown > 0 OR drawdown < -1 THEN 'drawdown is not between -1 and 0'
            WHEN ath_distance > 0 OR ath_distance < -1 THEN 'ath_distance is not between -1 and 0'
            WHEN range_24h < 0 THEN 'range_24h is less than zero'
            WHEN close IS NULL AND COALESCE(return_1d, return_7d, return_30d, drawdown) IS NOT NULL
                THEN 'it moved, and has no close'
        END AS fault
    FROM price_moves
) AS evaluated
WHERE fault IS NOT NULL
ORDER BY day DESC, coin_id
LIMIT 5;

-- name: out_of_range_in_trading_volumes
SELECT coin_id, vs_currency, day, fault
FROM (
    SELECT
        coin_id,
        vs_currency,
        day,
        CASE
            WHEN volume < 0 OR median_30d < 0 OR turnover < 0 THEN 'a volume is less than zero'
            WHEN market_share < 0 OR market_share > 1.000000001
                THEN 'market_share is not between 0 and 1'
            WHEN unusual IS NULL AND ratio_to_median IS NOT NULL THEN 'unusual is not said'
        END AS fault
    FROM trading_volumes
) AS evaluated
WHERE fault IS NOT NULL
ORDER BY day DESC, coin_id
LIMIT 5;

-- name: out_of_range_in_market_sentiment
SELECT vs_currency, day, fault
FROM (
    SELECT
        vs_currency,
        day,
        CASE
            WHEN fear_and_greed < 0 OR fear_and_greed > 100
                THEN 'fear_and_greed is not between 0 and 100'
            WHEN
                breadth_1d < 0 OR breadth_1d > 1
                OR breadth_7d < 0 OR breadth_7d > 1
                OR above_50d_mean < 0 OR above_50d_mean > 1
                THEN 'a share of the coins is not between 0 and 1'
            WHEN
                bitcoin_dominance < 0 OR bitcoin_dominance > 1.000000001
                OR stablecoin_share < 0 OR stablecoin_share > 1.000000001
                THEN 'a share of the market is not between 0 and 1'
            WHEN total_market_cap <= 0 THEN 'total_market_cap is zero or less'
        END AS fault
    FROM market_sentiment
) AS evaluated
WHERE fault IS NOT NULL
ORDER BY day DESC, vs_currency
LIMIT 5;

-- name: out_of_range_in_fear_and_greed
SELECT day, value
FROM fear_and_greed
WHERE value < 0 OR value > 100
ORDER BY day DESC
LIMIT 5;

-- name: incomplete_in_daily_prices
-- What is loaded while this is asked is not in the model yet: only what it was made from counts.
SELECT inputs.day, inputs.expected, COALESCE(models.found, 0) AS found
FROM (
    SELECT day, SUM(row_count) AS expected
    FROM model_inputs
    WHERE input IN ('historical_prices', 'intra_day_prices')
    GROUP BY day
) AS inputs
LEFT JOIN (
    SELECT day, SUM(observations) AS found
    FROM daily_prices
    GROUP BY day
) AS models ON models.day = inputs.day
WHERE COALESCE(models.found, 0) <> inputs.expected
ORDER BY inputs.day DESC
LIMIT 5;

-- name: incomplete_in_coin_model
SELECT daily.day, daily.expected, COALESCE(models.found, 0) AS found
FROM (
    SELECT day, COUNT(*) AS expected
    FROM daily_prices
    GROUP BY day
) AS daily
LEFT JOIN (
    SELECT day, COUNT(*) AS found
    FROM {table}
    GROUP BY day
) AS models ON models.day = daily.day
WHERE COALESCE(models.found, 0) <> daily.expected
ORDER BY daily.day DESC
LIMIT 5;

-- name: incomplete_in_market_sentiment
SELECT daily.vs_currency, daily.day, 1 AS expected, 0 AS found
FROM (SELECT DISTINCT vs_currency, day FROM daily_prices) AS daily
LEFT JOIN market_sentiment
    ON
        market_sentiment.vs_currency = daily.vs_currency
        AND market_sentiment.day = daily.day
WHERE market_sentiment.day IS NULL
ORDER BY daily.day DESC
LIMIT 5;

-- name: stage_fear_and_greed
CREATE OR REPLACE TEMPORARY TABLE staged_fear_and_greed AS
SELECT {columns:fear_and_greed}
FROM fear_and_greed
WHERE FALSE;

-- name: merge_fear_and_greed
-- A value that is the same stays as it is, so that the models are not made again for nothing; a day
-- that the index no longer tells of stays too.
MERGE INTO fear_and_greed
USING staged_fear_and_greed AS seen ON fear_and_greed.day = seen.day
WHEN MATCHED AND (
    fear_and_greed.value <> seen.value
    OR COALESCE(fear_and_greed.classification, '') <> COALESCE(seen.classification, '')
) THEN UPDATE SET
    value = seen.value,
    classification = seen.classification,
    fetched_at = seen.fetched_at,
    loaded_at = seen.loaded_at,
    source = seen.source
WHEN NOT MATCHED THEN INSERT (day, value, classification, fetched_at, loaded_at, source)
VALUES (seen.day, seen.value, seen.classification, seen.fetched_at, seen.loaded_at, seen.source);

-- name: summary_of_fear_and_greed
SELECT COUNT(*) AS row_count, MIN(day) AS first_day, MAX(day) AS newest_day
FROM fear_and_greed;
