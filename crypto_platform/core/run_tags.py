"""Tags of Dagster runs that the platform sets, and reads back."""

HEAL_TAG = "crypto_platform/heal"
"""Tag of a run that heals; its value is the number of the attempt."""
