//! Which fragments of encapsulated pixels make up a frame (PS3.5, section A.4).

use std::borrow::Cow;

use crate::dataset::DataSet;
use crate::layout::{Layout, encapsulated};
use crate::tags;

/// The compressed bytes of a frame, counted from 0.
pub(crate) fn frame<'b>(
    set: &DataSet<'b>,
    layout: &Layout,
    frame: usize,
) -> Result<Cow<'b, [u8]>, String> {
    let divided = encapsulated(set).and_then(<[_]>::split_first);
    let Some((table, fragments)) = divided.filter(|(_, fragments)| !fragments.is_empty()) else {
        return Err("its pixels are damaged: they have no fragments".to_owned());
    };
    let frames = layout.frames as usize;
    let missing = || {
        format!(
            "its pixels are damaged: {} fragments are not divided into {frames} frames",
            fragments.len()
        )
    };
    let own: &[&[u8]] = match (frames, fragments.len()) {
        (1, _) => fragments,
        (frames, n) if frames == n => fragments.get(frame..=frame).unwrap_or_default(),
        _ => {
            let starts = starts(set, table, fragments, frames).ok_or_else(missing)?;
            let end = starts.get(frame + 1).copied().unwrap_or(fragments.len());
            let start = starts.get(frame).copied().ok_or_else(missing)?;
            fragments.get(start..end).unwrap_or_default()
        }
    };
    match own {
        [] => Err(missing()),
        [one] => Ok(Cow::Borrowed(one)),
        several => Ok(Cow::Owned(several.concat())),
    }
}

/// The index of the first fragment of each frame: from one of the offset tables, or where a JPEG begins.
fn starts(
    set: &DataSet<'_>,
    table: &[u8],
    fragments: &[&[u8]],
    frames: usize,
) -> Option<Vec<usize>> {
    let basic = table
        .as_chunks()
        .0
        .iter()
        .map(|offset| u64::from(u32::from_le_bytes(*offset)));
    let extended = set.bytes(tags::EXTENDED_OFFSETS).unwrap_or_default();
    let extended = extended
        .as_chunks()
        .0
        .iter()
        .map(|offset| u64::from_le_bytes(*offset));
    by_offset(basic, fragments, frames)
        .or_else(|| by_offset(extended, fragments, frames))
        .or_else(|| by_marker(fragments, frames))
}

/// Offsets count from the first fragment, each of which has a header of 8 bytes.
fn by_offset(
    offsets: impl ExactSizeIterator<Item = u64>,
    fragments: &[&[u8]],
    frames: usize,
) -> Option<Vec<usize>> {
    if offsets.len() != frames {
        return None;
    }
    let mut at = 0;
    let places: Vec<u64> = fragments
        .iter()
        .map(|fragment| {
            let place = at;
            at += 8 + fragment.len() as u64;
            place
        })
        .collect();
    offsets
        .map(|offset| places.binary_search(&offset).ok())
        .collect()
}

/// A fragment that begins with the first marker of a JPEG, JPEG-LS or JPEG 2000 stream begins a frame.
fn by_marker(fragments: &[&[u8]], frames: usize) -> Option<Vec<usize>> {
    const STARTS: [&[u8]; 2] = [b"\xFF\xD8\xFF", b"\xFF\x4F\xFF\x51"];
    let begins = |fragment: &&[u8]| STARTS.iter().any(|start| fragment.starts_with(start));
    let starts: Vec<usize> = (0..fragments.len())
        .filter(|&i| begins(&fragments[i]))
        .collect();
    (starts.len() == frames).then_some(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_several_fragments_are_found_by_offsets_or_markers() {
        let fragments: [&[u8]; 4] = [b"\xFF\xD8\xFFa", b"bb", b"\xFF\xD8\xFFc", b"dddd"];
        assert_eq!(
            by_offset([0_u64, 22].into_iter(), &fragments, 2),
            Some(vec![0, 2])
        );
        assert_eq!(by_offset([0_u64, 23].into_iter(), &fragments, 2), None);
        assert_eq!(by_offset([0_u64].into_iter(), &fragments, 2), None);
        assert_eq!(by_marker(&fragments, 2), Some(vec![0, 2]));
        assert_eq!(by_marker(&fragments, 3), None);
    }
}
