"""The metric as CloudWatch gets it, over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import INTRA_DAY
from crypto_platform.profiles import PROFILES
from crypto_platform_tests.aws.account import client

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("aws")
def test_a_load_is_counted_under_its_deployment_and_stream() -> None:
    settings = Settings.from_environment({"CRYPTO_DEPLOYMENT": "crypto-staging"})

    PROFILES["aws"].builders["sign_of_life"](settings).windows_loaded(INTRA_DAY, 2)

    dimensions = [
        {"Name": "Deployment", "Value": "crypto-staging"},
        {"Name": "Stream", "Value": "intra_day"},
    ]
    (metric,) = client("cloudwatch").list_metrics(Namespace="crypto_platform")["Metrics"]
    assert metric == {
        "Namespace": "crypto_platform",
        "MetricName": "WindowsLoaded",
        "Dimensions": dimensions,
    }
    now = datetime.now(UTC)
    (hour,) = client("cloudwatch").get_metric_statistics(
        Namespace="crypto_platform",
        MetricName="WindowsLoaded",
        Dimensions=dimensions,
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=7200,
        Statistics=["Sum"],
    )["Datapoints"]
    assert (hour["Sum"], hour["Unit"]) == (2.0, "Count")
