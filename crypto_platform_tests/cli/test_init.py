"""The command ``init``, against the simulated market."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dotenv import dotenv_values

from crypto_platform.cli.main import main
from crypto_platform.simulated_market import SimulatedMarket
from lambda_function.plans import PLANS

KEY = "CG-planted-secret"

Init = Callable[..., Result]


@pytest.fixture
def init(market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    """Runs the command in a folder of its own; ``answers`` are what a person types."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "COINGECKO_API_KEY",
        "COINGECKO_PLAN",
        "TRACKED_COINS",
        "HISTORY_START",
        "COINGECKO_MONTHLY_CREDITS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    return lambda *options, answers="": CliRunner().invoke(
        main, ["init", *options], input="".join(f"{answer}\n" for answer in answers)
    )


def written(folder: Path) -> dict[str, str | None]:
    return dotenv_values(folder / ".env")


def test_answers_are_checked_and_written_and_the_key_is_not_shown(
    init: Init, tmp_path: Path
) -> None:
    done = init(
        # A slip is asked about; what is no answer is asked for again.
        answers=["gold", "demo", KEY, "bitcoinn,ETH", "y", "2026-02-30", "2026-02-01", "9000", "y"]
    )

    assert done.exit_code == 0, done.output
    assert written(tmp_path) == {
        "COINGECKO_PLAN": "demo",
        "COINGECKO_API_KEY": KEY,
        "TRACKED_COINS": "bitcoin,ethereum",
        "HISTORY_START": "2026-02-01",
        "COINGECKO_MONTHLY_CREDITS": "9000",
    }
    assert KEY not in done.output
    assert "'bitcoinn': do you mean bitcoin (Bitcoin, BTC)?" in done.output
    assert done.output.index("the first backfill") < done.output.index("Write ")
    assert "crypto-platform launch --assets group:historical" in done.output


def test_it_can_be_had_without_a_question_and_without_a_key(init: Init, tmp_path: Path) -> None:
    done = init("--yes", "--coins", "top:3,BTC,-dogecoin")

    assert done.exit_code == 0, done.output
    assert written(tmp_path)["TRACKED_COINS"] == "top:3,bitcoin,-dogecoin"
    assert written(tmp_path)["COINGECKO_PLAN"] == "keyless"


def test_a_key_comes_by_the_input_and_not_as_an_argument(init: Init, tmp_path: Path) -> None:
    done = init("--yes", "--plan", "demo", "--key-from-stdin", answers=[KEY])

    assert done.exit_code == 0, done.output
    assert written(tmp_path)["COINGECKO_API_KEY"] == KEY
    assert KEY not in done.output


def test_a_key_that_the_api_refuses_is_not_written(
    init: Init, market: SimulatedMarket, tmp_path: Path
) -> None:
    market.inject("wrong_key")

    done = init("--yes", "--plan", "demo", "--key-from-stdin", answers=[KEY])

    assert done.exit_code == 1
    assert "set COINGECKO_API_KEY, or" in done.output
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plan", "gold"], "'gold' is none of keyless, demo"),
        (["--plan", "analist"], "Did you mean analyst?"),
        (["--coins", "bitcoinn"], "did you mean bitcoin"),
        (["--coins", "top25"], "write top:25"),
        (["--start", "01/02/2025"], "expected a day such as 2025-01-01"),
        (["--start", "2999-01-01"], "has not ended"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_nothing_is_written(
    options: list[str], said: str, init: Init, tmp_path: Path
) -> None:
    done = init("--yes", *options)

    assert done.exit_code == 1, done.output
    assert said in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / ".env").exists()


def test_a_plan_that_takes_a_key_is_not_asked_without_one(
    init: Init, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At another address than its own, a plan needs no key.
    monkeypatch.delenv("COINGECKO_BASE_URL")

    done = init("--yes", "--plan", "demo")

    assert done.exit_code == 1
    assert "COINGECKO_API_KEY is not set" in done.output
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize("plan", [name for name in PLANS if name != "keyless"])
def test_a_plan_that_takes_a_key_is_not_written_without_one(
    plan: str, init: Init, tmp_path: Path
) -> None:
    done = init("--yes", "--plan", plan, "--coins", "bitcoin")

    assert done.exit_code == 1
    assert f"The plan {plan} takes a key, and COINGECKO_API_KEY is not set" in done.output
    assert not (tmp_path / ".env").exists()


def test_a_key_is_tried_on_what_is_not_answered_without_one(
    init: Init, market: SimulatedMarket, tmp_path: Path
) -> None:
    market.inject("wrong_key", path="/coins/markets")

    done = init("--yes", "--plan", "demo", "--key-from-stdin", "--coins", "top:3", answers=[KEY])

    assert done.exit_code == 1
    assert "set COINGECKO_API_KEY, or" in done.output
    assert not (tmp_path / ".env").exists()


def test_a_key_is_not_thrown_away_for_a_plan_that_nobody_chose(init: Init, tmp_path: Path) -> None:
    done = init("--yes", "--key-from-stdin", answers=[KEY])

    assert done.exit_code == 1
    assert "the keyless plan takes no key" in done.output
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize(
    ("asked", "tracked"),
    [
        ("Bitcoin Cash", "bitcoin-cash"),
        ("BTC, bitcoin  cash", "bitcoin,bitcoin-cash"),
        ("top:5,-Bitcoin Cash,-gone", "top:5,-bitcoin-cash,-gone"),
    ],
)
def test_a_coin_is_found_by_a_name_with_a_blank(
    asked: str, tracked: str, init: Init, tmp_path: Path
) -> None:
    done = init("--yes", "--plan", "keyless", "--coins", asked)

    assert done.exit_code == 0, done.output
    assert written(tmp_path)["TRACKED_COINS"] == tracked


def test_a_slip_in_a_name_with_a_blank_is_asked_about(init: Init, tmp_path: Path) -> None:
    done = init(answers=["keyless", "BTC, Bitcoin Csh", "y", "2026-02-01", "", "y"])

    assert done.exit_code == 0, done.output
    assert written(tmp_path)["TRACKED_COINS"] == "bitcoin,bitcoin-cash"


def test_what_no_option_says_stays_though_the_plan_has_less(init: Init, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "HISTORY_START=2013-05-01\nTRACKED_COINS=bitcoin, top:3\nCOINGECKO_MONTHLY_CREDITS=9000\n"
    )

    done = init("--yes", "--plan", "demo", "--key-from-stdin", "--overwrite", answers=[KEY])

    assert done.exit_code == 0, done.output
    assert "for the days before, the ledger will say out_of_plan" in done.output
    assert written(tmp_path) == {
        "COINGECKO_PLAN": "demo",
        "COINGECKO_API_KEY": KEY,
        "TRACKED_COINS": "bitcoin, top:3",
        "HISTORY_START": "2013-05-01",
        "COINGECKO_MONTHLY_CREDITS": "9000",
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("COINGECKO_MONTHLY_CREDITS=500000", "add --budget 10000"),
        ("TRACKED_COINS=BTC", "add --coins=bitcoin"),
    ],
)
def test_what_is_set_and_does_not_fit_is_refused_with_the_option_that_changes_it(
    line: str, said: str, init: Init, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"{line}\n")

    done = init("--yes", "--plan", "demo", "--key-from-stdin", "--overwrite", answers=[KEY])

    assert done.exit_code == 1
    assert said in done.output
    assert (tmp_path / ".env").read_text() == f"{line}\n"


def test_the_whole_of_a_plans_credits_replaces_a_smaller_budget(init: Init, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COINGECKO_MONTHLY_CREDITS=9000\n")
    options = ["--plan", "demo", "--key-from-stdin", "--budget", "10000", "--overwrite"]

    done = init("--yes", *options, answers=[KEY])

    assert done.exit_code == 0, done.output
    assert written(tmp_path)["COINGECKO_MONTHLY_CREDITS"] == "10000"


def test_what_stands_in_the_file_is_not_changed_unasked(init: Init, tmp_path: Path) -> None:
    before = "# mine\nEDITOR=vi\nTRACKED_COINS=bitcoin\n"
    (tmp_path / ".env").write_text(before)

    refused = init("--yes", "--coins", "ethereum")
    assert refused.exit_code == 1
    assert "sets TRACKED_COINS already" in refused.output
    assert (tmp_path / ".env").read_text() == before

    done = init("--yes", "--coins", "ethereum", "--overwrite")
    assert done.exit_code == 0, done.output
    assert (tmp_path / ".env").read_text().startswith("# mine\nEDITOR=vi\nTRACKED_COINS=ethereum\n")


def test_whoever_says_no_or_ends_the_input_has_written_nothing(init: Init, tmp_path: Path) -> None:
    for answers in (["keyless", "bitcoin", "2026-02-01", "", "n"], ["keyless"]):
        done = init(answers=answers)

        assert done.exit_code == 1
        assert "Nothing was written" in done.output
        assert not (tmp_path / ".env").exists()
