"""What the process of a run does about its end: who holds a pool, and whether that one still lives.

Dagster itself learns nothing of a process that was killed, and then its runs wait for that one.
"""
