"""The three stages of a window: ingest, transform, load. One plain function each.

A stage takes a batch of windows and the seams that it works through, and returns what it made and
what it found. It knows nothing of Dagster's contexts and asset definitions: those belong to
``assets``. How a seam does its work belongs to ``ingestion``, ``transformation`` and ``warehouse``.
"""
