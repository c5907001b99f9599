//! Checks a WebP (a RIFF file) before it is decoded.

/// Checks that every chunk is complete, of which the orientation is the last, and that it is a single picture.
///
/// The decoder allocates what a chunk of metadata claims, and takes a file without its last chunks.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let truncated = |needed: u64| format!("truncated: it has {} bytes of {needed}", bytes.len());
    let stated = 8 + size(bytes, 4).unwrap_or_default();
    if (bytes.len() as u64) < stated {
        return Err(truncated(stated));
    }
    if bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0) {
        return Err("it is an animation; save the picture that shows the image".to_owned());
    }
    let mut at = 12;
    while at < bytes.len() {
        let Some(size) = size(bytes, at + 4) else {
            // Fewer bytes than a chunk's header has are padding.
            break;
        };
        let end = at as u64 + 8 + size;
        if end > bytes.len() as u64 {
            return Err(truncated(end));
        }
        // Chunks begin at even positions.
        at = end.next_multiple_of(2) as usize;
    }
    Ok(())
}

fn size(bytes: &[u8], at: usize) -> Option<u64> {
    let size = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*size).into())
}
