import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.lake.layers import MANIFEST_NAME, Lake, Layer
from crypto_platform.lake.storage import LOCK_NAME
from crypto_platform.lake.vacuum import KEPT_FOR, Removed, vacuum
from crypto_platform_tests.lake.commits import FOLDER, naming
from crypto_platform_tests.transformed_lake import TransformedLake, price, snapshot

LATER = KEPT_FOR + timedelta(minutes=1)


@pytest.fixture
def both(tmp_path: Path) -> Lake:
    return Lake(raw_root=str(tmp_path / "raw"), transformed_root=str(tmp_path / "transformed"))


def later() -> datetime:
    """A day and a bit after all that a test has written."""
    return datetime.now(UTC) + LATER


def everything(layer: Layer) -> set[str]:
    return {
        str(path.relative_to(layer.root)) for path in Path(layer.root).rglob("*") if path.is_file()
    }


def test_a_replaced_file_is_removed_a_day_later_and_leaves_the_manifest(both: Lake) -> None:
    first = naming(both.raw, b"first", run_id="r1")
    second = naming(both.raw, b"second", run_id="r2")
    for manifest in (first, second):
        both.raw.commit(HISTORICAL, [manifest])

    done = vacuum(both, now=later())

    assert done.removed == (Removed(both.raw.uri(FOLDER), 1, len(b"first")),)
    assert both.raw.paths(FOLDER) == [f"{FOLDER}/{MANIFEST_NAME}", second.files[0].path]
    month = both.raw.month(HISTORICAL, FOLDER)
    assert (list(month.windows.values()), month.replaced) == ([second], {})


def test_a_file_that_was_replaced_within_the_day_stays_however_old_it_is(both: Lake) -> None:
    first = naming(both.raw, b"first", run_id="r1")
    long_ago = (datetime.now(UTC) - timedelta(days=90)).timestamp()
    os.utime(both.raw.uri(first.files[0].path), (long_ago, long_ago))
    for manifest in (first, naming(both.raw, b"second", run_id="r2")):
        both.raw.commit(HISTORICAL, [manifest])

    assert vacuum(both).removed == ()

    both.raw.check(HISTORICAL, [first])
    assert list(both.raw.month(HISTORICAL, FOLDER).replaced) == [first.files[0].path]


@pytest.mark.parametrize("name", ["prices-killed-00000.json.gz", ".prices-x.json.gz.0123abcd"])
def test_what_a_killed_run_left_is_removed_a_day_later_and_not_before(
    both: Lake, name: str
) -> None:
    left = f"{FOLDER}/{name}"
    both.raw.put(left, b"left")

    assert vacuum(both).files == 0
    assert both.raw.read(left) == b"left"

    assert vacuum(both, now=later()).files == 1
    assert both.raw.read(left) is None


def test_leftovers_of_all_datasets_are_removed_from_the_transformed_lake(both: Lake) -> None:
    folders = ("historical_data", "intra_day", "market_snapshots", "rejected/intra_day")
    for folder in folders:
        both.transformed.put(f"{folder}/month=2026-11/left.parquet", b"left")

    done = vacuum(both, now=later())

    assert [one.folder for one in done.removed] == [
        both.transformed.uri(f"{folder}/month=2026-11") for folder in folders
    ]
    assert everything(both.transformed) == set()


def test_whatever_any_stream_names_stays(both: Lake) -> None:
    written = TransformedLake(both.transformed_root)
    day = written.day("2026-11-22", price("bitcoin", "2026-11-22"))
    # Its snapshots lie where those of the historical stream would.
    hours = written.six_hours(
        "2026-11-22-12:00",
        price("bitcoin", "2026-11-22 12:05"),
        snapshots=[snapshot("bitcoin", "2026-11-22 17:59")],
    )
    both.transformed.commit(HISTORICAL, [day])
    both.transformed.commit(INTRA_DAY, [hours])
    before = everything(both.transformed)

    assert vacuum(both, now=later()).removed == ()

    assert everything(both.transformed) == before


def test_what_is_not_of_windows_stays_as_it_is(both: Lake) -> None:
    raw, transformed = both.raw, both.transformed
    kept = {
        raw: {
            "alerts/state.json",
            "api_usage/month=2026-11/day=22/run.json",
            "fear_and_greed/asked=2026-11-22/run=r1.json.gz",
            "rejected/historical_data/run=r1/bitcoin.json",
            "tracked_coins/run=r1.json",
            "historical_data/date=2026-11-22/run=r1/prices-00000.json.gz",
            f"historical_data/date=2026-11-22/{MANIFEST_NAME}",
            LOCK_NAME,
        },
        transformed: {
            "market_report/latest.html",
            "market_snapshots/date=2026-11-22/hour=18/run=r1/part-0.parquet",
            "elsewhere/month=2026-11/part.parquet",
        },
    }
    for layer, paths in kept.items():
        for path in paths:
            layer.put(path, b"kept")

    assert vacuum(both, now=later()).removed == ()

    assert {layer: everything(layer) for layer in kept} == kept


def test_what_a_job_left_is_removed_once_all_of_it_is_old(both: Lake) -> None:
    for run in ("old", "going"):
        both.transformed.put(f"jobs/historical/run={run}/job_spec.jsonl", b"spec")
    both.transformed.put("jobs/historical/run=old/output/part.parquet", b"part")
    both.transformed.put("jobs/historical/run=going/output/part.parquet", b"part")
    aged(both.transformed, "jobs/historical/run=going/job_spec.jsonl")
    aged(both.transformed, "jobs/historical/run=old/job_spec.jsonl")
    aged(both.transformed, "jobs/historical/run=old/output/part.parquet")

    done = vacuum(both)

    assert done.removed == (Removed(both.transformed.uri("jobs/historical/run=old"), 2, 8),)
    assert [entry.name for entry in Path(both.transformed.uri("jobs/historical")).iterdir()] == [
        "run=going"
    ]
    assert len(both.transformed.paths("jobs")) == 2


def aged(layer: Layer, path: str) -> None:
    long_ago = (datetime.now(UTC) - LATER).timestamp()
    os.utime(layer.uri(path), (long_ago, long_ago))


def test_a_dry_run_says_the_same_and_changes_nothing(both: Lake) -> None:
    for run_id in ("r1", "r2"):
        both.raw.commit(HISTORICAL, [naming(both.raw, b"content", run_id=run_id)])
    both.transformed.put("jobs/historical/run=r1/job_spec.jsonl", b"spec")
    before = [everything(both.raw), everything(both.transformed)]
    now = later()

    said = vacuum(both, now=now, dry_run=True)

    assert [everything(both.raw), everything(both.transformed)] == before
    assert len(both.raw.month(HISTORICAL, FOLDER).replaced) == 1
    assert vacuum(both, now=now) == said
    assert said.files == 2


def test_a_month_whose_manifest_cannot_be_read_is_left_alone_and_named(both: Lake) -> None:
    both.raw.put(f"{FOLDER}/{MANIFEST_NAME}", b"damaged")
    for month in ("2026-10", "2026-11"):
        both.raw.put(f"historical_data/month={month}/prices-r1-00000.json.gz", b"content")

    done = vacuum(both, now=later())

    assert everything(both.raw) == {
        f"{FOLDER}/{MANIFEST_NAME}",
        f"{FOLDER}/prices-r1-00000.json.gz",
    }
    assert done.files == 1
    (problem,) = done.problems
    assert problem.startswith(f"Files of month=2026-11 in {both.raw.root} were left alone")


def test_a_vacuum_that_was_killed_before_it_forgot_is_made_good(both: Lake) -> None:
    first = naming(both.raw, b"first", run_id="r1")
    for manifest in (first, naming(both.raw, b"second", run_id="r2")):
        both.raw.commit(HISTORICAL, [manifest])
    both.raw.remove(first.files[0].path)

    assert vacuum(both, now=later()).removed == ()

    assert both.raw.month(HISTORICAL, FOLDER).replaced == {}


def test_what_is_committed_while_files_are_listed_stays(
    both: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = naming(both.raw, b"late")
    listing = Layer.month

    def commit_first(layer: Layer, *asked: object) -> object:
        monkeypatch.setattr(Layer, "month", listing)
        both.raw.commit(HISTORICAL, [late])
        return listing(layer, *asked)  # type: ignore[arg-type]

    monkeypatch.setattr(Layer, "month", commit_first)

    assert vacuum(both, now=later()).removed == ()
    both.raw.check(HISTORICAL, [late])


def test_a_run_that_commits_while_files_are_removed_loses_nothing(
    both: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id in ("r1", "r2"):
        both.raw.commit(HISTORICAL, [naming(both.raw, b"content", run_id=run_id)])
    removing = Layer.remove

    def commit_first(layer: Layer, path: str) -> None:
        tomorrow = HISTORICAL.window("2026-11-23")
        both.raw.commit(HISTORICAL, [naming(both.raw, b"late", run_id="r3", window=tomorrow)])
        removing(layer, path)

    monkeypatch.setattr(Layer, "remove", commit_first)

    assert vacuum(both, now=later()).files == 1

    month = both.raw.month(HISTORICAL, FOLDER)
    assert [one.run_id for one in month.windows.values()] == ["r2", "r3"]
    assert month.replaced == {}
