"""The dashboard's words in English and German: one dictionary, one line a word."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = ("en", "de")

WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Dashboard", "Übersicht"),
    "skip": ("Skip to the run", "Zum Lauf springen"),
    "language": ("Deutsch", "English"),
    "theme": ("Appearance", "Darstellung"),
    "theme.auto": ("Auto", "Automatisch"),
    "theme.light": ("Light", "Hell"),
    "theme.dark": ("Dark", "Dunkel"),
    "live.on": ("Live", "Live"),
    "live.off": ("Connection lost; trying again", "Verbindung verloren; neuer Versuch"),
    "live.wait": ("Connecting", "Verbindet"),
    "runs": ("Runs", "Läufe"),
    "runs.none": ("No run here yet", "Noch kein Lauf"),
    "runs.none.hint": (
        "As soon as a run begins in {place}, it appears here.",
        "Sobald in {place} ein Lauf beginnt, erscheint er hier.",
    ),
    "runs.compare": ("Compare", "Vergleichen"),
    "runs.compare.hint": ("Choose two runs or more", "Zwei oder mehr Läufe wählen"),
    "runs.pick": ("Compare {name}", "{name} vergleichen"),
    "runs.close": ("Back to one run", "Zurück zu einem Lauf"),
    "state.running": ("running", "läuft"),
    "state.finished": ("finished", "fertig"),
    "state.stopped": ("stopped", "angehalten"),
    "state.failed": ("failed", "gescheitert"),
    "state.damaged": ("unreadable", "nicht lesbar"),
    "of_rounds": ("Round {round} of {rounds}", "Runde {round} von {rounds}"),
    "left": ("about {time} left", "noch etwa {time}"),
    "generated": (
        "Generated rows: nothing follows from this for any plant.",
        "Erzeugte Zeilen: Für kein Werk folgt daraus etwas.",
    ),
    "tile.plants": ("Plants", "Werke"),
    "tile.plants.ok": ("all answered", "alle haben geantwortet"),
    "tile.plants.failed": ("{number} failed: {who}", "{number} ausgefallen: {who}"),
    "tile.rows": ("Rows", "Zeilen"),
    "tile.rows.hint": ("{number} failures", "{number} Ausfälle"),
    "tile.score.hint": ("best so far, after round {round}", "bisher beste, nach Runde {round}"),
    "tile.score.kept": ("validation, after round {round}", "Validierung, nach Runde {round}"),
    "tile.time": ("Time", "Zeit"),
    "tile.time.hint": ("{time} a round", "{time} je Runde"),
    "tile.bytes": ("Sent", "Übertragen"),
    "tile.bytes.hint": ("{down} to plants, {up} back", "{down} an Werke, {up} zurück"),
    "tile.energy": ("Energy", "Energie"),
    "tile.energy.hint": ("in the simulated world", "in der simulierten Welt"),
    "metric.average_precision": ("average precision", "Average Precision"),
    "metric.rmse": ("RMSE", "RMSE"),
    "metric.cost": ("cost per 1,000 rows", "Kosten je 1.000 Zeilen"),
    "curves": ("Rounds", "Runden"),
    "curves.lead": (
        "Each curve grows by a point a round; scores are those on validation rows.",
        "Jede Kurve wächst je Runde um einen Punkt; bewertet wird auf Validierungszeilen.",
    ),
    "curve.loss": ("Training loss", "Trainingsverlust"),
    "curve.average_precision": ("Average precision", "Average Precision"),
    "curve.rmse": ("Root mean squared error", "Wurzel des mittleren Fehlerquadrats"),
    "curve.cost": ("Cost per 1,000 rows", "Kosten je 1.000 Zeilen"),
    "curve.seconds": ("Seconds a round", "Sekunden je Runde"),
    "curve.bytes": ("Bytes a round", "Bytes je Runde"),
    "curve.joules": ("Energy a round, J", "Energie je Runde, J"),
    "curve.empty": ("The first round has not ended yet.", "Die erste Runde ist noch nicht zu Ende."),
    "curve.table": ("Numbers by round", "Zahlen je Runde"),
    "curve.summary": ("{name}: now {last}, from {low} to {high}", "{name}: zuletzt {last}, von {low} bis {high}"),
    "round": ("Round", "Runde"),
    "now": ("Plants now", "Werke jetzt"),
    "now.lead": (
        "How each plant stands after the last round.",
        "Wie jedes Werk nach der letzten Runde dasteht.",
    ),
    "plant": ("Plant", "Werk"),
    "plant.state": ("State", "Stand"),
    "plant.online": ("Connection", "Verbindung"),
    "plant.answered": ("Last answer", "Letzte Antwort"),
    "plant.rows": ("Rows", "Zeilen"),
    "plant.positives": ("Failures", "Ausfälle"),
    "plant.chosen": ("Chosen", "Gewählt"),
    "plant.failed": ("Missed", "Gefehlt"),
    "plants.none": (
        "The run has not named its plants yet.",
        "Der Lauf hat seine Werke noch nicht genannt.",
    ),
    "now.failed": ("failed", "ausgefallen"),
    "now.training": ("training", "trainiert"),
    "now.trained": ("trained", "hat trainiert"),
    "now.waiting": ("not chosen", "nicht gewählt"),
    "now.done": ("done", "fertig"),
    "conn.online": ("online", "verbunden"),
    "conn.offline": ("offline", "getrennt"),
    "conn.registered": ("never seen", "nie gesehen"),
    "heat": ("Who trained when", "Wer wann trainiert hat"),
    "heat.lead": (
        "A row a plant, a column a round.",
        "Eine Zeile je Werk, eine Spalte je Runde.",
    ),
    "heat.label": (
        "Map of {plants} plants by {rounds} rounds; the table of plants holds the sums.",
        "Karte von {plants} Werken über {rounds} Runden; die Tabelle der Werke enthält die Summen.",
    ),
    "heat.t": ("trained", "trainiert"),
    "heat.f": ("failed", "ausgefallen"),
    "heat.s": ("came late", "kam verspätet"),
    "heat.o": ("update far too long", "Update viel zu lang"),
    "heat..": ("not chosen", "nicht gewählt"),
    "fair": ("What each plant gets", "Was jedes Werk bekommt"),
    "fair.lead": (
        "Average precision on the plant's own test rows: the federated model, and the model it would have alone.",
        "Average Precision auf den eigenen Testzeilen: gemeinsames Modell und eigenes Modell allein.",
    ),
    "fair.until": (
        "Scores of single plants are counted when the run ends. Until then: how often each was chosen and answered.",
        "Einzelne Werke werden am Ende des Laufs bewertet. Bis dahin: wie oft jedes gewählt war und geantwortet hat.",
    ),
    "fair.federated": ("Federated", "Gemeinsam"),
    "fair.alone": ("Alone", "Allein"),
    "fair.difference": ("Difference", "Unterschied"),
    "fair.cost": ("Cost per 1,000", "Kosten je 1.000"),
    "fair.cost_alone": ("Alone, cost", "Allein, Kosten"),
    "fair.test_rows": ("Test rows", "Testzeilen"),
    "fair.answered": ("Answered", "Geantwortet"),
    "fair.share": ("Share of rounds", "Anteil der Runden"),
    "fair.delivered": ("Model delivered", "Modell geliefert"),
    "fair.table": ("Every plant in numbers", "Alle Werke in Zahlen"),
    "effort": ("Time, energy, bytes", "Zeit, Energie, Bytes"),
    "effort.lead": (
        "What a round takes on the wall clock and on the wire.",
        "Was eine Runde an Zeit und auf der Leitung kostet.",
    ),
    "bytes.down": ("to plants", "an Werke"),
    "bytes.up": ("from plants", "von Werken"),
    "privacy": ("Privacy", "Datenschutz"),
    "privacy.none": (
        "Training promises nothing of single rows, machines or plants: privacy.unit is none.",
        "Das Training verspricht nichts über einzelne Zeilen, Maschinen oder Werke: privacy.unit ist none.",
    ),
    "privacy.unit": ("Protected", "Geschützt"),
    "privacy.row": ("single rows", "einzelne Zeilen"),
    "privacy.machine": ("single machines", "einzelne Maschinen"),
    "privacy.plant": ("whole plants", "ganze Werke"),
    "privacy.target": ("Epsilon at most", "Epsilon höchstens"),
    "privacy.noise": ("Noise multiplier", "Faktor des Rauschens"),
    "privacy.delta": ("Delta", "Delta"),
    "privacy.spent": ("Epsilon spent", "Epsilon verbraucht"),
    "privacy.left": ("Epsilon left", "Epsilon übrig"),
    "privacy.rounds": ("Trainings used", "Trainings verbraucht"),
    "privacy.pending": ("counted when the run ends", "wird am Ende gezählt"),
    "privacy.table": ("Budget by plant", "Budget je Werk"),
    "privacy.seeded": (
        "Noise follows from the seed: a test, which protects nobody.",
        "Das Rauschen folgt aus dem Seed: ein Test, der niemanden schützt.",
    ),
    "privacy.sums": ("Secure sums", "Sichere Summen"),
    "privacy.on": ("on: the server learns sums alone", "ein: Der Server erfährt nur Summen"),
    "privacy.off": ("off: the server sees each answer", "aus: Der Server sieht jede Antwort"),
    "out": ("What leaves a plant", "Was ein Werk verlässt"),
    "out.sums": ("Seen in sums over several plants alone", "Nur als Summe über mehrere Werke zu sehen"),
    "out.each": ("Seen of each plant", "Von jedem Werk zu sehen"),
    "out.none": ("The run has not written it down.", "Der Lauf hat es nicht aufgeschrieben."),
    "out.refused": ("Keeps to itself", "Behält für sich"),
    "out.bins": ("Smallest bin", "Kleinste Klasse"),
    "out.bins.rows": ("{number} rows", "{number} Zeilen"),
    "out.version": ("Version", "Version"),
    "out.nothing": ("nothing", "nichts"),
    "events": ("Events", "Ereignisse"),
    "events.none": ("Nothing has happened yet.", "Noch ist nichts geschehen."),
    "level.good": ("good", "gut"),
    "level.info": ("note", "Hinweis"),
    "level.warning": ("warning", "Warnung"),
    "level.error": ("error", "Fehler"),
    "event.started": (
        "The run began with {number} plants",
        "Der Lauf begann mit {number} Werken",
    ),
    "event.failed": ("{who} gave no usable answer: {why}", "{who} gab keine brauchbare Antwort: {why}"),
    "event.more": ("{number} more plants failed", "{number} weitere Werke fielen aus"),
    "event.back": ("Back again: {who}", "Wieder dabei: {who}"),
    "event.outlying": (
        "Update far longer than the others': {who}",
        "Update viel länger als die anderen: {who}",
    ),
    "event.refused": ("The weights stay as they were: {why}", "Die Gewichte bleiben, wie sie waren: {why}"),
    "event.stage": ("Now: {what}", "Jetzt: {what}"),
    "event.finished": ("The run is finished: {why}", "Der Lauf ist fertig: {why}"),
    "event.stopped": (
        "The run's process is gone; werkbund resume goes on where it was",
        "Der Prozess des Laufs ist beendet; werkbund resume setzt ihn fort",
    ),
    "event.others": ("and {number} more", "und {number} weitere"),
    "server": ("Server", "Server"),
    "server.silent": ("The server does not answer: {why}", "Der Server antwortet nicht: {why}"),
    "compare": ("Runs compared", "Läufe im Vergleich"),
    "compare.figures": ("On the plants' own rows", "Auf den eigenen Zeilen der Werke"),
    "compare.figures.lead": ("Mean and 95 % interval.", "Mittel und 95-%-Intervall."),
    "compare.none": ("None of these runs is finished yet.", "Noch ist keiner dieser Läufe fertig."),
    "compare.keys": ("Differences of configuration", "Unterschiede der Konfiguration"),
    "compare.same": ("The configurations are the same.", "Die Konfigurationen sind gleich."),
    "compare.key": ("Key", "Schlüssel"),
    "compare.figure": ("Figure", "Größe"),
    "compare.tags": ("Tags", "Merkmale"),
    "who.federated": ("Federated", "Gemeinsam"),
    "who.global": ("Common model", "Gemeinsames Modell"),
    "who.local_mean": ("Alone, same model", "Allein, gleiches Modell"),
    "who.local_trees_mean": ("Alone, own trees", "Allein, eigene Bäume"),
    "who.pooled": ("Pooled", "Zusammengelegt"),
    "who.nothing": ("Inspect nothing", "Nichts prüfen"),
    "foot": ("Read from folders, changes nothing.", "Liest Ordner und ändert nichts."),
    "noscript": ("This page needs JavaScript.", "Diese Seite braucht JavaScript."),
}
"""By key: English, German."""


class Phrases:
    """Say things in one language.

    Parameters
    ----------
    language
        One of `LANGUAGES`.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._place = LANGUAGES.index(language)

    def __call__(self, key: str, **values: object) -> str:
        """Return a word or a sentence, with its gaps filled.

        Examples
        --------
        >>> Phrases("de")("of_rounds", round=3, rounds=20)
        'Runde 3 von 20'
        """
        return WORDS[key][self._place].format(**values)

    def all(self) -> dict[str, str]:
        """Return every word with its gaps open."""
        return {key: both[self._place] for key, both in WORDS.items()}


def preferred(asked: str | None, accepted: str) -> str:
    """Return the language of a reader.

    Parameters
    ----------
    asked
        What the address says; None where it says nothing.
    accepted
        The browser's header Accept-Language.

    Examples
    --------
    >>> preferred(None, "fr-CH, de;q=0.9, en;q=0.8"), preferred("en", "de"), preferred("xx", "")
    ('de', 'en', 'en')
    """
    if asked in LANGUAGES:
        return asked
    ranked: list[tuple[float, str]] = []
    for part in accepted.split(","):
        name, _, rank = part.strip().partition(";q=")
        ranked.append((-_number(rank), name[:2].lower()))
    return next((name for _, name in sorted(ranked, key=lambda pair: pair[0]) if name in LANGUAGES), "en")


def _number(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0
