"""The local storage under its old name, by which ``dagster.yaml`` of version 0.2 still asks for it.

``dev`` and ``demo`` write the new name there; whatever else opens such an instance comes by here.
"""

from crypto_platform.local.batching_sqlite import BatchingStorage

__all__ = ["BatchingStorage"]
