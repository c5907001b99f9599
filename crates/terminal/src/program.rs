//! What the user types to call this program.

/// The name of the installed program.
pub const NAME: &str = "eff-unet";

/// `cargo xtask` if cargo has started this program, otherwise its name: for hints that the user can type.
pub fn program() -> &'static str {
    // Cargo sets it for what it runs.
    match std::env::var_os("CARGO") {
        Some(_) => "cargo xtask",
        None => NAME,
    }
}
