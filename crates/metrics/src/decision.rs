//! The decision rule from logits to a class.

use serde::{Deserialize, Serialize};

use crate::Scaling;
use crate::logits::{largest, log_odds};

/// How logits become a class.
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
    /// The class with the largest logit, the first in a tie.
    Largest,
}

impl DecisionRule {
    /// Decides the class of one example.
    pub fn decide(self, logits: &[f64]) -> usize {
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
            _ => largest(logits),
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
                let decided = scaling.probabilities(logits).get(largest(logits)).copied();
                decided.unwrap_or(0.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positive_class_is_predicted_from_its_threshold_on() {
        let at = |positive, log_odds| DecisionRule::Threshold { positive, log_odds };
        assert_eq!(at(1, 0.5).decide(&[0.0, 0.5]), 1);
        assert_eq!(at(1, 0.6).decide(&[0.0, 0.5]), 0);
        assert_eq!(at(0, -0.5).decide(&[0.0, 0.5]), 0);
        assert_eq!(DecisionRule::Largest.decide(&[0.0, 0.5]), 1);
        assert_eq!(DecisionRule::Largest.decide(&[0.2, 0.5, 0.5]), 1);
        // In f64 both probabilities round to 1.
        assert_eq!(at(1, 50.0).decide(&[0.0, 49.0]), 0);
        assert_eq!(at(1, 50.0).decide(&[0.0, 51.0]), 1);
    }
}
