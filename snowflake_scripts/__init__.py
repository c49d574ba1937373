"""The SQL of the warehouse, in Snowflake's dialect; the one home of its tables and statements."""
