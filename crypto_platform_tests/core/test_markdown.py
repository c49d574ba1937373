"""Tables as the UI shows them."""

from datetime import UTC, datetime

from crypto_platform.core.markdown import markdown_table


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    table = markdown_table(
        [
            {"coin": "bitcoin", "points": 1240, "share": "57.0 %", "day": "2026-11-22"},
            {"coin": "a|b", "points": 1, "share": "", "day": "2026-11-23"},
        ]
    )

    assert table.md_str == (
        "| coin | points | share | day |\n"
        "| --- | ---: | ---: | --- |\n"
        "| bitcoin | 1,240 | 57.0\N{NO-BREAK SPACE}% | 2026-11-22 |\n"
        "| a\\|b | 1 |  | 2026-11-23 |"
    )


def test_what_is_not_known_is_blank_and_a_moment_has_its_seconds() -> None:
    table = markdown_table(
        [{"at": datetime(2026, 11, 22, 6, tzinfo=UTC), "known": True, "price": None}]
    )

    assert table.md_str.splitlines()[-1] == "| 2026-11-22 06:00:00 | True |  |"


def test_no_rows_are_said_so() -> None:
    assert markdown_table([]).md_str == "no rows"
