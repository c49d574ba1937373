"""What every other package may use: streams and windows, settings, errors, redaction.

Values and pure functions, with no I/O and with as little of Dagster as can be.
"""
