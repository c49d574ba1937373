import gzip
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambda_function.lake import Spool, put, write_lines

blocks = st.sampled_from([b"", b'{"a":1}\n', b'{"b":[2,3]}\n{"b":[4]}\n'])
# What each of some coins has of each of some objects.
tables = st.integers(1, 40).flatmap(
    lambda objects: st.lists(
        st.lists(blocks, min_size=objects, max_size=objects), min_size=1, max_size=6
    )
)


@given(table=tables, arrival=st.randoms(use_true_random=False))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_comes_coin_by_coin_is_written_object_by_object(
    table: list[list[bytes]], arrival: Random, tmp_path: Path
) -> None:
    order = list(range(len(table)))
    arrival.shuffle(order)
    uris = [f"{tmp_path}/{number}.gz" for number in range(len(table[0]))]
    with Spool(len(table)) as spool:
        for coin in order:
            spool.add(coin, table[coin])
        written = spool.write(uris)
    contents = map(b"".join, zip(*table, strict=True))
    for uri, found, expected in zip(uris, written, contents, strict=True):
        assert (found is None) is (expected == b"")
        if found:
            stored = Path(uri).read_bytes()
            assert gzip.decompress(stored) == expected
            assert found == {
                "uri": uri,
                "rows": expected.count(b"\n"),
                "bytes": len(stored),
                "sha256": hashlib.sha256(stored).hexdigest(),
            }


def test_a_coin_that_never_came_has_no_line(tmp_path: Path) -> None:
    with Spool(3) as spool:
        spool.add(1, [b"{}\n"])
        (found,) = spool.write([f"{tmp_path}/x.gz"])
    assert found is not None
    assert found["rows"] == 1


def test_a_spool_of_no_coin_writes_nothing(tmp_path: Path) -> None:
    with Spool(3) as spool:
        assert spool.write([f"{tmp_path}/{number}.gz" for number in range(40)]) == [None] * 40
    assert list(tmp_path.iterdir()) == []


def test_the_same_lines_give_the_same_bytes(tmp_path: Path) -> None:
    lines = [b'{"n":%d}\n' % number for number in range(50_000)]
    first, second = (write_lines(f"{tmp_path}/{name}", lines) for name in "ab")
    assert first["sha256"] == second["sha256"]


def test_an_object_is_compressed_as_its_lines_come(tmp_path: Path) -> None:
    line = os.urandom(100_000).replace(b"\n", b" ") + b"\n"
    on_disk = []

    def lines() -> Iterator[bytes]:
        for _ in range(20):
            yield line
            on_disk.append(sum(part.stat().st_size for part in tmp_path.iterdir()))

    found = write_lines(f"{tmp_path}/object", lines())

    assert on_disk[10] > 8 * len(line)
    assert found["rows"] == 20


@pytest.mark.parametrize("held", [None, b"as it was"])
def test_an_object_that_fails_half_way_is_as_it_was_and_leaves_nothing(
    tmp_path: Path, held: bytes | None
) -> None:
    target = tmp_path / "object"
    if held:
        target.write_bytes(held)

    def lines() -> Iterator[bytes]:
        yield from [b"{}\n"] * 100_000
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(str(target), lines())

    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == ({"object": held} if held else {})


@pytest.mark.integration
def test_a_process_killed_half_way_leaves_no_object(tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from lambda_function.lake import write_lines

        def lines():
            for _ in range(20):
                yield os.urandom(100_000)
            os.kill(os.getpid(), signal.SIGKILL)

        write_lines(sys.argv[1], lines())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "object")]

    killed = subprocess.run(command, check=False)

    assert killed.returncode == -signal.SIGKILL
    # What it had begun has a name that no reader takes for an object.
    assert all(path.name.startswith(".object.") for path in tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_an_object_replaces_what_was_there(tmp_path: Path, scheme: str) -> None:
    uri = f"{scheme}{tmp_path}/folder=a b/object"
    for body in (b"a longer body", b"short"):
        put(uri, body)
    assert (tmp_path / "folder=a b" / "object").read_bytes() == b"short"
    assert len(list(tmp_path.rglob("*"))) == 2
