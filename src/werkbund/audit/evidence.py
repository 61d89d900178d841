"""What a works council, a data protection officer or an auditor is handed: a plant's ledger, and all around it.

The pack holds no row: of what left the plant it holds names, sizes and digests
under a key that stays at the plant.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from werkbund._version import __version__
from werkbund.audit.pages import PlainTable, pairs, plain_page
from werkbund.core.errors import ConfigError
from werkbund.core.files import write_atomically
from werkbund.core.keys import PublicKey, fingerprint, read_public_key, ssh_public
from werkbund.core.stored import read_stored
from werkbund.engine.promise import How
from werkbund.ledger import Receipts, Verified, verified
from werkbund.ledger.tables import COLUMNS, rows_of, to_csv
from werkbund.ledger.verifying import lines_of
from werkbund.plant import PlantSettings, load_settings
from werkbund.plant.agreed import FILE_NAME
from werkbund.plant.ledger import FILE, policy_facts, purpose_of, root_of, signing_key
from werkbund.privacy.accounting import Release, epsilon, renyi_epsilon

_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_TESTS = re.compile(r" \((?:[A-Z]+::test_\w+(?:, )?)+\)|`")


def checked_ledger(place: Path, public_keys: Sequence[Path] = (), run: Path | None = None) -> Verified:
    """Verify a ledger.

    Parameters
    ----------
    place
        The plant's kit, or the ledger's file alone; then a public key must be given.
    public_keys
        Files with the plant's public keys; none: the one of the kit.
    run
        Folder of a run at the server, whose receipts are compared.

    Raises
    ------
    ConfigError
        If there is no ledger, or no key to verify it by.
    CheckpointError
        If the run has no receipts.
    """
    is_kit = place.is_dir()
    if not is_kit and not public_keys:
        raise ConfigError(
            f"--public-key must be given beside a ledger's file, got {place} alone; name the kit, or a key"
        )
    path = load_settings(place).state / FILE if is_kit else place
    if is_kit and not path.exists():
        raise ConfigError(f"{path} must be there; nothing has been asked of this plant yet")
    keys = [read_public_key(key) for key in public_keys] or [signing_key(load_settings(place)).public_key()]
    receipts = Receipts(run).of(_plant_of(path)) if run is not None else ()
    return verified(path, keys, receipts)


def ledger_page(found: Verified, rows: Sequence[Mapping[str, str]]) -> str:
    """Return a ledger as a page to read or print."""
    return plain_page(f"Ledger of {_name_in(found)}", _sentences(found), [_ledger_table(rows)], bool(found.fault))


def spent_in(found: Verified) -> dict[str, float]:
    """Return the epsilon of all charges in a ledger together, by unit and delta in words."""
    charges: dict[str, list[Release]] = {}
    for entry in found.entries:
        told = entry.get("privacy", {}).get("charge")
        if told:
            how = How(float(told["rate"]), int(told["count"]), shared=told.get("shared", False))
            name = f"for each {told['unit']}, delta {float(told['delta']):g}"
            charges.setdefault(name, []).append(how.release(float(told["noise"]), 1))
    return {name: _epsilon(each, float(name.rpartition(" ")[2])) for name, each in charges.items()}


def _epsilon(releases: Sequence[Release], delta: float) -> float:
    """Return what releases cost; a little more than they do where the extra `privacy` is not installed."""
    try:
        return epsilon(releases, delta)
    except ConfigError:
        return renyi_epsilon(releases, delta)


def write_evidence(kit: Path, out: Path, run: Path | None = None, audit: Path | None = None) -> Verified:
    """Write a plant's evidence pack, and return what verifying its ledger gave.

    Parameters
    ----------
    kit
        The plant's.
    out
        A file that ends in .zip.
    run
        Folder of a run at the server, whose receipts are compared.
    audit
        What `werkbund audit --json` wrote, to be put in; None for none.

    Raises
    ------
    ConfigError
        If the kit or its ledger cannot be read.
    """
    settings, found = load_settings(kit), checked_ledger(kit, (), run)
    pack = _Pack(settings, found, signing_key(settings).public_key(), datetime.now(UTC), _audited(audit))
    write_atomically(out, pack.zipped(), 0o600)
    return found


@dataclass(frozen=True)
class _Pack:
    settings: PlantSettings
    found: Verified
    key: PublicKey
    made: datetime
    audit: Mapping[str, Any] | None

    def zipped(self) -> bytes:
        """Return the archive."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self._files().items():
                archive.writestr(name, content)
        return stream.getvalue()

    def _files(self) -> dict[str, str | bytes]:
        settings, rows = self.settings, rows_of(self.found.entries)
        agreed = settings.kit / FILE_NAME
        contents: dict[str, str | bytes] = {
            "index.html": self._page(rows),
            "ledger.jsonl": (settings.state / FILE).read_bytes(),
            "ledger.csv": to_csv(rows),
            "verification.json": json.dumps(self.found.to_json(), indent=1),
            "client.pub": ssh_public(self.key, settings.client.name),
            "policy.json": json.dumps(policy_facts(settings)["allows"], indent=1),
            "security.md": _security(),
        }
        contents |= {FILE_NAME: agreed.read_bytes()} if agreed.is_file() else {}
        return contents | ({} if self.audit is None else {"audit.json": json.dumps(self.audit, indent=1)})

    def _page(self, rows: Sequence[Mapping[str, str]]) -> str:
        settings = self.settings
        facts = {
            "plant": settings.client.name,
            "made": self.made.isoformat(timespec="seconds"),
            "Werkbund": __version__,
            "purpose that was agreed": purpose_of(settings) or "none was written down",
            "fingerprint of the plant's key": fingerprint(self.key),
            "SHA-256 of the certificate by which it knows the server": root_of(settings) or "none: without TLS",
            "address of the server": settings.server.address,
        }
        facts |= {f"epsilon spent {name}": f"{spent:.4g}" for name, spent in spent_in(self.found).items()}
        allowed = policy_facts(settings)["allows"]
        flat = {f"{section}.{name}": value for section, values in allowed.items() for name, value in values.items()}
        tables = [
            pairs("The plant", "", facts),
            pairs("What it allows", "As its file says now; the ledger says what it said at each time.", flat),
            _counted(rows),
            *([] if self.audit is None else [_audit_table(self.audit)]),
            _threats(_security()),
            _ledger_table(rows),
        ]
        title = f"Evidence of {settings.client.name}"
        return plain_page(title, [*_sentences(self.found), _HOW], tables, bool(self.found.fault))


_HOW = (
    "No row of the plant is in this pack. Whoever has the plant's public key, client.pub, whose fingerprint the "
    "operator knows too, verifies the ledger with: werkbund client ledger ledger.jsonl --verify --public-key client.pub"
)


def _sentences(found: Verified) -> list[str]:
    if found.fault:
        return [f"The ledger is NOT whole: line {found.line} {found.fault}."]
    head = f"The last line is number {len(found.entries)}, its SHA-384 {found.head.digest}."
    fit = f" {found.num_receipts} receipts that the server kept fit." if found.num_receipts else ""
    return [f"The ledger is whole: each line is signed by the plant's key and chained to the one before. {head}{fit}"]


def _ledger_table(rows: Sequence[Mapping[str, str]]) -> PlainTable:
    lead = "Every question that the plant's worker was asked, in order; times are UTC."
    return PlainTable("Ledger", lead, COLUMNS, tuple(tuple(row[name] for name in COLUMNS) for row in rows))


def _counted(rows: Sequence[Mapping[str, str]]) -> PlainTable:
    """Return how often each kind of task was answered and refused, and in how many bytes."""
    tasks = sorted({row["task"] for row in rows if row["task"]})
    counted = []
    for task in tasks:
        of_it = [row for row in rows if row["task"] == task]
        refused = sum(row["kind"] == "refusal" for row in of_it)
        left = sum(int(row["bytes"] or 0) for row in of_it)
        counted.append((task, str(len(of_it) - refused), str(refused), f"{left:,}"))
    return PlainTable("In sum", "", ("task", "answered", "refused", "bytes that left"), tuple(counted))


def _threats(security: str) -> PlainTable:
    """Return the table of threats of docs/security.md, without the names of tests."""
    lines = security.partition("\n## Threats\n")[2].partition("\n## ")[0].splitlines()
    cells = [[_plain(cell) for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    head, rows = cells[0], [row for row in cells[1:] if set(row[0]) - set("- ")]
    lead = "From docs/security.md of the installed version, which also says what nobody is protected from."
    return PlainTable("Threats", lead, tuple(head), tuple(tuple(row) for row in rows))


def _plain(cell: str) -> str:
    return _TESTS.sub("", _LINK.sub(r"\1", cell)).strip()


def _audit_table(audit: Mapping[str, Any]) -> PlainTable:
    rows = audit["attacks"]
    head = tuple(rows[0]) if rows else ()
    return PlainTable("Attacks", str(audit.get("about", "")), head, tuple(tuple(map(str, r.values())) for r in rows))


def _audited(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    found: Mapping[str, Any] = read_stored(path, dict[str, Any], "write it with `werkbund audit --json`")
    return found


def _security() -> str:
    return (files("werkbund.audit") / "security.md").read_text(encoding="utf-8")


def _plant_of(path: Path) -> str:
    """Return of which plant a ledger says that it is, by its first line."""
    try:
        return str(json.loads(lines_of(path)[0])["plant"])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the first line of {path} must name its plant; it is no ledger, or was damaged") from error


def _name_in(found: Verified) -> str:
    return str(found.entries[0]["plant"]) if found.entries else "a plant"
