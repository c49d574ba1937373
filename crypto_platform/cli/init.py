"""``crypto-platform init``: writes ``.env``, after it was checked and its cost was shown."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table

from crypto_platform.core import env_file
from crypto_platform.core.numbers import count
from crypto_platform.core.settings import Settings, SettingsError, TrackedCoinsSpec
from crypto_platform.core.variables import ENV_FILE, EnvFile
from crypto_platform.ingestion.coin_search import CoinsNotFoundError
from crypto_platform.ingestion.first_setup import (
    CoinsOfApi,
    FirstCosts,
    first_costs,
    first_day,
    ping,
    written,
)
from lambda_function.errors import IngestionError, InvalidSettings
from lambda_function.plans import PLANS, Plan, configured_plan

KEY = "COINGECKO_API_KEY"

_T = TypeVar("_T")


@click.command()
@click.option("--plan", help=f"The plan of the price API: {', '.join(PLANS)}.")
@click.option(
    "--key-from-stdin",
    is_flag=True,
    help="Read the key from the standard input. COINGECKO_API_KEY is taken as well; there is no "
    "option that holds a key, since other users see those.",
)
@click.option("--coins", help="top:25, or ids, tickers or names, or both, with commas.")
@click.option("--start", help="The first day of the history, as 2025-01-01.")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    help="Credits a month to spend at most; else the plan's.",
)
@click.option("--yes", is_flag=True, help="Ask nothing: what no option says stays as it is.")
@click.option("--overwrite", is_flag=True, help="With --yes: change what .env sets already.")
def init(  # noqa: PLR0913 - one argument an option
    *,
    plan: str | None,
    key_from_stdin: bool,
    coins: str | None,
    start: str | None,
    budget: int | None,
    yes: bool,
    overwrite: bool,
) -> None:
    """Ask for key, plan, coins and start, show what they cost, and write .env."""
    if key_from_stdin and not yes:
        raise click.UsageError(
            "--key-from-stdin takes the input that answers come from: add --yes."
        )
    there = EnvFile.read(ENV_FILE).values
    questions = _Questions(there, ask=not yes)
    try:
        key = sys.stdin.readline().strip() if key_from_stdin else None
        api = questions.api(plan, key)
        tracked = questions.coins(coins, {**os.environ, **api})
        of_plan = configured_plan({**os.environ, **api, "COINGECKO_MONTHLY_CREDITS": ""})
        first = questions.start(start, of_plan)
        credits_ = questions.budget(budget, of_plan)
        values = {
            **api,
            "TRACKED_COINS": tracked,
            "HISTORY_START": str(first),
            **({"COINGECKO_MONTHLY_CREDITS": str(credits_)} if credits_ else {}),
        }
        limited = replace(of_plan, monthly_credits=credits_ or of_plan.monthly_credits)
        spec = TrackedCoinsSpec.parse(tracked)
        costs = first_costs(spec, limited, first, datetime.now(UTC))
        _print_costs(costs, limited)
        _confirm(values, there, ask=not yes, overwrite=overwrite)
    except click.Abort:
        raise click.ClickException(
            "Nothing was written. Where nobody can answer, give --yes and what differs: "
            "crypto-platform init --help lists it."
        ) from None
    text = ENV_FILE.read_text(encoding="utf-8-sig") if ENV_FILE.exists() else ""
    env_file.write(ENV_FILE, env_file.updated(text, values))
    _print_next(values, there, costs)


class _Questions:
    """The questions, each asked again until its answer can be used; or what stands for answers.

    Args:
        there: What ``.env`` says.
        ask: Whether somebody answers.
    """

    def __init__(self, there: Mapping[str, str], *, ask: bool) -> None:
        self._there = there
        self._ask = ask

    def api(self, plan: str | None, key: str | None) -> dict[str, str]:
        """Plan and key, which the API has taken."""
        given = key is not None
        if key is None:
            key = os.environ.get(KEY, "").strip()
        chosen = plan or os.environ.get("COINGECKO_PLAN", "")

        def accepted(answer: str) -> dict[str, str]:
            nonlocal key
            name = _plan_name(answer)
            if PLANS[name].key_header is None:
                # Where nobody chose a plan without a key, the key that is there is not thrown away.
                if self._ask or (plan and not given):
                    key = ""
            elif self._ask and not (key and plan):
                kept = " (empty keeps the one that is set)" if key else ""
                key = (
                    click.prompt(f"API key{kept}", default="", show_default=False, hide_input=True)
                    or key
                )
            values = {"COINGECKO_PLAN": name, KEY: (key or "").strip()}
            if PLANS[name].key_header and not values[KEY]:
                raise click.ClickException(
                    f"The plan {name} takes a key, and COINGECKO_API_KEY is not set: set it, give "
                    "the key with --yes --key-from-stdin, or choose the plan keyless."
                )
            click.echo("Asking the API whether it takes that …", err=True)
            said = ping({**os.environ, **values})
            click.echo(f"{said['base_url']} answers on the plan {said['plan']}.", err=True)
            return values

        return self._answer(
            f"Plan of the price API ({', '.join(PLANS)})", plan, chosen or "keyless", accepted
        )

    def coins(self, coins: str | None, environment: Mapping[str, str]) -> str:
        """``TRACKED_COINS``, each coin by the id that the API has for it."""
        api = CoinsOfApi(environment, os.environ.get("VS_CURRENCY") or "usd")

        def resolved(answer: str) -> TrackedCoinsSpec:
            try:
                spec = api.resolve(answer)
            except CoinsNotFoundError as error:
                if not self._ask or not (corrected := self._corrected(answer, error, api)):
                    raise
                spec = api.resolve(corrected)
            if spec.named:
                click.echo(f"Coins: {', '.join(map(api.called, spec.named))}.", err=True)
            return spec

        set_already = self._set("TRACKED_COINS")
        spec = self._answer(
            "Coins: top:25 for the largest, or ids, tickers or names, with commas",
            coins,
            set_already or "top:25",
            resolved,
        )
        if set_already and not (self._ask or coins):
            if spec != TrackedCoinsSpec.parse(set_already, by_name=True):
                raise click.ClickException(
                    f"TRACKED_COINS is {set_already}, and has to name coins by their ids: add "
                    f"--coins={written(spec)}"
                )
            return set_already
        return written(spec)

    def start(self, start: str | None, plan: Plan) -> date:
        """The first day of the history: what is set, or else the first that the plan has."""
        now = datetime.now(UTC)
        earliest = first_day(plan, now)
        default = self._set("HISTORY_START") or max("2025-01-01", str(earliest or ""))

        def usable(answer: str) -> date:
            day = Settings.from_environment({"HISTORY_START": answer}).history_start
            if day >= now.date():
                raise click.ClickException(f"{day} has not ended: begin with a day before today.")
            if earliest and day < earliest:
                click.echo(
                    f"The plan {plan.name} has prices from {earliest} on: for the days before, the "
                    "ledger will say out_of_plan.",
                    err=True,
                )
            return day

        return self._answer("First day of the history", start, default, usable)

    def budget(self, budget: int | None, plan: Plan) -> int | None:
        """The credits of a month; ``None`` for the plan's."""
        set_already = self._set("COINGECKO_MONTHLY_CREDITS")
        limit = plan.monthly_credits

        def usable(answer: str) -> int | None:
            if not answer.strip():
                return None
            credits_ = configured_plan({"COINGECKO_MONTHLY_CREDITS": answer}).monthly_credits
            if credits_ and limit and credits_ > limit:
                raise click.ClickException(
                    f"The plan {plan.name} has {limit:,} credits a month, and {credits_:,} were to "
                    f"be spent: add --budget {limit}."
                )
            return None if credits_ == limit and not set_already else credits_

        of_plan = "the plan has no known limit" if limit is None else f"the plan has {limit:,}"
        default = set_already or ("" if limit is None else str(limit))
        given = str(budget) if budget else None
        return self._answer(f"Credits a month at most ({of_plan})", given, default, usable)

    def _set(self, name: str) -> str:
        """What a variable is set to: by ``.env``, which is what stays, or else around it."""
        return self._there.get(name) or os.environ.get(name, "")

    def _answer(
        self, question: str, given: str | None, default: str, use: Callable[[str], _T]
    ) -> _T:
        """What is made of an option or else of an answer, which is asked for until it is usable."""
        while True:
            answer = given
            if answer is None:
                answer = click.prompt(question, default=default) if self._ask else default
            try:
                return use(answer)
            except (
                click.ClickException,
                IngestionError,
                InvalidSettings,
                SettingsError,
                ValueError,
            ) as error:
                message = error.message if isinstance(error, click.ClickException) else str(error)
                if not self._ask:
                    raise click.ClickException(message) from error
                click.echo(message, err=True)
                given = None

    @staticmethod
    def _corrected(answer: str, error: CoinsNotFoundError, api: CoinsOfApi) -> str:
        """The answer with the nearest coins in it, where a person says that they are meant."""
        for problem in error.problems:
            for coin in problem.nearest:
                if click.confirm(
                    f"{problem.asked!r}: do you mean {api.called(coin)}?", default=True
                ):
                    meant = {problem.asked: coin, f"-{problem.asked}": f"-{coin}"}
                    parts = [part.strip() for part in answer.split(",")]
                    answer = ",".join(meant.get(part, part) for part in parts)
                    break
            else:
                return ""
        return answer


def _plan_name(text: str) -> str:
    name = text.strip().lower()
    if name not in PLANS:
        near = get_close_matches(name, PLANS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise click.ClickException(f"{text!r} is none of {', '.join(PLANS)}.{meant}")
    return name


def _print_costs(costs: FirstCosts, plan: Plan) -> None:
    run = costs.backfill.one_run
    table = Table("what it takes", title_justify="left")
    for name in ("API calls", "minutes"):
        table.add_column(name, justify="right")
    days = f"the first backfill, {count(costs.backfill.windows, 'day')}, one run"
    minutes = "< 1" if run.api_minutes < 1 else f"{run.api_minutes:,.0f}"
    table.add_row(days, f"{run.api_calls:,}", minutes)
    table.add_row("a month with the six-hourly stream", f"{costs.month:,}", "")
    table.add_row("the daily schedule besides, if switched on", f"{costs.daily:,}", "")
    console = Console()
    console.print(table)
    for remark in costs.backfill.remarks():
        console.print(remark)
    if plan.monthly_credits is not None:
        console.print(f"Of {plan.monthly_credits:,} credits a month; each call takes one.")
        if costs.month + costs.daily > plan.monthly_credits:
            console.print(
                "[red]That is more than there are:[/] track fewer coins, or take a larger plan."
            )


def _confirm(
    values: Mapping[str, str], there: Mapping[str, str], *, ask: bool, overwrite: bool
) -> None:
    """Have somebody agree to what will change.

    Raises:
        ClickException: Nobody is asked, and what stands in the file would be lost.
        Abort: It is not agreed to.
    """
    changes = [name for name in values if there.get(name) and there[name] != values[name]]
    for name in changes:
        # Of a key only that it changes.
        key = "another key" if values[name] else "no key, as the plan takes none"
        said = key if name == KEY else f"{there[name]} becomes {values[name]}"
        click.echo(f"{name} in {ENV_FILE}: {said}.", err=True)
    if ask:
        click.confirm(f"Write {ENV_FILE.absolute()}?", default=True, abort=True)
    elif changes and not overwrite:
        raise click.ClickException(
            f"{ENV_FILE.absolute()} sets {', '.join(changes)} already, and nothing was written: "
            "add --overwrite to change that."
        )


def _print_next(values: Mapping[str, str], there: Mapping[str, str], costs: FirstCosts) -> None:
    click.echo(f"Wrote {ENV_FILE.absolute()}, which nobody else may read.")
    for name, value in values.items():
        # What .env said was set by it, and not by whoever called.
        if os.environ.get(name, value) not in {value, there.get(name, "")}:
            click.echo(
                f"Warning: {name} is set in the environment too, and that counts: unset it.",
                err=True,
            )
    minutes = max(1, round(costs.backfill.one_run.api_minutes))
    click.echo(
        "What comes next:\n"
        "  crypto-platform doctor   checks that all of it works\n"
        f"  crypto-platform launch --assets group:historical --partition-range {costs.first}..."
        f"{costs.last}\n"
        f"                           loads the history, in about {count(minutes, 'minute')}\n"
        "  make dev                 the UI, and the six-hourly stream by itself\n"
        "  crypto-platform status   how all of it does"
    )
