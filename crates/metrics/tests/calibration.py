"""Writes calibration.json: values computed by netcal, SciPy, scikit-learn and PyTorch, for tests/calibration.rs.

Run: python crates/metrics/tests/calibration.py (netcal 1.4, scipy, scikit-learn, torch). Seeded: same file every time.

netcal computes the expected calibration error, and fits a temperature and vector scaling without a prior. SciPy minimizes
what our fits minimize (`trust-exact`, derivatives by PyTorch), and the negative log-likelihood of a temperature alone.
Brier score and log loss of calibrated probabilities are scikit-learn's.
"""

import json
import pathlib

import numpy as np
import torch
from netcal.metrics import ECE
from netcal.scaling import LogisticCalibration, TemperatureScaling
from scipy import optimize, special
from sklearn import metrics

rng = np.random.default_rng(20241105)


def example(n, k, scale, decimals=3, skill=1.5):
    """Logits that are too sharp, by a factor per class."""
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    noise = rng.normal(0, 1, (n, k)) + skill * np.eye(k)[labels] + np.linspace(-0.4, 0.4, k)
    return labels, np.round(scale * noise * np.linspace(0.8, 1.3, k), decimals)


def minimum(objective, start):
    """Of a function of a torch vector in double precision."""
    tensor = lambda x: torch.tensor(x, dtype=torch.float64)

    def value(x):
        found = float(objective(tensor(x)))
        return found if np.isfinite(found) else 1e300

    jacobian = lambda x: torch.autograd.functional.jacobian(objective, tensor(x)).numpy()
    hessian = lambda x: torch.autograd.functional.hessian(objective, tensor(x)).numpy()
    best = optimize.minimize(value, start, jac=jacobian, hess=hessian, method="trust-exact", options={"gtol": 1e-8, "maxiter": 2000})
    assert np.abs(jacobian(best.x)).max() < 1e-6, best
    return best.x


def nll(scores, labels):
    return -torch.log_softmax(scores, dim=1)[torch.arange(len(labels)), torch.tensor(labels)].sum()


def gamma(factors):
    """The prior on positive factors, with its mode at 1; infinite outside its domain."""
    return torch.where(factors > 0, factors - 1 - torch.log(factors.clamp(min=1e-300)), torch.inf).sum()


def scores_of(labels, probabilities, classes):
    return {
        "log_loss": metrics.log_loss(labels, probabilities, labels=range(classes)),
        "brier": metrics.brier_score_loss(labels, probabilities, labels=range(classes)),
    }


def ece_case(n, k, bins, scale):
    labels, logits = example(n, k, scale)
    probabilities = special.softmax(logits, axis=1)
    if k == 2:
        # One column is the probability of the positive class.
        found = ECE(bins).measure(probabilities[:, 1], labels)
    else:
        found = ECE(bins).measure(probabilities, labels)
    return {"classes": k, "bins": bins, "labels": labels.tolist(), "probabilities": probabilities.ravel().tolist(), "ece": float(found)}


def edges_case():
    """Probabilities on the edges of bins, which belong to the bin above in netcal, and to the bin below in ours."""
    probabilities = rng.integers(0, 17, 400) / 16
    labels = (rng.random(400) < probabilities**2).astype(int)
    return {"bins": 8, "labels": labels.tolist(), "probabilities": probabilities.tolist(), "ece": float(ECE(8).measure(probabilities, labels))}


def temperature_case():
    """Each example with its classes exchanged cyclically: the best biases are then equal, as without biases."""
    labels, logits = example(2000, 3, 2.0, decimals=2)
    all_labels = np.concatenate([(labels + s) % 3 for s in range(3)])
    all_logits = np.concatenate([np.roll(logits, s, axis=1) for s in range(3)])
    netcal = TemperatureScaling()
    netcal.fit(special.softmax(all_logits, axis=1), all_labels)
    plain = lambda beta: nll(torch.tensor(all_logits) * beta, all_labels)
    penalized = lambda beta: plain(beta) + gamma(beta)
    beta, with_prior = minimum(plain, np.ones(1))[0], minimum(penalized, np.ones(1))[0]
    return {
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "netcal": 1 / float(np.ravel(netcal.weights)[0]),
        "scipy_without_prior": 1 / beta,
        "scipy": 1 / with_prior,
    }


def vector_objective(logits, labels, prior=True):
    z, k = torch.tensor(logits), logits.shape[1]
    loss = lambda x: nll(z * x[:k] + x[k:], labels)
    return (lambda x: loss(x) + gamma(x[:k]) + (x[k:] ** 2).sum() / 8) if prior else loss


def vector_case(n, k, scale, skill=1.5):
    labels, logits = example(n, k, scale, skill=skill)
    found = minimum(vector_objective(logits, labels), np.r_[np.ones(k), np.zeros(k)])
    probabilities = special.softmax(logits * found[:k] + found[k:], axis=1)
    return {
        "classes": k,
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "factors": found[:k].tolist(),
        "bias": found[k:].tolist(),
        **scores_of(labels, probabilities, k),
    }


def netcal_vector_case():
    """netcal fits vector scaling to the logarithms of probabilities; these are the logits here."""
    labels, logits = example(3000, 3, 1.0, decimals=2)
    logits = np.round(special.log_softmax(logits, axis=1), 3)
    netcal = LogisticCalibration()
    netcal.fit(special.softmax(logits, axis=1), labels)
    found = np.r_[np.ravel(netcal.weights), np.ravel(netcal.intercept)]
    found[3:] -= found[3:].mean()
    scipy = minimum(lambda x: nll(torch.tensor(logits) * x[:3] + x[3:], labels) + x[3:].sum() ** 2, np.r_[np.ones(3), np.zeros(3)])
    assert np.abs(scipy - found).max() < 1e-4
    probabilities = special.softmax(logits * found[:3] + found[3:], axis=1)
    return {
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "factors": found[:3].tolist(),
        "bias": found[3:].tolist(),
        "log_loss": metrics.log_loss(labels, probabilities),
    }


def dirichlet_case(n, k, scale, off_diagonal, intercept, skill=1.5):
    labels, logits = example(n, k, scale, skill=skill)
    x = torch.tensor(special.log_softmax(logits, axis=1))
    outside = ~torch.eye(k, dtype=bool)

    def objective(at):
        weights, bias = at[: k * k].reshape(k, k), at[k * k :]
        penalty = off_diagonal * (weights[outside] ** 2).mean() + intercept * (bias**2).mean()
        return nll(x @ weights.T + bias, labels) + n * penalty + gamma(weights.diagonal())

    found = minimum(objective, np.r_[np.eye(k).ravel(), np.zeros(k)])
    weights, bias = found[: k * k].reshape(k, k), found[k * k :]
    probabilities = special.softmax(x.numpy() @ weights.T + bias, axis=1)
    return {
        "classes": k,
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "off_diagonal": off_diagonal,
        "intercept": intercept,
        "weights": weights.ravel().tolist(),
        "bias": bias.tolist(),
        **scores_of(labels, probabilities, k),
    }


fixture = {
    "ece": [ece_case(*c) for c in ((300, 2, 10, 1.0), (200, 2, 15, 3.0), (300, 3, 10, 1.5), (150, 5, 20, 0.7), (40, 4, 7, 2.0))],
    "ece_on_edges": edges_case(),
    "temperature": temperature_case(),
    # With a skill of 12 the classes are separable.
    "vector": [vector_case(*c) for c in ((200, 3, 2.0), (120, 5, 0.6), (60, 2, 1.5), (40, 3, 1.0, 12.0))],
    "netcal_vector": netcal_vector_case(),
    "dirichlet": [
        dirichlet_case(*c)
        for c in ((200, 3, 2.0, 0.01, 0.01), (150, 4, 0.6, 1.0, 1e-3), (80, 2, 1.5, 1e-4, 1e-2), (40, 3, 1.0, 0.1, 0.1, 12.0))
    ],
}  # fmt: skip
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(fixture, separators=(",", ":"), allow_nan=False) + "\n")
for case in ("temperature", "netcal_vector"):
    print(case, {k: v for k, v in fixture[case].items() if k not in ("labels", "logits")})
