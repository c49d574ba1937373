"""A lake of an earlier version in buckets is taken over as one in folders is."""

from pathlib import Path

import pytest

from crypto_platform.core.streams import STREAMS
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.upgrade import OldLayoutError, refuse_old_layout, upgrade
from crypto_platform_tests.aws.account import RAW_BUCKET, TRANSFORMED_BUCKET
from crypto_platform_tests.lake.test_upgrade import all_paths, damage, new_rows, old_rows
from crypto_platform_tests.warehouse.test_schema_changes import VERSIONS

pytestmark = pytest.mark.integration

DAY = "historical_data/date=2026-11-22"


@pytest.fixture
def old(aws: str) -> Lake:  # noqa: ARG001 - the account comes first
    lake = Lake(
        raw_root=f"s3://{RAW_BUCKET}/lake", transformed_root=f"s3://{TRANSFORMED_BUCKET}/lake"
    )
    for layer in (lake.raw, lake.transformed):
        root = VERSIONS / "0.2.0" / layer.name
        for file in filter(Path.is_file, root.rglob("*")):
            layer.put(str(file.relative_to(root)), file.read_bytes())
    return lake


def test_every_row_is_there_as_it_was_and_nothing_of_the_old_layout(old: Lake) -> None:
    before = old_rows(old)
    assert len(before["raw prices"]) == 6
    for stream in STREAMS:
        with pytest.raises(OldLayoutError, match=f"s3://{RAW_BUCKET}/lake/{stream.folder}/date="):
            refuse_old_layout(old.raw, stream)

    months = list(upgrade(old))

    assert new_rows(old) == before
    assert not [fault for month in months for fault in month.faults]
    for layer in (old.raw, old.transformed):
        assert not [path for path in all_paths(layer) if "date=" in path]
        for stream in STREAMS:
            refuse_old_layout(layer, stream)
    assert list(upgrade(old)) == []


def test_what_is_damaged_is_kept_aside(old: Lake) -> None:
    path = damage(old.raw, DAY, "prices", b"changed")

    faults = [fault for month in upgrade(old) for fault in month.faults]

    assert [(fault.path, fault.partition) for fault in faults] == [(path, "2026-11-22")]
    assert old.raw.read(f"damaged/{path}") == b"changed"
