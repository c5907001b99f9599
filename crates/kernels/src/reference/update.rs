//! Steps of optimizers.

use crate::update::{Kind, Rates, Rule};

/// A weight and its moments after a step with gradient `g`.
pub fn update(
    rule: &Rule,
    rates: &Rates,
    p: f64,
    g: f64,
    [first, second]: [f64; 2],
) -> (f64, [f64; 2]) {
    let of = |values: [f32; 2]| values.map(f64::from);
    let (keep, take, correction) = (of(rule.keep), of(rule.take), of(rates.correction));
    let (rate, shrinkage) = (f64::from(rates.rate), f64::from(rates.shrinkage));
    let g = g + f64::from(rule.penalty) * p;
    match rule.kind {
        Kind::Adam => {
            let m = keep[0] * first + take[0] * g;
            let v = keep[1] * second + take[1] * g * g;
            let root = (v * correction[1]).sqrt() + f64::from(rule.epsilon);
            let p = p - rate * m * correction[0] / root - shrinkage * p;
            (p, [m, v])
        }
        Kind::Sgd => {
            let velocity = keep[0] * first + g;
            let ahead = if rule.nesterov {
                g + keep[0] * velocity
            } else {
                velocity
            };
            (p - rate * ahead, [velocity, second])
        }
        Kind::RmsProp => {
            let square = second + take[1] * (g * g - second);
            let velocity = keep[0] * first + g / (square + f64::from(rule.epsilon)).sqrt();
            (p - rate * velocity, [velocity, square])
        }
    }
}
