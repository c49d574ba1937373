"""What a job is asked to do: which raw answers become rows, and which rows are carried over.

A file of the lake counts as a whole or not at all, so that anyone can read it: where some windows
of a file are made again, the job copies its other windows into the new file.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from crypto_platform.core.streams import DATASETS, Dataset, Stream, Window
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.manifests import LakeFile, Manifest, MonthManifest, files_of

MAX_FILES_A_MONTH = 16
"""At so many files of a dataset a month's next run makes one of them: each tick adds a small one.

With four ticks a day that happens eight times a month, and a month is never more than 16 files.
"""

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class MonthJob:
    """What a job does in one month of the lake.

    Attributes:
        number: Its number in the job.
        raw: What the raw lake holds of the windows asked for, one manifest a window.
        kept: Other windows of the month, whose rows are carried over into the new files.
        rewritten: The files that the new ones replace.
        held: What the transformed lake held of all these windows when the job was planned.
    """

    number: int
    raw: Sequence[Manifest]
    kept: Sequence[Manifest]
    rewritten: Sequence[LakeFile]
    held: Mapping[Window, Manifest]

    def spec_line(self, lake: Lake) -> dict[str, Any]:
        """The month as the job's spec has it; see ``glue_jobs.job``.

        Args:
            lake: Whose files are named.
        """
        raw: dict[Dataset, list[LakeFile]] = {
            dataset: files_of(self.raw, dataset) for dataset in ("prices", "snapshots")
        }
        return {
            "number": self.number,
            "windows": [manifest.window.model_dump(mode="json")["start"] for manifest in self.raw],
            "points": sum(manifest.points for manifest in (*self.raw, *self.kept)),
            **{name: [lake.raw.uri(file.path) for file in files] for name, files in raw.items()},
            **{
                f"kept_{dataset}": [
                    lake.transformed.uri(file.path) for file in files_of(self.carried, dataset)
                ]
                for dataset in DATASETS
            },
        }

    @property
    def carried(self) -> list[Manifest]:
        """The windows of the files from which rows are carried over, with these files alone."""
        kept = {file.path for file in files_of(self.kept)}
        carried = {file.path for file in self.rewritten} & kept
        return [
            replace(held, files=tuple(file for file in held.files if file.path in carried))
            for held in self.held.values()
        ]


def plan_months(
    stream: Stream,
    raw: Sequence[Manifest],
    months: Mapping[str, MonthManifest],
    is_intact: Callable[[LakeFile], bool],
) -> list[MonthJob]:
    """Cut the windows asked for into months, with what has to be carried over in each.

    Args:
        stream: The stream of the windows.
        raw: What the raw lake holds, one manifest a window.
        months: What the transformed lake holds, by the windows' folders.
        is_intact: Whether a file is as it was written: what is damaged is left alone where it need
            not be rewritten.
    """
    asked = {manifest.window: manifest for manifest in raw}
    return [
        _month_job(number, [asked[window] for window in windows], months[folder], is_intact)
        for number, (folder, windows) in enumerate(stream.by_folder(asked).items())
    ]


def _month_job(
    number: int,
    raw: Sequence[Manifest],
    month: MonthManifest,
    is_intact: Callable[[LakeFile], bool],
) -> MonthJob:
    asked = {manifest.window.start for manifest in raw}
    files = month.files()
    crowded = {
        dataset
        for dataset, count in Counter(file.dataset for file in files).items()
        if count >= MAX_FILES_A_MONTH
    }
    hit = files_of(month.windows[start] for start in asked & month.windows.keys())
    rewritten = [
        file for file in files if file in hit or (file.dataset in crowded and is_intact(file))
    ]
    paths = {file.path for file in rewritten}
    kept = [
        held
        for start, held in month.windows.items()
        if start not in asked and any(file.path in paths for file in held.files)
    ]
    seen = [*kept, *(held for start, held in month.windows.items() if start in asked)]
    return MonthJob(number, raw, kept, rewritten, {held.window: held for held in seen})


def write_job_spec(lake: Lake, folder: str, months: Sequence[MonthJob]) -> str:
    """Write what a job is to do: one line of JSON a month.

    Args:
        lake: Whose files are named, and whose transformed layer keeps the spec.
        folder: The job's own folder there.
        months: What it does in each month.

    Returns:
        The spec's path in the transformed lake.
    """
    path = f"{folder}/job_spec.jsonl"
    lines = [json.dumps(month.spec_line(lake)) for month in months]
    lake.transformed.put(path, "\n".join(lines).encode())
    return path


def job_folder(stream: Stream, run_id: str) -> str:
    """Where a job's spec and what it writes are, relative to the root of the transformed lake.

    Args:
        stream: The stream.
        run_id: The run.
    """
    return f"jobs/{stream.name}/run={run_id}"


def job_arguments(lake: Lake, stream: Stream, folder: str, job_spec: str) -> dict[str, str]:
    """The arguments of a job, as its script in ``glue_jobs`` takes them.

    Args:
        lake: Whose transformed layer is written.
        stream: The stream, which says how windows and prices are cut.
        folder: The job's own folder in the transformed layer.
        job_spec: The spec's path there.
    """
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return {
        "job_spec": lake.transformed.uri(job_spec),
        "output": lake.transformed.uri(f"{folder}/output"),
        "grain": str(stream.floored_to // _MILLISECOND),
        "window_length": str(stream.window_length // _MILLISECOND),
        "window_anchor": str((stream.window_anchor - epoch) // _MILLISECOND),
    }
