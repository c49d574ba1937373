-- The warehouse of crypto prices: what holds them, who may touch them, and what each column means.
--
-- Run it after 0_account.sql and as SYSADMIN, which then owns all of it. It is safe to run again:
-- nothing that holds data is ever replaced. crypto-platform snowflake apply runs it, and says with
-- --dry-run what it puts in place of &{…}: the names of 0_account.sql.
--
-- This script is the one home of these tables. The local warehouse, DuckDB, is made from it too: the
-- statements that create a schema, a table or a view are transpiled, the others (database, grants) name
-- things that a file on a laptop does not have. Names are therefore qualified by their schema and never
-- by their database, which in DuckDB is the name of the file.
--
-- It is also the one list of columns: a line of a table here (name, type, NOT NULL, COMMENT) is all
-- that a new column takes. Statements, staging, COPY, landing and the UI follow it, and a warehouse
-- that is there gains a column that may be null: DuckDB when it is opened, Snowflake by
-- crypto-platform snowflake apply. Anything else is refused with the statement to run.
--
-- Time is TIMESTAMP_NTZ, and always UTC. With a zone in the type, what a query means would depend on
-- who asks: both engines read a literal without an offset, and DuckDB also cuts days, in the zone of
-- the session, which is Los Angeles on a new Snowflake account and the machine's zone in DuckDB. Without
-- one, DATE_TRUNC('day', price_at) and price_at >= '2026-11-22' give the same rows everywhere. The load
-- converts to UTC before it writes.
--
-- Numbers of the API are DOUBLE, the type of its JSON: each value is the API's to the last bit.

CREATE DATABASE IF NOT EXISTS &{database}
    COMMENT = 'Crypto prices from CoinGecko, with a reason for every price that is missing';

USE DATABASE &{database};

CREATE SCHEMA IF NOT EXISTS transformed
    COMMENT = 'Prices as the transformation wrote them; all time is UTC';

-- Primary keys are declared for readers and tools. Snowflake does not enforce them and DuckDB is not
-- given them (an index would be most of the file): the load itself refuses a key that comes twice.

CREATE TABLE IF NOT EXISTS transformed.historical_prices (
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin; symbols are not unique',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency of price, market_cap and total_volume, as in usd',
    price_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'UTC midnight that opens the day; where the day''s first price is more than two hours later, its own moment',
    stamped_at TIMESTAMP_NTZ(6) COMMENT 'UTC moment that the API gave the price at, to the millisecond; null where the row is older than this column',
    price DOUBLE NOT NULL COMMENT 'Price of one coin in vs_currency',
    market_cap DOUBLE COMMENT 'Market capitalization in vs_currency; null or zero where the API says so',
    total_volume DOUBLE COMMENT 'Volume traded in the 24 hours before, in vs_currency; null or zero where the API says so',
    granularity VARCHAR NOT NULL COMMENT 'Spacing of the points in the API''s answer: daily, hourly or 5-minute',
    fetched_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the API was asked, UTC',
    loaded_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'Since when the row stands with these values: when the load was that brought them, UTC',
    source VARCHAR NOT NULL COMMENT 'Where the price is from: coingecko, or simulated',
    PRIMARY KEY (coin_id, vs_currency, price_at)
) COMMENT = 'Daily history: one row a coin a day';

CREATE TABLE IF NOT EXISTS transformed.intra_day_prices (
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin; symbols are not unique',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency of price, market_cap and total_volume, as in usd',
    price_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'UTC moment of the observation, to the millisecond',
    stamped_at TIMESTAMP_NTZ(6) COMMENT 'UTC moment that the API gave the price at, to the millisecond; null where the row is older than this column',
    price DOUBLE NOT NULL COMMENT 'Price of one coin in vs_currency',
    market_cap DOUBLE COMMENT 'Market capitalization in vs_currency; null or zero where the API says so',
    total_volume DOUBLE COMMENT 'Volume traded in the 24 hours before, in vs_currency; null or zero where the API says so',
    granularity VARCHAR NOT NULL COMMENT 'Spacing of the points in the API''s answer: daily, hourly or 5-minute',
    fetched_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the API was asked, UTC',
    loaded_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'Since when the row stands with these values: when the load was that brought them, UTC',
    source VARCHAR NOT NULL COMMENT 'Where the price is from: coingecko, or simulated',
    PRIMARY KEY (coin_id, vs_currency, price_at)
) COMMENT = 'Intra-day prices: one row a coin an observation';

CREATE TABLE IF NOT EXISTS transformed.market_snapshots (
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin; symbols are not unique',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency of all prices, caps and volumes of the row, as in usd',
    observed_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the market was looked at, UTC',
    window_start TIMESTAMP_NTZ(6) NOT NULL COMMENT 'Start of the six-hour window that the snapshot belongs to, UTC',
    rank INTEGER COMMENT 'Place by market capitalization, 1 the largest',
    current_price DOUBLE COMMENT 'Price of one coin in vs_currency when observed',
    market_cap DOUBLE COMMENT 'Market capitalization in vs_currency when observed',
    total_volume DOUBLE COMMENT 'Volume traded in the 24 hours before, in vs_currency',
    high_24h DOUBLE COMMENT 'Highest price of the 24 hours before, in vs_currency',
    low_24h DOUBLE COMMENT 'Lowest price of the 24 hours before, in vs_currency',
    price_change_24h DOUBLE COMMENT 'Change of the price over the 24 hours before, in vs_currency',
    price_change_percentage_24h DOUBLE COMMENT 'Change of the price over the 24 hours before, in percent: 1.5 is 1.5 %',
    circulating_supply DOUBLE COMMENT 'Coins in circulation',
    total_supply DOUBLE COMMENT 'Coins in existence',
    max_supply DOUBLE COMMENT 'Coins there can ever be; null where there is no limit',
    fully_diluted_valuation DOUBLE COMMENT 'Price times the most coins there can be, in vs_currency',
    ath DOUBLE COMMENT 'All-time high of the price, in vs_currency',
    ath_date TIMESTAMP_NTZ(6) COMMENT 'When the all-time high was, UTC',
    atl DOUBLE COMMENT 'All-time low of the price, in vs_currency',
    atl_date TIMESTAMP_NTZ(6) COMMENT 'When the all-time low was, UTC',
    last_updated TIMESTAMP_NTZ(6) COMMENT 'When the API itself last updated the coin, UTC',
    loaded_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the row was loaded, UTC; one moment a load',
    source VARCHAR NOT NULL COMMENT 'Where the snapshot is from: coingecko, or simulated',
    PRIMARY KEY (coin_id, vs_currency, observed_at)
) COMMENT = 'The market as it stood when a six-hour window closed: one row a coin a snapshot';

CREATE TABLE IF NOT EXISTS transformed.coins (
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin',
    symbol VARCHAR COMMENT 'Ticker, as in btc; not unique',
    name VARCHAR COMMENT 'Name, as in Bitcoin',
    image VARCHAR COMMENT 'Address of the coin''s picture',
    first_tracked_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the platform began to track the coin, UTC',
    tracked BOOLEAN NOT NULL COMMENT 'Whether new windows still ask for the coin',
    PRIMARY KEY (coin_id)
) COMMENT = 'Coins that are or were tracked: one row a coin';

CREATE TABLE IF NOT EXISTS transformed.ingestion_ledger (
    stream VARCHAR NOT NULL COMMENT 'historical or intra_day',
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency that was asked for',
    window_start TIMESTAMP_NTZ(6) NOT NULL COMMENT 'Start of the window, UTC',
    status VARCHAR NOT NULL COMMENT 'present, missing_at_source, out_of_plan, quarantined or failed',
    reason VARCHAR COMMENT 'Why there is no price, in a sentence; null where there is one',
    points INTEGER NOT NULL COMMENT 'Prices the coin has in the window',
    run_id VARCHAR NOT NULL COMMENT 'The run that fetched the prices, or learned why there are none',
    updated_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When that was, UTC',
    PRIMARY KEY (stream, coin_id, vs_currency, window_start)
) COMMENT = 'What became of every coin in every window: one row a coin a window';

CREATE TABLE IF NOT EXISTS transformed.price_revisions (
    stream VARCHAR NOT NULL COMMENT 'historical or intra_day: in whose table of prices the row stood',
    coin_id VARCHAR NOT NULL COMMENT 'The API''s id of the coin',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency of all prices, caps and volumes of the row, as in usd',
    price_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'UTC moment of the observation that changed',
    window_start TIMESTAMP_NTZ(6) NOT NULL COMMENT 'Start of the window that was loaded again, UTC',
    known_from TIMESTAMP_NTZ(6) NOT NULL COMMENT 'Since when the old values stood in the table: their loaded_at, UTC',
    revised_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When a load replaced them, UTC; the loaded_at of the new values',
    old_price DOUBLE NOT NULL COMMENT 'Price that stood in the table',
    old_market_cap DOUBLE COMMENT 'Market capitalization that stood in the table',
    old_total_volume DOUBLE COMMENT 'Volume that stood in the table',
    old_granularity VARCHAR NOT NULL COMMENT 'Spacing of the points that the old values came with',
    old_fetched_at TIMESTAMP_NTZ(6) NOT NULL COMMENT 'When the API was asked for the old values, UTC',
    new_price DOUBLE COMMENT 'Price since then; null where the window no longer has this moment',
    new_market_cap DOUBLE COMMENT 'Market capitalization since then',
    new_total_volume DOUBLE COMMENT 'Volume since then',
    new_granularity VARCHAR COMMENT 'Spacing of the new points; null where the window no longer has this moment',
    new_fetched_at TIMESTAMP_NTZ(6) COMMENT 'When the API was asked for the new values, UTC; null where there are none',
    source VARCHAR NOT NULL COMMENT 'Where the old values are from: coingecko, or simulated',
    PRIMARY KEY (stream, coin_id, vs_currency, price_at, revised_at)
) COMMENT = 'Values that stood in a table of prices and no longer do: one row a coin a moment a change';

CREATE TABLE IF NOT EXISTS transformed.streams (
    stream VARCHAR NOT NULL COMMENT 'historical or intra_day',
    vs_currency VARCHAR NOT NULL COMMENT 'Currency that the stream asks for',
    first_window TIMESTAMP_NTZ(6) NOT NULL COMMENT 'Start of the stream''s first window, UTC',
    window_minutes INTEGER NOT NULL COMMENT 'Length of a window',
    PRIMARY KEY (stream)
) COMMENT = 'Which windows a stream has, as the settings say: one row a stream';

CREATE OR REPLACE VIEW transformed.prices COPY GRANTS
    COMMENT = 'Both streams as one series: one row a coin a moment, of the finest granularity there is'
AS
WITH observations AS (
    SELECT 'historical' AS stream, *
    FROM transformed.historical_prices
    -- In a table that has gained a column since, it stands last.
    UNION ALL BY NAME
    SELECT 'intra_day' AS stream, *
    FROM transformed.intra_day_prices
),

finest AS (
    SELECT *
    FROM observations
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY coin_id, vs_currency, price_at
        ORDER BY DECODE(granularity, '5-minute', 1, 'hourly', 2, 3), fetched_at DESC, stream
    ) = 1
)

SELECT
    finest.coin_id,
    coins.symbol,
    coins.name,
    finest.vs_currency,
    finest.price_at,
    finest.stamped_at,
    finest.price,
    finest.market_cap,
    finest.total_volume,
    finest.granularity,
    finest.stream,
    finest.fetched_at,
    finest.loaded_at,
    finest.source
FROM finest
LEFT JOIN transformed.coins ON coins.coin_id = finest.coin_id;

-- GENERATOR takes a constant. Two digits to the base of 65,536 number the windows of any stream: of one
-- minute they last for 8,000 years.
CREATE OR REPLACE VIEW transformed.coin_windows COPY GRANTS
    COMMENT = 'Every tracked coin in every closed window since the first that was asked for: pending where no load was about it'
AS
WITH digits AS (
    SELECT ROW_NUMBER() OVER (ORDER BY SEQ4()) - 1 AS digit
    FROM TABLE(GENERATOR(ROWCOUNT => 65536))
),

-- A history that nobody has asked for is not missing; whatever lies between two windows asked for is.
asked AS (
    SELECT
        stream,
        vs_currency,
        MIN(window_start) AS since
    FROM transformed.ingestion_ledger
    GROUP BY stream, vs_currency
),

closed AS (
    SELECT
        streams.*,
        asked.since,
        DATEDIFF('minute', streams.first_window, SYSDATE()) AS minutes
    FROM transformed.streams
    INNER JOIN asked
        ON asked.stream = streams.stream AND asked.vs_currency = streams.vs_currency
),

windows AS (
    SELECT
        closed.stream,
        closed.vs_currency,
        closed.since,
        high.digit * 65536 + low.digit AS window_number,
        DATEADD(
            'minute', (high.digit * 65536 + low.digit) * closed.window_minutes, closed.first_window
        ) AS window_start
    FROM closed
    INNER JOIN digits AS high
        ON (high.digit * 65536 + 1) * closed.window_minutes <= closed.minutes
    INNER JOIN digits AS low
        ON (high.digit * 65536 + low.digit + 1) * closed.window_minutes <= closed.minutes
)

SELECT
    windows.stream,
    coins.coin_id,
    windows.vs_currency,
    windows.window_number,
    windows.window_start,
    COALESCE(ledger.status, 'pending') AS status,
    ledger.reason,
    COALESCE(ledger.points, 0) AS points,
    ledger.run_id,
    ledger.updated_at
FROM windows
CROSS JOIN transformed.coins
LEFT JOIN transformed.ingestion_ledger AS ledger
    ON
        ledger.stream = windows.stream
        AND ledger.coin_id = coins.coin_id
        AND ledger.vs_currency = windows.vs_currency
        AND ledger.window_start = windows.window_start
WHERE coins.tracked AND windows.window_start >= windows.since;

CREATE OR REPLACE VIEW transformed.completeness COPY GRANTS
    COMMENT = 'How complete each tracked coin is since the first window asked for: one row a stream a coin a month'
AS
SELECT
    stream,
    coin_id,
    vs_currency,
    DATE_TRUNC('month', window_start) AS month,
    COUNT(*) AS expected,
    COUNT_IF(status = 'present') AS present,
    COUNT_IF(status = 'missing_at_source') AS missing_at_source,
    COUNT_IF(status = 'out_of_plan') AS out_of_plan,
    COUNT_IF(status = 'quarantined') AS quarantined,
    COUNT_IF(status = 'failed') AS failed,
    COUNT_IF(status = 'pending') AS pending,
    CAST(COUNT_IF(status = 'present') AS DOUBLE) / COUNT(*) AS ratio
FROM transformed.coin_windows
GROUP BY stream, coin_id, vs_currency, DATE_TRUNC('month', window_start);

-- The temporary tables of a load need no grant: Snowflake lets any role that uses the schema make them.
GRANT USAGE ON DATABASE &{database} TO ROLE &{loader};
GRANT USAGE ON SCHEMA &{database}.transformed TO ROLE &{loader};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA &{database}.transformed TO ROLE &{loader};
GRANT SELECT ON ALL VIEWS IN SCHEMA &{database}.transformed TO ROLE &{loader};

GRANT USAGE ON DATABASE &{database} TO ROLE &{reader};
GRANT USAGE ON SCHEMA &{database}.transformed TO ROLE &{reader};
GRANT SELECT ON ALL TABLES IN SCHEMA &{database}.transformed TO ROLE &{reader};
GRANT SELECT ON ALL VIEWS IN SCHEMA &{database}.transformed TO ROLE &{reader};
