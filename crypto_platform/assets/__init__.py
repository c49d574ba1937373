"""The three stages and the list of coins as Dagster assets, with their jobs' schedules.

An asset is a thin adapter: it takes windows and a run id from Dagster's context, calls one
plain function, and reports its metadata and check results. The work itself belongs to
``stages``.
"""
