-- The statements of the warehouse, in Snowflake's SQL, each under the name that the code calls it by.
-- They run unchanged on Snowflake and transpiled on DuckDB, in a session whose schema is transformed.
-- Values are bound with ?. {table} is the stream's table of prices, filled in from the known ones only,
-- and {columns:coins} the columns of a table, filled in from the script that creates it: what a person
-- has added to a table is left alone, and the order of its columns does not matter.
--
-- A load stages first: temporary tables hold what the files and manifests say. CREATE ends a
-- transaction in Snowflake, so staging comes before BEGIN. What follows BEGIN compares, replaces and
-- compares again. Types come from the tables themselves, so that they have one home.

-- name: stage_prices
-- Two columns of the files are not in the table; price_at and source lend them their types.
CREATE OR REPLACE TEMPORARY TABLE staged_prices AS
SELECT
    * EXCLUDE (loaded_at),
    price_at AS window_start,
    source AS run_id
FROM (SELECT {columns:{table}} FROM {table} WHERE FALSE) AS prices;

-- name: stage_snapshots
CREATE OR REPLACE TEMPORARY TABLE staged_snapshots AS
SELECT * EXCLUDE (loaded_at)
FROM (SELECT {columns:market_snapshots} FROM market_snapshots WHERE FALSE) AS snapshots;

-- name: stage_ledger
CREATE OR REPLACE TEMPORARY TABLE staged_ledger AS
SELECT {columns:ingestion_ledger}
FROM ingestion_ledger
WHERE FALSE;

-- name: stage_windows
-- What the manifests count, window by window.
CREATE OR REPLACE TEMPORARY TABLE staged_windows (
    window_start TIMESTAMP_NTZ(6),
    window_end TIMESTAMP_NTZ(6),
    prices INTEGER,
    coins INTEGER,
    snapshots INTEGER
);

-- name: stage_ranges
-- The same windows, neighbours merged: what a load replaces.
CREATE OR REPLACE TEMPORARY TABLE staged_ranges (
    range_start TIMESTAMP_NTZ(6),
    range_end TIMESTAMP_NTZ(6)
);

-- name: stage_standing
-- What stands in the windows before they are replaced.
CREATE OR REPLACE TEMPORARY TABLE staged_standing AS
SELECT {columns:{table}}
FROM {table}
WHERE FALSE;

-- name: stage_coins
CREATE OR REPLACE TEMPORARY TABLE staged_coins AS
SELECT {columns:coins}
FROM coins
WHERE FALSE;

-- name: stage_present
-- The manifest names the coins that are absent; those that are present are seen in the prices.
INSERT INTO staged_ledger (
    stream, coin_id, vs_currency, window_start, status, reason, points, run_id, updated_at
)
SELECT
    ?,
    coin_id,
    vs_currency,
    window_start,
    'present',
    NULL,
    COUNT(*),
    MAX(run_id),
    MAX(fetched_at)
FROM staged_prices
GROUP BY coin_id, vs_currency, window_start;

-- name: staged_sources
SELECT source FROM staged_prices
UNION
SELECT source FROM staged_snapshots;

-- name: standing_sources
SELECT source FROM historical_prices
UNION
SELECT source FROM intra_day_prices
UNION
SELECT source FROM market_snapshots
UNION
SELECT source FROM fear_and_greed;

-- name: staged_faults
-- Rows that would break a table's key, and rows that no later load of their window would replace.
SELECT
    'a price is there more than once' AS fault,
    coin_id,
    vs_currency,
    price_at AS moment,
    MIN(window_start) AS window_start
FROM staged_prices
-- Only where a coin has several prices in a window: of the same moment in two windows, one lies
-- outside. Most of history has one a window, and all of it is dear to group.
WHERE (coin_id, vs_currency, window_start) IN (
    SELECT coin_id, vs_currency, window_start
    FROM staged_ledger
    WHERE points > 1
)
GROUP BY coin_id, vs_currency, price_at
HAVING COUNT(*) > 1
UNION ALL
SELECT
    'a price lies outside its window' AS fault,
    staged.coin_id,
    staged.vs_currency,
    staged.price_at AS moment,
    staged.window_start
FROM staged_prices AS staged
INNER JOIN staged_windows AS windows ON windows.window_start = staged.window_start
WHERE staged.price_at < windows.window_start OR staged.price_at >= windows.window_end
UNION ALL
SELECT
    'a snapshot is there more than once' AS fault,
    coin_id,
    vs_currency,
    observed_at AS moment,
    MIN(window_start) AS window_start
FROM staged_snapshots
GROUP BY coin_id, vs_currency, observed_at
HAVING COUNT(*) > 1
UNION ALL
SELECT
    'the manifest calls the coin absent more than once, or absent and present' AS fault,
    coin_id,
    vs_currency,
    window_start AS moment,
    window_start
FROM staged_ledger
-- What is present was counted from the prices, and is there once.
WHERE (coin_id, vs_currency, window_start) IN (
    SELECT coin_id, vs_currency, window_start
    FROM staged_ledger
    WHERE status <> 'present'
)
GROUP BY coin_id, vs_currency, window_start
HAVING COUNT(*) > 1
ORDER BY fault, moment, coin_id
LIMIT 3;

-- name: staged_mismatches
SELECT
    'prices' AS counted,
    windows.window_start,
    windows.prices AS expected,
    COUNT(staged.price_at) AS found
FROM staged_windows AS windows
LEFT JOIN staged_prices AS staged ON staged.window_start = windows.window_start
GROUP BY windows.window_start, windows.prices
HAVING COUNT(staged.price_at) <> windows.prices
UNION ALL
SELECT
    'coins' AS counted,
    windows.window_start,
    windows.coins AS expected,
    COUNT(staged.coin_id) AS found
FROM staged_windows AS windows
LEFT JOIN staged_ledger AS staged
    ON staged.window_start = windows.window_start AND staged.status = 'present'
GROUP BY windows.window_start, windows.coins
HAVING COUNT(staged.coin_id) <> windows.coins
UNION ALL
SELECT
    'snapshots' AS counted,
    windows.window_start,
    windows.snapshots AS expected,
    COUNT(staged.observed_at) AS found
FROM staged_windows AS windows
LEFT JOIN staged_snapshots AS staged ON staged.window_start = windows.window_start
GROUP BY windows.window_start, windows.snapshots
HAVING COUNT(staged.observed_at) <> windows.snapshots
ORDER BY window_start, counted
LIMIT 3;

-- name: keep_standing
INSERT INTO staged_standing ({columns:{table}})
SELECT {columns:{table}}
FROM {table} AS standing
INNER JOIN staged_ranges AS ranges
    ON standing.price_at >= ranges.range_start AND standing.price_at < ranges.range_end;

-- name: insert_revisions
-- What will no longer stand, or not with these values. That it was asked for again is no change.
INSERT INTO price_revisions (
    stream, coin_id, vs_currency, price_at, window_start, known_from, revised_at,
    old_price, old_market_cap, old_total_volume, old_granularity, old_fetched_at,
    new_price, new_market_cap, new_total_volume, new_granularity, new_fetched_at, source
)
SELECT
    ?, changed.coin_id, changed.vs_currency, changed.price_at, windows.window_start,
    changed.loaded_at, ?,
    changed.price, changed.market_cap, changed.total_volume, changed.granularity,
    changed.fetched_at,
    changed.new_price, changed.new_market_cap, changed.new_total_volume, changed.new_granularity,
    changed.new_fetched_at, changed.source
FROM (
    SELECT
        standing.*,
        staged.price AS new_price,
        staged.market_cap AS new_market_cap,
        staged.total_volume AS new_total_volume,
        staged.granularity AS new_granularity,
        staged.fetched_at AS new_fetched_at
    FROM staged_standing AS standing
    LEFT JOIN staged_prices AS staged
        ON
            staged.coin_id = standing.coin_id
            AND staged.vs_currency = standing.vs_currency
            AND staged.price_at = standing.price_at
    WHERE
        staged.price IS DISTINCT FROM standing.price
        OR staged.market_cap IS DISTINCT FROM standing.market_cap
        OR staged.total_volume IS DISTINCT FROM standing.total_volume
        OR staged.granularity IS DISTINCT FROM standing.granularity
) AS changed
INNER JOIN staged_windows AS windows
    ON changed.price_at >= windows.window_start AND changed.price_at < windows.window_end;

-- name: delete_prices
DELETE FROM {table}
USING staged_ranges
WHERE {table}.price_at >= staged_ranges.range_start AND {table}.price_at < staged_ranges.range_end;

-- name: insert_prices
INSERT INTO {table} ({columns:{table}})
SELECT {columns:{table}}
FROM (
    SELECT
        staged.*,
        -- A row that says what stood before keeps its loaded_at: since when its values stand.
        COALESCE(standing.loaded_at, CAST(? AS TIMESTAMP_NTZ)) AS loaded_at
    FROM staged_prices AS staged
    LEFT JOIN staged_standing AS standing
        ON
            standing.coin_id = staged.coin_id
            AND standing.vs_currency = staged.vs_currency
            AND standing.price_at = staged.price_at
            AND standing.price IS NOT DISTINCT FROM staged.price
            AND standing.market_cap IS NOT DISTINCT FROM staged.market_cap
            AND standing.total_volume IS NOT DISTINCT FROM staged.total_volume
            AND standing.granularity IS NOT DISTINCT FROM staged.granularity
) AS loaded;

-- name: delete_snapshots
DELETE FROM market_snapshots
USING staged_ranges
WHERE
    market_snapshots.window_start >= staged_ranges.range_start
    AND market_snapshots.window_start < staged_ranges.range_end;

-- name: insert_snapshots
INSERT INTO market_snapshots ({columns:market_snapshots})
SELECT {columns:market_snapshots}
FROM (SELECT staged.*, CAST(? AS TIMESTAMP_NTZ) AS loaded_at FROM staged_snapshots AS staged) AS loaded;

-- name: delete_ledger
DELETE FROM ingestion_ledger
USING staged_ranges
WHERE
    ingestion_ledger.stream = ?
    AND ingestion_ledger.window_start >= staged_ranges.range_start
    AND ingestion_ledger.window_start < staged_ranges.range_end;

-- name: insert_ledger
INSERT INTO ingestion_ledger ({columns:ingestion_ledger})
SELECT {columns:ingestion_ledger}
FROM staged_ledger;

-- name: standing_price_mismatches
SELECT
    'prices' AS counted,
    windows.window_start,
    windows.prices AS expected,
    COALESCE(SUM(standing.prices), 0) AS found
FROM staged_windows AS windows
LEFT JOIN (
    -- Counted by moment first: the coins of a day share theirs, and a range is dear to join by.
    SELECT
        price_at,
        COUNT(*) AS prices
    FROM {table}
    WHERE
        price_at >= (SELECT MIN(window_start) FROM staged_windows)
        AND price_at < (SELECT MAX(window_end) FROM staged_windows)
    GROUP BY price_at
) AS standing
    ON
        standing.price_at >= windows.window_start
        AND standing.price_at < windows.window_end
GROUP BY windows.window_start, windows.prices
HAVING COALESCE(SUM(standing.prices), 0) <> windows.prices
ORDER BY window_start
LIMIT 3;

-- name: standing_snapshot_mismatches
SELECT
    'snapshots' AS counted,
    windows.window_start,
    windows.snapshots AS expected,
    COUNT(standing.observed_at) AS found
FROM staged_windows AS windows
LEFT JOIN market_snapshots AS standing ON standing.window_start = windows.window_start
GROUP BY windows.window_start, windows.snapshots
HAVING COUNT(standing.observed_at) <> windows.snapshots
ORDER BY window_start
LIMIT 3;

-- name: staged_previews
-- A few rows of each window, for people.
SELECT
    window_start,
    coin_id,
    vs_currency,
    price_at,
    price,
    market_cap,
    total_volume,
    granularity
FROM staged_prices
QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start ORDER BY price_at, coin_id, vs_currency) <= 5
ORDER BY window_start, price_at, coin_id, vs_currency;

-- name: revised_windows
-- What a load revised, window by window.
SELECT
    window_start,
    COUNT(*) AS revised
FROM price_revisions
WHERE stream = ? AND revised_at = ?
GROUP BY window_start
ORDER BY window_start;

-- name: revised_examples
-- A few of them, for people: the newest, one a coin first.
SELECT
    coin_id,
    vs_currency,
    price_at,
    old_price,
    new_price,
    old_market_cap,
    new_market_cap,
    old_total_volume,
    new_total_volume,
    old_granularity,
    new_granularity
FROM price_revisions
WHERE stream = ? AND revised_at = ?
ORDER BY
    ROW_NUMBER() OVER (PARTITION BY coin_id, vs_currency ORDER BY price_at DESC),
    coin_id,
    vs_currency
LIMIT 5;

-- name: prices_as_known_at
-- What the table held at a moment, of a span of price_at: what stands and stood then already, and what
-- stood then and was revised since. Bound: moment, span, stream, moment, moment, span.
SELECT
    coin_id,
    vs_currency,
    price_at,
    price,
    market_cap,
    total_volume,
    granularity,
    loaded_at AS known_from
FROM {table}
WHERE loaded_at <= ? AND price_at >= ? AND price_at < ?
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
FROM price_revisions
WHERE stream = ? AND known_from <= ? AND revised_at > ? AND price_at >= ? AND price_at < ?
ORDER BY price_at, coin_id, vs_currency;

-- name: staged_counts
SELECT
    COUNT(*) AS prices,
    COUNT(DISTINCT coin_id) AS coins,
    (SELECT COUNT(*) FROM staged_snapshots) AS snapshots
FROM staged_prices;

-- name: staged_statuses
SELECT
    status,
    COUNT(*) AS coin_windows
FROM staged_ledger
GROUP BY status
ORDER BY status;

-- name: merge_coins
-- A coin that the API no longer knows keeps the name it had, and the earliest moment stays.
MERGE INTO coins
USING staged_coins AS seen ON coins.coin_id = seen.coin_id
WHEN MATCHED THEN UPDATE SET
    symbol = COALESCE(seen.symbol, coins.symbol),
    name = COALESCE(seen.name, coins.name),
    image = COALESCE(seen.image, coins.image),
    first_tracked_at = LEAST(seen.first_tracked_at, coins.first_tracked_at),
    tracked = seen.tracked
WHEN NOT MATCHED THEN INSERT (coin_id, symbol, name, image, first_tracked_at, tracked)
VALUES (seen.coin_id, seen.symbol, seen.name, seen.image, seen.first_tracked_at, seen.tracked);

-- name: summary_of_prices
SELECT
    COUNT(*) AS prices,
    COUNT(DISTINCT coin_id) AS coins,
    MIN(price_at) AS oldest,
    MAX(price_at) AS newest
FROM {table};

-- name: summary_of_windows
SELECT COUNT(DISTINCT window_start) AS windows
FROM ingestion_ledger
WHERE stream = ?;

-- name: summary_of_ledger
SELECT
    status,
    COUNT(*) AS coin_windows
FROM ingestion_ledger
WHERE stream = ?
GROUP BY status
ORDER BY status;

-- name: columns
SELECT
    LOWER(table_name) AS relation,
    LOWER(column_name) AS name,
    data_type AS type,
    is_nullable = 'YES' AS nullable
FROM information_schema.columns
WHERE LOWER(table_schema) = 'transformed';

-- name: relations
SELECT LOWER(table_name) AS relation
FROM information_schema.tables
WHERE LOWER(table_schema) = 'transformed';

-- name: views
SELECT LOWER(table_name) AS relation, view_definition AS definition
FROM information_schema.views
WHERE LOWER(table_schema) = 'transformed';

-- name: made_by
-- Which scripts a DuckDB file was last brought up to date by.
SELECT checksum
FROM main.made_by;

-- name: create_made_by
CREATE OR REPLACE TABLE main.made_by (checksum VARCHAR);

-- name: comment_made_by
COMMENT ON TABLE main.made_by IS 'Checksum of the scripts that last brought this file up to date';

-- name: insert_made_by
INSERT INTO main.made_by (checksum)
VALUES (?);
