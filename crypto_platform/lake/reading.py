"""The lake for others: which of its files count, and what stands in them.

A live Parquet file has live rows only: a transformation that makes some windows of it again copies
the others into the new file. So whatever reads the live files sees no row twice, and none too few.
What is listed stays readable for as long as ``vacuum.KEPT_FOR``, whatever runs do meanwhile.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from crypto_platform.core.errors import InvalidInputError
from crypto_platform.core.lazy import pa, pads, pafs, pc, pq
from crypto_platform.core.streams import Dataset, Stream, Window
from crypto_platform.lake.layers import Layer, folder_start
from crypto_platform.lake.manifests import LakeFile, Manifest, files_of
from crypto_platform.lake.storage import at
from crypto_platform.lake.upgrade import refuse_old_layout

_Named = TypeVar("_Named")


def named(given: str, there: Mapping[str, _Named], what: str) -> _Named:
    """What a person named.

    Args:
        given: The name.
        there: What has names, by them.
        what: What it is, for the message.

    Raises:
        InvalidInputError: Nothing has that name.
    """
    if given not in there:
        raise InvalidInputError(f"{given!r} is no {what}; those are {', '.join(there)}.")
    return there[given]


def live_files(
    layer: Layer,
    stream: Stream,
    dataset: Dataset,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[LakeFile]:
    """The files that hold any window of a time, each once, the oldest windows first.

    Args:
        layer: The raw or the transformed lake.
        stream: The stream.
        dataset: Which of its datasets.
        start: A window that ends by then is not of the time; ``None`` is the oldest.
        end: A window that begins then, or later, is not of the time; ``None`` is the newest.

    Raises:
        InvalidInputError: The start is not before the end.
        OldLayoutError: The lake is of an earlier version.
    """
    refuse_old_layout(layer, stream)
    if start and end and start >= end:
        raise InvalidInputError(
            f"The start {start.isoformat()} is not before the end {end.isoformat()}."
        )

    def is_asked(window: Window) -> bool:
        return (start is None or window.end > start) and (end is None or window.start < end)

    def manifests(folder: str) -> list[Manifest]:
        held = layer.month(stream, folder).windows.values()
        return [manifest for manifest in held if is_asked(manifest.window)]

    folders = [one for one in layer.folders(stream) if _may_hold(stream, one, start, end)]
    months = layer.each(manifests, folders)
    return files_of((manifest for month in months for manifest in month), dataset)


def read_rows(
    layer: Layer,
    stream: Stream,
    dataset: Dataset,
    start: datetime | None = None,
    end: datetime | None = None,
) -> "pads.Dataset":
    """The rows of the windows of a time; nothing but the files' footers is read yet.

    Files were made at different times: a column that one lacks is null in its rows.

    Args:
        layer: The transformed lake.
        stream: The stream.
        dataset: Which of its datasets.
        start: As for ``live_files``.
        end: As for ``live_files``.

    Raises:
        InvalidInputError: The lake has no such rows, or the start is not before the end.
    """
    files = live_files(layer, stream, dataset, start, end)
    if not files:
        raise InvalidInputError(
            f"The {layer.name} lake {layer.root} has no {dataset} of {stream.name}"
            f"{f' from {start.isoformat()}' if start else ''}"
            f"{f' until {end.isoformat()}' if end else ''}. Is CRYPTO_HOME, or the working folder, "
            "another than that of the runs? If not, materialize some partitions."
        )
    filesystem, top = _filesystem(layer)
    paths = [f"{top}/{file.path}" for file in files]
    schemas = layer.each(lambda path: pq.read_schema(path, filesystem=filesystem), paths)
    # Another engine's metadata, and its word on nulls, say nothing of the rows.
    schema = pa.unify_schemas(
        [one.remove_metadata() for one in schemas], promote_options="permissive"
    )
    rows = pads.dataset(paths, schema=schema, filesystem=filesystem, format="parquet")
    begins = pc.field("window_start")
    if start:
        rows = rows.filter(begins > pa.scalar(start - stream.window_length))
    if end:
        rows = rows.filter(begins < pa.scalar(end))
    return rows


def _may_hold(stream: Stream, folder: str, start: datetime | None, end: datetime | None) -> bool:
    """Whether a window of a time may be in a folder."""
    first = folder_start(stream, folder.rsplit("/", 1)[-1])
    if first is None or (end and first >= end):
        return False
    if start is None:
        return True
    oldest = (start - stream.window_length).strftime(stream.folder_format)
    return first >= (folder_start(stream, oldest) or first)


def _filesystem(layer: Layer) -> tuple["pafs.FileSystem", str]:
    """Where pyarrow finds a layer, and the layer's root there."""
    there = at(layer.root)
    if not layer.root.startswith("s3://"):
        return pafs.LocalFileSystem(), str(there)
    # Logged in as all else here is: pyarrow alone knows fewer ways, and not the bucket's region.
    s3, session = there.client.client, there.client.sess
    login = session.get_credentials().get_frozen_credentials()
    headers = s3.head_bucket(Bucket=there.bucket)["ResponseMetadata"]["HTTPHeaders"]
    region = headers.get("x-amz-bucket-region", s3.meta.region_name)
    scheme, _, host = session.client("s3", region_name=region).meta.endpoint_url.partition("://")
    filesystem = pafs.S3FileSystem(
        access_key=login.access_key,
        secret_key=login.secret_key,
        session_token=login.token,
        region=region,
        scheme=scheme,
        endpoint_override=host,
    )
    return filesystem, layer.root.removeprefix("s3://")
