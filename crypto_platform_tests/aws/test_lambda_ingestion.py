import gzip
import io
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.streams import HISTORICAL, Window
from crypto_platform.ingestion.aws_lambda import LambdaIngestion
from crypto_platform.ingestion.metered_api import PriceApi, usage_of_month
from crypto_platform.ingestion.resource import IngestionFailure
from crypto_platform.ingestion.responses import PricesResponse
from crypto_platform.lake.layers import Layer
from crypto_platform.simulated_market import Fault, FaultRule, SimulatedMarket
from crypto_platform_tests.aws.account import RAW_BUCKET, REGION, client, keys, variables
from crypto_platform_tests.aws.conftest import FUNCTION
from crypto_platform_tests.aws.lambda_runtime import Lambda
from infrastructure.package import zipped
from lambda_function.api_key import with_api_key
from lambda_function.errors import Unreachable
from lambda_function.plans import PLANS, ApiSettings

pytestmark = pytest.mark.integration

Deploy = Callable[..., None]
FIRST = datetime(2026, 6, 1, tzinfo=UTC)
COINS = ("bitcoin", "ethereum")


def lambda_ingestion(**options: Any) -> LambdaIngestion:
    return LambdaIngestion(function_name=FUNCTION, region=REGION, **options)


def api(ingestion: LambdaIngestion) -> PriceApi:
    return PriceApi(
        ingestion=ingestion,
        layer=Layer(f"s3://{RAW_BUCKET}", "raw", "raw_prices"),
        vs_currency="usd",
        plan=PLANS["keyless"],
        asset="historical/raw_prices",
        run_id="r1",
    )


def ask(ingestion: LambdaIngestion, *coins: str, days: int = 2) -> PricesResponse:
    starts = [FIRST + timedelta(days=day) for day in range(days)]
    windows = [Window(start=start, end=start + timedelta(days=1)) for start in starts]
    return api(ingestion).prices(HISTORICAL, windows, coins or COINS)


def function_that(body: str) -> bytes:
    """The zip of a function that does something else than ingest."""
    code = f"def lambda_handler(event, context):\n    {body}\n"
    return zipped({"lambda_function/__init__.py": b"", "lambda_function/handler.py": code.encode()})


def at(market: SimulatedMarket) -> dict[str, str]:
    return {"COINGECKO_BASE_URL": market.base_url, "COINGECKO_PLAN": "pro"}


def test_the_deployed_zip_writes_a_range_of_windows_to_the_raw_bucket(
    deploy: Deploy, market: SimulatedMarket
) -> None:
    deploy(at(market))
    response = ask(lambda_ingestion())
    assert keys(RAW_BUCKET, "historical_data/") == [
        "historical_data/month=2026-06/prices-r1-00000.json.gz",
    ]
    assert [written.rows for written in response.objects] == [2]
    body = (
        client("s3")
        .get_object(
            Bucket=RAW_BUCKET, Key=response.objects[0].uri.removeprefix(f"s3://{RAW_BUCKET}/")
        )["Body"]
        .read()
    )
    records = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    assert [record["coin_id"] for record in records] == list(COINS)
    assert records[0]["source"] == response.source == "simulated"


def test_a_warm_function_answers_each_event_anew(deploy: Deploy, market: SimulatedMarket) -> None:
    deploy(at(market))
    ingestion = lambda_ingestion()
    first, second = ask(ingestion, "bitcoin"), ask(ingestion, "ethereum", days=1)
    assert (len(first.window_points), len(second.window_points)) == (2, 1)
    assert (first.calls, second.calls) == (1, 1)


def test_a_continuation_is_followed_until_every_coin_is_handled(
    deploy: Deploy, lambda_service: Lambda, market: SimulatedMarket
) -> None:
    market.faults.add(FaultRule(fault=Fault(delay_seconds=2.2), path="*/market_chart*"))
    # All but two seconds are kept for writing, so not all coins fit into one invocation.
    deploy(at(market), timeout=47)
    listed = api(lambda_ingestion()).markets(top=40)
    coins = [coin.coin_id for coin in listed.coins]
    response = ask(lambda_ingestion(), *coins, days=1)
    assert [event["part"] for event in lambda_service.events[1:]] == list(
        range(len(response.objects))
    )
    assert len(response.objects) > 1
    assert sum(written.rows for written in response.objects) == len(coins)


def test_what_the_function_calls_permanent_is_not_tried_again(
    deploy: Deploy, market: SimulatedMarket
) -> None:
    market.faults.add(FaultRule(fault="wrong_key"))
    deploy(at(market))
    with pytest.raises(PermanentFailure, match="API Key Missing") as failure:
        ask(lambda_ingestion())
    assert failure.value.allow_retries is False


def test_what_the_function_calls_passing_may_be_tried_again(
    deploy: Deploy, market: SimulatedMarket
) -> None:
    # Less than what is kept for writing.
    deploy(at(market), timeout=40)
    with pytest.raises(IngestionFailure, match="time left was too short"):
        ask(lambda_ingestion())


def test_a_function_error_shows_its_message_and_the_tail_of_its_log(deploy: Deploy) -> None:
    deploy({}, function_that("print('so far, so good'); raise KeyError('window')"))
    with pytest.raises(IngestionFailure, match="ended with KeyError: 'window'") as failure:
        ask(lambda_ingestion())
    assert "so far, so good" in str(failure.value.metadata["log_tail"].value)


def test_an_invocation_that_runs_out_of_time_may_be_tried_again(deploy: Deploy) -> None:
    deploy({}, function_that("import time; time.sleep(60)"), timeout=1)
    with pytest.raises(IngestionFailure, match=r"timed out after 1\.00 seconds"):
        ask(lambda_ingestion())


def test_a_function_that_is_busy_is_waited_for(
    deploy: Deploy, lambda_service: Lambda, market: SimulatedMarket
) -> None:
    deploy(at(market))
    lambda_service.busy.acquire()
    threading.Timer(1.5, lambda_service.busy.release).start()
    assert [written.rows for written in ask(lambda_ingestion()).objects] == [2]


def test_a_function_that_stays_busy_is_a_failure_that_says_so(
    deploy: Deploy, lambda_service: Lambda, market: SimulatedMarket
) -> None:
    deploy(at(market))
    with lambda_service.busy, pytest.raises(IngestionFailure, match=r"busy for 0\.5 s"):
        ask(lambda_ingestion(patience=0.5))
    assert lambda_service.events == []


def test_a_slow_answer_is_waited_for_and_asked_for_once(
    deploy: Deploy, lambda_service: Lambda
) -> None:
    deploy({}, function_that("import time; time.sleep(2); return {'slept': True}"))
    # As boto3 does by default, scaled from a minute: it asks again while the function still runs.
    eager = Config(read_timeout=0.5, retries={"total_max_attempts": 3})
    with pytest.raises((ReadTimeoutError, ClientError)):
        boto3.client("lambda", config=eager).invoke(FunctionName=FUNCTION, Payload=b"{}")
    assert lambda_service.attempts > 1
    before = lambda_service.attempts
    with lambda_service.busy:
        pass
    assert lambda_ingestion().invoke({}) == {"slept": True}
    assert lambda_service.attempts == before + 1


def test_the_client_outlasts_the_function_and_never_asks_twice() -> None:
    ingestion = lambda_ingestion()
    config = ingestion._client.meta.config  # noqa: SLF001 - it is what production uses
    assert ingestion.invocation_seconds < ingestion.function_timeout < config.read_timeout
    # A NAT gateway forgets a connection that is silent for as long.
    assert config.read_timeout < 350
    assert config.retries["total_max_attempts"] == 1


def test_an_invocation_ends_within_the_seconds_that_its_event_allows(
    deploy: Deploy, lambda_service: Lambda, market: SimulatedMarket
) -> None:
    market.faults.add(FaultRule(fault=Fault(delay_seconds=1), path="*/market_chart*"))
    deploy(at(market))
    # All but two seconds are kept for writing.
    ingestion = lambda_ingestion(invocation_seconds=47)
    coins = [coin.coin_id for coin in api(ingestion).markets(top=40).coins]
    response = ask(ingestion, *coins, days=1)
    assert {event["seconds"] for event in lambda_service.events} == {47}
    assert len(lambda_service.events) > 2
    assert sum(response.window_points) == len(coins)
    assert response.credits == len(coins)


def test_a_response_that_is_lost_may_be_tried_again_and_costs_what_it_cost(
    deploy: Deploy, lambda_service: Lambda, market: SimulatedMarket
) -> None:
    market.faults.add(FaultRule(fault=Fault(delay_seconds=2), path="*/market_chart*"))
    deploy(at(market))
    with pytest.raises(IngestionFailure, match="gave no response"):
        # Its client waits half a minute longer than that.
        ask(lambda_ingestion(function_timeout=-29), "bitcoin")
    # Nobody waits for it any longer; it ends all the same.
    with lambda_service.busy:
        usage = usage_of_month(api(lambda_ingestion()).layer, datetime.now(UTC))
    assert sum(one.credits for one in usage) == 1


def test_a_response_that_is_no_json_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ingestion = lambda_ingestion()
    broken = SimpleNamespace(invoke=lambda **_: {"Payload": io.BytesIO(b"<html>")})
    monkeypatch.setitem(ingestion.__dict__, "_client", broken)
    with pytest.raises(IngestionFailure, match="gave no response"):
        ingestion.invoke({})


def test_an_event_that_could_not_be_sent_is_sent_again(
    deploy: Deploy, lambda_service: Lambda, market: SimulatedMarket
) -> None:
    deploy(at(market))
    ingestion = lambda_ingestion()
    client, failures = ingestion._client, [1, 2]  # noqa: SLF001 - what stands before Lambda

    def invoke(**asked: Any) -> Any:
        if failures:
            raise ConnectTimeoutError(endpoint_url=f"attempt {failures.pop()}")
        return client.invoke(**asked)

    ingestion.__dict__["_client"] = SimpleNamespace(invoke=invoke)
    assert ingestion.invoke({"action": "ping"})["plan"] == "pro"
    assert len(lambda_service.events) == 1


def test_a_function_that_is_not_deployed_is_a_failure_that_says_what_to_do(
    aws: str,  # noqa: ARG001 - an account without the function
) -> None:
    with pytest.raises(PermanentFailure, match="correct INGESTION_FUNCTION and AWS_REGION"):
        ask(lambda_ingestion())


def test_no_answer_at_all_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in variables("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, text)
    with pytest.raises(IngestionFailure, match="gave no response"):
        ask(lambda_ingestion())


def test_the_key_is_read_from_the_secret(aws: str) -> None:  # noqa: ARG001 - where the secret is
    arn = client("secretsmanager").create_secret(Name="key", SecretString="CG-planted\n")["ARN"]
    environment = {"COINGECKO_PLAN": "demo", "COINGECKO_API_KEY_SECRET_ARN": arn}
    settings = ApiSettings.from_environment(with_api_key(environment))
    assert settings.headers() == {"x-cg-demo-api-key": "CG-planted"}
    assert "CG-planted" not in repr(settings)


def test_a_secret_that_nobody_answers_for_may_be_read_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in variables("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, text)
    environment = {"COINGECKO_PLAN": "demo", "COINGECKO_API_KEY_SECRET_ARN": "arn:somewhere"}
    with pytest.raises(Unreachable, match="Secrets Manager gave no answer") as failure:
        with_api_key(environment)
    assert failure.value.retryable


def test_a_plan_without_a_key_reads_no_secret() -> None:
    environment = {"COINGECKO_API_KEY_SECRET_ARN": "arn:nowhere"}
    assert with_api_key(environment) == environment


def test_a_secret_that_cannot_be_read_is_a_failure_that_says_what_to_do(
    deploy: Deploy, market: SimulatedMarket
) -> None:
    deploy({**at(market), "COINGECKO_API_KEY_SECRET_ARN": "not-there"})
    with pytest.raises(PermanentFailure, match="put-secret-value --secret-id not-there"):
        ask(lambda_ingestion())
