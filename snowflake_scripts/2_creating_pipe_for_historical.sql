-- How Snowflake reads the transformed lake, and the pipe that lands the daily history.
--
-- Run it after 1_creation_tables.sql, as SYSADMIN. It is safe to run again: crypto-platform snowflake
-- apply runs it, and with --dry-run prints it with all that is filled in. In single braces stand the
-- columns of files, which follow the tables' own (see crypto_platform/warehouse/catalogue.py). What
-- stands in &{…} is explained in 0_account.sql.
--
-- A pipe with AUTO_INGEST is made only in load mode snowpipe, and only once AWS lets Snowflake assume
-- the role: it is refused before. A stage is not. Afterwards the bucket must notify the queue that
-- crypto-platform snowflake handover prints.

USE DATABASE &{database};

-- Without logical types a timestamp of the files would arrive as a number. Which scanner reads them is
-- said and not left to a default that Snowflake means to change: the vectorized one always uses logical
-- types, reads a moment that is UTC as TIMESTAMP_LTZ, and gives a null as a null of JSON, which every
-- cast below makes NULL. It knows no ON_ERROR but ABORT_STATEMENT and SKIP_FILE, the defaults of COPY and
-- of a pipe. (Snowflake's page of COPY INTO <table>, formatTypeOptions of PARQUET.)
CREATE FILE FORMAT IF NOT EXISTS transformed.lake_parquet
    TYPE = PARQUET
    USE_LOGICAL_TYPE = TRUE
    USE_VECTORIZED_SCANNER = TRUE
    COMMENT = 'Parquet as the transformation writes it';
ALTER FILE FORMAT transformed.lake_parquet SET USE_VECTORIZED_SCANNER = TRUE;

CREATE STAGE IF NOT EXISTS transformed.transformed_lake
    URL = 's3://&{transformed_bucket}/'
    STORAGE_INTEGRATION = &{integration}
    FILE_FORMAT = (FORMAT_NAME = 'transformed.lake_parquet')
    COMMENT = 'The transformed lake; files are named relative to it';

-- A pipe only appends, so it cannot replace a window. It lands files here, each row with the name of
-- its file; a load takes from here the files that its manifests name, and clears whole files: those
-- it took, and whatever else has rows in its windows. A pipe converts
-- in the account's time zone and not in UTC, so moments keep their zone until the load.
CREATE TABLE IF NOT EXISTS transformed.historical_prices_landing (
    {landing_columns:historical_prices},
    file_name VARCHAR NOT NULL COMMENT 'The file, relative to the stage'
) COMMENT = 'Rows of files that no load has taken yet: one row a price a file';

CREATE PIPE IF NOT EXISTS transformed.historical_prices_pipe
    AUTO_INGEST = TRUE
    COMMENT = 'Lands new files of historical_data/'
AS
COPY INTO transformed.historical_prices_landing (
    {file_columns:historical_prices}, file_name
)
FROM (
    SELECT
        {file_values:historical_prices},
        METADATA$FILENAME
    FROM @transformed.transformed_lake/historical_data/
)
PATTERN = '.*/month=[^/]+/prices-[^/]+[.]parquet'
FILE_FORMAT = (FORMAT_NAME = 'transformed.lake_parquet');

-- The loader copies from the stage, takes and clears what has landed, and asks how the pipe does.
GRANT USAGE ON FILE FORMAT &{database}.transformed.lake_parquet TO ROLE &{loader};
GRANT USAGE ON STAGE &{database}.transformed.transformed_lake TO ROLE &{loader};
GRANT SELECT, DELETE ON TABLE &{database}.transformed.historical_prices_landing TO ROLE &{loader};
GRANT MONITOR ON PIPE &{database}.transformed.historical_prices_pipe TO ROLE &{loader};
