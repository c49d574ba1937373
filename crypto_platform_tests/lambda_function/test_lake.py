import gzip
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambda_function.lake import Spool, put, write_lines

lines = st.sampled_from([b"", b'{"a":1}', b'{"b":[2,3]}'])
table = st.integers(1, 70).flatmap(
    lambda windows: st.lists(
        st.lists(lines, min_size=windows, max_size=windows), min_size=1, max_size=6
    )
)


@given(table=table, arrival=st.randoms(use_true_random=False))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_comes_coin_by_coin_is_written_window_by_window(
    table: list[list[bytes]], arrival: Random, tmp_path: Path
) -> None:
    order = list(range(len(table)))
    arrival.shuffle(order)
    windows = len(table[0])
    with Spool(len(table), windows) as spool:
        for coin in order:
            spool.add(coin, table[coin])
        objects = spool.write([f"{tmp_path}/{window}.gz" for window in range(windows)])
    expected = {
        window: rows
        for window in range(windows)
        if (rows := [coin[window] for coin in table if coin[window]])
    }
    assert [found["window"] for found in objects] == sorted(expected)
    for found in objects:
        rows = gzip.decompress(Path(found["uri"]).read_bytes()).splitlines()
        assert rows == expected[found["window"]]
        assert found["rows"] == len(rows)


def test_a_coin_that_never_came_has_no_line(tmp_path: Path) -> None:
    with Spool(3, 1) as spool:
        spool.add(1, [b"{}"])
        (found,) = spool.write([f"{tmp_path}/x.gz"])
    assert found["rows"] == 1


def test_a_spool_of_no_coin_writes_nothing(tmp_path: Path) -> None:
    with Spool(3, 40) as spool:
        assert spool.write([f"{tmp_path}/x.gz"] * 40) == []


def test_the_same_lines_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_lines(0, f"{tmp_path}/{name}", [b"{}", b"{}"]) for name in "ab")
    assert first["sha256"] == second["sha256"]


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_an_object_replaces_what_was_there(tmp_path: Path, scheme: str) -> None:
    uri = f"{scheme}{tmp_path}/folder=a b/object"
    for body in (b"a longer body", b"short"):
        put(uri, body)
    assert (tmp_path / "folder=a b" / "object").read_bytes() == b"short"
    assert len(list(tmp_path.rglob("*"))) == 2
