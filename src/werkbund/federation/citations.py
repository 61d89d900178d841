"""Where the methods of a run come from, by what its configuration asks for."""

from __future__ import annotations

from werkbund.config.sections import Config


def network_citations(config: Config) -> list[tuple[str, str]]:
    """Return the methods that train a network, each with its source."""
    aggregation, training = config.strategy.aggregation, config.training
    used = [("Federated averaging", "McMahan et al., Communication-Efficient Learning of Deep Networks, AISTATS 2017")]
    if aggregation.momentum:
        used.append(("Server momentum (FedAvgM)", "Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data, 2019"))
    if training.proximal:
        used.append(
            ("Proximal term (FedProx)", "Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020")
        )
    if training.optimizer == "adam":
        used.append(("Adam", "Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015"))
    if training.optimizer == "adamw":
        used.append(("AdamW", "Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019"))
    if config.model.kind == "residual-mlp":
        used.append(
            ("Residual MLP", "Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021")
        )
    return used


def boosting_citations(config: Config) -> list[tuple[str, str]]:
    """Return the methods that grow boosted trees, each with its source."""
    return [
        ("Gradient boosting", "Friedman, Greedy Function Approximation: A Gradient Boosting Machine, 2001"),
        ("Newton steps on histograms", "Chen and Guestrin, XGBoost: A Scalable Tree Boosting System, KDD 2016"),
        *_united(config),
        _CONTRIBUTIONS,
    ]


def forest_citations(config: Config) -> list[tuple[str, str]]:
    """Return the methods that grow a forest, each with its source."""
    forests = {
        "forest": ("Random forest", "Breiman, Random Forests, Machine Learning 2001"),
        "extra-trees": ("Extra trees", "Geurts, Ernst, Wehenkel, Extremely Randomized Trees, Machine Learning 2006"),
    }
    return [forests[config.model.kind], *_united(config), _CONTRIBUTIONS]


def _united(config: Config) -> list[tuple[str, str]]:
    return [_BAGGING] if config.trees.combine == "bagging" else []


_BAGGING = (
    "Clients' own trees, united",
    "FedXgbBagging of Flower, weighted by rows; Beutel et al., A Friendly Federated Learning Research Framework, 2020",
)
_CONTRIBUTIONS = ("Contributions of features", "Lundberg, Erion, Lee, Consistent Individualized Attribution, 2018")
