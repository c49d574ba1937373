"""Tables made from the prices: daily prices, moves, volumes, sentiment; and Fear & Greed.

How a model is made stands in ``snowflake_scripts/models.sql``; here stand what it promises,
when it is made again and how Dagster shows it. Charts and pages belong to ``report``.
"""
