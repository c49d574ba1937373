"""What a response without data means: for this request, or for all of them."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple, TypeVar

from lambda_function.errors import (
    InvalidRequest,
    InvalidSettings,
    OutOfPlan,
    RateLimited,
    RequestProblem,
    Unauthorized,
)
from lambda_function.plans import USER_AGENT, ApiSettings

_OUT_OF_PLAN = 10012
_ADVICE_ON_CODE = {
    10002: "The API saw no key: set COINGECKO_API_KEY, or COINGECKO_PLAN to keyless.",
    10005: "The plan does not include this request: check COINGECKO_PLAN and the key's plan.",
    10010: "COINGECKO_API_KEY is the key of a paid plan: set COINGECKO_PLAN to that plan.",
    10011: "COINGECKO_API_KEY is the key of a demo plan: set COINGECKO_PLAN to demo.",
}
_WALL = (
    "A wall against bots that stands before the API refused this machine, and not the key. It may "
    "pass; else check {variable}, ask more slowly, or from another network."
)
_ADVICE_ON_REFUSAL = {
    "pace": _WALL,
    "wall": _WALL,
    "moment": "It may pass.",
    "agent": (
        "The platform names itself in that header ({agent}): see whether a proxy on the way takes "
        "it out."
    ),
    "request": (
        "That is said of this request and not of the key. Should all coins get it, check that "
        "{variable} is the address of the API itself, and what stands between it and this machine; "
        "should one coin get it for days, stop tracking it."
    ),
}
_PASSING_REFUSALS = frozenset({"pace", "wall", "moment"})
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_TRANSIENT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT})
_THROTTLED = r"throttled|rate limit|too many requests|error code: 1015"
_PASSING = r"internal server error|bad gateway|unavailable|maintenance|overloaded|try again later"
_MAY_BE_OF_A_PROXY = frozenset(
    {
        HTTPStatus.FORBIDDEN,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
# What the status should have been where a success carries an error.
_STATUS_BY_WORDS = (
    (r"coin not found|could not find coin", HTTPStatus.NOT_FOUND),
    (_THROTTLED, HTTPStatus.TOO_MANY_REQUESTS),
    (r"vs_currency", HTTPStatus.BAD_REQUEST),
    (_PASSING, HTTPStatus.SERVICE_UNAVAILABLE),
)
# What a 401 or 403 refuses, the first words that it has decide.
_REFUSALS = (
    (_THROTTLED, "pace"),
    (_PASSING, "moment"),
    (r"user.?agent", "agent"),
    (r"\bkey\b|api.?key|unauthori[sz]ed|credential|subscri|authenticat|\bplan\b", "key"),
    (
        (
            r"error code: 10\d\d|cloudflare|cloudfront|akamai|incapsula|captcha|attention required|"
            r"just a moment|access denied|\bbots?\b|ddos|\bray id\b"
        ),
        "wall",
    ),
)

T = TypeVar("T")


class Received(NamedTuple):
    """A response as it was received.

    Attributes:
        status_code: Its status.
        headers: Its headers, whatever the case of their names.
        content: Its body.
    """

    status_code: int
    headers: Mapping[str, str]
    content: bytes


def classify(
    response: Received,
    flaw: Exception | None,
    now: datetime,
    settings: ApiSettings,
    advice_on_404: str | None,
) -> Exception:
    """What a response without data means: by its status first, then by its body.

    Args:
        response: The response.
        flaw: Why its body is not the data that was asked for, where it looks like a success.
        now: When it was there, which a ``Retry-After`` may be relative to.
        settings: How the API is called: what must not be quoted, and what to advise.
        advice_on_404: What to do where the API has no such thing; ``None`` for the address's.

    Returns:
        A ``RequestProblem`` where one request is concerned, an ``IngestionError`` where all are.
    """
    code, words = _error_in(settings.redact(response.content.decode(errors="replace")))
    coded = f", code {code}" if code else ""
    status = response.status_code
    said = f"The API answered HTTP {status}{coded}: {words!r}."
    if status in _MAY_BE_OF_A_PROXY:
        said += settings.way
    if status == HTTPStatus.OK:
        status = _status_meant(code, words)
    if status == HTTPStatus.OK:
        return RequestProblem(
            f"{said} That is no response to this request ({flaw}).",
            # A body that is not JSON may have been cut; one that is would come again.
            transient=isinstance(flaw, json.JSONDecodeError),
            body=response.content,
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
        kind = RateLimited if status == HTTPStatus.TOO_MANY_REQUESTS else RequestProblem
        return kind(said, transient=True, retry_after=_retry_after(response, now))
    if status in _REFUSED and code not in {*_ADVICE_ON_CODE, _OUT_OF_PLAN}:
        return _refusal(status, words, said, settings)
    return _permanent(status, code, said, settings, advice_on_404)


def _permanent(
    status: int, code: int | None, said: str, settings: ApiSettings, advice_on_404: str | None
) -> Exception:
    """What a response means that would be the same if the request was made again."""
    if code == _OUT_OF_PLAN:
        return OutOfPlan(said)
    if code in _ADVICE_ON_CODE:
        return Unauthorized(f"{said} {_ADVICE_ON_CODE[code]}")
    if status < HTTPStatus.BAD_REQUEST:
        return InvalidSettings(
            f"{said} {settings.url_variable} must be the address of the API itself."
        )
    if status == HTTPStatus.NOT_FOUND:
        return RequestProblem(f"{said} {advice_on_404 or f'Check {settings.url_variable}.'}")
    if "vs_currency" in said:
        return InvalidRequest(f"{said} Set VS_CURRENCY to a currency that the API has.")
    return RequestProblem(said)


def _refusal(status: int, words: str, said: str, settings: ApiSettings) -> Exception:
    """What a 401 or 403 refuses, by its words: this moment, this request, or the key."""
    meant = next(
        (kind for pattern, kind in _REFUSALS if re.search(pattern, words, re.IGNORECASE)),
        "key" if status == HTTPStatus.UNAUTHORIZED else "request",
    )
    if meant == "key":
        return Unauthorized(f"{said} {settings.advice}")
    advice = _ADVICE_ON_REFUSAL[meant].format(variable=settings.url_variable, agent=USER_AGENT)
    kind = RateLimited if meant == "pace" else RequestProblem
    return kind(f"{said} {advice}", transient=meant in _PASSING_REFUSALS)


def _error_in(body: str) -> tuple[int | None, str]:
    """The error code and the words of a body, in whichever shape it has them."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    code = _find(found, int, "error_code")
    words = _find(found, str, "error_message", "error", "message")
    if words is None:
        words = re.sub(r"<[^>]*>", " ", body[:4096])
    return code, " ".join(words.split())[:300]


def _find(node: object, kind: type[T], *keys: str) -> T | None:
    if not isinstance(node, dict):
        return None
    here = [node[key] for key in keys if isinstance(node.get(key), kind)]
    deeper = (_find(child, kind, *keys) for child in node.values())
    return here[0] if here else next((found for found in deeper if found is not None), None)


def _status_meant(code: int | None, words: str) -> int:
    if code is not None:
        return code if code in set(HTTPStatus) else HTTPStatus.FORBIDDEN
    found = (
        status for pattern, status in _STATUS_BY_WORDS if re.search(pattern, words, re.IGNORECASE)
    )
    return next(found, HTTPStatus.OK)


def _retry_after(response: Received, now: datetime) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None
