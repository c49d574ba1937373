import json
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from crypto_platform.cli.main import main
from crypto_platform.doctor import runner as doctor
from crypto_platform.doctor.preflight import Preflight, PreflightCheck, PreflightResult
from crypto_platform.doctor.runner import CHECKS, LOCAL_CHECKS, examine
from crypto_platform.simulated_market import Fault, SimulatedMarket

ROOT = Path(__file__).parents[2]
KEY = "CG-planted-secret"

RunDoctor = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def look(name: str, variables: Mapping[str, str]) -> PreflightResult:
    (check,) = [check for check in LOCAL_CHECKS if check.name == name]
    return check.run(Preflight(variables))


@pytest.fixture
def run_doctor(
    home: Path, tmp_path: Path, market: SimulatedMarket, monkeypatch: pytest.MonkeyPatch
) -> RunDoctor:
    """Run the command on a simulated market, away from any .env, with a key planted."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "CRYPTO_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "COINGECKO_BASE_URL": market.base_url,
        "COINGECKO_PLAN": "pro",
        "COINGECKO_API_KEY": KEY,
    }.items():
        monkeypatch.setenv(name, text)
    return lambda *options: CliRunner().invoke(main, ["doctor", *options])


@pytest.mark.integration
def test_all_passes_where_all_is_there(run_doctor: RunDoctor, home: Path) -> None:
    (home / "dagster").mkdir(parents=True)
    shutil.copy(ROOT / "dagster.yaml", home / "dagster")

    result = run_doctor("--json")

    response = json.loads(result.stdout)
    assert {check["check"]: check["status"] for check in response["checks"]} == dict.fromkeys(
        ["settings", *(check.name for check in LOCAL_CHECKS)], "passed"
    )
    assert response["healthy"] is True
    assert result.exit_code == 0


@pytest.mark.integration
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "JSON"])
def test_a_key_that_is_refused_fails_with_what_to_do_and_is_not_shown(
    options: list[str], run_doctor: RunDoctor, market: SimulatedMarket
) -> None:
    market.inject("wrong_key")

    result = run_doctor(*options)

    assert result.exit_code == 1
    assert "failed" in result.output
    assert "COINGECKO_API_KEY" in result.output
    assert KEY not in result.output


def test_a_plan_that_takes_a_key_fails_without_one_and_nothing_is_asked() -> None:
    result = look("price API", {"COINGECKO_PLAN": "demo", "COINGECKO_API_KEY": ""})

    assert result.status == "failed"
    assert "The plan demo takes a key, and COINGECKO_API_KEY is not set" in result.found


@pytest.mark.integration
@pytest.mark.parametrize(
    ("ahead", "status", "said"),
    [
        (timedelta(minutes=59), "failed", "clock is 59 minutes ahead of the API's"),
        (timedelta(minutes=-59), "failed", "clock is 59 minutes behind the API's"),
        (timedelta(0), "passed", "the clocks differ by "),
    ],
)
def test_a_clock_that_is_not_the_apis_fails_with_what_to_do(
    run_doctor: RunDoctor, market: SimulatedMarket, ahead: timedelta, status: str, said: str
) -> None:
    date = format_datetime(datetime.now(UTC) - ahead, usegmt=True)
    market.inject(Fault(headers={"Date": date}))

    checks = json.loads(run_doctor("--json").stdout)["checks"]

    (found,) = [check for check in checks if check["check"] == "price API"]
    assert found["status"] == status
    assert said in found["found"]


def test_a_key_that_a_library_quotes_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def quote(_: Preflight) -> str:
        raise ValueError(f"invalid header {KEY!r}")

    monkeypatch.setattr(
        doctor, "CHECKS", {**CHECKS, "local": (PreflightCheck("API", quote, "Correct it."),)}
    )

    results = examine({"COINGECKO_API_KEY": KEY})

    assert results[1] == PreflightResult(
        "API", "failed", "invalid header '[secret]'", "Correct it."
    )


def test_nothing_else_is_looked_at_while_a_setting_is_malformed() -> None:
    first, *others = examine({"TRACKED_COINS": "top:many"})

    assert first.status == "failed"
    assert "TRACKED_COINS='top:many'" in first.found
    assert [result.status for result in others] == ["skipped"] * len(LOCAL_CHECKS)


def test_no_check_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(_: Preflight) -> str:
        raise KeyError

    checks = (
        PreflightCheck("first", break_down, "Correct it."),
        PreflightCheck("second", lambda _: "fine", ""),
    )
    monkeypatch.setattr(doctor, "CHECKS", {"local": checks})

    _, first, second = examine({})

    assert (first.status, first.found) == ("failed", "KeyError")
    assert second == PreflightResult("second", "passed", "fine")


def test_a_lake_that_cannot_be_written_fails_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = look("raw lake", {"CRYPTO_HOME": str(tmp_path / "file" / "home")})

    assert result.status == "failed"
    assert result.what_to_do
    assert "CRYPTO_HOME" in result.what_to_do


def test_looking_at_the_lake_leaves_nothing_in_it(home: Path) -> None:
    assert look("raw lake", {"CRYPTO_HOME": str(home)}).status == "passed"

    assert list((home / "raw").iterdir()) == []


def test_a_lake_of_an_earlier_version_fails_with_the_command_that_takes_it_over(
    home: Path,
) -> None:
    (home / "transformed" / "intra_day" / "date=2026-11-27").mkdir(parents=True)

    result = look("transformed layout", {"CRYPTO_HOME": str(home)})

    assert result.status == "failed"
    assert "intra_day" in result.found
    assert result.what_to_do
    assert "crypto-platform lake upgrade" in result.what_to_do
    assert look("raw layout", {"CRYPTO_HOME": str(home)}).status == "passed"


def test_a_damaged_manifest_is_named_with_the_asset_that_makes_it_again(home: Path) -> None:
    manifest = home / "transformed" / "intra_day" / "month=2026-11" / "_manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"format":3,')

    result = look("transformed manifests", {"CRYPTO_HOME": str(home)})

    assert result.status == "failed"
    assert str(manifest) in result.found
    assert "Materialize intra_day/transformed_prices" in result.found
    assert look("raw manifests", {"CRYPTO_HOME": str(home)}).status == "passed"


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("ALTER TABLE transformed.coins ADD COLUMN note VARCHAR", None),
        (
            "ALTER TABLE transformed.ingestion_ledger ALTER points TYPE VARCHAR",
            "another column ingestion_ledger.points",
        ),
        (
            "ALTER TABLE transformed.ingestion_ledger DROP COLUMN reason",
            "no column ingestion_ledger.reason",
        ),
        (
            "CREATE OR REPLACE VIEW transformed.prices AS FROM transformed.historical_prices",
            "another view prices",
        ),
    ],
    ids=["a column of one's own", "another type", "a missing column", "another view"],
)
def test_a_warehouse_that_lacks_what_the_scripts_define_is_recognized(
    change: str, difference: str | None, home: Path
) -> None:
    assert look("warehouse", {"CRYPTO_HOME": str(home)}).status == "passed"
    with duckdb.connect(str(home / "crypto_db.duckdb")) as connection:
        connection.execute(change)

    result = look("warehouse", {"CRYPTO_HOME": str(home)})

    assert result.status == ("failed" if difference else "passed")
    assert (difference or "as the scripts define") in result.found


def test_an_instance_that_was_never_started_is_skipped(home: Path) -> None:
    result = look("Dagster instance", {"CRYPTO_HOME": str(home)})

    assert result.status == "skipped"
    assert "make dev" in result.found


def test_an_instance_without_our_settings_fails(home: Path) -> None:
    (home / "dagster").mkdir(parents=True)
    (home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}")

    result = look("Dagster instance", {"DAGSTER_HOME": str(home / "dagster")})

    assert result.status == "failed"
    assert "default_limit" in result.found


def test_an_instance_at_a_relative_path_fails() -> None:
    result = look("Dagster instance", {"DAGSTER_HOME": "here/dagster"})

    assert result.status == "failed"
    assert "DAGSTER_HOME=here/dagster" in result.found


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "COINGECKO_API_KEY",
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    ],
)
def test_a_secret_is_not_shown_however_short(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def quote(_: Preflight) -> str:
        raise ValueError("cannot use s3cr!")

    check = PreflightCheck("API", quote, "Correct it.")
    monkeypatch.setattr(doctor, "CHECKS", {"local": (check,)})

    found = [result.found for result in examine({name: "s3cr!"})]

    assert found[1] == "cannot use [secret]"


@pytest.mark.parametrize("option", ["--candidate", "--code-version"])
def test_a_version_is_looked_at_on_aws_alone(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRYPTO_PROFILE", raising=False)

    refused = CliRunner().invoke(main, ["doctor", option, "7"])

    assert refused.exit_code == 2
    assert "set CRYPTO_PROFILE=aws" in refused.output


def test_a_slip_in_the_name_of_a_variable_fails_with_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"COINGEKO_API_KEY={KEY}\n")

    result = look("variables", {})

    assert result.status == "failed"
    assert "did you mean COINGECKO_API_KEY?" in result.found
    assert KEY not in result.found


def test_a_start_that_is_yet_to_come_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert "no partition is there" in look("variables", {"HISTORY_START": "2999-01-01"}).found


@pytest.mark.parametrize(
    ("coins", "said"),
    [
        ("BTC,ethereum", "'BTC' (write bitcoin)"),
        ("Bitcoin", "'Bitcoin' (write bitcoin)"),
        ("bitcoinn", "'bitcoinn' (write bitcoin"),
        ("qqqqqqqq", "'qqqqqqqq'."),
    ],
)
def test_a_coin_that_the_api_does_not_have_fails_with_the_id_that_is_meant(
    coins: str, said: str, market: SimulatedMarket
) -> None:
    result = look("tracked coins", {"COINGECKO_BASE_URL": market.base_url, "TRACKED_COINS": coins})

    assert result.status == "failed"
    assert said in result.found


def test_coins_that_the_api_has_pass(market: SimulatedMarket) -> None:
    variables = {"COINGECKO_BASE_URL": market.base_url, "TRACKED_COINS": "bitcoin,ethereum"}

    assert look("tracked coins", variables).found == "bitcoin,ethereum, in usd, as the API has them"
