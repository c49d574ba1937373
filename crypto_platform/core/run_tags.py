"""Tags of Dagster runs that the platform sets, and reads back."""

HEAL_TAG = "crypto_platform/heal"
"""Tag of a run that heals; its value is the number of the attempt."""

SCHEDULE_TAG = "dagster/schedule_name"
"""Dagster's own, on a run that a schedule launched: the schedule's name."""
