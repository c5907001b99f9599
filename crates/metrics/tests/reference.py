"""Writes reference.json: values computed by scikit-learn, SciPy, statsmodels, MONAI and NumPy, for tests/reference.rs.

Run: python crates/metrics/tests/reference.py (scikit-learn >= 1.9, scipy, statsmodels, monai). Seeded: same file every time.
DeLong and Obuchowski are implemented here pair by pair. SciPy solves Newcombe's equation and finds temperature and
biases; the variance of grouped proportions comes from statsmodels' cluster-robust errors, ECE and mask scores from
NumPy, surface distances from SciPy's distance transform and, if both masks have pixels, from MONAI. Otsu's threshold is
the one with the smallest within-class variance.
"""

import json
import pathlib
import re
import warnings

import monai
import numpy as np
import statsmodels.api as sm
import torch
from scipy import ndimage, optimize, special, stats
from sklearn import calibration, metrics

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20240607)
NAMES = ["normal", "pneumonia", "covid", "tb", "a class with a long näme"]


def num(x):
    """Plain Python numbers; NaN and infinity become null (JSON has neither)."""
    x = float(x)
    return x if np.isfinite(x) else None


def nums(xs):
    return [num(x) for x in xs]


def confusion_case(k, labels, predictions):
    all_classes = list(range(k))
    macro, weighted = (
        metrics.precision_recall_fscore_support(
            labels, predictions, labels=all_classes, average=average, zero_division=0
        )[:3]
        for average in ("macro", "weighted")
    )
    per_class = metrics.precision_recall_fscore_support(
        labels, predictions, labels=all_classes, zero_division=0
    )

    def report(digits):
        text = metrics.classification_report(
            labels, predictions, labels=all_classes, target_names=NAMES[:k], digits=digits, zero_division=0
        )
        # If no prediction is correct, scikit-learn 1.9 prints supports as floats: "16.0".
        return text if (labels == predictions).any() else re.sub(r"(\d+)\.0$", r"  \1", text, flags=re.M)

    return {
        "classes": k,
        "labels": labels.tolist(),
        "predictions": predictions.tolist(),
        "matrix": metrics.confusion_matrix(labels, predictions, labels=all_classes).tolist(),
        "accuracy": metrics.accuracy_score(labels, predictions),
        "balanced_accuracy": num(metrics.balanced_accuracy_score(labels, predictions)),
        "mcc": num(metrics.matthews_corrcoef(labels, predictions)),
        "kappa": num(metrics.cohen_kappa_score(labels, predictions, labels=all_classes)),
        "per_class": [[num(v) for v in row] for row in zip(*per_class)],
        "macro": nums(macro),
        "weighted": nums(weighted),
        "names": NAMES[:k],
        "report": report(2),
        "report4": report(4),
    }


def confusion_cases():
    cases = []
    for i in range(28):
        k = 2 + i % 4
        n = int(rng.choice([1, 2, 5, 8, 16, 30, 60]))
        labels = rng.integers(0, k, n)
        flip = rng.random(n) < rng.choice([0.1, 0.4, 0.9])
        predictions = np.where(flip, rng.integers(0, k, n), labels)
        if i % 7 == 3:  # a class never predicted
            predictions[predictions == k - 1] = 0
        if i % 7 == 5:  # everything predicted as one class
            predictions[:] = 0
        if i % 9 == 4:  # a class without examples
            labels[labels == 1] = 0
        cases.append(confusion_case(k, labels, predictions))
    # Ratios on exact decimal ties (1/8, 3/8, 5/8 at two digits), to test the rounding rule.
    for hits in range(9):
        labels = np.array([0] * 8 + [1] * 8)
        predictions = np.array([0] * hits + [1] * (8 - hits) + [1] * 8)
        cases.append(confusion_case(2, labels, predictions))
    return cases


def delong_interval(labels, scores):
    """DeLong's interval; Newcombe's if the classes do not overlap, because DeLong's then has zero width."""
    auc = metrics.roc_auc_score(labels, scores)
    if auc in (0.0, 1.0):
        return newcombe(auc, labels.sum(), (~labels).sum())
    half = stats.norm.ppf(0.975) * np.sqrt(delong_variance(labels, scores))
    return max(0, auc - half), min(1, auc + half)


def delong_variance(labels, scores):
    positives, negatives = scores[labels], scores[~labels]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    m, n = wins.shape
    return wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n


def obuchowski_variance(labels, scores, groups):
    """Obuchowski 1997: the equations as printed, comparing every pair."""
    psi = lambda x, y: 1.0 if x > y else 0.5 if x == y else 0.0
    X, Y = np.flatnonzero(labels), np.flatnonzero(~labels)
    M, N = len(X), len(Y)
    A = sum(psi(scores[i], scores[j]) for i in X for j in Y) / (M * N)
    V10 = {i: sum(psi(scores[i], scores[j]) for j in Y) / N for i in X}
    V01 = {j: sum(psi(scores[i], scores[j]) for i in X) / M for j in Y}
    ids = sorted(set(groups.tolist()))
    I, I10, I01 = len(ids), len(set(groups[X].tolist())), len(set(groups[Y].tolist()))
    of = lambda V, members, g: (sum(V[i] for i in members if groups[i] == g), sum(groups[i] == g for i in members))
    dev = {g: (lambda a, m, b, n: (a - m * A, b - n * A))(*of(V10, X, g), *of(V01, Y, g)) for g in ids}
    S10 = I10 / ((I10 - 1) * M) * sum(d[0] ** 2 for d in dev.values())
    S01 = I01 / ((I01 - 1) * N) * sum(d[1] ** 2 for d in dev.values())
    S11 = I / (I - 1) * sum(d[0] * d[1] for d in dev.values())
    return A, S10 / M + S01 / N + 2 * S11 / (M * N)


def newcombe(theta, m, n, level=0.95):
    """Newcombe 2006, method 5: solves (theta - t)^2 = z^2 V(t), Hanley & McNeil's variance with N* = (m + n) / 2."""
    z = stats.norm.ppf((1 + level) / 2)

    def beyond(t):
        spread = 1 + ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))
        return (theta - t) ** 2 - z**2 * t * (1 - t) / (m * n) * spread

    low = optimize.brentq(beyond, 1e-12, theta - 1e-9, xtol=1e-15) if theta > 0 else 0
    high = optimize.brentq(beyond, theta + 1e-9, 1 - 1e-12, xtol=1e-15) if theta < 1 else 1
    return low, high


def separated_case(positives, negatives, images, level, reverse):
    """Every positive scores above every negative (or below): patients with `images` images each, counted once."""
    labels = np.repeat([True, False], [positives * images, negatives * images])
    scores = np.where(labels, 1.0, -1.0) * (-1 if reverse else 1) + np.linspace(0, 0.5, len(labels))
    low, high = newcombe(0.0 if reverse else 1.0, positives, negatives, level)
    return {
        "labels": labels.tolist(),
        "scores": scores.tolist(),
        "groups": (np.arange(len(labels)) // images).tolist(),
        "level": level,
        "interval": nums([0 if reverse else 1, low, high]),
    }


def obuchowski_case(seed, n, patients, mixed):
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, patients, n))
    sick = rng.random(patients) < 0.5
    labels = np.where(rng.random(n) < mixed, rng.random(n) < 0.5, sick[groups])
    effect = rng.normal(0, 1, patients)[groups]
    scores = np.round(1.5 * labels + effect + rng.normal(0, 0.5, n), 1)
    auc, variance = obuchowski_variance(labels, scores, groups)
    half = stats.norm.ppf(0.975) * np.sqrt(max(variance, 0))
    return {
        "labels": labels.tolist(),
        "scores": scores.tolist(),
        "groups": groups.tolist(),
        "interval": nums([auc, max(0, auc - half), min(1, auc + half)]),
    }


def proportion_case(seed, n, patients, share, level):
    """Wilson's interval for the effective number of examples; the variance is computed by statsmodels."""
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, patients, n))
    often = np.clip(share + rng.normal(0, 0.3, patients), 0, 1)[groups]
    hits = rng.random(n) < often
    p = hits.mean()
    sizes = np.unique(groups, return_counts=True)[1]
    if p in (0.0, 1.0) or len(sizes) < 2:
        effect = (sizes**2).sum() / n
    else:
        fit = sm.OLS(hits.astype(float), np.ones(n)).fit(cov_type="cluster", cov_kwds={"groups": groups})
        effect = fit.cov_params()[0, 0] / (p * (1 - p) / n)
    m, z = n / max(effect, 1), stats.norm.ppf((1 + level) / 2)
    centre = (p + z * z / (2 * m)) / (1 + z * z / m)
    half = z / (1 + z * z / m) * np.sqrt(p * (1 - p) / m + z * z / (4 * m * m))
    return {
        "hits": hits.tolist(),
        "groups": groups.tolist(),
        "level": level,
        "interval": nums([p, centre - half, centre + half]),
    }


def paired_case():
    """Differences of two classifiers over resampled patients, from other random numbers: ours must be close."""
    rng = np.random.default_rng(77)
    n, groups = 180, np.repeat(np.arange(60), 3)
    labels = (rng.random(60) < 0.5)[groups]
    hard = rng.normal(0, 1, n)
    a, b = 1.6 * labels + hard + rng.normal(0, 0.4, n), 1.2 * labels + hard + rng.normal(0, 0.4, n)
    a, b = np.round(a - 0.8, 3), np.round(b - 0.6, 3)
    right = lambda s: ((s >= 0) == labels).astype(float)
    auc, accuracy = [], []
    while len(auc) < 8000:
        i = (3 * rng.integers(0, 60, 60)[:, None] + np.arange(3)).ravel()
        if labels[i].all() or not labels[i].any():
            continue
        auc.append(metrics.roc_auc_score(labels[i], a[i]) - metrics.roc_auc_score(labels[i], b[i]))
        accuracy.append(right(a)[i].mean() - right(b)[i].mean())
    interval = lambda values: nums(np.quantile(values, [0.025, 0.975]))
    return {
        "labels": labels.tolist(),
        "groups": groups.tolist(),
        "a": a.tolist(),
        "b": b.tolist(),
        "auc": metrics.roc_auc_score(labels, a) - metrics.roc_auc_score(labels, b),
        "accuracy": right(a).mean() - right(b).mean(),
        "auc_interval": interval(auc),
        "accuracy_interval": interval(accuracy),
    }


def threshold_choices(labels, scores):
    """Thresholds below each observed score: halfway to the next lower one, or half the last gap below the lowest."""
    observed = sorted(set(scores.tolist()))
    gap = (observed[1] - observed[0]) / 2 if len(observed) > 1 else 0.5
    cuts = {t: lower + (t - lower) / 2 for lower, t in zip(observed, observed[1:])} | {observed[0]: observed[0] - gap}
    positives, negatives = int(labels.sum()), int((~labels).sum())
    hits = {t: int((labels & (scores >= t)).sum()) for t in observed}
    alarms = {t: int((~labels & (scores >= t)).sum()) for t in observed}
    youden = max(observed, key=lambda t: (hits[t] * negatives - alarms[t] * positives, -t))
    wanted = (0.5, 0.8, 0.9, 0.95, 1.0)
    reach = [cuts[max(t for t in observed if hits[t] >= s * positives - 1e-9)] for s in wanted]
    return {"youden": cuts[youden], "sensitivities": wanted, "thresholds": reach}


def binary_case(n, share, decimals, skill):
    labels = rng.random(n) < share
    labels[:2] = [True, False]
    scores = np.round(special.expit(skill * (labels - 0.5) + rng.normal(0, 1, n)), decimals)
    roc_all = metrics.roc_curve(labels, scores, drop_intermediate=False)
    roc = metrics.roc_curve(labels, scores)
    pr_all = metrics.precision_recall_curve(labels, scores)
    pr = metrics.precision_recall_curve(labels, scores, drop_intermediate=True)
    auc = metrics.roc_auc_score(labels, scores)
    observed, predicted = calibration.calibration_curve(labels, scores, n_bins=10)
    edges = np.linspace(0, 1, 11)
    bins = np.searchsorted(edges[1:-1], scores)
    counts = np.bincount(bins, minlength=10)
    gaps = [
        abs(labels[bins == b].mean() - scores[bins == b].mean()) * counts[b]
        for b in range(10)
        if counts[b]
    ]
    two = min(labels.sum(), (~labels).sum()) > 1
    return {
        "labels": labels.tolist(),
        "scores": scores.tolist(),
        "roc_all": [nums(x) for x in roc_all],
        "roc": [nums(x) for x in roc],
        "pr_all": [nums(x) for x in pr_all],
        "pr": [nums(x) for x in pr],
        "auc": auc,
        "ap": metrics.average_precision_score(labels, scores),
        "delong": nums(delong_interval(labels, scores)) if two else None,
        "log_loss": metrics.log_loss(labels, scores),
        "brier": metrics.brier_score_loss(labels, scores),
        "bin_counts": counts.tolist(),
        "bin_observed": observed.tolist(),
        "bin_predicted": predicted.tolist(),
        "ece": sum(gaps) / n,
        "choices": threshold_choices(labels, scores),
    }


def binary_cases():
    cases = [binary_case(n, 0.5, 12, 1.5) for n in (2, 3, 8, 20)]
    for n, share, decimals, skill in (
        (12, 0.5, 1, 0), (20, 0.3, 1, 1), (40, 0.6, 1, 2), (30, 0.2, 2, 1), (40, 0.7, 2, 3),
        (25, 0.5, 0, 1), (10, 0.5, 0, 8), (30, 0.5, 6, 6), (40, 0.1, 1, 2), (35, 0.5, 2, -2),
    ):  # fmt: skip
        cases.append(binary_case(n, share, decimals, skill))
    return cases


def multiclass_case(n, k, scale):
    """Ranked and decided by logits; large scales round probabilities to 0 and 1, which must not affect ranks."""
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    logits = np.round(scale * (rng.normal(0, 1.5, (n, k)) + 1.5 * np.eye(k)[labels]), 3)
    probabilities = special.softmax(logits, axis=1)
    others = np.stack([special.logsumexp(np.delete(logits, c, axis=1), axis=1) for c in range(k)], axis=1)
    odds = logits - others
    positive = np.eye(k)[labels]
    auc = [metrics.roc_auc_score(positive[:, c], odds[:, c]) for c in range(k)]
    if scale == 1:  # without saturation, it equals scikit-learn's
        assert np.allclose(np.mean(auc), metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    top = logits.argmax(axis=1)
    confidence = probabilities[np.arange(n), top]
    bins = np.searchsorted(np.linspace(0, 1, 11)[1:-1], confidence)
    right = top == labels
    gaps = [abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in range(10)]
    scores = metrics.precision_recall_fscore_support(labels, top, labels=range(k), zero_division=0)
    return {
        "classes": k,
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "probabilities": probabilities.ravel().tolist(),
        "argmax": top.tolist(),
        "log_odds": odds.ravel().tolist(),
        "auc": auc,
        "auc_macro": np.mean(auc),
        "ap_macro": np.mean([metrics.average_precision_score(positive[:, c], odds[:, c]) for c in range(k)]),
        "log_loss": metrics.log_loss(labels, probabilities),
        "brier": metrics.brier_score_loss(labels, probabilities, labels=range(k)),
        "ece": sum(gaps) / n,
        "mcc": metrics.matthews_corrcoef(labels, top),
        "kappa": metrics.cohen_kappa_score(labels, top),
        "f1": scores[2].tolist(),
        "f1_macro": metrics.f1_score(labels, top, average="macro", zero_division=0),
    }


def scaling_case(seed, n, k, scale, separable=False):
    """softmax(z / T + b): SciPy minimizes the negative log-likelihood plus prior over ln(1 / T) and b."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    shift = np.linspace(-0.5, 0.5, k)
    logits = np.round(scale * (rng.normal(0, 1, (n, k)) + 1.2 * np.eye(k)[labels] + shift), 4)
    if separable:
        logits = np.round(scale * (np.eye(k)[labels] + 0.3 * rng.random((n, k))), 4)
    nll = lambda beta, b: -np.sum(special.log_softmax(beta * logits + b, axis=1)[np.arange(n), labels])
    prior = lambda beta, b: beta - 1 - np.log(beta) + np.sum(b**2) / 8
    loss = lambda x: nll(np.exp(x[0]), x[1:]) + prior(np.exp(x[0]), x[1:])
    best = optimize.minimize(loss, np.zeros(k + 1), method="BFGS", options={"gtol": 1e-9})
    best = optimize.minimize(loss, best.x, method="Nelder-Mead", options={"xatol": 1e-12, "fatol": 1e-14, "maxiter": 20000, "maxfev": 20000})
    return {
        "classes": k,
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "temperature": np.exp(-best.x[0]),
        "bias": best.x[1:].tolist(),
        "nll_before": nll(1, np.zeros(k)) / n,
        "nll_after": nll(np.exp(best.x[0]), best.x[1:]) / n,
        "separable": separable,
    }  # fmt: skip


def wilson_case(successes, n, level):
    interval = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return [successes, n, level, interval.low, interval.high]


def mask_case(n, density, noise):
    truth = rng.random(n) < density
    predicted = np.where(rng.random(n) < noise, rng.random(n) < density, truth)
    score = lambda metric, defined: metric(truth, predicted, zero_division=0) if defined.any() else None
    return {
        "truth": truth.astype(int).tolist(),
        "predicted": predicted.astype(int).tolist(),
        "dice": score(metrics.f1_score, truth | predicted),
        "iou": score(metrics.jaccard_score, truth | predicted),
        "precision": score(metrics.precision_score, predicted),
        "recall": score(metrics.recall_score, truth),
    }


def bootstrap_case():
    """A percentile interval from other random numbers: ours must be close, not equal."""
    labels = rng.random(200) < 0.6
    scores = np.round(special.expit(1.5 * (labels - 0.5) + rng.normal(0, 1, 200)), 3)
    values = []
    while len(values) < 20000:
        i = rng.integers(0, 200, 200)
        positives = labels[i].sum()
        ranks = stats.rankdata(scores[i])
        values.append((ranks[labels[i]].sum() - positives * (positives + 1) / 2) / (positives * (200 - positives)))
    low, high = np.quantile(values, [0.025, 0.975])
    return {"labels": labels.tolist(), "scores": scores.tolist(), "low": low, "high": high}


def surface_distance(truth, predicted):
    """The larger of the 95th percentiles in both directions; if a mask is empty, which one."""
    diagonal = np.hypot(*truth.shape)
    if not truth.any() and not predicted.any():
        return "both_empty"
    if not truth.any() or not predicted.any():
        return {"false_negative" if truth.any() else "false_positive": {"diagonal": diagonal}}
    a, b = (mask & ~ndimage.binary_erosion(mask) for mask in (truth, predicted))
    directed = lambda a, b: np.percentile(ndimage.distance_transform_edt(~b)[a], 95)
    return {"pixels": max(directed(a, b), directed(b, a))}


def monai_case(seed):
    """HD95 of two non-empty masks, by MONAI; masks are hexadecimal numbers with one bit per pixel."""
    rng = np.random.default_rng(1000 + seed)
    height, width = (int(v) for v in rng.integers(6, 30, 2))
    truth = blobs(rng, height, width, 2)
    predicted = np.roll(truth, rng.integers(-4, 5, 2), (0, 1)) if seed % 2 else blobs(rng, height, width, 2)
    truth[0, 0] = predicted[-1, -1] = 1
    tensor = lambda mask: torch.tensor(mask[None, None], dtype=torch.float32)
    found = monai.metrics.compute_hausdorff_distance(tensor(predicted), tensor(truth), include_background=True, percentile=95)
    bits = lambda mask: f"{int(''.join(map(str, mask.ravel())), 2):x}"
    return [height, width, bits(truth), bits(predicted), float(found)]


def blobs(rng, height, width, classes):
    noise = ndimage.gaussian_filter(rng.normal(size=(classes, height, width)), (0, 2, 2))
    return noise.argmax(axis=0)


def segmentation_case(seed, n, height, width, classes, ignore):
    """Images of smooth patches; some lack a class in truth, in prediction or in both."""
    rng = np.random.default_rng(seed)
    images, dice, iou, hd = [], [], [], []
    pairs = []
    for i in range(n):
        truth = blobs(rng, height, width, classes)
        other = blobs(rng, height, width, classes)
        predicted = np.where(np.roll(other, 1, 0) == 0, other, truth)
        last = classes - 1
        if i % 4 in (1, 3):
            truth[truth == last] = 0
        if i % 4 in (2, 3):
            predicted[predicted == last] = 0
        if ignore is not None:
            truth = np.where(rng.random(truth.shape) < 0.1, ignore, truth)
        known = truth != ignore
        t, p = truth[known], predicted[known]
        pairs.append((t, p))
        labels = list(range(classes))
        in_truth = np.array([(t == c).any() for c in labels])
        in_prediction = np.array([(p == c).any() for c in labels])
        score = lambda f, there: np.where(there, f(t, p, labels=labels, average=None, zero_division=0), np.nan)
        hd95 = [surface_distance((truth == c) & known, (predicted == c) & known) for c in labels]
        dice.append(score(metrics.f1_score, in_truth | in_prediction))
        iou.append(score(metrics.jaccard_score, in_truth | in_prediction))
        counted = lambda v: np.nan if v == "both_empty" else v.get("pixels", np.hypot(height, width))
        hd.append([counted(v) for v in hd95])
        images.append({
            "truth": truth.ravel().tolist(),
            "predicted": predicted.ravel().tolist(),
            "dice": nums(dice[-1]),
            "iou": nums(iou[-1]),
            "precision": nums(score(metrics.precision_score, in_prediction)),
            "recall": nums(score(metrics.recall_score, in_truth)),
            "hd95": hd95,
            "confusion": metrics.confusion_matrix(t, p, labels=labels).tolist(),
        })  # fmt: skip
    t, p = (np.concatenate(v) for v in zip(*pairs))
    dice, iou, hd = np.array(dice), np.array(iou), np.array(hd)
    counts = [[sum(word in image["hd95"][c] for image in images) for word in ("both_empty", "false_negative", "false_positive")]
              for c in labels]
    spread = lambda values: [nums((np.nanmean(v), np.nanstd(v, ddof=1))) for v in values.T]
    over_classes = lambda values: np.nanmean([np.nanmean(v) for v in values[:, 1:] if not np.isnan(v).all()])
    return {
        "height": height,
        "width": width,
        "classes": classes,
        "ignore": ignore,
        "images": images,
        "counts": counts,
        "dice": spread(dice),
        "iou": spread(iou),
        "hd95": spread(hd),
        "mean_dice": over_classes(dice),
        "mean_iou": over_classes(iou),
        "pooled_dice": nums(metrics.f1_score(t, p, labels=labels, average=None)),
        "confusion": metrics.confusion_matrix(t, p, labels=labels).tolist(),
    }  # fmt: skip


def otsu_case(seed, bins, gap):
    rng = np.random.default_rng(seed)
    levels = np.concatenate([rng.normal(bins * 0.3, bins * 0.08, 200), rng.normal(bins * 0.7, bins * 0.1, 120)])
    levels = np.clip(levels, 0, bins - 1).astype(int)
    if gap:
        levels = levels[(levels < bins * 0.4) | (levels > bins * 0.6)]
    histogram = np.bincount(levels, minlength=bins)
    within = [len(a) * a.var() + len(b) * b.var() if len(a) and len(b) else np.inf
              for a, b in ((levels[levels <= t], levels[levels > t]) for t in range(bins))]
    best = next(t for t, w in enumerate(within) if w <= min(within) * (1 + 1e-12))
    return {"histogram": histogram.tolist(), "threshold": best}


fixture = {
    "made_with": f"scikit-learn {__import__('sklearn').__version__}, scipy {__import__('scipy').__version__}",
    "confusion": confusion_cases(),
    "binary": binary_cases(),
    "multiclass": [multiclass_case(n, k, s) for n, k, s in
                   ((12, 3, 1), (30, 3, 1), (40, 4, 400), (40, 5, 1), (20, 4, 30), (25, 5, 0.1))],
    "scaling": [scaling_case(*c) for c in
                ((1, 40, 2, 1), (2, 40, 2, 5), (3, 60, 3, 0.2), (4, 60, 4, 3), (5, 50, 5, 10), (6, 30, 2, 4, True), (7, 45, 3, 9, True))],
    "obuchowski": [obuchowski_case(*c) for c in ((1, 60, 20, 0.5), (2, 80, 70, 0.1), (3, 40, 12, 0.0), (4, 50, 25, 1.0))],
    "separated": [separated_case(*c) for c in
                  ((2, 2, 1, 0.95, False), (30, 10, 1, 0.95, False), (5, 40, 3, 0.9, False), (4, 6, 2, 0.95, True))],
    "proportions": [proportion_case(*c) for c in
                    ((1, 90, 30, 0.7, 0.95), (2, 200, 180, 0.9, 0.9), (3, 60, 6, 0.5, 0.99), (4, 40, 20, 3.0, 0.95), (5, 40, 20, -3.0, 0.95))],
    "paired": paired_case(),
    "monai": [monai_case(i) for i in range(52)],
    "wilson": [wilson_case(*c) for c in
               ((0, 1, 0.95), (1, 1, 0.95), (15, 16, 0.95), (495, 624, 0.95), (579, 624, 0.95), (0, 234, 0.99),
                (390, 390, 0.9), (7, 20, 0.5), (3, 1000000, 0.999))],
    "normal_quantile": [[p, stats.norm.ppf(p)] for p in
                        (1e-300, 1e-20, 1e-12, 1e-5, 0.025, 0.07, 0.2, 0.5, 0.6, 0.925, 0.975, 0.995, 0.9999999)],
    "masks": [mask_case(n, d, s) for n, d, s in ((64, 0.3, 0.2), (50, 0.05, 0.5), (40, 0.9, 1.0), (36, 0.5, 0.0))],
    "bootstrap": bootstrap_case(),
    "segmentation": [segmentation_case(*c) for c in ((1, 8, 16, 21, 2, None), (2, 6, 20, 12, 3, 255), (3, 5, 1, 30, 3, None))],
    "otsu": [otsu_case(*c) for c in ((1, 256, False), (2, 64, True), (3, 16, False), (4, 256, True))],
}  # fmt: skip
path = pathlib.Path(__file__).with_name("reference.json")
path.write_text(json.dumps(fixture, separators=(",", ":"), ensure_ascii=False) + "\n")
print(path, path.stat().st_size)
