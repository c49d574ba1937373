"""What is looked at before anything is started: whether a run could use the settings."""

from collections.abc import Mapping

from crypto_platform.core.settings import Settings
from lambda_function.plans import ApiSettings


def refuse_unusable_settings(environment: Mapping[str, str]) -> None:
    """Refuse to start what no run could use.

    Args:
        environment: The variables.

    Raises:
        SettingsError: A variable of the settings is malformed.
        InvalidSettings: One of the API is, which this machine asks with the profile local.
    """
    if Settings.from_environment(environment).profile == "local":
        ApiSettings.from_environment(environment)
