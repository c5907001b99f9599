"""Writes reliance.json: conformal quantiles and sets by MAPIE, risk-coverage curves by NumPy, binomial tests by SciPy, for
tests/reliance.rs.

Run: python crates/metrics/tests/reliance.py (mapie >= 1.6, numpy, scipy, scikit-learn). Seeded: same file every time.
"""

import json
import pathlib
import warnings

import numpy as np
from mapie.classification import SplitConformalClassifier
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin

warnings.filterwarnings("ignore")
rng = np.random.default_rng(16)


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose probabilities are its inputs."""

    def __init__(self, classes):
        self.classes_ = np.arange(classes)
        self.is_fitted_ = True

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(1)


def draw(n, k):
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[labels]
    p = np.exp(logits)
    return labels, p / p.sum(1, keepdims=True)


def conformal(n, k, coverage):
    labels, p = draw(n, k)
    test_labels, test = draw(60, k)
    member = np.zeros((60, k), bool)
    least = []
    for c in range(k):
        # Mondrian by class: MAPIE's plain sets, calibrated on the examples of one class, say whether they contain it.
        own = labels == c
        mapie = SplitConformalClassifier(Given(k), confidence_level=coverage, conformity_score="lac", prefit=True)
        mapie.conformalize(p[own], labels[own])
        _, sets = mapie.predict_set(test)
        member[:, c] = sets[:, c, 0]
        least.append(1 - float(mapie._mapie_classifier.conformity_score_function_.quantiles_[0]))
    return {
        "coverage": coverage, "labels": labels.tolist(), "probabilities": p.ravel().tolist(), "least": least,
        "test_labels": test_labels.tolist(), "test": test.ravel().tolist(),
        "sets": [np.flatnonzero(m).tolist() for m in member],
        "covered": float(member[np.arange(60), test_labels].mean()), "mean_size": float(member.sum(1).mean()),
    }


def selective(n):
    confidence = rng.permutation(np.linspace(0.5, 1, n))
    correct = rng.random(n) < confidence
    order = np.argsort(-confidence)
    risks = np.cumsum(~correct[order]) / np.arange(1, n + 1)
    best = np.cumsum(np.sort(~correct)) / np.arange(1, n + 1)
    return {
        "correct": correct.tolist(), "confidence": confidence.tolist(), "risks": risks.tolist(),
        "aurc": float(risks.mean()), "excess_aurc": float(risks.mean() - best.mean()),
    }


def abstention(n, allowed, level):
    """The twenty shares tried one by one, with SciPy's binomial test."""
    confidence = rng.random(n)
    correct = rng.random(n) < 0.75 + 0.25 * confidence
    ordered = np.sort(confidence)[::-1]
    chosen = None
    for step in range(20, 0, -1):
        least = ordered[max(n * step // 20, 1) - 1]
        own = confidence >= least
        errors = int((~correct[own]).sum())
        if stats.binomtest(errors, int(own.sum()), allowed, alternative="less").pvalue <= (1 - level) / 20:
            chosen = {"least": float(least), "accepted": float(own.mean()), "risk": errors / int(own.sum())}
            break
    return {"correct": correct.tolist(), "confidence": confidence.tolist(), "allowed": allowed, "level": level, "chosen": chosen}


out = {
    "conformal": [conformal(n, k, c) for n, k, c in [(80, 2, 0.9), (150, 3, 0.8), (200, 4, 0.95), (60, 2, 0.6)]],
    "selective": [selective(n) for n in (5, 40, 200)],
    "abstention": [abstention(n, a, l) for n, a, l in [(300, 0.1, 0.9), (600, 0.08, 0.95), (100, 0.02, 0.9), (400, 0.15, 0.9)]],
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(path, path.stat().st_size, [a["chosen"] for a in out["abstention"]])
