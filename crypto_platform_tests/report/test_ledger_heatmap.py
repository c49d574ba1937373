import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.report.ledger_heatmap import heat_map, png

NOW = datetime(2026, 11, 24, 17, tzinfo=UTC)
FAILED, PARTLY, PENDING, LACKING, COMPLETE = (
    (0xD5, 0x5E, 0x00),
    (0xF0, 0xC4, 0x00),
    (0xE4, 0xE4, 0xE4),
    (0x8C, 0xC5, 0xE8),
    (0x00, 0x55, 0x8A),
)


def cell(statuses: dict[str, int], coin: str = "bitcoin", ago: int = 0) -> list[dict[str, Any]]:
    day = NOW.replace(hour=0) - timedelta(days=ago)
    return [
        {"coin_id": coin, "cell": day, "status": status, "windows": windows}
        for status, windows in statuses.items()
    ]


def dominant(content: bytes) -> list[tuple[int, int, int]]:
    """The colour that most of each coin's row has, from the first coin to the last."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    column = [image.getpixel((image.width * 6 // 10, y)) for y in range(70, image.height)]
    known = (FAILED, PARTLY, PENDING, LACKING, COMPLETE)
    seen = [
        colour
        for pixel in column
        for colour in known
        if max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 8  # type: ignore[arg-type]
    ]
    return [
        colour for number, colour in enumerate(seen) if number == 0 or seen[number - 1] != colour
    ]


@pytest.mark.parametrize(
    ("statuses", "colour"),
    [
        ({"present": 4}, COMPLETE),
        ({"present": 3, "missing_at_source": 1}, LACKING),
        ({"out_of_plan": 4}, LACKING),
        ({"present": 3, "pending": 1}, PARTLY),
        ({"pending": 4}, PENDING),
        ({"present": 3, "failed": 1}, FAILED),
        ({"present": 2, "pending": 1, "quarantined": 1}, FAILED),
    ],
)
def test_a_cell_has_the_colour_of_the_worst_of_its_windows(
    statuses: dict[str, int], colour: tuple[int, int, int]
) -> None:
    assert dominant(png(INTRA_DAY, cell(statuses), NOW)) == [colour]


def test_one_gap_among_whole_coins_is_seen() -> None:
    counts = [
        *cell({"present": 4}, "bitcoin"),
        *cell({"failed": 1}, "ethereum"),
        *cell({"present": 4}, "tether"),
    ]

    assert dominant(png(INTRA_DAY, counts, NOW)) == [COMPLETE, FAILED, COMPLETE]


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY])
def test_the_heat_map_of_250_coins_stays_small(stream: Stream) -> None:
    first = stream.ledger_cell.first(NOW)
    counts = [
        {**count, "cell": first}
        for number in range(250)
        for count in cell({"present": 4}, f"coin-with-a-long-name-{number}")
    ]

    content = png(stream, counts, NOW)

    assert len(content) < 100_000
    assert Image.open(io.BytesIO(content)).height < 3_000


def test_before_anything_was_asked_for_it_says_so() -> None:
    assert "Nothing was asked for yet" in heat_map(HISTORICAL, [], NOW).md_str


def test_the_cells_of_a_stream_begin_where_its_unit_does() -> None:
    assert HISTORICAL.ledger_cell.first(NOW) == datetime(2016, 12, 1, tzinfo=UTC)
    assert INTRA_DAY.ledger_cell.first(NOW) == datetime(2026, 9, 26, tzinfo=UTC)
