//! Addresses in a device's memory.

/// An address in a device's memory, in bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub u64);

impl Address {
    /// No memory.
    pub const NULL: Address = Address(0);

    /// The address offset by `words` four-byte words.
    pub fn plus(self, words: usize) -> Address {
        self.plus_bytes(4 * words)
    }

    /// The address offset by `bytes`.
    pub fn plus_bytes(self, bytes: usize) -> Address {
        Address(self.0 + bytes as u64)
    }

    /// Whether 16 bytes can be read from here at once.
    pub fn is_aligned(self) -> bool {
        self.0.is_multiple_of(16)
    }
}
