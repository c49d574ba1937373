-- The pipes that land intra-day prices and market snapshots.
--
-- Run it after 2_creating_pipe_for_historical.sql, which makes the stage that both read and says what
-- is given for &{pipes_paused}; as the same role. It is safe to run again.

USE DATABASE crypto_db;

-- Landing is explained in 2_creating_pipe_for_historical.sql.
CREATE TABLE IF NOT EXISTS transformed.intra_day_prices_landing (
    coin_id VARCHAR COMMENT 'As in intra_day_prices',
    vs_currency VARCHAR COMMENT 'As in intra_day_prices',
    window_start TIMESTAMP_LTZ(6) COMMENT 'Start of the window that the price belongs to',
    price_at TIMESTAMP_LTZ(6) COMMENT 'As in intra_day_prices',
    price DOUBLE COMMENT 'As in intra_day_prices',
    market_cap DOUBLE COMMENT 'As in intra_day_prices',
    total_volume DOUBLE COMMENT 'As in intra_day_prices',
    granularity VARCHAR COMMENT 'As in intra_day_prices',
    fetched_at TIMESTAMP_LTZ(6) COMMENT 'As in intra_day_prices',
    source VARCHAR COMMENT 'As in intra_day_prices',
    run_id VARCHAR COMMENT 'The run that wrote the file',
    file_name VARCHAR NOT NULL COMMENT 'The file, relative to the stage'
) COMMENT = 'Rows of files that no load has taken yet: one row a price a file';

CREATE PIPE IF NOT EXISTS transformed.intra_day_prices_pipe
    AUTO_INGEST = TRUE
    COMMENT = 'Lands new files of intra_day/'
AS
COPY INTO transformed.intra_day_prices_landing (
    coin_id, vs_currency, window_start, price_at, price, market_cap, total_volume, granularity,
    fetched_at, source, run_id, file_name
)
FROM (
    SELECT
        $1:coin_id::VARCHAR,
        $1:vs_currency::VARCHAR,
        $1:window_start::TIMESTAMP_LTZ,
        $1:price_at::TIMESTAMP_LTZ,
        $1:price::DOUBLE,
        $1:market_cap::DOUBLE,
        $1:total_volume::DOUBLE,
        $1:granularity::VARCHAR,
        $1:fetched_at::TIMESTAMP_LTZ,
        $1:source::VARCHAR,
        $1:run_id::VARCHAR,
        METADATA$FILENAME
    FROM @transformed.transformed_lake/intra_day/
)
PATTERN = '.*[.]parquet'
FILE_FORMAT = (FORMAT_NAME = 'transformed.lake_parquet');

ALTER PIPE transformed.intra_day_prices_pipe SET PIPE_EXECUTION_PAUSED = &{pipes_paused};

CREATE TABLE IF NOT EXISTS transformed.market_snapshots_landing (
    coin_id VARCHAR COMMENT 'As in market_snapshots',
    vs_currency VARCHAR COMMENT 'As in market_snapshots',
    observed_at TIMESTAMP_LTZ(6) COMMENT 'As in market_snapshots',
    window_start TIMESTAMP_LTZ(6) COMMENT 'As in market_snapshots',
    rank INTEGER COMMENT 'As in market_snapshots',
    current_price DOUBLE COMMENT 'As in market_snapshots',
    market_cap DOUBLE COMMENT 'As in market_snapshots',
    total_volume DOUBLE COMMENT 'As in market_snapshots',
    high_24h DOUBLE COMMENT 'As in market_snapshots',
    low_24h DOUBLE COMMENT 'As in market_snapshots',
    price_change_24h DOUBLE COMMENT 'As in market_snapshots',
    price_change_percentage_24h DOUBLE COMMENT 'As in market_snapshots',
    circulating_supply DOUBLE COMMENT 'As in market_snapshots',
    total_supply DOUBLE COMMENT 'As in market_snapshots',
    max_supply DOUBLE COMMENT 'As in market_snapshots',
    fully_diluted_valuation DOUBLE COMMENT 'As in market_snapshots',
    ath DOUBLE COMMENT 'As in market_snapshots',
    ath_date TIMESTAMP_LTZ(6) COMMENT 'As in market_snapshots',
    atl DOUBLE COMMENT 'As in market_snapshots',
    atl_date TIMESTAMP_LTZ(6) COMMENT 'As in market_snapshots',
    last_updated TIMESTAMP_LTZ(6) COMMENT 'As in market_snapshots',
    source VARCHAR COMMENT 'As in market_snapshots',
    run_id VARCHAR COMMENT 'The run that wrote the file',
    file_name VARCHAR NOT NULL COMMENT 'The file, relative to the stage'
) COMMENT = 'Rows of files that no load has taken yet: one row a coin a snapshot a file';

CREATE PIPE IF NOT EXISTS transformed.market_snapshots_pipe
    AUTO_INGEST = TRUE
    COMMENT = 'Lands new files of market_snapshots/'
AS
COPY INTO transformed.market_snapshots_landing (
    coin_id, vs_currency, observed_at, window_start, rank, current_price, market_cap,
    total_volume, high_24h, low_24h, price_change_24h, price_change_percentage_24h,
    circulating_supply, total_supply, max_supply, fully_diluted_valuation, ath, ath_date, atl,
    atl_date, last_updated, source, run_id, file_name
)
FROM (
    SELECT
        $1:coin_id::VARCHAR,
        $1:vs_currency::VARCHAR,
        $1:observed_at::TIMESTAMP_LTZ,
        $1:window_start::TIMESTAMP_LTZ,
        $1:rank::INTEGER,
        $1:current_price::DOUBLE,
        $1:market_cap::DOUBLE,
        $1:total_volume::DOUBLE,
        $1:high_24h::DOUBLE,
        $1:low_24h::DOUBLE,
        $1:price_change_24h::DOUBLE,
        $1:price_change_percentage_24h::DOUBLE,
        $1:circulating_supply::DOUBLE,
        $1:total_supply::DOUBLE,
        $1:max_supply::DOUBLE,
        $1:fully_diluted_valuation::DOUBLE,
        $1:ath::DOUBLE,
        $1:ath_date::TIMESTAMP_LTZ,
        $1:atl::DOUBLE,
        $1:atl_date::TIMESTAMP_LTZ,
        $1:last_updated::TIMESTAMP_LTZ,
        $1:source::VARCHAR,
        $1:run_id::VARCHAR,
        METADATA$FILENAME
    FROM @transformed.transformed_lake/market_snapshots/
)
PATTERN = '.*[.]parquet'
FILE_FORMAT = (FORMAT_NAME = 'transformed.lake_parquet');

ALTER PIPE transformed.market_snapshots_pipe SET PIPE_EXECUTION_PAUSED = &{pipes_paused};

GRANT SELECT, DELETE ON TABLE crypto_db.transformed.intra_day_prices_landing TO ROLE crypto_loader;
GRANT SELECT, DELETE ON TABLE crypto_db.transformed.market_snapshots_landing TO ROLE crypto_loader;
GRANT MONITOR ON PIPE crypto_db.transformed.intra_day_prices_pipe TO ROLE crypto_loader;
GRANT MONITOR ON PIPE crypto_db.transformed.market_snapshots_pipe TO ROLE crypto_loader;
