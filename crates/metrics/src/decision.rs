//! The decision rule: from a classifier's outputs to a class.

use serde::{Deserialize, Serialize};

use crate::Scaling;
use crate::logits::{largest, log_odds};

/// How logits and their calibrated probabilities become a class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionRule {
    /// With two classes: class `positive` if its log-odds against the other class are at least `log_odds`.
    Threshold {
        /// Index of the positive class, 0 or 1.
        positive: usize,
        /// The threshold.
        log_odds: f64,
    },
    /// The class with the largest calibrated probability, the first in a tie. It need not have the largest logit, because
    /// calibration adds a bias per class.
    MostProbable,
}

impl DecisionRule {
    /// Decides the class of one example, from its logits and their calibrated probabilities, one of each per class.
    pub fn decide(self, logits: &[f64], probabilities: &[f64]) -> usize {
        match self {
            Self::Threshold {
                positive,
                log_odds: threshold,
            } if logits.len() == 2 => {
                if log_odds(logits, positive) >= threshold {
                    positive
                } else {
                    1 - positive.min(1)
                }
            }
            _ => largest(probabilities),
        }
    }

    /// How confident the decision is: with a threshold the distance of the calibrated log-odds from it, otherwise the
    /// calibrated probability of the decided class.
    pub fn confidence(self, logits: &[f64], scaling: &Scaling) -> f64 {
        match self {
            Self::Threshold {
                positive,
                log_odds: threshold,
            } if logits.len() == 2 => {
                let calibrated = |log_odds| scaling.scaled_log_odds(log_odds, positive);
                (calibrated(log_odds(logits, positive)) - calibrated(threshold)).abs()
            }
            _ => {
                let probabilities = scaling.probabilities(logits);
                probabilities.into_iter().fold(0.0, f64::max)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positive_class_is_predicted_from_its_threshold_on() {
        let at = |positive, log_odds| {
            move |logits: &[f64]| {
                let rule = DecisionRule::Threshold { positive, log_odds };
                rule.decide(logits, &Scaling::identity(2).probabilities(logits))
            }
        };
        assert_eq!(at(1, 0.5)(&[0.0, 0.5]), 1);
        assert_eq!(at(1, 0.6)(&[0.0, 0.5]), 0);
        assert_eq!(at(0, -0.5)(&[0.0, 0.5]), 0);
        // In f64 both probabilities round to 1.
        assert_eq!(at(1, 50.0)(&[0.0, 49.0]), 0);
        assert_eq!(at(1, 50.0)(&[0.0, 51.0]), 1);
    }

    #[test]
    fn without_a_threshold_the_most_probable_class_is_predicted() {
        let decide = |logits: &[f64], scaling: &Scaling| {
            let probabilities = scaling.probabilities(logits);
            let rule = DecisionRule::MostProbable;
            let decided = rule.decide(logits, &probabilities);
            assert_eq!(rule.confidence(logits, scaling), probabilities[decided]);
            decided
        };
        assert_eq!(decide(&[0.0, 0.5], &Scaling::identity(2)), 1);
        assert_eq!(decide(&[0.2, 0.5, 0.5], &Scaling::identity(3)), 1);
        // The biases make another class the most probable one.
        let scaling = Scaling::new(1.5, vec![0.3, -0.3, 0.0]).unwrap();
        assert_eq!(decide(&[1.0, 1.2, 0.0], &scaling), 0);
    }
}
