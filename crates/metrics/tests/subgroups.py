"""Writes subgroups.json: figures by subgroup by scikit-learn, statsmodels and SciPy, for tests/subgroups.rs.

Run: python crates/metrics/tests/subgroups.py (statsmodels >= 0.14, scikit-learn, scipy, numpy). Seeded: the same file every
time. The empirical variance is that of the score test of statsmodels' GEE, without the factor G / (G - 1) of ours; the
common one is that of its proportions_ztest if images are independent, with n - 1 instead of n. p-values are adjusted by its
multipletests. Intervals of shares of independent images are its Wilson and Newcombe intervals, those of Brier scores its
clustered regression. What no package has is written out here from its formula: the design effect, the exchangeable
covariance, Obuchowski's variance pair by pair, and the contributions to balanced accuracies.
"""

import json
import pathlib
import warnings

import numpy as np
import statsmodels.api as sm
from scipy import special, stats
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportions_ztest

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20261201)
Z = stats.norm.ppf(0.975)
LEAST = 10


def sums(values, patients):
    return np.array([values[patients == g].sum() for g in np.unique(patients)])


def share(hits, patients):
    n, p = len(hits), hits.mean()
    sizes = sums(np.ones(n), patients)
    if p in (0, 1) or len(sizes) < 2:
        effect = (sizes**2).sum() / n
    else:
        squares = sums(hits - p, patients) ** 2
        effect = len(sizes) / (len(sizes) - 1) * squares.sum() / n / (p * (1 - p))
    effective = n / max(effect, 1)
    low, high = proportion_confint(p * effective, effective, method="wilson")
    return [p, 0.0 if p == 0 else low, 1.0 if p == 1 else high]


def mean(intervals):
    e, low, high = np.mean(intervals, axis=0)
    far = lambda k: np.sqrt(sum((i[k] - i[0]) ** 2 for i in intervals)) / len(intervals)
    return [e, e - far(1), e + far(2)]


def wins(a, b):
    return (a[:, None] > b[None]) + 0.5 * (a[:, None] == b[None])


def auc_variance(y, s, patients):
    """Obuchowski 1997."""
    w, auc = wins(s[y], s[~y]), roc_auc_score(y, s)
    v10, v01, p10, p01 = w.mean(1) - auc, w.mean(0) - auc, patients[y], patients[~y]
    m, n, every = y.sum(), (~y).sum(), np.unique(patients)
    a = np.array([v10[p10 == g].sum() for g in every])
    b = np.array([v01[p01 == g].sum() for g in every])
    I10, I01, I = len(np.unique(p10)), len(np.unique(p01)), len(every)
    return I10 / (I10 - 1) * (a**2).sum() / m**2 + I01 / (I01 - 1) * (b**2).sum() / n**2 + 2 * I / (I - 1) * (a * b).sum() / (m * n)


def auc(y, s, patients):
    if min(len(np.unique(patients[y])), len(np.unique(patients[~y]))) < 2:
        return None
    e, half = roc_auc_score(y, s), Z * np.sqrt(max(auc_variance(y, s, patients), 0))
    assert 0 < e < 1, "Newcombe's interval of separated classes is tested elsewhere"
    return [e, max(e - half, 0), min(e + half, 1)]


def brier(terms, patients, most):
    if len(np.unique(patients)) < 2:
        return None
    fit = sm.OLS(terms, np.ones(len(terms))).fit(cov_type="cluster", cov_kwds={"groups": patients}, use_t=True)
    low, high = fit.conf_int()[0]
    return [terms.mean(), max(low, 0), min(high, most)]


def contributions(strata, weight, values, patients):
    """Per patient, to the means in group and rest, if both have the common mean of each stratum."""
    every = np.unique(np.concatenate([patients[r] for s in strata for r in s]))
    out = np.zeros((len(every), 2))
    for group, rest in strata:
        centre = values[np.concatenate([group, rest])].mean()
        for side, rows in enumerate((group, rest)):
            for i in rows:
                out[np.searchsorted(every, patients[i]), side] += weight * (values[i] - centre) / len(rows)
    return out * np.sqrt(len(every) / (len(every) - 1))


def common_variance(group, rest, values, patients):
    """Donner & Donald 1987: the quadratic form of the weights in the exchangeable covariance of all images."""
    rows = np.concatenate([group, rest])
    w = np.r_[np.full(len(group), 1 / len(group)), np.full(len(rest), -1 / len(rest))]
    same = patients[rows][:, None] == patients[rows][None]
    e = values[rows] - values[rows].mean()
    variance, other = e.var(ddof=1), same & ~np.eye(len(rows), dtype=bool)
    rho = np.clip(np.outer(e, e)[other].mean() / variance, 0, 1) if other.any() and variance > 0 else 0.0
    covariance = variance * np.where(np.eye(len(rows)) > 0, 1.0, rho * same)
    return w @ covariance @ w


def score_test(values, group, rest, patients, family):
    """GEE; the p-value with the factor G / (G - 1) in the variance."""
    rows = np.concatenate([group, rest])
    x = np.r_[np.ones(len(group)), np.zeros(len(rest))]
    full, null = np.c_[np.ones(len(rows)), x], np.ones((len(rows), 1))
    model = lambda exog: sm.GEE(values[rows], exog, groups=patients[rows], family=family)
    statistic = float(np.squeeze(model(full).compare_score_test(model(null).fit())["statistic"]))
    clusters = len(np.unique(patients[rows]))
    return float(stats.chi2.sf(statistic * (clusters - 1) / clusters, 1))


def figure(metric, d, group, rest):
    y, right, patients, classes = d["labels"], d["right"], d["patients"], d["classes"]
    positive = y == 1
    strata_of = {
        "auc": lambda r: [r[positive[r]], r[~positive[r]]],
        "balanced_accuracy": lambda r: [r[y[r] == k] for k in np.unique(y[r])],
        "sensitivity": lambda r: [r[positive[r]]],
        "specificity": lambda r: [r[~positive[r]]],
    }.get(metric, lambda r: [r])

    def value(rows):
        if metric == "auc":
            return auc(positive[rows], d["scores"][rows], patients[rows])
        if metric == "brier":
            return brier(d["brier"][rows], patients[rows], min(classes, 3) - 1)
        parts = [share(right[s], patients[s]) for s in strata_of(rows) if len(s)]
        if metric == "balanced_accuracy" and parts:
            assert abs(np.mean([p[0] for p in parts]) - balanced_accuracy_score(y[rows], d["decisions"][rows])) < 1e-12
        return mean(parts) if parts else None

    a, b = value(group), value(rest)
    out = {"metric": metric, "value": a, "rest": b, "difference": None, "p": None}
    if a is None or b is None or len(strata_of(group)) != len(strata_of(rest)):
        return out
    strata = list(zip(strata_of(group), strata_of(rest)))
    values, weight = (d["brier"] if metric == "brier" else right), 1 / len(strata)
    if metric == "auc":
        rows = np.sort(np.concatenate([group, rest]))
        pos, neg = rows[positive[rows]], rows[~positive[rows]]
        w, values, weight = wins(d["scores"][pos], d["scores"][neg]), np.zeros(len(y)), 1
        values[pos], values[neg] = w.mean(1), w.mean(0)
    c = contributions(strata, weight, values, patients)
    spread = np.sqrt((c[:, 0] ** 2).sum() * (c[:, 1] ** 2).sum())
    rho = (c[:, 0] * c[:, 1]).sum() / spread if spread > 0 else 0.0
    e = a[0] - b[0]
    far = lambda u, v: np.sqrt(u**2 + v**2 - 2 * rho * u * v)
    out["difference"] = [e, e - far(a[0] - a[1], b[2] - b[0]), e + far(a[2] - a[0], b[0] - b[1])]
    if metric in ("sensitivity", "specificity", "accuracy") and len(np.unique(patients)) == len(y):
        # The design effect of independent images is G / (G - 1).
        counts = [x for r in strata[0] for x in (right[r].mean() * (len(r) - 1), len(r) - 1)]
        newcombe = confint_proportions_2indep(*counts, compare="diff", method="newcomb")
        assert np.allclose(out["difference"][1:], newcombe, atol=1e-9)
    if min(len(np.unique(patients[rows])) for s in strata for rows in s) < LEAST:
        return out
    empirical = ((c[:, 0] - c[:, 1]) ** 2).sum()
    common = sum(weight**2 * common_variance(*s, values, patients) for s in strata)
    variance = max(empirical, common)
    if metric == "auc":
        u, v = (auc_variance(positive[r], d["scores"][r], patients[r]) for r in (group, rest))
        variance = max(variance, u + v - 2 * rho * np.sqrt(u * v))
    out["p"] = float(2 * stats.norm.sf(abs(e) / np.sqrt(variance)))
    if metric not in ("auc", "balanced_accuracy"):
        family = sm.families.Gaussian() if metric == "brier" else sm.families.Binomial()
        p = score_test(values, *strata[0], patients, family)
        assert abs(p - 2 * stats.norm.sf(abs(e) / np.sqrt(empirical))) < 1e-6, (metric, p)
        if empirical >= common:
            out["p"] = p
        elif metric != "brier" and len(np.unique(patients)) == len(y):
            counts, sizes = zip(*[(values[r].sum(), len(r)) for r in strata[0]])
            z = proportions_ztest(counts, sizes)[0] * np.sqrt((sum(sizes) - 1) / sum(sizes))
            out["p"] = float(2 * stats.norm.sf(abs(z)))
    return out


def case(n, classes, images, groupings):
    patients = np.repeat(np.arange(n), rng.integers(1, images + 1, n))[:n] if images > 1 else np.arange(n)
    of_patient = rng.integers(0, classes, n)
    labels = np.where(rng.random(n) < 0.9, of_patient[patients], rng.integers(0, classes, n))
    common = rng.normal(0, 0.7, (n, classes))
    logits = np.round(common[patients] + rng.normal(0, 0.7, (n, classes)) + 1.5 * np.eye(classes)[labels], 3)
    p = special.softmax(logits, axis=1)
    decisions = logits.argmax(1) if classes > 2 else (logits[:, 1] - logits[:, 0] >= 0.25).astype(int)
    squares = ((p - np.eye(classes)[labels]) ** 2).sum(1)
    d = {
        "classes": classes,
        "labels": labels,
        "patients": patients,
        "decisions": decisions,
        "right": (decisions == labels).astype(float),
        "scores": logits[:, 1] - logits[:, 0],
        "brier": squares / 2 if classes == 2 else squares,
    }
    metrics = ["auc", "sensitivity", "specificity", "brier"] if classes == 2 else ["accuracy", "balanced_accuracy", "brier"]
    table, tested = [], []
    for name, groups in groupings(n, patients, labels).items():
        known = groups[groups != ""]
        rows = []
        for g in np.unique(known):
            group, rest = np.flatnonzero(groups == g), np.flatnonzero((groups != g) & (groups != ""))
            figures = [figure(m, d, group, rest) for m in metrics]
            by_class = np.bincount(labels[group], minlength=classes).tolist()
            rows.append({"name": g, "patients": len(np.unique(patients[group])), "by_class": by_class, "figures": figures})
        # Two groups are the rest of one another: one comparison.
        tested += [f for row in (rows[:1] if len(rows) == 2 else rows) for f in row["figures"] if f["p"] is not None]
        table.append({"name": name, "groups": groups.tolist(), "rows": rows})
    for f, adjusted in zip(tested, multipletests([f["p"] for f in tested], method="holm")[1]):
        f["adjusted_p"] = adjusted
    for grouping in table:
        if len(grouping["rows"]) == 2:
            for a, b in zip(*(row["figures"] for row in grouping["rows"])):
                if a["p"] is not None:
                    b["adjusted_p"] = a["adjusted_p"]
    return {
        "classes": classes,
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "probabilities": p.ravel().tolist(),
        "patients": patients.tolist(),
        "comparisons": len(tested),
        "table": table,
    }


def by_patient(names, shares, patients):
    return np.array(rng.choice(names, patients.max() + 1, p=shares))[patients]


def clinic(n, patients, labels):
    # A patient grows older between two images; some bands have few patients.
    age = (by_patient(["0", "1", "2", "3"], [0.4, 0.3, 0.26, 0.04], patients).astype(int) + (rng.random(n) < 0.1)).astype(str)
    cause = np.where(labels == 1, by_patient(["bacteria", "virus"], [0.6, 0.4], patients), "")
    return {"sex": by_patient(["F", "M", ""], [0.5, 0.4, 0.1], patients), "age": age, "cause": cause}


cases = [
    case(260, 2, 3, clinic),
    case(150, 2, 1, lambda n, patients, labels: {"sex": by_patient(["F", "M"], [0.3, 0.7], patients)}),
    case(300, 3, 3, clinic),
    case(130, 2, 2, lambda n, patients, labels: {"site": np.array(["one"] * n), "device": by_patient(["a", "b", "c"], [0.5, 0.3, 0.2], patients)}),
]
path = pathlib.Path(__file__).with_name("subgroups.json")
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
for c in cases:
    print(c["comparisons"], sorted(round(f["p"], 4) for g in c["table"] for r in g["rows"] for f in r["figures"] if f["p"] is not None)[:6])
