"""The preflight of each profile: is everything there that the platform needs, and does it work?

A check looks, says what it saw and what to do about it. What it writes it takes away
again, except for the message that ``--send`` asks for and for columns that a DuckDB file lacked.
"""
