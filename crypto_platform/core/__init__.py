"""What every other package may use: streams and windows, settings, errors, redaction.

Values and small functions, with as little of Dagster and of I/O as can be.
"""
