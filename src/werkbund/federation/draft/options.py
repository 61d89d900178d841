"""What each key of a configuration is for, in one line, for drafts that show every key."""

from __future__ import annotations

from typing import Any

WHY: dict[str, str] = {
    "federation.seed": "one seed for split, first weights and batches",
    "federation.round_timeout_s": "seconds after which a client counts as failed",
    "federation.patience": "rounds without a better validation metric after which the run stops; 0: never",
    "federation.checkpoint_every": "rounds between two checkpoints to go on from",
    "federation.deliver_every": "rounds after which real plants get the best model so far; 0: at the end",
    "data.separator": "one character between fields",
    "data.decimal_comma": "true if decimals are written 42,8",
    "data.machine": "column with the machine's id; whole machines are held out for testing",
    "data.machine_reset": "or a column that falls back where a new machine or tool begins",
    "data.time": "column that orders the rows",
    "data.client": "column with the site; each of its values becomes a client",
    "data.positive": "the label's value that means failure",
    "data.modes": "0/1 columns that name the failure mode: never features, but recall is shown for each",
    "data.mode": "or one text column that names it",
    "data.mode_none": "and what stands there when nothing failed",
    "features.preset": "derived features that come with a table known by its header; yours has none",
    "clients.count": "number of clients",
    "clients.options": "options of the partition",
    "clients.test": "share of each client's rows held out to judge the model",
    "clients.validation": "share held out to choose threshold and round",
    "model.kind": "logistic, mlp, residual-mlp, or package.module:Class for a network of your own",
    "model.hidden": "widths of the hidden layers of an mlp",
    "model.activation": "relu, gelu, tanh or silu",
    "model.dropout": "share of hidden units left out in training",
    "model.width": "of a residual-mlp",
    "model.depth": "of a residual-mlp",
    "model.options": "keyword arguments of a network of your own",
    "model.initial": "random; client or client:NAME, which trains alone first; a run's folder or a .npy file",
    "model.initial_rounds": "passes of that client over its rows",
    "training.optimizer": "sgd, adam or adamw",
    "training.learning_rate": "lower it if the loss jumps",
    "training.schedule": "cosine lets the learning rate fall to zero over the rounds; constant keeps it",
    "training.momentum": "of sgd at the clients; the server has its own below",
    "training.weight_decay": "pulls weights to zero; 0.0001 helps where failures are few",
    "training.epochs": "passes over its rows that a client makes in a round",
    "training.steps": "instead of epochs: equally many batches at every client",
    "training.proximal": "keeps clients near the common weights (FedProx); try 0.01 where they differ much",
    "training.batched": "trains all clients as one computation; same result, faster",
    "training.compiled": "uses the compiled loop where the network is a chain of layers",
    "strategy.selection.name": "all, uniform or round-robin",
    "strategy.selection.fraction": "share of clients that train in a round (uniform, round-robin)",
    "strategy.selection.count": "or their number",
    "strategy.aggregation.name": "how updates become the next weights",
    "strategy.aggregation.step": "size of the server's step",
    "strategy.aggregation.momentum": "of the server; 0 is plain averaging",
    "evaluation.metric": "average_precision, roc_auc, brier or log_loss, on validation rows",
    "evaluation.keep_best": "keep the round that was best on validation rows, else the last",
    "evaluation.local_models": "at most so many clients also train alone, for the comparison",
    "evaluation.clients": "more clients than this, and a sample of so many evaluates each round",
}

EXAMPLES: dict[str, Any] = {
    "data.separator": ";",
    "data.positive": "yes",
    "data.machine": "machine_id",
    "data.machine_reset": "tool_wear",
    "data.time": "timestamp",
    "data.client": "site",
    "data.mode": "failure_type",
    "data.mode_none": "none",
    "model.hidden": [64, 32],
    "model.activation": "relu",
    "model.dropout": 0.1,
    "model.width": 64,
    "model.depth": 2,
    "training.steps": 50,
    "strategy.selection.count": 5,
}
"""Values to show for keys that have none by default."""

INAPPLICABLE = frozenset(
    {
        "data.source",
        "data.rows",
        "data.plants",
        "data.path",
        "data.clients",
        "data.columns",
        "data.never",
        "features.derived",
    }
)
"""Keys that are written in another form, or that only concern generated tables."""
