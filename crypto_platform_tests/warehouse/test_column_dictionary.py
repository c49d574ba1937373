"""What the catalogue says of columns, for people."""

from crypto_platform.warehouse.catalogue import ONLY_IN_FILES, described, relations, tables
from crypto_platform.warehouse.column_dictionary import column_dictionary
from glue_jobs import prices as job


def says_when_null(description: str) -> bool:
    return any(part.startswith("null ") for part in description.split("; "))


def test_every_column_that_may_be_null_says_when_and_no_other_does() -> None:
    own = described().keys() & tables().keys()
    columns = [column for table in own for column in tables()[table]]

    assert [one.name for one in columns if one.nullable != says_when_null(one.description)] == []


def test_every_table_and_view_is_described() -> None:
    assert described().keys() == relations()
    assert all(one.description and one.columns for one in described().values())


def test_a_null_stands_in_a_column_of_its_own() -> None:
    assert (
        "| `max_supply` | double | where there is no limit or the API has none "
        "| Coins there can ever be |" in column_dictionary()
    )


def test_files_of_prices_have_the_columns_that_the_job_writes() -> None:
    of_table = {column.name for column in tables()["historical_prices"]} - {"loaded_at"}

    assert of_table | {column.name for column in ONLY_IN_FILES} == set(job.COLUMNS)
