"""Writes reference.json: what scikit-learn, SciPy and NumPy say, for tests/reference.rs.

Run: python crates/metrics/tests/reference.py (scikit-learn >= 1.9, scipy). Seeded: same file every time.
DeLong is written out here pair by pair, the temperature found by SciPy, ECE and masks by NumPy, surface distances by
SciPy's distance transform, Otsu's cut as the one with the least variance within.
"""

import json
import pathlib
import re
import warnings

import numpy as np
from scipy import ndimage, optimize, special, stats
from sklearn import calibration, metrics

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20240607)
NAMES = ["normal", "pneumonia", "covid", "tb", "a class with a long näme"]


def num(x):
    """Plain Python numbers; NaN becomes null, infinity too (JSON has neither)."""
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
        # Where no prediction is right, scikit-learn 1.9 slips into printing supports as floats: "16.0".
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
    # Shares on exact decimal ties: 1/8, 3/8, 5/8 at two digits, so that rounding rules show.
    for hits in range(9):
        labels = np.array([0] * 8 + [1] * 8)
        predictions = np.array([0] * hits + [1] * (8 - hits) + [1] * 8)
        cases.append(confusion_case(2, labels, predictions))
    return cases


def delong_variance(labels, scores):
    positives, negatives = scores[labels], scores[~labels]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    m, n = wins.shape
    return wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n


def threshold_choices(labels, scores):
    candidates = sorted(set(scores.tolist()))
    positives, negatives = int(labels.sum()), int((~labels).sum())
    hits = {t: int((labels & (scores >= t)).sum()) for t in candidates}
    alarms = {t: int((~labels & (scores >= t)).sum()) for t in candidates}
    youden = max(candidates, key=lambda t: (hits[t] * negatives - alarms[t] * positives, -t))
    wanted = (0.5, 0.8, 0.9, 0.95, 1.0)
    reach = [max(t for t in candidates if hits[t] >= s * positives - 1e-9) for s in wanted]
    return {"youden": youden, "sensitivities": wanted, "thresholds": reach}


def binary_case(n, share, decimals, skill):
    labels = rng.random(n) < share
    labels[:2] = [True, False]
    scores = np.round(special.expit(skill * (labels - 0.5) + rng.normal(0, 1, n)), decimals)
    roc_all = metrics.roc_curve(labels, scores, drop_intermediate=False)
    roc = metrics.roc_curve(labels, scores)
    pr_all = metrics.precision_recall_curve(labels, scores)
    pr = metrics.precision_recall_curve(labels, scores, drop_intermediate=True)
    auc = metrics.roc_auc_score(labels, scores)
    half = stats.norm.ppf(0.975) * np.sqrt(delong_variance(labels, scores))
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
        "delong": nums([max(0, auc - half), min(1, auc + half)]) if two else None,
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


def multiclass_case(n, k, decimals):
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    logits = rng.normal(0, 1.5, (n, k)) + 1.5 * np.eye(k)[labels]
    probabilities = np.round(special.softmax(logits, axis=1), decimals)
    probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
    probabilities = np.clip(np.round(probabilities, decimals), 0, 1)
    ovr = lambda average: metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average=average)
    positive = np.eye(k)[labels]
    top = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    return {
        "classes": k,
        "labels": labels.tolist(),
        "probabilities": probabilities.ravel().tolist(),
        "argmax": top.tolist(),
        "auc": [metrics.roc_auc_score(positive[:, c], probabilities[:, c]) for c in range(k)],
        "auc_macro": ovr("macro"),
        "auc_weighted": ovr("weighted"),
        "ap_macro": metrics.average_precision_score(positive, probabilities, average="macro"),
        "log_loss": metrics.log_loss(labels, probabilities),
        "brier": metrics.brier_score_loss(labels, probabilities, labels=range(k)),
        "mcc": metrics.matthews_corrcoef(labels, top),
        "top_confidence": confidence.tolist(),
    }


def temperature_case(n, k, scale):
    labels = rng.integers(0, k, n)
    logits = np.round(scale * (rng.normal(0, 1, (n, k)) + 1.2 * np.eye(k)[labels]), 4)
    nll = lambda beta: -np.mean(special.log_softmax(beta * logits, axis=1)[np.arange(n), labels])
    best = optimize.minimize_scalar(nll, bounds=(0.01, 100), method="bounded", options={"xatol": 1e-12})
    return {
        "classes": k,
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "temperature": 1 / best.x,
        "nll_before": nll(1.0),
        "nll_after": best.fun,
    }


def wilson_case(successes, n, level):
    interval = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return [successes, n, level, interval.low, interval.high]


def mask_case(n, density, noise):
    truth = rng.random(n) < density
    predicted = np.where(rng.random(n) < noise, rng.random(n) < density, truth)
    score = lambda metric: metric(truth, predicted, zero_division=0)
    return {
        "truth": truth.astype(int).tolist(),
        "predicted": predicted.astype(int).tolist(),
        "dice": score(metrics.f1_score),
        "iou": score(metrics.jaccard_score),
        "precision": score(metrics.precision_score),
        "recall": score(metrics.recall_score),
    }


def bootstrap_case():
    """A percentile interval from other random numbers: ours must come out near it, not equal to it."""
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
    """95th percentile both ways, the larger one; a word where a mask is empty."""
    if not truth.any() or not predicted.any():
        return "both_empty" if truth.any() == predicted.any() else "missed" if truth.any() else "invented"
    a, b = (mask & ~ndimage.binary_erosion(mask) for mask in (truth, predicted))
    directed = lambda a, b: np.percentile(ndimage.distance_transform_edt(~b)[a], 95)
    return {"pixels": max(directed(a, b), directed(b, a))}


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
        empty = [not (t == c).any() and not (p == c).any() for c in labels]
        fill = lambda scores: np.where(empty, 1.0, scores)
        score = lambda f: fill(f(t, p, labels=labels, average=None, zero_division=0))
        hd95 = [surface_distance((truth == c) & known, (predicted == c) & known) for c in labels]
        dice.append(score(metrics.f1_score))
        iou.append(score(metrics.jaccard_score))
        hd.append([v["pixels"] if isinstance(v, dict) else 0.0 if v == "both_empty" else np.nan for v in hd95])
        images.append({
            "truth": truth.ravel().tolist(),
            "predicted": predicted.ravel().tolist(),
            "dice": nums(dice[-1]),
            "iou": nums(iou[-1]),
            "precision": nums(score(metrics.precision_score)),
            "recall": nums(score(metrics.recall_score)),
            "hd95": hd95,
            "confusion": metrics.confusion_matrix(t, p, labels=labels).tolist(),
        })  # fmt: skip
    t, p = (np.concatenate(v) for v in zip(*pairs))
    dice, iou, hd = np.array(dice), np.array(iou), np.array(hd)
    counts = [[sum(image["hd95"][c] == word for image in images) for word in ("both_empty", "missed", "invented")]
              for c in labels]
    return {
        "height": height,
        "width": width,
        "classes": classes,
        "ignore": ignore,
        "images": images,
        "counts": counts,
        "dice": [nums((d.mean(), d.std(ddof=1))) for d in dice.T],
        "iou": [nums((d.mean(), d.std(ddof=1))) for d in iou.T],
        "hd95": [nums((np.nanmean(d), np.nanstd(d, ddof=1))) for d in hd.T],
        "mean_dice": dice[:, 1:].mean(),
        "mean_iou": iou[:, 1:].mean(),
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
    "multiclass": [multiclass_case(n, k, d) for n, k, d in
                   ((12, 3, 8), (30, 3, 1), (40, 4, 2), (40, 5, 3), (20, 4, 8), (25, 5, 1))],
    "temperature": [temperature_case(n, k, s) for n, k, s in
                    ((40, 2, 1), (40, 2, 5), (60, 3, 0.2), (60, 4, 3), (50, 5, 10))],
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
