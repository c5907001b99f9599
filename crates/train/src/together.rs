//! What processes that train together tell each other besides gradients: results, failures, and Ctrl-C.

use collective::Collective;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::map_dice::ImageDice;
use super::tally::Scores;

/// What a process tells the others where they meet.
#[derive(Serialize, Deserialize)]
enum Word<T> {
    Done(T),
    Interrupted,
    Failed(String),
}

/// What all processes have done, in the order of their ranks; `None` if one of them was interrupted. `own` is this
/// process's part, `None` if it was interrupted.
///
/// # Errors
/// This process's error, or that of the first that failed.
pub(super) fn agree<T: Serialize + DeserializeOwned>(
    processes: &dyn Collective,
    own: Result<Option<T>, TrainError>,
) -> Result<Option<Vec<T>>, TrainError> {
    if processes.size() == 1 {
        return own.map(|own| own.map(|own| vec![own]));
    }
    let (word, failed) = match own {
        Ok(Some(own)) => (Word::Done(own), None),
        Ok(None) => (Word::Interrupted, None),
        Err(error) => (Word::Failed(error.to_string()), Some(error)),
    };
    let bytes = serde_json::to_vec(&word).map_err(|e| elsewhere(processes.rank(), &e))?;
    let words = processes.gather(&bytes)?;
    if let Some(error) = failed {
        return Err(error);
    }
    let mut all = Some(Vec::with_capacity(words.len()));
    for (rank, word) in words.iter().enumerate() {
        match serde_json::from_slice(word).map_err(|e| elsewhere(rank, &e))? {
            Word::Failed(message) => return Err(TrainError::Elsewhere { rank, message }),
            Word::Interrupted => all = None,
            Word::Done(done) => {
                if let Some(all) = &mut all {
                    all.push(done);
                }
            }
        }
    }
    Ok(all)
}

/// A process that does not speak the same language.
fn elsewhere(rank: usize, error: &serde_json::Error) -> TrainError {
    TrainError::Elsewhere {
        rank,
        message: format!("its message cannot be read ({error}): do all run the same version?"),
    }
}

/// Images and results of a chunk or a batch, as they are sent: losses by their bits, since JSON has no NaN.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) images: usize,
    class: Option<(u32, usize)>,
    map_loss: Option<u32>,
    dice: ImageDice,
}

impl Told {
    pub(super) fn new(images: usize, scores: &Scores) -> Self {
        Told {
            images,
            class: scores.class.map(|(loss, hits)| (loss.to_bits(), hits)),
            map_loss: scores.map_loss.map(f32::to_bits),
            dice: scores.dice,
        }
    }

    pub(super) fn scores(&self) -> Scores {
        Scores {
            class: self.class.map(|(loss, hits)| (f32::from_bits(loss), hits)),
            map_loss: self.map_loss.map(f32::from_bits),
            dice: self.dice,
        }
    }
}
