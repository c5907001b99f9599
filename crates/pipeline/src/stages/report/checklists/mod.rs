//! What others ask about a run: a model card in the form of the Hugging Face hub, and the checklists CLAIM (2024 update)
//! and TRIPOD+AI (2024) for papers.
//!
//! Each is a list of rows whose answer is a function of what the run knows ([`facts::Facts`]). Where a run cannot know an
//! answer, it is left to the author in the same words everywhere. The items are paraphrased; the wording that counts is
//! that of the papers.

mod answers;
mod claim;
mod facts;
mod item;
mod model_card;
mod tripod;
mod yaml;

use anyhow::Result;

use crate::context::Context;
use facts::Facts;

/// Writes `MODEL_CARD.md`, `CLAIM.md` and `TRIPOD-AI.md`.
pub(super) fn write(context: &Context<'_>) -> Result<()> {
    let facts = Facts::read(context)?;
    let card = model_card::card(&facts)?;
    context.run.write("MODEL_CARD.md", card.as_bytes())?;
    let checklists = [
        ("CLAIM.md", claim::CLAIM),
        ("TRIPOD-AI.md", tripod::TRIPOD_AI),
    ];
    for (name, checklist) in checklists {
        item::document(&checklist, &facts)?.save(&context.run.file(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use claim::CLAIM;
    use item::Checklist;
    use tripod::TRIPOD_AI;

    fn numbers(checklist: &Checklist) -> Vec<&'static str> {
        let items = checklist.sections.iter().flat_map(|s| s.items);
        items.map(|item| item.0).collect()
    }

    #[test]
    fn claim_has_its_44_items_in_order() {
        let expected: Vec<String> = (1..=44).map(|n| n.to_string()).collect();
        assert_eq!(numbers(&CLAIM), expected);
    }

    #[test]
    fn tripod_ai_has_27_items_with_52_subitems() {
        let found = numbers(&TRIPOD_AI);
        let unique: BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), unique.len()), (52, 52));
        let main = found
            .iter()
            .map(|n| n.trim_end_matches(char::is_alphabetic));
        let main: Vec<u32> = main.map(|n| n.parse().unwrap()).collect();
        assert!(main.is_sorted());
        assert_eq!(main.iter().collect::<BTreeSet<_>>().len(), 27);
    }
}
