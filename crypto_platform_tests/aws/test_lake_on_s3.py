"""A layer of the lake in a bucket, where it differs from one in a folder."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake.layers import MANIFEST_NAME, Lake, Layer
from crypto_platform.lake.reading import live_files, read_rows
from crypto_platform.lake.storage import LakeRefusedError
from crypto_platform.lake.vacuum import KEPT_FOR, Removed, vacuum
from crypto_platform_tests.aws.account import RAW_BUCKET, TRANSFORMED_BUCKET, client
from crypto_platform_tests.aws.permissions import acting
from crypto_platform_tests.lake.commits import FOLDER, WINDOW, commit_days, naming
from crypto_platform_tests.lake.test_layers import assert_that_who_comes_second_looks_again
from crypto_platform_tests.transformed_lake import TransformedLake, price

pytestmark = pytest.mark.integration

MANIFEST = f"{FOLDER}/{MANIFEST_NAME}"


@pytest.fixture
def both(aws: str) -> Lake:  # noqa: ARG001 - the account comes first
    return Lake(raw_root=f"s3://{RAW_BUCKET}", transformed_root=f"s3://{TRANSFORMED_BUCKET}")


@pytest.fixture
def layer(both: Lake) -> Layer:
    return both.raw


def test_paths_of_a_folder_are_those_of_the_objects_below_it(layer: Layer) -> None:
    for path in ("a/b=1/c d+é", "a/e", "ab/f"):
        layer.put(path, b"content")
    client("s3").put_object(Bucket=RAW_BUCKET, Key="a/marker/")

    assert layer.paths("a") == ["a/b=1/c d+é", "a/e"]
    assert layer.paths("nowhere") == []


def test_a_file_that_is_listed_has_its_size_and_when_it_was_written(layer: Layer) -> None:
    layer.put("a/b", b"content")

    (file,) = layer.files("a")

    assert (file.path, file.bytes) == ("a/b", 7)
    assert abs(datetime.now(UTC) - file.written_at) < timedelta(minutes=1)


def test_a_put_whose_condition_does_not_hold_is_refused_by_the_bucket(layer: Layer) -> None:
    layer.put(MANIFEST, b"first")
    s3 = client("s3")

    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"of another version"'}):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=RAW_BUCKET, Key=MANIFEST, Body=b"second", **condition)
        assert refused.value.response["Error"]["Code"] == "PreconditionFailed"

    assert layer.read(MANIFEST) == b"first"


def test_who_comes_second_to_a_month_looks_again(layer: Layer) -> None:
    assert_that_who_comes_second_looks_again(layer)


def test_who_comes_second_to_an_existing_month_looks_again(layer: Layer) -> None:
    before = naming(layer, b"before", run_id="before", window=HISTORICAL.window("2026-11-23"))
    layer.commit(HISTORICAL, [before])

    assert_that_who_comes_second_looks_again(layer)
    assert layer.held(HISTORICAL, [before.window]) == [before]


def test_a_month_that_is_gone_before_it_is_replaced_is_made_anew(layer: Layer) -> None:
    layer.commit(HISTORICAL, [naming(layer, b"before", run_id="before")])
    new = naming(layer, b"new", run_id="new", window=HISTORICAL.window("2026-11-23"))
    held = []

    def remove_first(month: object, one: object) -> object:
        held.append(month)
        layer.remove(MANIFEST)
        return one

    layer.commit(HISTORICAL, [new], remove_first)  # type: ignore[arg-type]

    assert list(layer.month(HISTORICAL, FOLDER).windows.values()) == [new]


def test_runs_that_commit_to_one_month_at_once_lose_nothing_and_show_no_less(layer: Layer) -> None:
    seen: set[datetime] = set()
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(commit_days, layer, first, 10) for first in (1, 11, 21)]
        while not all(run.done() for run in runs):
            windows = layer.month(HISTORICAL, FOLDER).windows.keys()
            assert seen <= windows
            seen |= windows
        for run in runs:
            run.result()

    month = layer.month(HISTORICAL, FOLDER)
    assert [start.day for start in month.windows] == list(range(1, 31))
    layer.check(HISTORICAL, list(month.windows.values()))


def later() -> datetime:
    return datetime.now(UTC) + KEPT_FOR + timedelta(minutes=1)


def test_what_is_replaced_or_left_is_removed_and_a_marker_of_a_folder_is_not(both: Lake) -> None:
    markers = (f"{FOLDER}/", "jobs/")
    for marker in markers:
        for bucket in (RAW_BUCKET, TRANSFORMED_BUCKET):
            client("s3").put_object(Bucket=bucket, Key=marker)
    first, second = (naming(both.raw, run.encode(), run_id=run) for run in ("r1", "r2"))
    for manifest in (first, second):
        both.raw.commit(HISTORICAL, [manifest])
    both.transformed.put("jobs/historical/run=r1/output/part.parquet", b"part")
    both.transformed.put("jobs/historical/run=r1/job_spec.jsonl", b"spec")
    both.raw.put("rejected/historical_data/run=r1/bitcoin.json", b"kept")

    assert vacuum(both).removed == ()
    done = vacuum(both, now=later())

    assert done.removed == (
        Removed(both.raw.uri(FOLDER), 1, 2),
        Removed(both.transformed.uri("jobs/historical/run=r1"), 2, 8),
    )
    assert both.raw.paths(FOLDER) == [MANIFEST, second.files[0].path]
    assert both.raw.month(HISTORICAL, FOLDER).replaced == {}
    assert both.transformed.paths("jobs") == []
    assert both.raw.paths("rejected") == ["rejected/historical_data/run=r1/bitcoin.json"]
    for marker in markers:
        client("s3").head_object(Bucket=TRANSFORMED_BUCKET, Key=marker)


def test_a_removal_that_is_refused_says_that_what_was_committed_counts(both: Lake) -> None:
    for run_id in ("r1", "r2"):
        both.raw.commit(HISTORICAL, [naming(both.raw, b"content", run_id=run_id)])
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "*"}
    listing = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "*"}

    with (
        acting([{"Version": "2012-10-17", "Statement": [allowed, listing]}]),
        pytest.raises(LakeRefusedError, match="What was committed counts; an old file stays"),
    ):
        vacuum(both, now=later())

    (held,) = both.raw.manifests(HISTORICAL, [WINDOW])
    assert held.run_id == "r2"
    assert len(both.raw.month(HISTORICAL, FOLDER).replaced) == 1


def test_the_rows_of_a_bucket_read_as_those_of_a_folder(both: Lake, tmp_path: object) -> None:
    written = TransformedLake(str(tmp_path))
    keys = ("2026-10-31", "2026-11-01", "2026-11-02")
    days = written.months(HISTORICAL, {key: {"prices": [price("bitcoin", key)]} for key in keys})
    for day in days:
        both.transformed.put(day.files[0].path, written.path(day).read_bytes())
    both.transformed.commit(HISTORICAL, [replace(day, run_id="r1") for day in days])

    start = HISTORICAL.window("2026-11-01").start
    (file,) = live_files(both.transformed, HISTORICAL, "prices", start)
    rows = read_rows(both.transformed, HISTORICAL, "prices", end=start).to_table()

    assert both.transformed.uri(file.path) == (
        f"s3://{TRANSFORMED_BUCKET}/historical_data/month=2026-11/prices-run-1.parquet"
    )
    assert rows["price_at"].to_pylist() == [HISTORICAL.window("2026-10-31").start]
