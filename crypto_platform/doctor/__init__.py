"""The preflight of each profile: is everything there that the platform needs, and does it work?

A check looks, says what it saw and what to do about it. It changes nothing, except for the
message that ``--send`` asks for.
"""
