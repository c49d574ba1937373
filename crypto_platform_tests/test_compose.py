"""The services of docker-compose.yaml, as processes of this machine: no engine is needed."""

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
import yaml

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.warehouse.duckdb import DuckDBWarehouse

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# Where the services listen, and where they look for each other.
ADDRESSES = ("0.0.0.0", "postgres", "code_location", "simulated_market")  # noqa: S104

LAUNCH = """
mutation ($job: String!, $key: String!) {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "crypto_platform", repositoryName: "__repository__", jobName: $job
    }
    executionMetadata: {tags: [{key: "dagster/partition", value: $key}]}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def locked_versions(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def assignments(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", path.read_text(), re.MULTILINE))


def test_the_image_has_the_packages_of_the_lock_and_the_driver_of_postgres() -> None:
    everywhere, image = (
        locked_versions("requirements.lock"),
        locked_versions("requirements-docker.lock"),
    )

    assert everywhere.items() <= image.items()
    assert image.keys() - everywhere.keys() == {"dagster-postgres", "psycopg2-binary"}


def test_what_is_tested_on_postgres_are_the_packages_of_the_image() -> None:
    image = locked_versions("requirements-docker.lock")

    assert image.items() <= locked_versions("requirements-test.lock").items()


def test_ports_are_published_on_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_service_is_watched_and_started_again() -> None:
    for service in SERVICES.values():
        assert service["healthcheck"]["test"]
        assert service["restart"] == "unless-stopped"


def test_the_platform_alone_knows_the_key_and_the_lake() -> None:
    assert {name for name, service in SERVICES.items() if "env_file" in service} == {
        "code_location"
    }
    assert {
        name for name in SERVICES if "crypto" in (source for _, source, _ in volumes({}, name))
    } == {"code_location"}


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """A text of the compose file as the engine reads it, with these variables set."""

    def value(found: re.Match[str]) -> str:
        name, operator, alternative = found.groups()
        held = variables.get(name, "")
        return (alternative if held else "") if operator == ":+" else held or alternative

    return re.sub(r"\$\{(\w+)(:[-+])(.*?)\}", value, text)


def volumes(variables: Mapping[str, str], service: str) -> set[tuple[str, str, str]]:
    """Of every volume of a service, its type, what is mounted, and where."""

    def parts(volume: str | dict[str, Any]) -> tuple[str, str, str]:
        if isinstance(volume, dict):
            source = interpolated(volume["source"], variables)
            return volume["type"], source, volume["target"]
        # The short form: what has no folder in it is the name of a volume.
        source, target = interpolated(volume, variables).split(":")[:2]
        return "bind" if source.startswith(("/", ".", "~")) else "volume", source, target

    return {parts(volume) for volume in SERVICES[service].get("volumes", [])}


def test_every_volume_is_a_named_one_but_for_the_key_of_snowflake() -> None:
    mounted = {(kind, source) for name in SERVICES for kind, source, _ in volumes({}, name)}

    assert mounted == {("volume", name) for name in COMPOSE["volumes"]} | {("bind", "/dev/null")}


@pytest.mark.parametrize("key", ["/home/me/snowflake.p8", "./snowflake.p8", "snowflake.p8"])
def test_the_key_of_snowflake_is_mounted_where_the_platform_looks_for_it_and_nowhere_else(
    key: str,
) -> None:
    variables = {"SNOWFLAKE_PRIVATE_KEY_PATH": key}
    path = SERVICES["code_location"]["environment"]["SNOWFLAKE_PRIVATE_KEY_PATH"]
    binds = {
        (name, source, target)
        for name in SERVICES
        for kind, source, target in volumes(variables, name)
        if kind == "bind"
    }

    assert binds == {("code_location", key, interpolated(path, variables))}
    assert interpolated(path, {}) == ""


def test_a_key_of_snowflake_that_is_not_there_is_an_error_and_no_folder() -> None:
    (bind,) = (
        volume for volume in SERVICES["code_location"]["volumes"] if isinstance(volume, dict)
    )

    assert bind["read_only"] is True
    assert bind["bind"] == {"create_host_path": False}


def test_the_simulated_platform_shares_neither_volumes_nor_the_key_with_the_real_one() -> None:
    simulated = assignments(ROOT / "docker" / "simulated.env")

    assert simulated["COMPOSE_PROJECT_NAME"] != COMPOSE["name"]
    assert simulated["COMPOSE_PROFILES"] in SERVICES["simulated_market"]["profiles"]
    assert (ROOT / simulated["PLATFORM_ENV_FILE"]).samefile(ROOT / "docker" / "simulated.env")
    assert "simulated_market:" in simulated["COINGECKO_BASE_URL"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def postgres_path() -> str:
    debians = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    return os.pathsep.join([os.environ["PATH"], *debians])


INITDB = shutil.which("initdb", path=postgres_path())

needs_postgres = pytest.mark.skipif(
    INITDB is None,
    reason="needs a Postgres to start (initdb on the PATH or in /usr/lib/postgresql/*/bin): "
    "apt-get install postgresql",
)


def wait_until(happened: Callable[[], bool], story: Callable[[], str], seconds: int = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"This took more than {seconds} s: {story()}"
        time.sleep(0.2)


@dataclass(frozen=True)
class Host:
    """This machine in the place of the engine: names are loopback, and ports are free ones."""

    folder: Path
    names: Mapping[str, str]

    def here(self, text: str) -> str:
        """A text of the compose file, with its variables' defaults and this machine's names."""
        text = interpolated(text, {})
        known = "|".join(map(re.escape, self.names))
        return re.sub(rf"\b({known})\b", lambda found: self.names[found[1]], text)

    def environment(self, service: str) -> dict[str, str]:
        """What a service's container would have, of the simulated profile."""
        definition = SERVICES[service]
        given = assignments(ROOT / "docker" / "simulated.env") if "env_file" in definition else {}
        given = {**given, **definition.get("environment", {})}
        if "CRYPTO_HOME" in given:
            given["CRYPTO_HOME"] = str(self.folder / "crypto")
        return {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), postgres_path()]),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "DAGSTER_HOME": str(self.folder / "dagster"),
            **{name: self.here(text) for name, text in given.items()},
        }

    @contextmanager
    def running(
        self, service: str, command: list[str] | None = None, user: str | None = None
    ) -> Iterator[None]:
        """A service, from its start to the end of the block."""
        words = command or [self.here(word) for word in SERVICES[service]["command"]]
        with (
            self.log(service).open("w") as log,
            subprocess.Popen(
                words,
                cwd=ROOT,
                env=self.environment(service),
                stdout=log,
                stderr=subprocess.STDOUT,
                user=user,
            ) as process,
        ):
            try:
                yield
            finally:
                process.send_signal(signal.SIGINT)

    def log(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def wait_for(self, service: str) -> None:
        """Wait until a service passes its own health check."""
        wait_until(lambda: self.is_healthy(service), lambda: self.log(service).read_text())

    def is_healthy(self, service: str) -> bool:
        _, *words = SERVICES[service]["healthcheck"]["test"]
        check = [self.here(word) for word in words]
        response = subprocess.run(
            check, env=self.environment(service), capture_output=True, check=False
        )
        return response.returncode == 0


@pytest.fixture
def host() -> Iterator[Host]:
    # Not tmp_path: where root runs the tests, another user runs Postgres.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    dagster = folder / "dagster"
    dagster.mkdir()
    (dagster / "dagster.yaml").write_text(
        (ROOT / "dagster.yaml").read_text() + (ROOT / "docker" / "storage.yaml").read_text()
    )
    ports = {port: str(free_port()) for port in ("3000", "4000", "5432", "8555")}
    try:
        yield Host(folder, dict.fromkeys(ADDRESSES, "127.0.0.1") | ports)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres(host: Host) -> Iterator[dict[str, str]]:
    """Postgres, empty but for what its image makes of its variables."""
    environment = host.environment("postgres")
    # It refuses to be run by root.
    user = None if os.geteuid() else "nobody"
    data, password = host.folder / "postgres", host.folder / "password"
    password.write_text(environment["POSTGRES_PASSWORD"])
    data.mkdir()
    if user:
        shutil.chown(data, user)
    options = {
        "--pgdata": data,
        "--username": environment["POSTGRES_USER"],
        "--auth": "scram-sha-256",
        "--pwfile": password,
        "--locale": "C.UTF-8",
    }
    subprocess.run(
        [str(INITDB), *itertools.chain(*options.items()), "--no-sync"],
        env=environment,
        capture_output=True,
        check=True,
        user=user,
    )
    port = host.names["5432"]
    command = ["postgres", "-D", str(data), "-h", "127.0.0.1", "-p", port, "-k", str(data), "-F"]
    with host.running("postgres", command, user):
        host.wait_for("postgres")
        login = {
            "host": "127.0.0.1",
            "port": port,
            "user": environment["POSTGRES_USER"],
            "password": environment["POSTGRES_PASSWORD"],
        }
        with closing(psycopg2.connect(**login, dbname="postgres")) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {environment['POSTGRES_DB']}")
        yield {**login, "dbname": environment["POSTGRES_DB"]}


def ask(host: Host, query: str, variables: Mapping[str, str]) -> dict[str, Any]:
    url = f"http://127.0.0.1:{host.names['3000']}/graphql"
    response = requests.post(url, json={"query": query, "variables": variables}, timeout=30).json()
    assert "errors" not in response, response
    data: dict[str, Any] = response["data"]
    return data


@needs_postgres
@pytest.mark.integration
def test_the_services_come_up_on_postgres_and_a_partition_materializes(
    host: Host, postgres: dict[str, str]
) -> None:
    key = HISTORICAL.partitions(datetime.now(UTC) - timedelta(days=30)).get_last_partition_key()
    with ExitStack() as services:
        for service in ("simulated_market", "code_location"):
            services.enter_context(host.running(service))
        host.wait_for("code_location")
        for service in ("webserver", "daemon"):
            services.enter_context(host.running(service))
        host.wait_for("webserver")
        launched = ask(host, LAUNCH, {"job": "historical", "key": str(key)})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run = {"id": launched["run"]["runId"]}

        def status() -> str:
            found: str = ask(host, STATUS, run)["runOrError"]["status"]
            return found

        wait_until(lambda: status() in {"SUCCESS", "FAILURE", "CANCELED"}, status)
        health = {service: host.is_healthy(service) for service in SERVICES}

    assert health == dict.fromkeys(SERVICES, True)
    warehouse = DuckDBWarehouse(path=str(host.folder / "crypto" / "crypto_db.duckdb"))
    assert warehouse.query("SELECT source, COUNT(*) AS n FROM historical_prices GROUP BY 1") == [
        {"source": "simulated", "n": 10}
    ]
    with closing(psycopg2.connect(**postgres)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status FROM runs WHERE run_id = %s", (run["id"],))
        assert cursor.fetchall() == [("SUCCESS",)]
        cursor.execute("SELECT DISTINCT partition FROM event_logs WHERE partition IS NOT NULL")
        assert cursor.fetchall() == [(key,)]
