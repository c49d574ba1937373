"""Where DuckDB would answer Snowflake's dialect otherwise than Snowflake: refused by name.

sqlglot translates most of the dialect. What it leaves different is mended where that is cheap
(``mended``), and otherwise refused with what to write instead, which is the same on both engines.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crypto_platform.core.lazy import exp, sqlglot
from crypto_platform.warehouse.catalogue import tables

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

# What sqlglot makes of the elements of a format that it knows, without those of zones.
_KNOWN_ELEMENTS = re.compile(r"%-?[A-Za-y](_[a-z]+)?")


class DialectDifferenceError(ValueError):
    """A query that DuckDB would answer otherwise than Snowflake."""


@dataclass(frozen=True)
class Difference:
    """Something that DuckDB answers otherwise than Snowflake.

    Attributes:
        name: What it is, as it stands in a query.
        instead: What to write, which is the same on both.
        found: Whether a part of a query is it.
    """

    name: str
    instead: str
    found: "Callable[[Expr], bool]"


def refuse_differences(sql: str) -> None:
    """Refuse a query of which DuckDB's answer would not be Snowflake's.

    Args:
        sql: One query in Snowflake's dialect.

    Raises:
        DialectDifferenceError: It has what differs; names it, and what to write instead.
    """
    for node in sqlglot.parse_one(sql, read="snowflake").walk():
        for one in DIFFERENCES:
            if one.found(node):
                raise DialectDifferenceError(
                    f"{one.name} is not the same in DuckDB as in Snowflake: {one.instead}. "
                    f"Nothing was asked. The query: {sql}"
                )


def mended(expression: "Expr") -> "Expr":
    """A statement of Snowflake's with what DuckDB would otherwise take another way.

    Args:
        expression: The statement; it is changed.
    """
    for listed in list(expression.find_all(exp.GroupConcat)):
        # Without a delimiter nothing stands between, and of nothing the list is empty, not null.
        if listed.args.get("separator") is None:
            listed.set("separator", exp.Literal.string(""))
        whole: Expr = listed.parent if isinstance(listed.parent, exp.Window) else listed
        whole.replace(exp.Coalesce(this=whole.copy(), expressions=[exp.Literal.string("")]))
    for division in list(expression.find_all(exp.Div, exp.Mod)):
        divisor = division.expression
        if _may_be_zero(divisor) and not division.find_ancestor(exp.Lambda):
            zero = exp.EQ(this=divisor.copy(), expression=exp.Literal.number(0))
            error = exp.Anonymous(
                this="ERROR", expressions=[exp.Literal.string("Division by zero")]
            )
            division.set("expression", exp.case().when(zero, error).else_(divisor.copy()))
    return expression


def _may_be_zero(divisor: "Expr") -> bool:
    inner = divisor.unnest()
    if isinstance(inner, exp.Nullif):
        return bool(inner.expression.sql() != "0")
    if isinstance(inner, exp.Literal):
        return float(inner.this) == 0
    # A value that is bound stands for one question mark, and cannot be said twice.
    return inner.find(exp.Placeholder) is None


def _is(*kinds: str) -> "Callable[[Expr], bool]":
    """Whether a part is one of some kinds of expressions, by their names in sqlglot."""
    return lambda node: type(node).__name__ in kinds


def _called(*names: str) -> "Callable[[Expr], bool]":
    """Whether a part is a function that sqlglot does not know, by its name."""
    return lambda node: isinstance(node, exp.Anonymous) and node.name.upper() in names


def _is_epoch(node: "Expr") -> bool:
    return isinstance(node, exp.Extract) and node.name.lower() in {
        "epoch",
        "epoch_second",
        "epoch_seconds",
    }


def _is_odd_format(node: "Expr") -> bool:
    if not isinstance(node, exp.TimeToStr):
        return False
    rest = _KNOWN_ELEMENTS.sub("", node.args["format"].name)
    return re.search(r"[A-Za-z\"]", rest) is not None


def _is_double(node: "Expr") -> bool:
    """Whether a value is known to be a DOUBLE: a column of the tables, or a cast."""
    inner = node.unnest()
    if isinstance(inner, exp.Column):
        return inner.name.lower() in _columns_of("DOUBLE")
    return isinstance(inner, exp.Cast) and inner.to.this.name in {"DOUBLE", "FLOAT"}


def _is_date(node: "Expr") -> bool:
    inner = node.unnest()
    if isinstance(inner, exp.Column):
        return inner.name.lower() in _columns_of("DATE")
    return isinstance(inner, exp.Cast) and inner.to.this.name == "DATE"


def _is_text_of_double(node: "Expr") -> bool:
    if isinstance(node, exp.ToChar):
        return node.args.get("format") is None and _is_double(node.this)
    if isinstance(node, exp.Cast):
        return node.to.this.name in {"VARCHAR", "TEXT", "CHAR"} and _is_double(node.this)
    joined = [node.left, node.right] if isinstance(node, exp.DPipe) else []
    return any(map(_is_double, joined))


def _is_whole_of_double(node: "Expr") -> bool:
    whole = {"INT", "BIGINT", "SMALLINT", "TINYINT", "DECIMAL"}
    return isinstance(node, exp.Cast) and node.to.this.name in whole and _is_double(node.this)


def _is_quotient_of_whole_numbers(node: "Expr") -> bool:
    return isinstance(node, exp.Div) and _is_whole(node.left) and _is_whole(node.right)


def _is_whole(node: "Expr") -> bool:
    inner = node.unnest()
    if isinstance(inner, exp.Nullif):
        return _is_whole(inner.this)
    if isinstance(inner, exp.Literal):
        return not inner.is_string
    if isinstance(inner, exp.Column):
        return inner.name.lower() in _columns_of("INTEGER")
    if isinstance(inner, exp.Sum | exp.Max | exp.Min):
        return _is_whole(inner.this)
    return isinstance(inner, exp.Count | exp.CountIf | exp.DateDiff | exp.TimestampDiff)


def _is_mean_of_whole_numbers(node: "Expr") -> bool:
    return isinstance(node, exp.Avg) and _is_whole(node.this)


def _is_shown_date(node: "Expr") -> bool:
    kinds = exp.DateAdd | exp.DateTrunc | exp.TimestampTrunc
    shown = node.parent.parent if isinstance(node.parent, exp.Alias) else node.parent
    return isinstance(node, kinds) and isinstance(shown, exp.Select) and _is_date(node.this)


def _is_group_of_regexp(node: "Expr") -> bool:
    said = node.args.get("parameters") if isinstance(node, exp.RegexpExtract) else None
    return said is not None and "e" in said.name


def _columns_of(kind: str) -> frozenset[str]:
    return frozenset(
        column.name
        for columns in tables().values()
        for column in columns
        if column.base_type == kind
    )


DIFFERENCES = (
    Difference(
        "TIME_SLICE",
        "its slices begin at 1970-01-01 there and at 2000-01-03 here; use DATE_TRUNC, or DATEADD "
        "of DATEDIFF from a moment of your own",
        _is("TimeSlice"),
    ),
    Difference(
        "DATE_PART(epoch_second)",
        "it is cut there and rounded here; use "
        "DATEDIFF('second', '1970-01-01'::TIMESTAMP_NTZ, moment)",
        _is_epoch,
    ),
    Difference(
        "A format of times with Mon, Month, Dy, quotes or zones",
        "they come out as they stand; use YYYY, MM, DD, HH24, MI, SS, FF3, MON or DY",
        _is_odd_format,
    ),
    Difference(
        "The text of a DOUBLE",
        "1 is '1' there and '1.0' here; select the number as it is, or ROUND it into a NUMBER",
        _is_text_of_double,
    ),
    Difference(
        "A DOUBLE cast to a whole number",
        "a half goes away from zero there and to the even one here; use ROUND(x), FLOOR(x) or "
        "CEIL(x), and cast that",
        _is_whole_of_double,
    ),
    Difference(
        "A quotient of whole numbers",
        "it has six digits there and all here; cast one of them to DOUBLE",
        _is_quotient_of_whole_numbers,
    ),
    Difference(
        "AVG of whole numbers",
        "it has six digits there and all here; cast them to DOUBLE",
        _is_mean_of_whole_numbers,
    ),
    Difference(
        "DATE_TRUNC or DATEADD of a DATE",
        "it stays a DATE there and is a timestamp here; cast the result to DATE",
        _is_shown_date,
    ),
    Difference(
        "REGEXP_SUBSTR with the parameter e",
        "the group is given there and all of the match here; use REGEXP_REPLACE, or SPLIT_PART",
        _is_group_of_regexp,
    ),
    Difference(
        "APPROX_COUNT_DISTINCT, HLL or APPROX_PERCENTILE",
        "each engine estimates in its own way; use COUNT(DISTINCT x) or PERCENTILE_CONT",
        _is("ApproxDistinct", "ApproxQuantile", "Hll"),
    ),
    Difference(
        "HASH",
        "each engine has its own; use MD5 or SHA2",
        _called("HASH"),
    ),
    Difference(
        "TYPEOF",
        "the names of types differ; ask information_schema.columns",
        _is("Typeof"),
    ),
    Difference(
        "TO_BINARY",
        "it reads hexadecimal digits there and bits here; use the text as it is",
        _is("ToBinary"),
    ),
)
"""All that is known to differ; a test asks both sides of each."""
