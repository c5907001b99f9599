"""Writes paired.json: what MLstatkit, statsmodels and SciPy say of two classifiers on the same examples, for tests/paired.rs.

Run: python crates/metrics/tests/paired.py (MLstatkit >= 0.1.9, statsmodels, scipy, scikit-learn). Seeded: the same file every time.
Obuchowski's covariance of grouped examples, which no package has, is written out here pair by pair from the paper.
"""

import json
import pathlib

import numpy as np
from MLstatkit import Delong_test
from scipy import special, stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar

rng = np.random.default_rng(20261127)


def grouped_variance(labels, a, b, groups):
    """Obuchowski 1997: variances of both AUCs less twice their covariance."""
    psi = lambda s: (s[labels][:, None] > s[~labels]) + 0.5 * (s[labels][:, None] == s[~labels])
    X, Y = np.flatnonzero(labels), np.flatnonzero(~labels)
    ids = np.unique(groups)
    I10, I01, I = len(np.unique(groups[X])), len(np.unique(groups[Y])), len(ids)

    def deviations(s):
        wins = psi(s)
        auc, v10, v01 = wins.mean(), wins.mean(axis=1), wins.mean(axis=0)
        return np.array([[(v10[groups[X] == g] - auc).sum(), (v01[groups[Y] == g] - auc).sum()] for g in ids])

    def covariance(d, e):
        m, n = len(X), len(Y)
        s10 = I10 / ((I10 - 1) * m) * (d[:, 0] * e[:, 0]).sum()
        s01 = I01 / ((I01 - 1) * n) * (d[:, 1] * e[:, 1]).sum()
        s11 = I / (I - 1) * ((d[:, 0] * e[:, 1]).sum() + (d[:, 1] * e[:, 0]).sum())
        return s10 / m + s01 / n + s11 / (m * n)

    d, e = deviations(a), deviations(b)
    return covariance(d, d) + covariance(e, e) - 2 * covariance(d, e)


def case(n, skills, shared):
    labels = rng.random(n) < 0.4
    labels[:4] = [True, True, False, False]
    common = rng.normal(0, 1, n)
    scores = [
        np.round(special.expit(s * (labels - 0.5) + shared * common + (1 - shared) * rng.normal(0, 1, n)), 3) for s in skills
    ]
    groups = rng.integers(0, n // 3 + 2, n)
    z, p = Delong_test(labels.astype(int), *scores, return_ci=False, return_auc=False)[:2]
    difference = roc_auc_score(labels, scores[0]) - roc_auc_score(labels, scores[1])
    grouped = difference / np.sqrt(grouped_variance(labels, *scores, groups))
    right = [(s >= 0.5) == labels for s in scores]
    table = [[(right[0] & right[1]).sum(), (right[0] & ~right[1]).sum()], [(~right[0] & right[1]).sum(), (~right[0] & ~right[1]).sum()]]
    return {
        "labels": labels.tolist(),
        "scores": [s.tolist() for s in scores],
        "groups": groups.tolist(),
        "difference": difference,
        "z": -float(z),
        "p": float(p),
        "grouped_p": float(2 * stats.norm.sf(abs(grouped))),
        "discordant": [int(table[0][1]), int(table[1][0])],
        "mcnemar": float(mcnemar(table, exact=True).pvalue),
    }


cases = [
    case(n, skills, shared)
    for n in (12, 40, 150)
    for skills in ((1.0, 1.0), (3.0, 1.0), (0.0, 2.0))
    for shared in (0.0, 0.8)
]
counts = [(0, 0), (0, 1), (1, 0), (3, 3), (0, 12), (5, 21), (40, 31), (900, 1100), (3, 4000)]
mcnemars = [{"discordant": c, "p": float(mcnemar([[7, c[0]], [c[1], 9]], exact=True).pvalue)} for c in counts]
path = pathlib.Path(__file__).with_name("paired.json")
path.write_text(json.dumps({"cases": cases, "mcnemar": mcnemars}, separators=(",", ":")) + "\n")
