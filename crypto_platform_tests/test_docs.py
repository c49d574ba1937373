"""README and pages keep their word: commands run, links lead somewhere, lists are complete."""

import ast
import logging
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import click
import pytest
import yaml
from click.testing import CliRunner
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from crypto_platform.alerts.problems import Kind
from crypto_platform.cli.main import main
from crypto_platform.core.settings import Settings
from crypto_platform.definitions import build_definitions
from crypto_platform.warehouse.column_dictionary import column_dictionary
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.inspection import questions
from crypto_platform_tests.cli.test_main import ROOT, run, variables
from crypto_platform_tests.warehouse_rows import put_coin
from lambda_function.plans import PLANS

__all__ = ["variables"]

DOCS = ROOT / "docs"
FILES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
TEXTS = {str(file.relative_to(ROOT)): file.read_text() for file in FILES}
ALL = "\n".join(TEXTS.values())

FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", flags=re.MULTILINE | re.DOTALL)
CONSOLE_LINES = [
    line.strip()
    for _, language, block in FENCED.findall(ALL)
    if language == "console"
    for line in block.splitlines()
]
COMMANDS = list(dict.fromkeys(line.removeprefix("$ ") for line in CONSOLE_LINES))
MAKE_COMMANDS = [command for command in COMMANDS if command.startswith("make ")]

# What stands behind a make command; each of these is run by a test, by the tests themselves, or
# by hand for what measures or serves.
BEHIND = {
    "make demo": "crypto-platform demo",
    "make demo-ui": "crypto-platform demo --ui",
    "make dev": "crypto-platform dev",
    "make test": "pytest -n auto --dist loadgroup",
    "make test-fast": 'pytest -n auto --dist loadgroup -m "not spark and not soak"',
    "make lint": "lint-imports",
    "make docs": "mkdocs build --strict\n",
    "make types": "mypy",
    "make soak": "pytest -m soak",
    "make format": "ruff format .",
    "make bench": "python -m benchmarks",
    "make simulate": "crypto-platform simulate",
}

TAKE_THE_PROCESS = ("demo", "launch")
"""Commands that start processes, or become another program: the others run in this one."""


def page(name: str) -> str:
    return TEXTS[f"docs/{name}.md"]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    """The relative links of a page, pictures among them."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", FENCED.sub("", text)))
    return [target for target in targets if not re.match(r"https?:|mailto:", target)]


def first_cells(text: str) -> set[str]:
    """The names in the first column of a page's tables."""
    cells = re.findall(r"^\|([^|]+)\|", text, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def texts_of_code(source: str) -> list[str]:
    """The texts that a module has, but for its docstrings."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def test_every_line_of_a_console_block_is_a_command() -> None:
    assert [line for line in CONSOLE_LINES if not line.startswith("$ ")] == []
    # Elsewhere a command that begins so would look as if it were tested.
    assert len(re.findall(r"^ *\$ ", ALL, flags=re.MULTILINE)) == len(CONSOLE_LINES)


@pytest.mark.parametrize("command", MAKE_COMMANDS)
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_make_command_of_the_docs_does_what_it_says(command: str) -> None:
    dry = subprocess.run(
        [*shlex.split(command), "--dry-run", "--no-print-directory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert BEHIND[command] in dry.stdout


@pytest.mark.integration
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command not in MAKE_COMMANDS]
)
def test_a_command_of_the_docs_runs(
    command: str, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = DuckDBWarehouse(path=f"{variables['CRYPTO_HOME']}/crypto_db.duckdb")
    for coin, symbol in {"bitcoin": "btc", "ethereum": "eth"}.items():
        put_coin(warehouse, coin, symbol=symbol, name=coin.title())

    program, *words = shlex.split(command)
    # Dagster's commands read the project where they run.
    if program != "crypto-platform":
        finished = run([program, *words], variables)
        assert finished.returncode == 0, finished.stderr
    # What it writes is not to stand among the sources.
    elif words[0] in TAKE_THE_PROCESS:
        finished = run([program, *words], variables, cwd=tmp_path)
        assert finished.returncode == 0, finished.stderr
    else:
        monkeypatch.chdir(tmp_path)
        for name in [name for name in os.environ if name.startswith("COINGECKO_")]:
            monkeypatch.delenv(name)
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        shown = CliRunner().invoke(main, words)
        assert shown.exit_code == 0, (shown.output, shown.exception)


def test_every_command_that_the_docs_mention_is_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    commands = main.list_commands(click.Context(main))

    assert set(re.findall(r"`make ([\w-]+)", ALL)) <= targets
    assert set(re.findall(r"`crypto-platform ([\w-]+)", ALL)) <= set(commands)


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(TEXTS["README.md"].split()) <= 1200


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_to_a_file_and_to_an_anchor_in_it(name: str) -> None:
    for link in links(TEXTS[name]):
        path, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / path) if path else ROOT / name
        assert target.is_file(), f"{name} links to {link}"
        # The site holds the pages alone.
        assert name.count("/") == 0 or target.resolve().is_relative_to(DOCS)
        if anchor:
            assert anchor in anchors(target.read_text()), f"{name} links to {link}"


def test_every_page_is_in_the_menu_and_linked_from_the_readme_and_the_first_page() -> None:
    pages = {file.name for file in DOCS.glob("*.md")}
    menu = re.findall(r"[\w-]+\.md", str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))

    assert sorted(menu) == sorted(pages)
    assert {link.removeprefix("docs/") for link in links(TEXTS["README.md"])} >= pages
    assert set(links(page("index"))) >= pages - {"index.md"}


BROKEN = {
    "nowhere.md": "[a page](nowhere.md)",
    "#nowhere": "[an anchor](alerts.md#nowhere)",
    "nowhere.svg": "![a picture](nowhere.svg)",
    "/checks.html": "[a page of the site](/checks.html)",
}
"""Links that lead nowhere, by what is said of them."""


def test_the_pages_are_not_built_where_one_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs" / "checks.md").open("a") as checks:
        checks.write("\n".join(["", *BROKEN.values(), ""]))
    (tmp_path / "docs" / "orphan.md").write_text("# An orphan\n")

    # Each of them counts.
    with pytest.raises(Abort, match=f"{len(BROKEN) + 1} warnings"):
        build(load_config(str(tmp_path / "mkdocs.yml")))

    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) == len(BROKEN) + 1
    for named in (*BROKEN, "orphan.md"):
        assert [message for message in said if named in message], named


def test_the_docs_list_every_setting() -> None:
    assert {str(field.alias) for field in Settings.model_fields.values()} <= first_cells(
        page("configuration")
    )


def test_the_docs_list_every_variable_of_the_example_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text()
    listed = page("configuration")

    for name, default in re.findall(r"^([A-Z_]+)=(.*)$", example, flags=re.MULTILINE):
        assert name in first_cells(listed)
        assert not default or f"`{default}`" in listed, f"{name}={default}"


def test_every_file_that_the_docs_name_is_there() -> None:
    folders = (
        "benchmarks|crypto_platform|crypto_platform_tests|docker|docs|glue_jobs|infrastructure"
        "|lambda_function|snowflake_scripts"
    )
    # The changelog speaks of files that are gone as well.
    told = "\n".join(text for name, text in TEXTS.items() if name != "CHANGELOG.md")
    named = set(re.findall(rf"`((?:{folders})/[\w/.-]*)`", told))

    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_each_change_touches_at_most_three_places() -> None:
    _, *changes, smaller = page("changing").split("\n## ")

    assert len(changes) == 10
    assert smaller.startswith("Smaller changes")
    for change in changes:
        rows = re.findall(r"^\| `.+ \|$", change, flags=re.MULTILINE)
        assert len(rows) <= 3, change
        assert re.search(r"`[\w]+/[\w/.]+`", change), change


def test_the_docs_list_every_status_of_the_ledger() -> None:
    script = Path(ROOT / "snowflake_scripts" / "1_creation_tables.sql").read_text()

    for status in ("present", "missing_at_source", "out_of_plan", "quarantined", "failed"):
        assert f"| `{status}` |" in page("warehouse")
        assert status in script


def test_the_docs_list_every_table_and_view() -> None:
    scripts = "".join(
        (ROOT / "snowflake_scripts" / name).read_text()
        for name in ("1_creation_tables.sql", "5_creation_models.sql")
    )
    relations = re.findall(
        r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?\w+\.(\w+)",
        scripts,
        re.MULTILINE,
    )

    assert relations
    assert set(relations) <= first_cells(page("warehouse"))


def test_the_docs_list_every_question_of_the_inspection() -> None:
    assert set(questions()) <= first_cells(page("warehouse"))


def test_the_docs_list_every_check_group_schedule_and_sensor() -> None:
    definitions = build_definitions(Settings.from_environment({}))
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()

    assert {key.name for key in graph.asset_check_keys} <= first_cells(page("checks"))
    automations = {one.name for one in (*repository.schedule_defs, *repository.sensor_defs)}
    assert automations <= first_cells(page("daily-use"))
    for group in {node.group_name for node in graph.asset_nodes}:
        assert f"| `{group}` |" in page("daily-use")


def test_every_message_that_operations_explains_is_one_that_the_code_has() -> None:
    _, _, section = page("operations").partition("\n## What you may see\n")
    table, _, _ = section.partition("\n## ")
    files = [
        file
        for folder in ("crypto_platform", "lambda_function")
        for file in (ROOT / folder).rglob("*.py")
    ]
    texts = "\n".join(text for file in files for text in texts_of_code(file.read_text()))
    messages = re.findall(r"^\| .*?\*([^*]+)\*", table, flags=re.MULTILINE)

    assert len(messages) > 5
    parts = [part.strip() for message in messages for part in message.split("…") if part.strip()]
    assert [part for part in parts if part not in texts] == []


def test_the_runbook_has_a_section_for_each_kind_of_alert() -> None:
    assert set(get_args(Kind)) <= anchors(page("runbook"))


def test_the_architecture_lists_the_packages_from_the_top_down_in_their_own_words() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = next(
        one for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
    )
    packages = [
        package
        for layer in contract["layers"]
        for package in layer.split(" | ")
        if (ROOT / "crypto_platform" / package).is_dir()
    ]
    _, _, section = page("architecture").partition("\n## The packages\n")
    table, _, _ = section.partition("\n## ")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", table, flags=re.MULTILINE)

    assert [name for name, _ in rows] == packages
    for package, sentence in rows:
        source = (ROOT / "crypto_platform" / package / "__init__.py").read_text()
        summary, _, _ = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")
        assert sentence == summary.replace("\n", " ").replace("``", "`")


def test_the_page_of_columns_is_what_the_catalogue_gives() -> None:
    # Made by: python -m crypto_platform.warehouse.column_dictionary > docs/columns.md
    assert page("columns") == column_dictionary()


def test_the_page_of_the_source_has_the_limits_of_every_plan() -> None:
    row = r"^\| `(\w+)` \| `(\S+)`" + 4 * r" \| ([^|]+)" + r" \|$"
    rows = re.findall(row, page("price-source"), flags=re.MULTILINE)

    assert rows == [
        (
            plan.name,
            urlsplit(plan.base_url).hostname,
            f"`{plan.key_header}`" if plan.key_header else "none",
            f"{plan.calls_a_minute:,}",
            f"{plan.monthly_credits:,}" if plan.monthly_credits else "no limit known",
            f"{plan.history_days:,}" if plan.history_days else "all",
        )
        for plan in PLANS.values()
    ]


def test_the_page_of_the_source_lists_every_endpoint_error_code_and_field() -> None:
    def source(path: str) -> str:
        return (ROOT / path).read_text()

    paths = re.findall(r'_get\(\s*f?"(/[^"]+)"', source("lambda_function/coingecko.py"))
    codes = re.findall(r"\b100\d\d\b", source("lambda_function/error_mapping.py"))
    fields = re.findall(r'"market\.(\w+)"', source("glue_jobs/snapshots.py"))

    assert {re.sub(r"{.*}", "{id}", path) for path in paths} <= first_cells(page("price-source"))
    assert [code for code in codes if code not in page("price-source")] == []
    assert set(fields) <= first_cells(page("price-source"))
