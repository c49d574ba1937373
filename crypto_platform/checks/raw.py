"""Whether the raw lake holds or explains all that was asked for."""

from collections.abc import Iterable, Sequence

from crypto_platform.checks.definitions import COINS, WARN, Finding
from crypto_platform.core.streams import Stream
from crypto_platform.lake.manifests import Manifest


def evaluate_raw(
    stream: Stream, manifests: Iterable[Manifest], coins: Sequence[str], vs_currency: str
) -> list[Finding]:
    """Whether every coin that was asked for is in the raw lake or explained.

    Args:
        stream: The stream of the windows.
        manifests: What the raw lake now holds, one a window.
        coins: The coins that were asked for.
        vs_currency: The currency that was asked for.
    """
    asked = {(coin, vs_currency) for coin in coins}
    findings = []
    for manifest in manifests:
        partition = stream.partition_key(manifest.window)
        # By name: the window may hold other coins too, or these in another currency.
        explained = {(absence.coin_id, absence.vs_currency) for absence in manifest.absent}
        findings += [
            Finding(COINS, partition, coin, f"asked for in {currency}, neither here nor explained")
            for coin, currency in sorted(asked - manifest.present - explained)
        ]
        findings += [
            Finding(COINS, partition, absence.coin_id, f"failed: {absence.reason}", WARN)
            for absence in manifest.absent
            if absence.status == "failed" and absence.vs_currency == vs_currency
        ]
    return findings
