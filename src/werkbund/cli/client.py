"""Commands of a plant: client start, check, agree, record, ledger, evidence, models, pause and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from werkbund.cli.edge import FAULT, JsonOption, output, print_json, print_line, progress, readable_errors
from werkbund.cli.ledger import evidence_command, ledger_command
from werkbund.cli.signals import run_until_stopped
from werkbund.cli.tables import findings_table, plain_table, schema_table

if TYPE_CHECKING:
    from werkbund.plant.standing import Settlement

KitArgument = Annotated[Path, typer.Argument(metavar="[KIT]", help="Folder of the plant's kit.")]
HERE = Path()

_LEGEND = (
    "\n*: of the held-out rows for validation, and of those for the test. "
    "sums: meant only to be added to other plants' figures; the server that adds them can read each plant's. "
    "clear: read as it is. [policy] in client.toml says which signals may leave, and figures over how many rows. "
    "Weights and sums are computed from rows and can tell something about them; docs/security.md says what bounds that."
)

_DRAWN = {"own": "this plant's own stream", "federation": "the federation's stream, as the server says (policy.draws)"}

app = typer.Typer(help="Take part in a real federation as a plant.", no_args_is_help=True, add_completion=False)
app.command("ledger")(ledger_command)
app.command("evidence")(evidence_command)


@app.command("start")
def start_command(kit: KitArgument = HERE) -> None:
    """Join the federation and stay: outbound connections only; it comes back by itself."""
    with readable_errors():
        from werkbund.flower.plant.host import ClientHost
        from werkbund.flower.provision import certificate_warnings
        from werkbund.plant import load_settings

        console, settings = progress(), load_settings(kit)
        for warning in certificate_warnings(kit, datetime.now(UTC)):
            console.print(f"Warning: {warning}", style="yellow", soft_wrap=True)
        line = f"Connecting {settings.client.name} to {settings.server.address}; Ctrl-C stops it."
        console.print(line, soft_wrap=True, highlight=False)
        run_until_stopped(ClientHost(kit, lambda line: console.print(Text(line), soft_wrap=True)))


@app.command("check")
def check_command(kit: KitArgument = HERE, as_json: JsonOption = False) -> None:
    """Show what was found here and each field that may leave the plant. Nothing is sent."""
    with readable_errors():
        from werkbund.plant.checking import check_plant

        checked = check_plant(kit)
        if as_json:
            print_json(checked.to_json())
        else:
            _show(checked.to_json())
        if checked.errors:
            raise typer.Exit(FAULT)


@app.command("agree")
def agree_command(
    kit: KitArgument = HERE,
    renew: Annotated[
        bool, typer.Option("--renew", help="Give up how rows are divided; the next contact settles it anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is settled about this plant's rows, or settle it anew."""
    with readable_errors():
        from werkbund.plant.standing import settlement

        settled = settlement(kit, renew)
        if as_json:
            print_json(asdict(settled))
        else:
            print_line(_settled(settled))


@app.command("record")
def record_command(kit: KitArgument = HERE, as_json: JsonOption = False) -> None:
    """Show what was asked of this plant in the last days, and what it answered and refused."""
    with readable_errors():
        from werkbund.plant.standing import record

        lines = record(kit)
        if as_json:
            print_json({"days": lines})
        elif lines:
            output().print(_record_table(lines))
        else:
            output().print("Nothing has been asked yet.")


@app.command("models")
def models_command(kit: KitArgument = HERE, as_json: JsonOption = False) -> None:
    """Show the models that were delivered, and which is in use."""
    with readable_errors():
        from werkbund.plant.checking import models

        delivered = models(kit)
        if as_json:
            print_json({"models": delivered})
        elif delivered:
            output().print(_models_table(delivered))
        else:
            output().print("No model has been delivered yet.")


@app.command("pause")
def pause_command(kit: KitArgument = HERE) -> None:
    """Take no part for now; it holds from the next task on, without a restart."""
    _set_pause(kit, True)


@app.command("unpause")
def unpause_command(kit: KitArgument = HERE) -> None:
    """Take part again."""
    _set_pause(kit, False)


@app.command("rollback")
def rollback_command(kit: KitArgument = HERE) -> None:
    """Take the model before the current one back into use."""
    with readable_errors():
        from werkbund.plant import PlantFolder, load_settings

        folder = PlantFolder(load_settings(kit).state).rollback()
        print_line(f"In use again: {folder / 'model.onnx'}")


@app.command("keygen")
def keygen_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for client.key and client.pub.")] = Path("."),
    name: Annotated[str, typer.Option("--name", help="Comment in the public key.")] = "client",
    as_json: JsonOption = False,
) -> None:
    """Make this plant's own key pair, so that its private key never travels."""
    with readable_errors():
        from werkbund.flower.provision import keygen

        fingerprint = keygen(out, name)
        if as_json:
            files = {"private_key": str(out / "client.key"), "public_key": str(out / "client.pub")}
            print_json({**files, "fingerprint": fingerprint})
            return
        print_line(
            f"Private key: {out / 'client.key'}   stays here; put it into the kit when it comes\n"
            f"Public key:  {out / 'client.pub'}   goes to the operator\n"
            f"Fingerprint: {fingerprint}   read it to the operator over the telephone"
        )


def _models_table(delivered: Sequence[Mapping[str, object]]) -> Table:
    table = plain_table("Models")
    for name in ("version", "in use", "received", "from run", "here"):
        table.add_column(name, overflow="fold")
    for model in delivered:
        received = f"{datetime.fromisoformat(str(model['received'])).astimezone():%Y-%m-%d %H:%M}"
        origin = (Text(str(model[name])) for name in ("run", "reason"))
        table.add_row(Text(str(model["version"])), Text(str(model["in_use"])), received, *origin)
    return table


def _record_table(lines: Sequence[Mapping[str, object]]) -> Table:
    table = plain_table("Questions")
    for name in ("day", "kind"):
        table.add_column(name)
    for name in ("answered", "refused"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*(str(line[name]) for name in ("day", "kind", "answered", "refused")))
    return table


def _settled(settled: Settlement) -> str:
    """Return in words what is settled about a plant's rows."""
    split = settled.split
    what = "the last rows in time" if split.by == "time" else "whole machines"
    shares = f"{split.test:.0%} of the rows are held out for tests and {split.validation:.0%} for validation, {what}"
    if split.later and split.by == "machines":
        shares += f"; where there is a time column the last {split.later:.0%} are held out from all this"
    if settled.dissolved:
        return (
            f"The earlier division is given up. The next contact divides the rows anew: {shares}. A model in use is "
            "not compared with new ones, since it may know rows that are then held out; answers about both divisions, "
            "taken together, tell more about single rows."
        )
    if not settled.since:
        return f"Nothing is settled yet. The first contact divides the rows by federation.toml: {shares}."
    if not settled.fits:
        return (
            f"Settled {settled.since}, by another federation.toml than the one that lies here now: this plant answers "
            "nothing until you settle it anew, with --renew."
        )
    return f"Settled {settled.since}: {shares}. Which rows these are stays as it is, whatever a server says."


def _set_pause(kit: Path, pause: bool) -> None:
    with readable_errors():
        from werkbund.plant.settings import set_pause

        set_pause(kit, pause)
        output().print("This plant takes no part now." if pause else "This plant takes part again.")


def _show(check: Mapping[str, Any]) -> None:
    """Print a plant's check: what is wrong, what its rows are taken for, and what will leave."""
    console = output()
    console.print(Text(check["summary"]), soft_wrap=True)
    for error in check["errors"]:
        console.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
    if not check["leaving"]:
        return
    if check["columns"]:
        console.print()
        console.print(schema_table(check["columns"]))
    if check["findings"]:
        console.print()
        console.print(findings_table(check["findings"]))
    _show_leaving(console, check["leaving"])
    console.print(Text(_LEGEND, style="dim"), soft_wrap=True)
    console.print(Text(_by_choice(check["selection"])), soft_wrap=True)
    console.print(Text(f"\n{check['others']}"), soft_wrap=True)
    if check["withheld"]:
        console.print("\nWithheld by this plant's policy:", style="bold")
        for line in check["withheld"]:
            console.print(Text(f"  {line}"), soft_wrap=True)
    _show_standing(console, check["standing"])


def _show_standing(console: Console, standing: Mapping[str, Any]) -> None:
    """Print how rows are divided, and what was answered and may be."""
    rows = standing["rows"]
    since = f"since {standing['since']}" if standing["settled"] else "from the first contact on"
    later = f", {rows['later']} of a later period than all these" if rows["later"] else ""
    parts = f"{rows['train']} to train on, {rows['validation']} for validation, {rows['test']} for tests{later}"
    waiting = f"; {rows['waiting']} new rows wait until there are enough of them" if rows["waiting"] else ""
    waiting += f"; {rows['left out']} too near a border of time, or without a time" if rows["left out"] else ""
    console.print(f"\nRows, divided {since}", style="bold")
    console.print(Text(f"  {parts}{waiting}; drawn by {_DRAWN[standing['draws']]}"), soft_wrap=True)
    today = standing["today"].values()
    answered, refused = (sum(numbers.get(what, 0) for numbers in today) for what in ("answered", "refused"))
    console.print("\nAnswers", style="bold")
    console.print(
        Text(
            f"  today {answered} given and {refused} refused, {standing['left_today']} left; about these rows "
            f"{sum(standing['version'].values())} given, {standing['left_version']} left"
        ),
        soft_wrap=True,
    )


def _show_leaving(console: Console, fields: Sequence[Mapping[str, Any]]) -> None:
    """Print each field that leaves, by the moment at which it does."""
    console.print("\nWhat may leave this plant, and no other field", style="bold")
    for when, leaving in _by_moment(fields).items():
        console.print(f"\n{when}", style="dim")
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for style in ("bold", "", "cyan", ""):
            table.add_column(style=style, overflow="fold")
        for field in leaving:
            table.add_row(*(Text(str(field[name])) for name in ("field", "what", "half", "size")))
        console.print(table)


def _by_choice(selection: Mapping[str, object] | None) -> str:
    """Return in words what the choice of clients tells the server."""
    if selection is None:
        return "\nHow a run chooses its clients is not known here; all of this may be asked for."
    return f"\nClients are chosen by {selection['name']}, from which the server learns: {selection['reveals']}."


def _by_moment(fields: Sequence[Mapping[str, object]]) -> dict[str, list[Mapping[str, object]]]:
    """Return the fields by the moment at which they leave, those that a run does not ask for last.

    What leaves in any round stands once, and so does what could leave at several moments that do not come.
    """
    moments: dict[str, dict[tuple[object, ...], Mapping[str, object]]] = {}
    measured = {field["field"] for field in fields if field["asked"] and field["measures"]}
    for field in sorted(fields, key=lambda field: not field["asked"]):
        if field["asked"] and not field["measures"] and field["field"] in measured:
            continue  # counts leave in each round, with whatever is asked
        when = str(field["when"])
        moments.setdefault(when, {}).setdefault((field["field"], field["what"], field["half"]), field)
    return {when: list(leaving.values()) for when, leaving in moments.items()}
