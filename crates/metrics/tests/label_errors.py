"""Writes label_errors.json: what cleanlab says of given labels and probabilities, for tests/label_errors.rs.

Run: python crates/metrics/tests/label_errors.py (cleanlab >= 2.9). Seeded: the same file every time.
cleanlab rounds the joint in an order that depends on NumPy's sort, which is stable for few values only without AVX2 and
AVX-512; both are therefore switched off. No two examples of a case have equal scores, whose order would be arbitrary.
"""

import json
import os
import pathlib
import sys
import warnings

os.environ["NPY_DISABLE_CPU_FEATURES"] = "X86_V3 X86_V4 AVX2 AVX512F AVX512_SKX"
warnings.filterwarnings("ignore")

import numpy as np
from cleanlab.count import compute_confident_joint, estimate_joint, estimate_latent, get_confident_thresholds
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

FILTERS = ["prune_by_noise_rate", "prune_by_class", "both", "confident_learning"]
SCORES = ["self_confidence", "normalized_margin"]


def simulate(rng, n, prior, flips, confidence, given=None):
    """True classes, given labels of which the share `flips` is replaced by another of the `given` classes, and
    probabilities that favour the true class; six digits, to keep the file small."""
    k = len(prior)
    given = np.arange(k) if given is None else np.array(given)
    true = rng.choice(k, n, p=prior)
    labels = true.copy()
    wrong = (rng.permutation(n) < round(flips * n)) | ~np.isin(labels, given)
    for i in np.flatnonzero(wrong):
        labels[i] = rng.choice(given[given != true[i]])
    logits = rng.normal(0, 1, (n, k))
    logits[np.arange(n), true] += confidence
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, labels, probabilities.round(6)


def distinct(labels, probabilities):
    """Whether no order depends on a tie."""
    scores = [get_label_quality_scores(labels, probabilities, method=method) for method in SCORES]
    margins = [
        probabilities[labels == given, j] - probabilities[labels == given, given]
        for given in set(labels)
        for j in range(probabilities.shape[1])
        if j != given
    ]
    return all(len(np.unique(values)) == len(values) for values in scores + margins)


def reference(labels, probabilities):
    joint = compute_confident_joint(labels, probabilities, calibrate=False)
    calibrated = compute_confident_joint(labels, probabilities, calibrate=True)
    shares = estimate_joint(labels, probabilities, confident_joint=calibrated)
    _, noise_matrix, _ = estimate_latent(calibrated, labels)
    issues = {
        method: {
            score: find_label_issues(
                labels, probabilities, filter_by=method, return_indices_ranked_by=score, n_jobs=1
            ).tolist()
            for score in SCORES
        }
        for method in FILTERS
    }
    return {
        "classes": probabilities.shape[1],
        "labels": labels.tolist(),
        "probabilities": probabilities.ravel().tolist(),
        "thresholds": [t if t <= 1 else None for t in get_confident_thresholds(labels, probabilities).tolist()],
        "counts": joint.ravel().tolist(),
        "calibrated": calibrated.ravel().tolist(),
        "joint": shares.ravel().tolist(),
        "noise_matrix": noise_matrix.ravel().tolist(),
        "quality": {score: get_label_quality_scores(labels, probabilities, method=score).tolist() for score in SCORES},
        "issues": issues,
    }


def case(name, rng, *arguments, **options):
    while True:
        true, labels, probabilities = simulate(rng, *arguments, **options)
        if len(set(labels)) > 1 and distinct(labels, probabilities):
            return {"name": name, **reference(labels, probabilities)}, true


def cases(rng):
    yield case("two classes", rng, 90, [0.5, 0.5], 0.1, 2.0)[0]
    yield case("three classes", rng, 80, [0.3, 0.3, 0.4], 0.15, 2.0)[0]
    yield case("five classes", rng, 70, [0.2] * 5, 0.2, 2.5)[0]
    yield case("imbalanced", rng, 90, [0.9, 0.08, 0.02], 0.08, 2.0)[0]
    yield case("two classes, rare", rng, 60, [0.93, 0.07], 0.05, 1.0)[0]
    yield case("small", rng, 8, [0.4, 0.3, 0.3], 0.3, 1.0)[0]
    yield case("a class nobody is given", rng, 60, [0.4, 0.3, 0.2, 0.1], 0.1, 2.0, given=[0, 1, 3])[0]
    yield case("the last class nobody is given", rng, 40, [0.6, 0.3, 0.1], 0.1, 2.0, given=[0, 1])[0]
    yield case("uninformative", rng, 40, [0.5, 0.3, 0.2], 0.5, 0.0)[0]


def planted(rng):
    """5 % flips: precision and recall of cleanlab's list."""
    result, true = case("planted", rng, 300, [0.5, 0.3, 0.2], 0.05, 3.0)
    flipped = np.flatnonzero(true != np.array(result["labels"]))
    found = result["issues"]["prune_by_noise_rate"]["self_confidence"]
    hits = len(set(found) & set(flipped.tolist()))
    return {
        **{key: result[key] for key in ["classes", "labels", "probabilities", "issues"]},
        "flipped": flipped.tolist(),
        "precision": hits / len(found),
        "recall": hits / len(flipped),
    }


if __name__ == "__main__":
    if len(sys.argv) > 2:  # Another seed and many small cases, for a check that is too large to be kept.
        rng = np.random.default_rng(int(sys.argv[1]))
        many = []
        for i in range(int(sys.argv[2])):
            k = int(rng.integers(2, 8))
            prior = rng.dirichlet(np.ones(k))
            n = int(rng.choice([6, 12, 25, 50, 120]))
            many.append(case(f"{i}", rng, n, prior, rng.choice([0.05, 0.2, 0.5]), rng.choice([0.5, 2.0, 4.0]))[0])
        print(json.dumps({"cases": many}))
    else:
        rng = np.random.default_rng(20261128)
        fixture = {"cases": list(cases(rng)), "planted": planted(rng)}
        path = pathlib.Path(__file__).with_suffix(".json")
        path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
