"""From raw JSON to Parquet: the seam to the Spark jobs, and what they wrote.

The seam runs a job of ``glue_jobs`` on this machine or on AWS Glue. How rows are transformed
belongs to ``glue_jobs``, which knows nothing of this package.
"""
