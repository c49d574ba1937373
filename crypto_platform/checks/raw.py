"""Whether the raw lake holds or explains all that was asked for."""

from collections import Counter
from collections.abc import Iterable, Sequence

from crypto_platform.checks.definitions import COINS, WARN, Finding
from crypto_platform.core.streams import Stream
from crypto_platform.lake.manifests import Absence, Manifest


def evaluate_raw(
    stream: Stream, manifests: Iterable[Manifest], coins: Sequence[str], vs_currency: str
) -> list[Finding]:
    """Whether every coin that was asked for is in the raw lake or explained.

    A coin that failed is a warning, as healing asks again; a window without a price of any coin is
    an error, as then it is the API that failed.

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
        absent = {(one.coin_id, one.vs_currency) for one in manifest.absent}
        for coin, currency in sorted(asked - manifest.present - absent):
            fault = f"asked for in {currency}, and neither here nor explained"
            findings.append(Finding(COINS, partition, coin, fault))
        failed = [
            one
            for one in manifest.absent
            if one.status == "failed" and one.vs_currency == vs_currency
        ]
        if failed and not manifest.present and len(failed) == len(manifest.absent):
            fault = f"no price of any of {len(failed)} coin(s): {_most_common(failed)}"
            findings.append(Finding(COINS, partition, None, fault))
            continue
        findings += [
            Finding(COINS, partition, absence.coin_id, f"failed: {absence.reason}", WARN)
            for absence in failed
        ]
    return findings


def _most_common(absent: Iterable[Absence]) -> str:
    ((reason, _),) = Counter(absence.reason for absence in absent).most_common(1)
    return reason
