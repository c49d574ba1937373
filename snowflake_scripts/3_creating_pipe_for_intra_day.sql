-- The pipes that land intra-day prices and market snapshots.
--
-- Run it after 2_creating_pipe_for_historical.sql, which makes the stage that both read and says when
-- there are pipes; as the same role. It is safe to run again.

USE DATABASE &{database};

-- Landing is explained in 2_creating_pipe_for_historical.sql.
CREATE TABLE IF NOT EXISTS transformed.intra_day_prices_landing (
    {landing_columns:intra_day_prices},
    file_name VARCHAR NOT NULL COMMENT 'The file, relative to the stage'
) COMMENT = 'Rows of files that no load has taken yet: one row a price a file';

CREATE PIPE IF NOT EXISTS transformed.intra_day_prices_pipe
    AUTO_INGEST = TRUE
    COMMENT = 'Lands new files of intra_day/'
AS
COPY INTO transformed.intra_day_prices_landing (
    {file_columns:intra_day_prices}, file_name
)
FROM (
    SELECT
        {file_values:intra_day_prices},
        METADATA$FILENAME
    FROM @transformed.transformed_lake/intra_day/
)
PATTERN = '.*/month=[^/]+/prices-[^/]+[.]parquet'
FILE_FORMAT = (FORMAT_NAME = 'transformed.lake_parquet');

CREATE TABLE IF NOT EXISTS transformed.market_snapshots_landing (
    {landing_columns:market_snapshots},
    file_name VARCHAR NOT NULL COMMENT 'The file, relative to the stage'
) COMMENT = 'Rows of files that no load has taken yet: one row a coin a snapshot a file';

CREATE PIPE IF NOT EXISTS transformed.market_snapshots_pipe
    AUTO_INGEST = TRUE
    COMMENT = 'Lands new files of market_snapshots/'
AS
COPY INTO transformed.market_snapshots_landing (
    {file_columns:market_snapshots}, file_name
)
FROM (
    SELECT
        {file_values:market_snapshots},
        METADATA$FILENAME
    FROM @transformed.transformed_lake/market_snapshots/
)
PATTERN = '.*/month=[^/]+/snapshots-[^/]+[.]parquet'
FILE_FORMAT = (FORMAT_NAME = 'transformed.lake_parquet');

GRANT SELECT, DELETE ON TABLE &{database}.transformed.intra_day_prices_landing TO ROLE &{loader};
GRANT SELECT, DELETE ON TABLE &{database}.transformed.market_snapshots_landing TO ROLE &{loader};
GRANT MONITOR ON PIPE &{database}.transformed.intra_day_prices_pipe TO ROLE &{loader};
GRANT MONITOR ON PIPE &{database}.transformed.market_snapshots_pipe TO ROLE &{loader};
