-- What stands above the database: roles, the user that loads, the warehouse with its limits, and the
-- integration through which Snowflake reads the transformed lake.
--
-- The first of three phases: crypto-platform snowflake integration runs it, then AWS lets the role be
-- assumed, then crypto-platform snowflake apply runs scripts 1, 2, 3 and 5 (see docs/snowflake.md). It
-- is safe to run again, and --dry-run prints it with all that is filled in.
--
-- Each part says which role it runs as, and that role owns what the part makes. USERADMIN and SYSADMIN
-- make what they can; an account administrator makes the rest alone. What stands in &{…} is given; a
-- statement with something that was not given, as a public key, is left out:
--
--   database            the setting SNOWFLAKE_DATABASE, from which all names below follow: for CRYPTO_DB
--                       they are CRYPTO_LOADER, CRYPTO_READER, CRYPTO_SERVICE, CRYPTO_WH,
--                       CRYPTO_MONITOR and CRYPTO_LAKE
--   administrator       --role: who may make integrations and resource monitors, so ACCOUNTADMIN
--   public_key          --public-key: the public half of the key that the user logs in with
--   credit_quota        credits a month of a new resource monitor; new_credit_quota where --credits says
--   storage_role_arn    the AWS role that Snowflake assumes to read the bucket; it need not be there yet
--   transformed_bucket  the S3 bucket of the transformed lake

USE ROLE USERADMIN;

CREATE ROLE IF NOT EXISTS &{loader} COMMENT = 'Writes the rows of &{database}; changes no table';
CREATE ROLE IF NOT EXISTS &{reader} COMMENT = 'Reads &{database}';
GRANT ROLE &{loader} TO ROLE SYSADMIN;
GRANT ROLE &{reader} TO ROLE SYSADMIN;

-- A user of this type has no password and cannot log in as a person does.
CREATE USER IF NOT EXISTS &{service_user}
    TYPE = SERVICE
    RSA_PUBLIC_KEY = '&{public_key}'
    DEFAULT_ROLE = &{loader}
    DEFAULT_WAREHOUSE = &{warehouse}
    COMMENT = 'Loads &{database}; see docs/snowflake.md for the rotation of its key';
GRANT ROLE &{loader} TO USER &{service_user};

USE ROLE SYSADMIN;

-- XSMALL, asleep after a minute: a load of ten years of daily prices is seconds of work.
CREATE WAREHOUSE IF NOT EXISTS &{warehouse}
    WAREHOUSE_SIZE = XSMALL
    AUTO_SUSPEND = 60
    AUTO_RESUME = TRUE
    INITIALLY_SUSPENDED = TRUE
    COMMENT = 'Loads and queries of &{database}';

-- Snowflake's own limits are two days and none. A load waits at most 900 seconds for a lock, and its
-- client another 900 for the answer: whatever takes longer works for nobody.
ALTER WAREHOUSE &{warehouse} SET
    STATEMENT_TIMEOUT_IN_SECONDS = 1800
    STATEMENT_QUEUED_TIMEOUT_IN_SECONDS = 600;

-- MONITOR lets the doctor and 4_inspection.sql see limits, statements and credits.
GRANT USAGE, MONITOR ON WAREHOUSE &{warehouse} TO ROLE &{loader};
GRANT USAGE ON WAREHOUSE &{warehouse} TO ROLE &{reader};

USE ROLE &{administrator};

-- SUSPEND lets statements that run come to their end. Whoever is to be told at 80 % turns on
-- notifications of resource monitors in their own profile.
CREATE RESOURCE MONITOR IF NOT EXISTS &{monitor}
    WITH
    CREDIT_QUOTA = &{credit_quota}
    FREQUENCY = MONTHLY
    START_TIMESTAMP = IMMEDIATELY
    TRIGGERS
    ON 80 PERCENT DO NOTIFY
    ON 100 PERCENT DO SUSPEND;
ALTER RESOURCE MONITOR &{monitor} SET CREDIT_QUOTA = &{new_credit_quota};
GRANT MONITOR ON RESOURCE MONITOR &{monitor} TO ROLE &{loader};
ALTER WAREHOUSE &{warehouse} SET RESOURCE_MONITOR = &{monitor};

-- The role's trust asks for an external id that Snowflake makes here: never replace an integration, a
-- new one has another id. Nothing is assumed yet: only files that are read, and pipes, need the role.
CREATE STORAGE INTEGRATION IF NOT EXISTS &{integration}
    TYPE = EXTERNAL_STAGE
    STORAGE_PROVIDER = 'S3'
    ENABLED = TRUE
    STORAGE_AWS_ROLE_ARN = '&{storage_role_arn}'
    STORAGE_ALLOWED_LOCATIONS = ('s3://&{transformed_bucket}/')
    COMMENT = 'Reads the transformed lake of crypto prices';
ALTER STORAGE INTEGRATION &{integration} SET
    STORAGE_AWS_ROLE_ARN = '&{storage_role_arn}'
    STORAGE_ALLOWED_LOCATIONS = ('s3://&{transformed_bucket}/');
GRANT USAGE ON INTEGRATION &{integration} TO ROLE SYSADMIN;
