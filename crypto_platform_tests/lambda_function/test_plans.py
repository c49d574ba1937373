from datetime import UTC, datetime, timedelta

import pytest

from lambda_function.errors import InvalidSettings
from lambda_function.plans import PAID_URL, PLANS, PUBLIC_URL, ApiSettings

KEY = "CG-planted-key-0123456789"


def test_without_any_variable_the_public_api_is_called_keyless() -> None:
    settings = ApiSettings.from_environment({})
    assert settings.plan == PLANS["keyless"]
    assert settings.base_url == PUBLIC_URL
    assert settings.headers() == {}


@pytest.mark.parametrize(
    ("plan", "url", "header"),
    [
        ("demo", PUBLIC_URL, "x-cg-demo-api-key"),
        ("basic", PAID_URL, "x-cg-pro-api-key"),
        ("analyst", PAID_URL, "x-cg-pro-api-key"),
        ("pro", PAID_URL, "x-cg-pro-api-key"),
    ],
)
def test_a_plan_chooses_host_and_header(plan: str, url: str, header: str) -> None:
    settings = ApiSettings.from_environment({"COINGECKO_PLAN": plan, "COINGECKO_API_KEY": KEY})
    assert settings.base_url == url
    assert settings.headers() == {header: KEY}


def test_a_plans_limits_can_be_overridden_one_by_one() -> None:
    plan = ApiSettings.from_environment(
        {
            "COINGECKO_CALLS_A_MINUTE": "30",
            "COINGECKO_MONTHLY_CREDITS": "5000",
            "COINGECKO_HISTORY_DAYS": "100",
        }
    ).plan
    assert (plan.calls_a_minute, plan.monthly_credits, plan.history_days) == (30, 5000, 100)


def test_an_empty_variable_counts_as_not_set() -> None:
    names = ("BASE_URL", "API_KEY", "PLAN", "CALLS_A_MINUTE", "MONTHLY_CREDITS", "HISTORY_DAYS")
    empty = {f"COINGECKO_{name}": " " for name in names}
    assert ApiSettings.from_environment(empty) == ApiSettings.from_environment({})


@pytest.mark.parametrize(
    "variable", ["COINGECKO_CALLS_A_MINUTE", "COINGECKO_MONTHLY_CREDITS", "COINGECKO_HISTORY_DAYS"]
)
@pytest.mark.parametrize("value", ["0", "-3", "many", "1.5", "9" * 20, "٣"])
def test_a_malformed_number_is_an_error_that_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=variable):
        ApiSettings.from_environment({variable: value})


def test_an_unknown_plan_is_an_error_that_lists_the_plans() -> None:
    with pytest.raises(InvalidSettings, match=r"COINGECKO_PLAN is 'gold'.*keyless, demo, basic"):
        ApiSettings.from_environment({"COINGECKO_PLAN": "gold"})


@pytest.mark.parametrize("plan", ["demo", "basic", "analyst", "pro"])
def test_a_plan_with_a_key_and_none_given_is_an_error(plan: str) -> None:
    with pytest.raises(InvalidSettings, match="COINGECKO_API_KEY is not set"):
        ApiSettings.from_environment({"COINGECKO_PLAN": plan})


def test_the_apis_own_address_adds_no_key() -> None:
    with pytest.raises(InvalidSettings, match="COINGECKO_API_KEY is not set"):
        ApiSettings.from_environment(
            {"COINGECKO_PLAN": "demo", "COINGECKO_BASE_URL": "https://api.coingecko.com/api/v3"}
        )


def test_a_proxy_may_add_the_key_of_a_plan() -> None:
    settings = ApiSettings.from_environment(
        {"COINGECKO_PLAN": "demo", "COINGECKO_BASE_URL": "http://proxy:8080/api/v3/"}
    )
    assert settings.base_url == "http://proxy:8080/api/v3"
    assert settings.headers() == {}


def test_a_key_that_the_plan_would_not_use_is_an_error() -> None:
    with pytest.raises(InvalidSettings, match="set COINGECKO_PLAN to the key's plan"):
        ApiSettings.from_environment({"COINGECKO_API_KEY": KEY})


@pytest.mark.parametrize(("plan", "url"), [("demo", PAID_URL), ("pro", PUBLIC_URL)])
def test_a_plan_and_the_other_plans_host_are_an_error(plan: str, url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"COINGECKO_PLAN is .* and COINGECKO_BASE_URL is"):
        ApiSettings.from_environment(
            {"COINGECKO_PLAN": plan, "COINGECKO_API_KEY": KEY, "COINGECKO_BASE_URL": url}
        )


@pytest.mark.parametrize(
    "url",
    [
        "api.coingecko.com/api/v3",
        "ftp://api.coingecko.com",
        "https://",
        "https://host:port/api",
        "https://user:secret@host/api/v3",
        "https://host/api/v3?key=secret",
        "https://host/a path",
    ],
)
def test_a_malformed_base_url_is_an_error_that_quotes_no_secret(url: str) -> None:
    with pytest.raises(InvalidSettings, match="COINGECKO_BASE_URL must be like") as caught:
        ApiSettings.from_environment({"COINGECKO_BASE_URL": url})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\nx: y", f"{KEY} {KEY}", f"{KEY}é"])
def test_a_key_that_no_header_can_carry_is_an_error_that_does_not_show_it(key: str) -> None:
    with pytest.raises(InvalidSettings, match="COINGECKO_API_KEY holds a character") as caught:
        ApiSettings.from_environment({"COINGECKO_PLAN": "demo", "COINGECKO_API_KEY": key})
    assert KEY not in str(caught.value)


def test_settings_do_not_show_their_key() -> None:
    settings = ApiSettings.from_environment({"COINGECKO_PLAN": "demo", "COINGECKO_API_KEY": KEY})
    assert KEY not in repr(settings)
    assert settings.redact(f"key {KEY}!") == "key [key]!"


def test_the_earliest_time_a_plan_allows_moves_with_the_clock() -> None:
    now = datetime(2026, 11, 23, 6, 10, tzinfo=UTC)
    assert PLANS["demo"].earliest_allowed(now) == now - timedelta(days=365)
    assert PLANS["pro"].earliest_allowed(now) is None
