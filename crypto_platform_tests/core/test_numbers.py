"""Numbers as people read them."""

import pytest

from crypto_platform.core.numbers import (
    aligned,
    compact,
    count,
    exact_text,
    percent,
    share_percent,
    small,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (0.00001234, "1.234e-05"),
        (12, "12"),
        (999.96, "1.00 K"),
        (1_234.0, "1.23 K"),
        (-56_000.0, "-56.00 K"),
        (1.2e6, "1.20 M"),
        (43_561_000_000.0, "43.56 B"),
        (999_960.0, "1.00 M"),
        (1.1246e12, "1.12 T"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_a_number_of_any_size_takes_a_few_digits(number: float | None, text: str) -> None:
    assert compact(number) == text


@pytest.mark.parametrize(("number", "text"), [(2.5e9, "2.5 B"), (1e9, "1 B"), (999.96, "1 K")])
def test_an_axis_has_no_digits_that_say_nothing(number: float, text: str) -> None:
    assert compact(number, digits=None) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.57, "+57.0 %"),
        (-0.124, "\N{MINUS SIGN}12.4 %"),
        (0.0001, "0.0 %"),
        (-0.0001, "0.0 %"),
        (None, "\N{EN DASH}"),
    ],
)
def test_fractions_are_written_as_percent(fraction: float | None, text: str) -> None:
    assert percent(fraction, signed=True) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100.00 %"),
        (0.999999, "99.99 %"),
        (0.000001, "0.01 %"),
        (0.0, "0.00 %"),
        (0.5, "50.00 %"),
    ],
)
def test_only_the_whole_is_100_percent_and_only_nothing_is_none(share: float, text: str) -> None:
    assert share_percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0.0, "0.0"), (0.004, "< 0.1"), (0.1, "0.1"), (1234.56, "1,234.6")]
)
def test_a_little_is_not_nothing(number: float, text: str) -> None:
    assert small(number) == text


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([95_012.344, 0.2312, None], ["95,012.34__", "0.2312", ""]),
        ([1.5, 0], ["1.50", "0.00"]),
        ([43_561_000_000.0, 12_000_000.0], ["43.56 B", "12.00 M"]),
        ([], []),
    ],
)
def test_the_points_of_a_column_stand_below_each_other(
    numbers: list[float | None], texts: list[str]
) -> None:
    assert aligned(numbers, pad="_") == texts


def test_prices_keep_the_digits_that_they_have_and_are_never_in_units() -> None:
    prices = [123_456_789_012.5, 101.0, 56_044.399, 0.21026898, None]

    assert aligned(prices, "none", pad="_", written=exact_text) == [
        "123,456,789,012_________",
        "101_________",
        "56,044.399_____",
        "0.21026898",
        "none",
    ]


def test_one_thing_has_no_plural_and_many_have_their_thousands_apart() -> None:
    assert count(1, "coin") == "1 coin"
    assert count(1240, "coin-window") == "1,240 coin-windows"
