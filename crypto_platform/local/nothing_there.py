"""What is said where there is nothing to read, and the demo's folder has something."""

from collections.abc import Mapping

from crypto_platform.core.errors import NothingThereError
from crypto_platform.local.demo import demo_home


def with_hint_at_demo(
    error: NothingThereError, environment: Mapping[str, str]
) -> NothingThereError:
    """The same error, which names the demo where one stands beside the folder that was read.

    Args:
        error: Says where nothing is.
        environment: The variables, of which ``CRYPTO_HOME`` names that folder.
    """
    home = demo_home(environment)
    if not (home / "crypto_db.duckdb").exists() or str(home) in str(error):
        return error
    return NothingThereError(
        f"{error} The demo's prices are in {home}: crypto-platform --demo reads them, and so does "
        f"Python with CRYPTO_HOME={home}."
    )
