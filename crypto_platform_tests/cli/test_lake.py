import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from crypto_platform.cli.main import main
from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake.layers import MANIFEST_NAME, Lake
from crypto_platform_tests.lake.commits import FOLDER, naming
from crypto_platform_tests.transformed_lake import TransformedLake, price


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", "home")
    home = tmp_path / "home"
    return Lake(raw_root=str(home / "raw"), transformed_root=str(home / "transformed"))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["lake", *arguments])


def test_files_are_absolute_paths_one_a_line(lake: Lake) -> None:
    written = TransformedLake(lake.transformed_root)
    days = [written.day(key, price("bitcoin", key)) for key in ("2026-10-31", "2026-11-01")]
    lake.transformed.commit(HISTORICAL, days)
    lake.raw.commit(HISTORICAL, [naming(lake.raw, b"content")])

    listed = call("files", "historical")
    of_november = call("files", "historical", "--start", "2026-11-01")
    raw = call("files", "historical", "--layer", "raw")
    rejected = call("files", "historical", "--dataset", "rejected")

    assert listed.output.splitlines() == [str(written.path(day)) for day in days]
    assert of_november.output.splitlines() == [str(written.path(days[1]))]
    assert raw.output.splitlines() == [lake.raw.uri(f"{FOLDER}/prices-r1-00000.json.gz")]
    assert (rejected.exit_code, rejected.output) == (0, "")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--start", "yesterday"], "--start 'yesterday' is no time"),
        (["--start", "2026-11-02", "--end", "2026-11-01"], "is not before the end"),
    ],
)
@pytest.mark.usefixtures("lake")
def test_a_time_that_cannot_be_is_one_line(option: list[str], said: str) -> None:
    refused = call("files", "historical", *option)

    assert refused.exit_code == 1
    assert said in refused.stderr


def test_a_vacuum_says_what_it_removes_and_a_dry_run_only_says_it(lake: Lake) -> None:
    left = f"{FOLDER}/prices-killed-00000.json.gz"
    lake.raw.put(left, b"left")
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(lake.raw.uri(left), (long_ago, long_ago))

    dry = call("vacuum", "--dry-run")
    assert lake.raw.read(left) == b"left"
    wet = call("vacuum")
    again = call("vacuum")

    assert (dry.exit_code, wet.exit_code) == (0, 0)
    assert "Would remove 1 file(s), 4 bytes, in 1 folder(s)." in dry.output
    assert "Removed 1 file(s), 4 bytes, in 1 folder(s)." in wet.output
    assert lake.raw.uri(FOLDER) in wet.output
    assert again.output == "Removed 0 file(s), 0 bytes, in 0 folder(s).\n"


def test_a_vacuum_that_leaves_a_month_alone_says_so_and_fails(lake: Lake) -> None:
    lake.raw.put(f"{FOLDER}/{MANIFEST_NAME}", b"damaged")

    done = call("vacuum")

    assert done.exit_code == 1
    assert "Files of month=2026-11" in done.stderr
