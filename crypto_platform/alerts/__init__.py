"""From what goes wrong in Dagster to a message that a person reads.

Events of the instance become problems, problems open and close incidents, incidents become
messages, and channels deliver them. Where a message goes is chosen in ``profiles``; what counts
as a fault of the data belongs to ``checks``.
"""
