"""What can be shown to somebody who need not believe: a plant's ledger and evidence, and what attacks reach."""

__all__: list[str] = []
