"""The files that a job wrote, read back: where they are, and which window each row is of."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crypto_platform.core.lazy import pa, pc, pq
from crypto_platform.core.streams import DATASETS, Dataset, Window
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.manifests import LakeFile


@dataclass(frozen=True)
class JobOutput:
    """A file that the job wrote.

    Attributes:
        file: As the lake will name it.
        written: Where the job wrote it.
        rows: Its rows, with ``window``: the place of each one's window among those of the month,
            null for a window that is not among them.
    """

    file: LakeFile
    written: str
    rows: "pa.Table"

    def counts(self) -> Counter[int | None]:
        """How many rows each window has, by its place."""
        return counts_of_places(self.rows.group_by("window").aggregate([([], "count_all")]))


JobOutputs = Mapping[Dataset, JobOutput]
"""The files of one month."""


def counts_of_places(counted: "pa.Table") -> Counter[int | None]:
    """Counts of rows by their window's place, out of their table."""
    places, counts = counted["window"].to_pylist(), counted["count_all"].to_pylist()
    return Counter(dict(zip(places, counts, strict=True)))


def written_files(lake: Lake, folder: str) -> dict[int, dict[Dataset, str]]:
    """The paths of what a job wrote, by the month's number and the dataset."""
    found: dict[int, dict[Dataset, str]] = defaultdict(dict)
    names: dict[str, Dataset] = {dataset: dataset for dataset in DATASETS}
    for path in lake.transformed.paths(f"{folder}/output"):
        parts = re.search(r"/dataset=(\w+)/number=(\d+)/[^/]+\.parquet$", path)
        if parts:
            found[int(parts[2])][names[parts[1]]] = path
    return found


def read_output(
    lake: Lake, path: str, dataset: Dataset, target: str, windows: Sequence[Window]
) -> JobOutput:
    """Read one file of a job.

    Args:
        lake: The lake that the job wrote to.
        path: Where the job wrote the file.
        dataset: What its rows are.
        target: Its path in the lake, once it counts.
        windows: The windows of the month, in the order of their places.

    Raises:
        pyarrow.ArrowInvalid: It is no whole file.
    """
    content = lake.transformed.read(path) or b""
    rows = pq.ParquetFile(pa.BufferReader(content)).read()
    file = lake.transformed.describe_file(dataset, target, rows.num_rows, content)
    return JobOutput(file, path, rows.append_column("window", _places(rows, windows)))


def _places(rows: "pa.Table", windows: Sequence[Window]) -> Any:
    """For each row the place of its window, or null."""
    if "window_start" not in rows.column_names:
        return pa.nulls(rows.num_rows, pa.int32())
    starts = pa.array([window.start for window in windows], rows["window_start"].type)
    return pc.index_in(rows["window_start"], value_set=starts)
