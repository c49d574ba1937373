"""The API's plans, their limits, and the settings of an installation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Self
from urllib.parse import quote, urlsplit

from lambda_function.errors import InvalidSettings

_BASE_URL = "COINGECKO_BASE_URL"

PUBLIC_URL = "https://api.coingecko.com/api/v3"
PAID_URL = "https://pro-api.coingecko.com/api/v3"

USER_AGENT = "crypto-platform/0.2.0 (prices of coins, asked for on a schedule)"
"""How every request names its sender: servers refuse those that do not, or that name a library."""

MARKETS_A_PAGE = 250
"""How many coins one call for the market's present state may have: the documented ``per_page``."""

# Characters of ids in an address: servers refuse addresses from 8,190 on (balancer/frontend-v2#2858
# met it with this API), proxies on the way from 4,096 or so.
_IDS_A_CALL = 3_500


def markets_pages(coins: int) -> int:
    """How many calls the largest coins take, so many of them."""
    return -(-coins // MARKETS_A_PAGE)


def id_pages(ids: Sequence[str]) -> list[list[str]]:
    """Coins by name as calls for the market's present state take them.

    Args:
        ids: The coins, each once.

    Returns:
        Pages of the ids in their order, none with more coins or a longer address than a call takes.
    """
    pages: list[list[str]] = []
    length = 0
    for name in ids:
        of_name = len(quote(name, safe="", errors="replace")) + len("%2C")
        if not pages or len(pages[-1]) == MARKETS_A_PAGE or length + of_name > _IDS_A_CALL:
            pages.append([])
            length = 0
        pages[-1].append(name)
        length += of_name
    return pages


@dataclass(frozen=True)
class Plan:
    """What a plan of the API allows.

    Attributes:
        name: The plan, as ``COINGECKO_PLAN`` names it.
        base_url: Where the API serves this plan.
        key_header: The header that carries the key; ``None`` for a plan without one.
        calls_a_minute: How many calls a minute, whatever the responses.
        monthly_credits: How many successful calls a month; ``None`` where no limit is known.
        history_days: How far back prices may be asked for; ``None`` for all there are.
    """

    name: str
    base_url: str
    key_header: str | None
    calls_a_minute: int
    monthly_credits: int | None
    history_days: int | None

    def earliest_allowed(self, now: datetime) -> datetime | None:
        """The earliest time that may be asked for; it moves on with the clock."""
        return None if self.history_days is None else now - timedelta(days=self.history_days)


# From the API's public documents of mid-2026. Keyless has no documented limit: six to ten quick
# calls were let through before an address was blocked.
PLANS: Mapping[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan("keyless", PUBLIC_URL, None, 6, None, 365),
        Plan("demo", PUBLIC_URL, "x-cg-demo-api-key", 100, 10_000, 365),
        Plan("basic", PAID_URL, "x-cg-pro-api-key", 300, 100_000, 730),
        Plan("analyst", PAID_URL, "x-cg-pro-api-key", 500, 500_000, None),
        Plan("pro", PAID_URL, "x-cg-pro-api-key", 500, 2_000_000, None),
    )
}

_HOSTS = {urlsplit(url).hostname: url for url in (PUBLIC_URL, PAID_URL)}


@dataclass(frozen=True)
class ApiSettings:
    """How this installation calls the API.

    Attributes:
        plan: The plan, with the installation's overrides applied.
        base_url: Where the API is, without a slash at its end.
        api_key: The key, or ``None``.
        url_variable: The variable that overrides the address.
        advice: What to do where the API rejects this installation.
        way: What lies between here and the API, for errors that may be its doing.
    """

    plan: Plan
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    url_variable: str = _BASE_URL
    advice: str = "Check COINGECKO_API_KEY and COINGECKO_PLAN."
    way: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Reads the ``COINGECKO_*`` variables; an empty one counts as not set.

        Raises:
            InvalidSettings: A variable is malformed, or two do not go together.
        """
        plan = configured_plan(environment)
        key = _key(environment)
        override = _text(environment, _BASE_URL).rstrip("/")
        if override:
            _check_base_url(override, _BASE_URL)
            _check_host(override, plan)
        if key and plan.key_header is None:
            raise InvalidSettings(
                "COINGECKO_API_KEY is set and the keyless plan takes no key: set COINGECKO_PLAN "
                "to the key's plan (demo, basic, analyst or pro)."
            )
        # A proxy may add the key; at the API's own address nobody does.
        own = not override or urlsplit(override).hostname in _HOSTS
        if plan.key_header and not key and own:
            raise InvalidSettings(
                f"COINGECKO_PLAN is {plan.name}, which takes a key, and COINGECKO_API_KEY is not "
                "set: set it, or set COINGECKO_PLAN to keyless."
            )
        return cls(plan, override or plan.base_url, key)

    @classmethod
    def without_key(cls, plan: Plan, url_variable: str, environment: Mapping[str, str]) -> Self:
        """How an API is called that takes no key.

        Args:
            plan: Its address and limits.
            url_variable: The variable that overrides the address.
            environment: The environment.

        Raises:
            InvalidSettings: The variable is malformed.
        """
        override = _text(environment, url_variable).rstrip("/")
        if override:
            _check_base_url(override, url_variable)
        advice = f"It may pass; else check {url_variable}."
        return cls(plan, override or plan.base_url, url_variable=url_variable, advice=advice)

    def headers(self) -> dict[str, str]:
        """The headers that identify this installation to the API."""
        if self.api_key and self.plan.key_header:
            return {self.plan.key_header: self.api_key}
        return {}

    def redact(self, text: str) -> str:
        """The text without the key, should something have echoed it."""
        return text.replace(self.api_key, "[key]") if self.api_key else text


def configured_plan(environment: Mapping[str, str]) -> Plan:
    """The plan that ``COINGECKO_PLAN`` names, with the installation's overrides applied.

    Raises:
        InvalidSettings: A variable is malformed.
    """
    name = _text(environment, "COINGECKO_PLAN").lower() or "keyless"
    if name not in PLANS:
        near = get_close_matches(name, PLANS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise InvalidSettings(
            f"COINGECKO_PLAN is {name!r}: it must be one of {', '.join(PLANS)}.{meant}"
        )
    plan = PLANS[name]
    return replace(
        plan,
        calls_a_minute=_number(environment, "COINGECKO_CALLS_A_MINUTE", 1_000_000)
        or plan.calls_a_minute,
        monthly_credits=_number(environment, "COINGECKO_MONTHLY_CREDITS", 1_000_000_000)
        or plan.monthly_credits,
        history_days=_number(environment, "COINGECKO_HISTORY_DAYS", 100_000) or plan.history_days,
    )


def _text(environment: Mapping[str, str], variable: str) -> str:
    return environment.get(variable, "").strip()


def _number(environment: Mapping[str, str], variable: str, maximum: int) -> int | None:
    text = _text(environment, variable)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", text) or not 1 <= int(text) <= maximum:
        raise InvalidSettings(f"{variable} is {text!r}: it must be a whole number, 1 to {maximum}.")
    return int(text)


def _key(environment: Mapping[str, str]) -> str | None:
    key = _text(environment, "COINGECKO_API_KEY")
    if not re.fullmatch(r"[!-~]*", key) or set(key) & set("\"'`<>{}$"):
        # Said without the key: requests would quote it in its own complaint about the header.
        raise InvalidSettings(
            "COINGECKO_API_KEY holds a character that no key has (a space, a line break, a quote, "
            "a bracket or one outside ASCII): copy the key again, without anything around it."
        )
    return key or None


def _check_base_url(url: str, variable: str) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not re.fullmatch(r"[!-~]+", url) or set(url) & set("@?#"):
        # Not quoted: what stands before an @ or after a ? may be a secret.
        raise InvalidSettings(
            f"{variable} must be like https://api.coingecko.com/api/v3: http or https, a "
            "host and a path, with no user, query or fragment."
        )


def _check_host(url: str, plan: Plan) -> None:
    served = _HOSTS.get(urlsplit(url).hostname)
    if served not in {None, plan.base_url}:
        raise InvalidSettings(
            f"COINGECKO_PLAN is {plan.name}, which is served at {plan.base_url}, and "
            f"COINGECKO_BASE_URL is {url}: unset one of them, or make them agree."
        )
