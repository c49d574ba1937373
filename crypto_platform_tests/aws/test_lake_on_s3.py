"""A layer of the lake in a bucket, where it differs from one in a folder."""

from datetime import timedelta

import pytest

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake import layers as lake
from crypto_platform.lake.layers import MANIFEST_NAME, LakeRefusedError, Layer
from crypto_platform.lake.manifests import Manifest
from crypto_platform_tests.aws.account import RAW_BUCKET, client
from crypto_platform_tests.aws.permissions import acting
from crypto_platform_tests.lake.test_layers import FOLDER, WINDOW, manifest_naming

pytestmark = pytest.mark.integration


@pytest.fixture
def layer(aws: str) -> Layer:  # noqa: ARG001 - the account comes first
    return Layer(f"s3://{RAW_BUCKET}", "raw", "raw_prices")


@pytest.fixture
def all_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever no manifest names may be swept at once: a bucket's clock cannot be turned back."""
    monkeypatch.setattr(lake, "SWEEP_AFTER", timedelta(days=-1))


def committed(layer: Layer, run_id: str) -> Manifest:
    manifest = manifest_naming(layer, run_id.encode(), run_id=run_id)
    layer.commit(HISTORICAL, [manifest])
    return manifest


def test_paths_of_a_folder_are_those_of_the_objects_below_it(layer: Layer) -> None:
    for path in ("a/b=1/c d+é", "a/e", "ab/f"):
        layer.put(path, b"content")
    client("s3").put_object(Bucket=RAW_BUCKET, Key="a/marker/")

    assert layer.paths("a") == ["a/b=1/c d+é", "a/e"]
    assert layer.paths("nowhere") == []


@pytest.mark.usefixtures("all_is_old")
def test_what_two_commits_ago_counted_is_swept_and_a_marker_of_a_folder_is_not(
    layer: Layer,
) -> None:
    marker = f"{FOLDER}/run=first/"
    client("s3").put_object(Bucket=RAW_BUCKET, Key=marker)
    for run_id in ("first", "second", "third"):
        manifest = committed(layer, run_id)

    assert layer.paths(FOLDER) == [
        f"{FOLDER}/{MANIFEST_NAME}",
        f"{FOLDER}/run=second/prices-0.json.gz",
        f"{FOLDER}/run=third/prices-0.json.gz",
    ]
    assert layer.manifest(HISTORICAL, WINDOW) == manifest


@pytest.mark.usefixtures("all_is_old")
def test_a_sweep_that_is_refused_says_that_the_window_counts(layer: Layer) -> None:
    committed(layer, "first")
    committed(layer, "second")
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "*"}
    listing = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "*"}

    with (
        acting([{"Version": "2012-10-17", "Statement": [allowed, listing]}]),
        pytest.raises(LakeRefusedError, match="What was committed counts; an old file stays"),
    ):
        committed(layer, "third")

    held = layer.manifest(HISTORICAL, WINDOW)
    assert held is not None
    assert held.run_id == "third"
