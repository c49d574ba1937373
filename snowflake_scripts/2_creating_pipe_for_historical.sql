-- How Snowflake reads the transformed lake, and the pipe that lands the daily history.
--
-- Run it after 1_creation_tables.sql, as ACCOUNTADMIN or a role that may create integrations. It is
-- safe to run again: crypto-platform snowflake apply runs it, and with --dry-run prints it with all
-- that is filled in. In single braces stand the columns of files, which follow the tables' own (see
-- crypto_platform/warehouse/catalogue.py). What stands in &{…} is given to it:
--
--   transformed_bucket  the S3 bucket of the transformed lake
--   storage_role_arn    the AWS role that Snowflake assumes to read it; the stack's output
--   pipes_paused        TRUE where loads copy the files themselves (load mode copy), else FALSE
--
-- Afterwards the AWS role must trust the user that DESCRIBE INTEGRATION crypto_lake names, and the
-- bucket must notify the queue that SHOW PIPES names as notification_channel.

USE DATABASE crypto_db;

CREATE STORAGE INTEGRATION IF NOT EXISTS crypto_lake
    TYPE = EXTERNAL_STAGE
    STORAGE_PROVIDER = 'S3'
    ENABLED = TRUE
    STORAGE_AWS_ROLE_ARN = '&{storage_role_arn}'
    STORAGE_ALLOWED_LOCATIONS = ('s3://&{transformed_bucket}/')
    COMMENT = 'Reads the transformed lake of crypto prices';

-- Without logical types a timestamp of the files would arrive as a number.
CREATE FILE FORMAT IF NOT EXISTS transformed.lake_parquet
    TYPE = PARQUET
    USE_LOGICAL_TYPE = TRUE
    COMMENT = 'Parquet as the transformation writes it';

CREATE STAGE IF NOT EXISTS transformed.transformed_lake
    URL = 's3://&{transformed_bucket}/'
    STORAGE_INTEGRATION = crypto_lake
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

ALTER PIPE transformed.historical_prices_pipe SET PIPE_EXECUTION_PAUSED = &{pipes_paused};

-- The loader copies from the stage, takes and clears what has landed, and asks how the pipe does.
GRANT USAGE ON FILE FORMAT crypto_db.transformed.lake_parquet TO ROLE crypto_loader;
GRANT USAGE ON STAGE crypto_db.transformed.transformed_lake TO ROLE crypto_loader;
GRANT SELECT, DELETE ON TABLE crypto_db.transformed.historical_prices_landing TO ROLE crypto_loader;
GRANT MONITOR ON PIPE crypto_db.transformed.historical_prices_pipe TO ROLE crypto_loader;
