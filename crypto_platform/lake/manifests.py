"""What a window holds: the file that, written last, makes a run's other files count."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel

from crypto_platform.core.streams import Dataset, Window

AbsenceStatus = Literal["missing_at_source", "out_of_plan", "quarantined", "failed"]


class LakeFile(BaseModel, frozen=True):
    """One file of a window.

    Attributes:
        dataset: Which of the window's datasets its rows belong to.
        path: Where it is, relative to the root of the raw or of the transformed lake.
        rows: Lines of raw JSON, or rows of Parquet.
        bytes: Its size as stored, compressed.
        sha256: Of the bytes as stored, in hexadecimal.
    """

    dataset: Dataset
    path: str
    rows: int
    bytes: int
    sha256: str


class Absence(BaseModel, frozen=True):
    """Why a coin that was asked for has no price in a window.

    Attributes:
        coin_id: The API's id of the coin.
        vs_currency: The currency that was asked for.
        status: The kind of reason.
        reason: The reason in a sentence.
        run_id: The run that learned it.
        seen_at: When it learned it.
    """

    coin_id: str
    vs_currency: str
    status: AbsenceStatus
    reason: str
    run_id: str
    seen_at: AwareDatetime


class Manifest(BaseModel, frozen=True):
    """A window's truth: a file that no manifest names does not exist.

    Attributes:
        stream: Name of the stream.
        window: The window.
        run_id: The run that wrote this manifest.
        written_at: When it was written.
        coins: How many coins the files have; in raw files, one a line.
        points: How many prices the files have, over all their coins.
        files: The files that count.
        absent: The coins that have no price in the window, with the reason.
    """

    stream: str
    window: Window
    run_id: str
    written_at: AwareDatetime
    coins: int
    points: int
    files: tuple[LakeFile, ...]
    absent: tuple[Absence, ...] = ()

    def files_of(self, dataset: Dataset) -> tuple[LakeFile, ...]:
        """The window's files of one dataset."""
        return tuple(file for file in self.files if file.dataset == dataset)
