"""Transformation: the PySpark jobs that run on AWS Glue, and on Sail or Spark on a laptop."""
