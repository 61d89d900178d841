"""A federation as an estimator of scikit-learn."""

from werkbund.estimator.classifier import FederatedClassifier

__all__ = ["FederatedClassifier"]
