"""The sign of life: a metric that a load puts, so that its absence can alarm without the daemon.

All other alerts are sent by Dagster's daemon, and say nothing where the daemon is off. The alarm on
this metric lives in CloudWatch, and rings where no new window was loaded for seven hours.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import dagster as dg

from crypto_platform.core.lazy import boto3, botocore_config
from crypto_platform.core.streams import Stream
from crypto_platform.lake.manifests import Manifest

NAMESPACE = "crypto_platform"
"""CloudWatch's namespace; the platform's policy allows no other."""

METRIC = "WindowsLoaded"


def current_windows(stream: Stream, loaded: Iterable[Manifest], now: datetime) -> int:
    """How many windows of a load prove that the stream keeps up.

    Those that have a price and closed no longer ago than the next one may take: a backfill of old
    windows must not keep the alarm quiet while nothing new comes.

    Args:
        stream: The stream.
        loaded: What was loaded, one a window.
        now: The time.
    """
    oldest = now - stream.window_length - stream.late_after
    return sum(1 for one in loaded if one.points and one.window.end >= oldest)


class SignOfLife(dg.ConfigurableResource[None], ABC):
    """Where loads say that they were."""

    @abstractmethod
    def windows_loaded(self, stream: Stream, count: int) -> None:
        """Say that windows of a stream were loaded and committed.

        Args:
            stream: The stream.
            count: How many, see ``current_windows``.
        """


class NoSignOfLife(SignOfLife):
    """Nobody listens: on a laptop there is no alarm."""

    def windows_loaded(self, stream: Stream, count: int) -> None:
        """See ``SignOfLife.windows_loaded``."""


class CloudWatchMetric(SignOfLife):
    """A metric in CloudWatch.

    Attributes:
        region: The region of the alarm.
        deployment: Whose metric it is, where an account has several.
    """

    region: str
    deployment: str

    def windows_loaded(self, stream: Stream, count: int) -> None:
        """See ``SignOfLife.windows_loaded``; a failure is a warning, as the load stands."""
        try:
            self._client().put_metric_data(
                Namespace=NAMESPACE,
                MetricData=[
                    {
                        "MetricName": METRIC,
                        "Dimensions": [
                            {"Name": "Deployment", "Value": self.deployment},
                            {"Name": "Stream", "Value": stream.name},
                        ],
                        "Value": count,
                        "Unit": "Count",
                    }
                ],
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the prices are loaded
            dg.get_dagster_logger().warning(
                "%s loaded %d window(s), and CloudWatch was not told: %s. The alarm may ring in "
                "seven hours; see that the policy allows cloudwatch:PutMetricData.",
                stream.name,
                count,
                error,
            )

    def _client(self) -> Any:
        config = botocore_config.Config(
            # Half a minute at worst, beside a load of minutes.
            connect_timeout=3,
            read_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        return boto3.client("cloudwatch", region_name=self.region, config=config)
