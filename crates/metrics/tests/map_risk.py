"""Writes map_risk.json: thresholds on probability maps by MAPIE, SciPy and NumPy, for tests/map_risk.rs.

Run: python crates/metrics/tests/map_risk.py (mapie >= 1.6, scipy, numpy, statsmodels). Seeded: the same file every time.
Sensitivity with one image a patient and masks that are not empty is MAPIE's conformal risk control of recall. MAPIE counts
an image without marked pixels as all wrong, ours as without error, so that of Learn then Test its p-values and its
fixed-sequence procedure are used on losses computed here. Means by patient are computed here from their definitions.
"""

import json
import pathlib
import warnings

import numpy as np
from mapie.risk_control import MultiLabelClassificationController
from mapie.risk_control.fwer_control import control_fwer
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20261202)


def draw(images, pixels, bins, patients, empty):
    """Bins of pixels and whether they are in the mask; no probability is an edge."""
    ids = rng.integers(0, patients, images) if patients else np.arange(images)
    skill = rng.normal(4, 1.5, images if not patients else patients)[ids]
    mask = rng.random((images, pixels)) < rng.uniform(0.1, 0.6, images)[:, None]
    mask[:, 0] = True
    if empty:
        mask[rng.random(images) < empty] = False
    logits = skill[:, None] * (mask - 0.5) + rng.normal(0, 1.2, (images, pixels))
    return ids, np.minimum((bins / (1 + np.exp(-logits))).astype(int), bins - 1), mask


def by_patient(ids, values):
    """Mean over each patient's images, NaN where none has a value."""
    return np.array([np.nanmean(values[ids == g], axis=0) for g in np.unique(ids)])


def losses(p, mask, t):
    marked = p >= t
    with np.errstate(invalid="ignore"):
        outside = (marked & ~mask).sum(1) / marked.sum(1)
        missed = (mask & ~marked).sum(1) / mask.sum(1)
    return outside, missed


def mean(values):
    """Wilson's interval for an effective number of patients (Korn & Graubard 1998)."""
    values = values[~np.isnan(values)]
    n, m = len(values), values.mean()
    few = stats.norm.ppf(0.975) / stats.t.ppf(0.975, n - 1)
    effective = few**2 * n * m * (1 - m) / values.var(ddof=1)
    return [m, *proportion_confint(m * effective, effective, method="wilson"), n]


def case(images, pixels, bins, patients, empty, outside_allowed, level, missed_allowed):
    ids, binned, mask = draw(images, pixels, bins, patients, empty)
    p, thresholds = (binned + 0.5) / bins, np.arange(bins + 1) / bins
    tables = [by_patient(ids, np.nan_to_num([losses(p, mask, t)[k] for t in thresholds]).T) for k in (0, 1)]
    n = len(np.unique(ids))

    risk = tables[0].mean(axis=0)
    # Whole sums must not be missed by rounding.
    whole = np.where(np.abs(risk * n - np.round(risk * n)) < 1e-9, np.round(risk * n) / n, risk)

    def learn_then_test(allowed):
        p_values = compute_hoeffding_bentkus_p_value(whole, n, allowed)[::-1, 0]
        kept = control_fwer(p_values, 1 - level, "fixed_sequence")
        if len(kept) == 0 or not (p >= thresholds[::-1][kept.max()]).any():
            return None, None
        return float(thresholds[::-1][kept.max()]), min(float(p_values[kept.max()]), 1.0)

    lowest, _ = learn_then_test(outside_allowed)
    sweep = [[allowed, *learn_then_test(allowed)] for allowed in np.linspace(0.03, 0.6, 20).tolist()]

    risk = tables[1].mean(axis=0)
    fine = np.flatnonzero((n * risk + 1) / (n + 1) <= missed_allowed)
    highest = thresholds[fine.max()] if len(fine) else None
    if not patients and not empty and highest is not None:
        crc = MultiLabelClassificationController(lambda x: x, risk="recall", method="crc", target_level=1 - missed_allowed, predict_params=thresholds)
        crc.calibrate(p, mask.astype(int))
        assert highest == crc.best_predict_param[0], (highest, crc.best_predict_param)
        highest = float(crc.best_predict_param[0])

    test = {}
    if lowest is not None:
        values = losses(p, mask, lowest)
        for name, own in zip(("outside", "missed"), values):
            test[name] = mean(by_patient(ids, np.nan_to_num(own)))
            test[f"{name}_if"] = mean(by_patient(ids, own))
    print(n, lowest, highest, test.get("outside"))
    return {
        "bins": bins,
        "patients": ids.tolist(),
        "pixels": (2 * binned + mask).tolist(),
        "outside_allowed": outside_allowed,
        "level": level,
        "missed_allowed": missed_allowed,
        "sweep": sweep,
        "lowest": lowest,
        "highest": highest,
        "at_lowest": test,
    }


cases = [
    case(90, 40, 50, None, 0, 0.1, 0.9, 0.1),
    case(120, 30, 100, None, 0, 0.2, 0.95, 0.05),
    case(150, 30, 50, 80, 0.3, 0.15, 0.9, 0.1),
    case(150, 25, 20, 60, 0.1, 0.2, 0.8, 0.2),
    # Too few patients for both.
    case(12, 20, 20, None, 0, 0.1, 0.9, 0.05),
]
path = pathlib.Path(__file__).with_name("map_risk.json")
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
