"""What only a laptop needs: its Dagster instance, that instance's SQLite storage, the demo.

Nothing here may be needed by the ``aws`` profile.
"""
