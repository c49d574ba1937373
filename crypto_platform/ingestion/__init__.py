"""Asking the price API, and keeping what it said in the raw lake.

The seam to the function that asks (``lambda_function``, in this process or on AWS Lambda), the
tracked coins, the month's quota and the estimate of a run. How the API is spoken to belongs to
``lambda_function``.
"""
