"""Gaps in the data, and how they are closed without a person.

The ledger says which coin lacks which window; the planner turns gaps into the fewest runs,
attempts are counted from past runs, and the sensor launches what is due. What a window holds,
and how it is asked for, belongs to ``lake`` and ``ingestion``.
"""
