"""Writes outliers.json: distances with scikit-learn's LedoitWolf, AUROC, quantiles and confidences, for tests/outliers.rs.

Run: python crates/metrics/tests/outliers.py (scikit-learn >= 1.9, scipy, numpy). Seeded: the same file every time.
"""

import json
import pathlib

import numpy as np
from scipy import special
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

rng = np.random.default_rng(20261129)


def squared(x, mean, covariance):
    """Squared Mahalanobis distances of rows, by a general solver."""
    d = x - mean
    return (d * np.linalg.solve(covariance, d.T).T).sum(axis=1)


def gaussian_case(name, n, d, classes, present=None, noise=1.0):
    present = np.arange(classes) if present is None else np.array(present)
    labels = np.concatenate([present, rng.choice(present, n - len(present))])
    mixing = rng.normal(0, 1, (d, d)) * rng.uniform(0.2, 3, d)
    centres = rng.normal(0, 3, (classes, d))
    features = (centres[labels] + rng.normal(0, noise, (n, d)) @ mixing + 5).round(3)
    queries = np.concatenate([features[:3], rng.normal(5, 4, (5, d)).round(3)])

    means = np.array([features[labels == k].mean(axis=0) for k in present])
    centred = features - means[np.searchsorted(present, labels)]
    within = LedoitWolf(assume_centered=True).fit(centred)
    background = LedoitWolf().fit(features)
    distance = np.min([squared(queries, mean, within.covariance_) for mean in means], axis=0)
    to_background = squared(queries, features.mean(axis=0), background.covariance_)
    return {
        "name": name,
        "classes": classes,
        "labels": labels.tolist(),
        "features": features.ravel().tolist(),
        "width": d,
        "queries": queries.ravel().tolist(),
        "shrinkage": float(within.shrinkage_),
        "distance": distance.tolist(),
        "relative": (distance - to_background).tolist(),
    }


def ranking_case(n, m, digits, shift):
    inside = rng.normal(0, 1, n).round(digits)
    outside = rng.normal(shift, 1.5, m).round(digits)
    labels = np.repeat([0, 1], [n, m])
    fpr = []
    for tpr in [0.5, 0.8, 0.95, 1.0]:
        # Every observed score is tried as the threshold.
        threshold = min(t for t in inside if (inside <= t).mean() >= tpr - 1e-12)
        fpr.append([tpr, float((outside <= threshold).mean())])
    return {
        "inside": inside.tolist(),
        "outside": outside.tolist(),
        "auroc": roc_auc_score(labels, np.concatenate([inside, outside])),
        "fpr": fpr,
    }


def threshold_case(n, patients, digits):
    scores = rng.normal(0, 1, n).round(digits)
    ids = rng.integers(0, patients, n) * 7
    weights = 1 / np.array([(ids == i).sum() for i in ids])
    # Shares that no sum of weights can equal up to rounding, which would decide.
    shares = [0.0501, 0.3333, 0.9001, 0.9503, 0.9901]
    quantile = lambda w: [float(np.quantile(scores, s, method="inverted_cdf", weights=w)) for s in shares]
    return {
        "scores": scores.tolist(),
        "patients": ids.tolist(),
        "shares": shares,
        "by_image": quantile(None),
        "by_patient": quantile(weights),
    }


def logits_case(k, scale):
    z = rng.normal(0, scale, k)
    return {
        "logits": z.tolist(),
        "max_logit": z.max(),
        "energy": float(special.logsumexp(z)),
        "max_softmax": special.softmax(z).max(),
    }


fixture = {
    "gaussian": [
        gaussian_case("two classes", 40, 3, 2),
        gaussian_case("three classes", 60, 5, 3),
        gaussian_case("many examples", 300, 2, 2),
        gaussian_case("more features than examples", 12, 25, 2),
        gaussian_case("far more features than examples", 6, 40, 2),
        gaussian_case("one feature", 20, 1, 2),
        gaussian_case("one class", 15, 4, 1),
        gaussian_case("an absent class", 30, 4, 4, present=[0, 3]),
        gaussian_case("one example of each of most classes", 7, 3, 5),
        gaussian_case("wide", 24, 12, 3, noise=0.01),
    ],
    "ranking": [ranking_case(40, 30, 3, 2.0), ranking_case(60, 25, 1, 0.5), ranking_case(20, 20, 0, 0.0), ranking_case(1, 3, 1, 1.0)],
    "threshold": [threshold_case(60, 12, 3), threshold_case(45, 30, 1), threshold_case(9, 4, 2), threshold_case(100, 5, 2)],
    "logits": [logits_case(k, scale) for k, scale in [(1, 1), (2, 1), (3, 5), (5, 300), (14, 2)]],
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
