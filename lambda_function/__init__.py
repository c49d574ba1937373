"""Ingestion: what is zipped for AWS Lambda, and runs in process on a laptop."""
