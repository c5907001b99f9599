//! Unique identifiers without chance.

use files::sha256;

/// A UID that is a function of what it names: `2.25.` and the decimal number of a UUID (PS3.5, B.2), which is of version
/// 8 (RFC 9562, section 5.8), made of the first bits of the SHA-256 of all parts and their lengths.
pub fn uid(parts: &[&[u8]]) -> String {
    let lengths: Vec<[u8; 8]> = parts
        .iter()
        .map(|part| (part.len() as u64).to_le_bytes())
        .collect();
    // The lengths keep the parts apart: "a", "bc" is not "ab", "c".
    let hashed = lengths
        .iter()
        .zip(parts)
        .flat_map(|(length, part)| [length.as_slice(), part]);
    let digits = sha256::of_parts(hashed);
    let first = digits.get(..32).unwrap_or_default();
    let bits = u128::from_str_radix(first, 16).unwrap_or_default();
    format!("2.25.{}", versioned(bits))
}

/// With the version and variant of a UUID.
fn versioned(bits: u128) -> u128 {
    let version = bits & !(0xF << 76) | 8 << 76;
    version & !(0b11 << 62) | 0b10 << 62
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_valid_and_depend_on_each_part() {
        let one = uid(&[b"1.2.3", b"segmentation"]);
        assert_eq!(one, uid(&[b"1.2.3", b"segmentation"]));
        assert_ne!(one, uid(&[b"1.2.3s", b"egmentation"]));
        assert_ne!(one, uid(&[b"1.2.4", b"segmentation"]));
        // At most 64 characters, no component with a leading zero.
        assert!(one.len() <= 64 && one.starts_with("2.25.") && !one.starts_with("2.25.0"));
        let bits: u128 = one["2.25.".len()..].parse().unwrap();
        assert_eq!((bits >> 76 & 0xF, bits >> 62 & 0b11), (8, 0b10));
    }
}
