"""Which requests go through a proxy: those that leave this machine, where the environment has one.

``requests`` takes ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` itself; but without ``NO_PROXY``
it also asks the proxy for this machine's own servers, which the proxy does not know.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy


def is_loopback(url: str) -> bool:
    """Whether an address is one of this machine's own."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_of(url: str) -> str | None:
    """The proxy that requests to an address go through, as the environment has it.

    Args:
        url: The address.

    Returns:
        The proxy's address, credentials and all, or ``None`` where there is none.
    """
    if is_loopback(url):
        return None
    found: str | None = select_proxy(url, get_environ_proxies(url))
    return found


def describe_way(proxy: str | None) -> str:
    """That a proxy lies on the way, as a sentence that follows another; empty where none does."""
    if proxy is None:
        return ""
    return (
        f" It was asked through the proxy {without_credentials(proxy)}, which HTTP_PROXY or "
        "HTTPS_PROXY names: check that, or set NO_PROXY."
    )


def without_credentials(proxy: str) -> str:
    """A proxy's address as it may be told."""
    _, marker, place = proxy.rpartition("@")
    scheme = f"{proxy.partition('://')[0]}://" if marker and "://" in proxy else ""
    return f"{scheme}{place}".rstrip("/")


def redact_proxy(text: str, proxy: str | None) -> str:
    """The text without the proxy's credentials, should something have quoted them."""
    if not proxy or "@" not in proxy:
        return text
    credentials = proxy.rpartition("@")[0].partition("://")[2] or proxy.rpartition("@")[0]
    return text.replace(credentials, "[credentials]")
