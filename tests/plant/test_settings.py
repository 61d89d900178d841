"""A plant's file is read whole or refused with the key, the rule and the value."""

from __future__ import annotations

from pathlib import Path

import pytest

from werkbund.core.errors import ConfigError
from werkbund.plant.settings import SIGNAL_NAMES, load_settings, minutes_of, set_pause

LEAST = """
[client]
name = "plant-a"
[server]
address = "federation.example.com:8000"
[data]
path = "machines.csv"
"""

WHOLE = """
[client]
name = "plant-a"
[server]
address = "[2001:db8::5]:8000"
root_certificates = "trust/ca.crt"
private_key = "/etc/werkbund/client.key"
poll_s = 2
insecure = true
[data]
query = "select * from readings"
url_env = "WERKBUND_DATABASE_URL"
[columns]
"Torque [Nm]" = "torque"
"Air temperature [K]" = { column = "air_c", unit = "degC" }
"Tool wear [min]" = { unit = "h" }
[policy]
signals = ["rows"]
minimum_rows = 50
minimum_failures = 3
rounds_a_day = 4
hours = "22:00-06:00"
pause = true
bundles = ["%s"]
[acceptance]
metric = "brier"
tolerance = 0.01
"""


def kit_with(folder: Path, text: str) -> Path:
    (folder / "client.toml").write_text(text)
    return folder


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    settings = load_settings(kit_with(tmp_path, LEAST))
    assert (settings.kit, settings.state) == (tmp_path, tmp_path / "state")
    assert settings.server.root_certificates == str(tmp_path / "ca.crt")
    assert settings.server.private_key == str(tmp_path / "client.key")
    assert settings.data.path == str(tmp_path / "machines.csv")
    assert (settings.server.poll_s, settings.server.insecure, settings.data.query) == (0.5, False, None)
    assert settings.policy.signals == [signal for signal in SIGNAL_NAMES if signal not in ("centroids", "trees")]
    assert (settings.policy.minimum_rows, settings.policy.minimum_failures, settings.policy.rounds_a_day) == (20, 0, 0)
    assert settings.policy.minimum_cell_rows == 0
    assert (settings.policy.hours, settings.policy.pause, settings.policy.bundles) == ("", False, [])
    assert (settings.acceptance.metric, settings.acceptance.tolerance) == ("average_precision", 0.0)
    assert settings.columns == {}


def test_every_key_is_read(tmp_path: Path) -> None:
    settings = load_settings(kit_with(tmp_path, WHOLE % ("0f" * 32)))
    assert settings.server.root_certificates == str(tmp_path / "trust" / "ca.crt")
    assert settings.server.private_key == "/etc/werkbund/client.key"
    assert (settings.data.query, settings.data.url_env) == ("select * from readings", "WERKBUND_DATABASE_URL")
    assert settings.data.path is None
    mapped = {name: (one.column, one.unit) for name, one in settings.columns.items()}
    assert mapped == {
        "Torque [Nm]": ("torque", None),
        "Air temperature [K]": ("air_c", "degC"),
        "Tool wear [min]": (None, "h"),
    }
    assert (settings.policy.signals, settings.policy.hours, settings.policy.pause) == (["rows"], "22:00-06:00", True)
    assert (settings.acceptance.metric, settings.acceptance.tolerance) == ("brier", 0.01)


def test_the_folder_and_the_file_name_the_same_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_settings(kit_with(tmp_path, LEAST))
    assert load_settings(tmp_path / "client.toml") == whole
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path()) == load_settings(Path("client.toml")) == whole


def test_a_kit_without_the_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"client\.toml does not exist; write one with `werkbund provision`"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("line", "changed", "parts"),
    [
        ('name = "plant-a"', "", ["client.name must be set"]),
        ('name = "plant-a"', 'name = "../a"', ["client.name", "'../a'"]),
        ('name = "plant-a"', 'nme = "plant-a"', ["client.nme is not a key", "did you mean client.name?"]),
        ('address = "federation.example.com:8000"', "", ["server.address must be set"]),
        ("federation.example.com:8000", "https://federation:8000", ["server.address: must be host:port", "https://"]),
        ("federation.example.com:8000", "federation", ["server.address: must be host:port", "'federation'"]),
        ("federation.example.com:8000", "federation:99999", ["server.address: must be host:port"]),
        ("[data]", "poll_s = 0\n[data]", ["server.poll_s", "greater than 0", "0"]),
        ("[data]", 'insecure = "no"\n[data]', ["server.insecure", "boolean", "'no'"]),
        ('path = "machines.csv"', "", ["data: must hold either path or query"]),
        ("[data]", '[data]\nquery = "select 1"', ["data: must hold either path or query"]),
        ("[data]", '[data]\nurl_env = "URL"', ["data: may hold url_env beside query alone"]),
        ('path = "machines.csv"', 'query = "select 1"\ndecimal_comma = true', ["beside path alone"]),
        ("[data]", '[data]\nurl = "postgresql://a:geheim@b/c"', ["data.url is not a key", "data.url_env"]),
        ("[client]", "[polcy]\n[client]", ["polcy is not a key", "did you mean policy?"]),
        (
            "[client]",
            '[policy]\nsignals = ["row"]\n[client]',
            ["policy.signals", "rows, loss", "did you mean rows?", "'row'"],
        ),
        ("[client]", "[policy]\nminimum_rows = 0\n[client]", ["policy.minimum_rows", "greater than or equal to 1"]),
        ("[client]", "[policy]\nrounds_a_day = 2.5\n[client]", ["policy.rounds_a_day", "integer", "2.5"]),
        ("[client]", '[policy]\nhours = "22-6"\n[client]', ["policy.hours: must be two different times", "'22-6'"]),
        ("[client]", '[policy]\nbundles = ["abc"]\n[client]', ["policy.bundles", "'abc'"]),
        ("[client]", '[columns]\nx = { colum = "y" }\n[client]', ["columns.x.colum is not a key", "columns.x.column?"]),
        ("[client]", "[columns]\nx = 3\n[client]", ["columns.x", "3"]),
        ("[client]", "[columns]\nx = { unit = true }\n[client]", ["columns.x.unit", "string", "True"]),
        ("[client]", '[acceptance]\nmetric = "f1"\n[client]', ["acceptance.metric", "'f1'"]),
        ("[client]", "[acceptance]\ntolerance = -0.1\n[client]", ["acceptance.tolerance", "-0.1"]),
        ("[client]", '[client]\nkit = "x"', ["client.kit is not a key"]),
        ("[client]", 'kit = "x"\n[client]', ["kit is not a key"]),
        ("[client]", "[client", ["is not TOML"]),
    ],
)
def test_a_fault_names_key_rule_and_value(tmp_path: Path, line: str, changed: str, parts: list[str]) -> None:
    assert LEAST.count(line) == 1
    with pytest.raises(ConfigError) as caught:
        load_settings(kit_with(tmp_path, LEAST.replace(line, changed)))
    for part in parts:
        assert part in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    wrong = LEAST.replace("plant-a", "").replace(":8000", "") + "[policy]\npause = 1\n[columns]\nx = 1\ny = 2\n"
    with pytest.raises(ConfigError) as caught:
        load_settings(kit_with(tmp_path, wrong))
    assert len(str(caught.value).splitlines()) == 5


def test_nothing_can_be_changed_afterwards(tmp_path: Path) -> None:
    settings = load_settings(kit_with(tmp_path, LEAST))
    with pytest.raises(ValueError, match="frozen"):
        settings.policy.pause = True


@pytest.mark.parametrize(("hours", "minutes"), [("", None), ("00:00-24:00", (0, 1440)), ("06:15-06:14", (375, 374))])
def test_hours_are_two_times_of_day(hours: str, minutes: tuple[int, int] | None) -> None:
    assert minutes_of(hours) == minutes


@pytest.mark.parametrize(
    "hours", ["22:00", "24:00-06:00", "06:00-24:01", "06:60-07:00", "6:00-7:00", "06:00-06:00", " "]
)
def test_other_hours_are_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="two different times"):
        minutes_of(hours)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o660, 0o400])
def test_a_pause_leaves_who_may_read_the_file_as_it_was(mode: int, tmp_path: Path) -> None:
    path = kit_with(tmp_path, LEAST) / "client.toml"
    path.chmod(mode)
    for pause in (True, False):
        set_pause(path.parent, pause)
        assert path.stat().st_mode & 0o777 == mode
        assert load_settings(path.parent).policy.pause is pause
