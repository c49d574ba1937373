"""Coins as people name them: by id, ticker or name, whatever the case; a slip is never guessed."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from crypto_platform.core.errors import InvalidInputError

_NEAREST = 3
_SHOWN = 5


class NamedCoin(Protocol):
    """What a coin is found by: a coin tracked, a listing of the API's, a row of the warehouse."""

    @property
    def coin_id(self) -> str:
        """The API's id, which no other coin has."""

    @property
    def symbol(self) -> str | None:
        """Its ticker, which other coins may have too."""

    @property
    def name(self) -> str | None:
        """Its name, which other coins may have too."""


@dataclass(frozen=True)
class NotFound:
    """Something that names no coin, or several.

    Attributes:
        asked: What was given.
        nearest: Ids of the coins that may be meant, the likeliest first.
        shared: Whether they all have that ticker or name; else it is a slip of the pen.
    """

    asked: str
    nearest: tuple[str, ...]
    shared: bool = False

    def __str__(self) -> str:
        """What was given, and what was meant by it."""
        if self.shared:
            return f"{self.asked!r} is shared by {', '.join(self.nearest)}: name one by its id"
        if self.nearest:
            return f"{self.asked!r} (did you mean {' or '.join(self.nearest)}?)"
        return repr(self.asked)


class CoinsNotFoundError(InvalidInputError):
    """What was given names no coin, or does not say which of several.

    Args:
        problems: A problem for each.
        coins: The coins there are, the largest first.
    """

    def __init__(self, problems: Sequence[NotFound], coins: Sequence[NamedCoin]) -> None:
        """See the class."""
        self.problems = tuple(problems)
        unknown = [str(problem) for problem in problems if not problem.shared]
        sentences = [f"There is no such coin: {'; '.join(unknown)}."] if unknown else []
        sentences += [f"{problem}." for problem in problems if problem.shared]
        if not any(problem.nearest for problem in problems):
            more = ", …" if len(coins) > _SHOWN else ""
            some = ", ".join(coin.coin_id for coin in coins[:_SHOWN])
            sentences.append(f"Those that there are: {some}{more}.")
        super().__init__(" ".join(sentences))


def find_coins(asked: Sequence[str], coins: Sequence[NamedCoin]) -> list[str]:
    """Ids of the coins that are meant, each once, in the order in which they were named.

    Args:
        asked: Ids, tickers or names, in any case.
        coins: The coins there are.

    Raises:
        CoinsNotFoundError: One names no coin, or several; the message has the nearest.
    """
    found: list[str] = []
    problems = []
    for one in asked:
        meant = _meant(one, coins)
        if len(meant) == 1:
            found += meant
        else:
            nearest = meant or _nearest(one, coins)
            problems.append(NotFound(one, tuple(nearest), shared=bool(meant)))
    if problems:
        raise CoinsNotFoundError(problems, coins)
    return list(dict.fromkeys(found))


def _meant(asked: str, coins: Sequence[NamedCoin]) -> list[str]:
    """The coin of that id, or all of that ticker or name."""
    wanted = " ".join(asked.split()).casefold()
    # An id names one coin alone, and may be another one's ticker.
    if any(coin.coin_id == wanted for coin in coins):
        return [wanted]
    return [
        coin.coin_id
        for coin in coins
        if wanted and wanted in {coin.coin_id.casefold(), *map(str.casefold, _called(coin))}
    ]


def _nearest(asked: str, coins: Sequence[NamedCoin]) -> list[str]:
    called: dict[str, str] = {}
    for coin in coins:
        for text in (coin.coin_id, *_called(coin)):
            called.setdefault(text.casefold(), coin.coin_id)
    near = get_close_matches(asked.strip().casefold(), called, n=2 * _NEAREST, cutoff=0.7)
    return list(dict.fromkeys(called[text] for text in near))[:_NEAREST]


def _called(coin: NamedCoin) -> list[str]:
    return [text for text in (coin.symbol, coin.name) if text]
