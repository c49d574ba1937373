import os
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from crypto_platform.core import env_file


def test_what_else_stands_in_the_file_stays_as_it_was() -> None:
    text = "# mine\nEDITOR=vi\n\nexport TRACKED_COINS=top:5  # largest\nnot a line\nLAST=1"

    changed = env_file.updated(text, {"TRACKED_COINS": "bitcoin", "COINGECKO_PLAN": "demo"})

    assert changed == (
        "# mine\nEDITOR=vi\n\nTRACKED_COINS=bitcoin\nnot a line\nLAST=1\n\n"
        "# Written by crypto-platform init.\nCOINGECKO_PLAN=demo\n"
    )


@pytest.mark.parametrize("value", ["", "top:25,a/b", "with a space", "o'brien\"s", "$HOME #1\\"])
def test_a_value_is_read_as_it_was_written(value: str) -> None:
    text = env_file.updated("", {"NAME": value})

    assert dotenv_values(stream=StringIO(text), interpolate=False) == {"NAME": value}


def test_writing_again_changes_nothing() -> None:
    once = env_file.updated("A=1\n", {"B": "2"})

    assert env_file.updated(once, {"B": "2"}) == once


def test_the_file_is_for_its_user_alone_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    kept = tmp_path / "kept" / "env"
    kept.write_text("A=1\n")
    kept.chmod(0o644)
    (tmp_path / ".env").symlink_to(kept)

    env_file.write(tmp_path / ".env", "A=2\n")

    assert (tmp_path / ".env").is_symlink()
    assert kept.read_text() == "A=2\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "kept") == ["env"]  # noqa: PTH208 - names are all that counts
