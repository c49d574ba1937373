import pytest

from crypto_platform.core.proxies import direct_loopback

LOOPBACK = "127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"no_proxy": LOOPBACK, "NO_PROXY": LOOPBACK}),
        (
            {"NO_PROXY": "a.example, localhost"},
            dict.fromkeys(("no_proxy", "NO_PROXY"), "a.example,localhost,127.0.0.1,::1"),
        ),
        ({"no_proxy": "*"}, {"no_proxy": "*", "NO_PROXY": "*"}),
        ({"no_grpc_proxy": ""}, dict.fromkeys(("no_proxy", "NO_PROXY", "no_grpc_proxy"), LOOPBACK)),
        (
            {"no_grpc_proxy": "b.example"},
            {
                "no_proxy": LOOPBACK,
                "NO_PROXY": LOOPBACK,
                "no_grpc_proxy": f"b.example,{LOOPBACK}",
            },
        ),
    ],
)
def test_loopback_is_added_to_what_needs_no_proxy(
    environment: dict[str, str], expected: dict[str, str]
) -> None:
    assert direct_loopback(environment) == expected


def test_adding_it_twice_is_adding_it_once() -> None:
    once = direct_loopback({"NO_PROXY": "a.example"})

    assert direct_loopback(once) == once
