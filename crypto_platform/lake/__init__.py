"""Files in a folder or a bucket, and the manifests that make them count.

Layers read, write and commit; manifests say what a window holds. What is in the files is the
business of ``ingestion`` and ``transformation``.
"""
