"""Writes prior.json: prior shift, decision curves and predictive values by other implementations, for tests/prior.rs.

Run: python crates/metrics/tests/prior.py (abstention 0.1.3.1, dcurves 1.1.7, statsmodels, scipy, numpy, pandas).
Seeded: the same file every time. EM is compared with abstention (by the authors of "Maximum likelihood with
bias-corrected calibration is hard-to-beat at label shift adaptation") and with the root of the likelihood's derivative;
BBSE with abstention; net benefit with dcurves (by the authors of decision curve analysis). The distance of the label
shift test and the intervals of the predictive values, which no package has, are written out here from their formulas.
"""

import json
import pathlib

import numpy as np
import pandas as pd
from abstention.label_shift import BBSEImbalanceAdapter, EMImbalanceAdapter
from dcurves import dca
from scipy import optimize, special
from statsmodels.stats.proportion import proportion_confint

rng = np.random.default_rng(20261128)


def rounded(rows):
    """Probabilities of three digits whose rows sum to 1 exactly, in thousandths."""
    thousandths = np.round(1000 * rows).astype(int)
    largest = (np.arange(len(rows)), thousandths.argmax(axis=1))
    thousandths[largest] += 1000 - thousandths.sum(axis=1)
    return thousandths / 1000


def sample(n, prior, source, separation):
    """Gaussian scores of each class, and the probabilities of the classes under the source prior."""
    classes = len(prior)
    labels = np.concatenate([np.arange(classes), rng.choice(classes, n - classes, p=prior)])
    x = rng.normal(0, 1, (n, classes)) + separation * np.eye(classes)[labels]
    return labels, rounded(special.softmax(separation * x + np.log(source), axis=1))


def maximum_likelihood(p, source):
    """Where the derivative of the log-likelihood on the simplex is 0."""
    ratio = p / source

    def derivative(head):
        density = ratio @ np.append(head, 1 - head.sum())
        return ((ratio[:, :-1] - ratio[:, -1:]) / density[:, None]).mean(axis=0)

    found = optimize.root(derivative, np.array(source[:-1]), tol=1e-14)
    # The step that Newton's method would take next.
    slope = np.atleast_2d(optimize.approx_fprime(found.x, derivative, 1e-7))
    step = np.linalg.solve(slope, derivative(found.x))
    assert np.abs(step).max() < 1e-12, step
    return np.append(found.x, 1 - found.x.sum())


def distance(labels, validation, target, prior):
    """Evaluates both distribution functions at every observed value."""
    largest = 0
    for k in range(validation.shape[1]):
        for t in np.union1d(validation[:, k], target[:, k]):
            mixture = sum(prior[c] * (validation[labels == c, k] <= t).mean() for c in range(len(prior)))
            largest = max(largest, abs((target[:, k] <= t).mean() - mixture))
    return largest


def shift_case(n, classes, target_prior, separation):
    source = np.full(classes, 1 / classes)
    labels, validation = sample(n, source, source, separation)
    shares = np.bincount(labels, minlength=classes) / n
    _, target = sample(n, target_prior, shares, separation)
    onehot = np.eye(classes)[labels]
    em = EMImbalanceAdapter(estimate_priors_from_valid_labels=True, tolerance=1e-14, max_iterations=100_000)
    adapt = em(target, validation, onehot)
    prior = maximum_likelihood(target, shares)
    assert (prior > 0).all()
    bbse = {}
    for name, soft in (("soft", True), ("hard", False)):
        share = BBSEImbalanceAdapter(soft=soft)(onehot, target, validation).multipliers * shares
        bbse[name] = (share / share.sum()).tolist()
    thousandths = lambda p: np.round(1000 * p).astype(int).ravel().tolist()
    return {
        "classes": classes,
        "labels": labels.tolist(),
        "validation": thousandths(validation),
        "target": thousandths(target),
        "em": (adapt.multipliers * shares).tolist(),
        "maximum_likelihood": prior.tolist(),
        "reweighted": adapt(target)[:20].ravel().tolist(),
        "bbse": bbse,
        "distance": distance(labels, validation, target, prior),
    }


def curve_case(n, skill, prevalence):
    labels = rng.random(n) < 0.3
    labels[:2] = [True, False]
    p = np.round(special.expit(skill * (labels - 0.6) + rng.normal(0, 1, n)), 3)
    thresholds = [0.01, 0.05, 0.125, 0.2, 0.35, 0.5, 0.75, 0.9]
    frame = pd.DataFrame({"label": labels, "p": p})
    table = dca(data=frame, outcome="label", modelnames=["p"], thresholds=thresholds, prevalence=prevalence)
    column = lambda model: table[table.model == model].sort_values("threshold").net_benefit.tolist()
    return {
        "labels": labels.tolist(),
        "probabilities": p.tolist(),
        "prevalence": prevalence,
        "thresholds": thresholds,
        "model": column("p"),
        "all": column("all"),
    }


def predictive_case(tp, positives, tn, negatives, prevalence):
    """The likelihood ratios' limits by Zou and Donner 2008, and Bayes' theorem; 1e-300 stands for 0."""
    wilson = lambda hits, n: np.clip(proportion_confint(hits, n, method="wilson"), 1e-300, 1)

    def ratio(hits, n, wrong, m):
        (low_a, high_a), (low_b, high_b) = wilson(hits, n), wilson(wrong, m)
        a, b = hits / n, wrong / m
        down = np.hypot(np.log(a / low_a), np.log(high_b / b))
        up = np.hypot(np.log(high_a / a), np.log(b / low_b))
        return a / b * np.exp([0.0, -down, up])

    odds = prevalence / (1 - prevalence)
    value = lambda ratio, odds: (ratio * odds / (1 + ratio * odds)).tolist()
    return {
        "counts": [tp, positives, tn, negatives],
        "prevalence": prevalence,
        "ppv": value(ratio(tp, positives, negatives - tn, negatives), odds),
        "npv": value(ratio(tn, negatives, positives - tp, positives), 1 / odds),
    }


shifts = [
    shift_case(120, 2, [0.75, 0.25], 1.5),
    shift_case(300, 2, [0.5, 0.5], 0.7),
    shift_case(300, 2, [0.1, 0.9], 2.0),
    shift_case(150, 3, [0.2, 0.2, 0.6], 1.5),
    shift_case(200, 4, [0.4, 0.3, 0.2, 0.1], 2.0),
]
curves = [curve_case(80, 2.0, None), curve_case(200, 0.5, None), curve_case(200, 2.0, 0.05), curve_case(80, 4.0, 0.6)]
predictive = [
    predictive_case(45, 50, 180, 200, 0.02),
    predictive_case(7, 9, 28, 30, 0.4),
    predictive_case(190, 200, 10, 40, 0.1),
    predictive_case(3, 60, 90, 100, 0.001),
]
fixture = {"shifts": shifts, "curves": curves, "predictive": predictive}
path = pathlib.Path(__file__).with_name("prior.json")
path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
