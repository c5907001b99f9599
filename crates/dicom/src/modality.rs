//! From stored values to the modality's unit: Rescale Slope and Intercept, or the Modality LUT (PS3.3, C.11.1).

use crate::header::Groups;
use crate::layout::Layout;
use crate::lut::Lut;
use crate::tags;

/// The Modality LUT.
#[derive(Clone, Debug)]
pub(crate) enum Modality {
    Identity,
    Rescale { slope: f64, intercept: f64 },
    Table(Lut),
}

impl Modality {
    pub(crate) fn of(groups: Groups<'_, '_>, layout: &Layout) -> Result<Self, String> {
        if let Some(item) = groups.set.items(tags::MODALITY_LUT).first() {
            return Ok(Self::Table(Lut::of_item(item, layout.signed)?));
        }
        let set = groups.with(tags::SLOPE, tags::PIXEL_TRANSFORMATION);
        let slope = set.number(tags::SLOPE, "Rescale Slope")?;
        let intercept = set.number(tags::INTERCEPT, "Rescale Intercept")?;
        match (slope, intercept) {
            (Some(0.), Some(_)) => Err(format!("its Rescale Slope {} is 0", tags::SLOPE)),
            (Some(slope), Some(intercept)) => Ok(Self::Rescale { slope, intercept }),
            _ => Ok(Self::Identity),
        }
    }

    /// The value in the modality's unit.
    pub(crate) fn value(&self, stored: i64) -> f64 {
        match self {
            Self::Identity => stored as f64,
            Self::Rescale { slope, intercept } => stored as f64 * slope + intercept,
            Self::Table(lut) => lut.at(stored).into(),
        }
    }

    /// Lowest and highest value that the stored bits, or a table's entries, can have.
    pub(crate) fn range(&self, layout: &Layout) -> (f64, f64) {
        if let Self::Table(lut) = self {
            return (0., lut.highest());
        }
        let (low, high) = layout.range();
        let (low, high) = (self.value(low), self.value(high));
        (low.min(high), low.max(high))
    }
}
