from pathlib import Path

import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.core.variables import SETTINGS, VARIABLES, EnvFile, find_misnamed
from crypto_platform_tests.core.test_settings import example_variables
from infrastructure.deployment import PARAMETERS


def said(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / ".env"
    file.write_text(text)
    return find_misnamed({}, EnvFile.read(file))


def test_the_list_has_every_variable_that_is_read() -> None:
    assert set(SETTINGS) == {field.alias for field in Settings.model_fields.values()}
    assert example_variables().keys() <= VARIABLES
    assert PARAMETERS.keys() <= VARIABLES


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("COINGEKO_API_KEY", "COINGECKO_API_KEY"),
        ("COINGECKO_APIKEY", "COINGECKO_API_KEY"),
        ("coingecko_plan", "COINGECKO_PLAN"),
        ("TRACKED_COIN", "TRACKED_COINS"),
        ("HISTORY_STRAT", "HISTORY_START"),
        ("CRYPTO_PROFIL", "CRYPTO_PROFILE"),
        ("SNOWFLAKE_PASSPHRASE", "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"),
    ],
)
def test_a_name_with_a_slip_in_it_is_answered_with_the_right_one_and_without_its_value(
    given: str, meant: str, tmp_path: Path
) -> None:
    (sentence,) = said(tmp_path, f"{given}=CG-planted-secret\n")

    assert sentence.startswith(f"{given} in .env is no variable")
    assert f"did you mean {meant}?" in sentence
    assert "planted" not in sentence


def test_what_begins_as_the_platforms_variables_do_is_told_though_it_resembles_none(
    tmp_path: Path,
) -> None:
    (sentence,) = said(tmp_path, "CRYPTO_XYZZY=1\n")

    assert "docs/configuration.md lists" in sentence


def test_known_names_and_those_of_other_programs_are_nothing_to_tell(tmp_path: Path) -> None:
    assert said(tmp_path, "TRACKED_COINS=bitcoin\nEDITOR=vi\nAWS_PROFILE=me\n") == []
    assert (
        find_misnamed(
            {"SNOWFLAKE_HOME": "", "AWS_DEFAULT_REGION": "", "DAGSTER_HOME": "", "HOME": ""},
            EnvFile({}),
        )
        == []
    )


def test_a_slip_in_the_environment_itself_is_told(tmp_path: Path) -> None:
    (sentence,) = find_misnamed({"COINGEKO_API_KEY": "CG-x"}, EnvFile.read(tmp_path / ".env"))

    assert sentence.startswith("COINGEKO_API_KEY is no variable")


@pytest.mark.parametrize("line", ["COINGECKO_API_KEY='CG-planted", "COINGECKO_API_KEY: CG-planted"])
def test_a_line_that_sets_nothing_is_told_by_its_number(line: str, tmp_path: Path) -> None:
    (sentence,) = said(tmp_path, f"# mine\nTRACKED_COINS=bitcoin\n{line}\n")

    assert sentence == "Line 3 of .env sets nothing: write NAME=value, with any quote closed."
