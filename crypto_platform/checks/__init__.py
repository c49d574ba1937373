"""What must hold of the data, and what is said where it does not.

A check is a value and an evaluation is a list of findings. Evaluated are Parquet files, a load,
freshness by the clock, and the month's credits. What becomes of a failed check belongs to
``alerts``.
"""
