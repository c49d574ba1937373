"""What never goes through a proxy: this machine's own servers, on loopback.

Dagster talks to its code server, and Spark Connect to its engine, by gRPC on 127.0.0.1. gRPC takes
the environment's proxy for that too, which knows no such server; requests does the same for the
simulated market.
"""

from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")

PROXY_VARIABLES = tuple(
    spelled
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "GRPC_PROXY",
        "NO_GRPC_PROXY",
    )
    for spelled in (name, name.lower())
)
"""What says which requests go through which proxy, in both ways that programs spell them."""


def direct_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables under which what runs on loopback is reached without a proxy.

    Args:
        environment: The variables as they are; what they name besides stays.

    Returns:
        Those to set. gRPC reads the small names alone, and where there are none no large ones.
    """
    named = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    variables = dict.fromkeys(("no_proxy", "NO_PROXY"), _with_loopback(named))
    # Where it is set, if to nothing, gRPC looks at no other.
    if "no_grpc_proxy" in environment:
        variables["no_grpc_proxy"] = _with_loopback(environment["no_grpc_proxy"])
    return variables


def _with_loopback(names: str) -> str:
    there = [name.strip() for name in names.split(",") if name.strip()]
    if "*" in there:
        return names
    return ",".join(dict.fromkeys([*there, *LOOPBACK]))
