"""The daily history: raw prices to one row a coin a UTC day, the first price of the day."""

import sys
from collections.abc import Sequence

from pyspark.sql import SparkSession

from glue_jobs.job import PRICES, run


def main(argv: Sequence[str], spark: SparkSession | None = None) -> None:
    """Do what the job spec in ``argv`` says; see ``glue_jobs.job.run``.

    Args:
        argv: The job's arguments.
        spark: A session; one is started where there is none.
    """
    run("historical_data_transformation", (PRICES,), argv, spark)


if __name__ == "__main__":
    main(sys.argv[1:])
