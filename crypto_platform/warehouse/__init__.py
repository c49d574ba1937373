"""Where prices are queried: DuckDB on a laptop, Snowflake on AWS, one SQL for both.

The seam, its two engines, how SQL is read and translated, how Snowflake is set up, and prices
as data frames. SQL itself stands in ``snowflake_scripts``; what a number must be like belongs
to ``checks``.
"""
