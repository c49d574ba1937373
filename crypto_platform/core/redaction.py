"""What must not be said: secrets, cut out of texts that leave the platform."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

_ALWAYS_SECRET = frozenset(
    {
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "COINGECKO_API_KEY",
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    }
)
# Of other variables with such a name only a long text is one: the password of the database in
# docker-compose.yaml is the word dagster, which every second message needs.
_SECRET_NAME = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD|PASSPHRASE)$")
_SHORTEST_SECRET = 8
_SECRET_SHAPES = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|\Z)", re.DOTALL), ""),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)"), r"\1"),
    (
        re.compile(
            r"(?i)((?:api[_-]?key|secret|token|password|passphrase|signature|credential)"
            r"[\w-]*[\"']?\s*[=:]\s*[\"']?)(?:(?:bearer|basic)\s+)?[^\s&\"',;}]+"
        ),
        r"\1",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), r"\1"),
    (re.compile(r"\bCG-[A-Za-z0-9]{16,}"), ""),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), ""),
)


@dataclass(frozen=True)
class Secrets:
    """What must not stand in any message.

    Attributes:
        values: Secrets that are known, the longest first.
    """

    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The secrets that an environment holds, by the names of its variables."""
        values = {
            value
            for name, text in environment.items()
            if (value := text.strip())
            and (
                name in _ALWAYS_SECRET
                or (_SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET)
            )
        }
        encoded = {quote(value, safe="") for value in values}
        return cls(tuple(sorted(values | encoded, key=len, reverse=True)))

    def redact(self, text: str) -> str:
        """A text without the secrets, and without what has the shape of one."""
        for value in self.values:
            text = text.replace(value, "[secret]")
        for shape, kept in _SECRET_SHAPES:
            text = shape.sub(f"{kept}[secret]", text)
        return text
