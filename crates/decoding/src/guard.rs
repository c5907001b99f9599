//! Contains panics of decoders, which are third-party code that runs on untrusted files.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder and turns its panic into an error message.
///
/// The hook that would print the panic is skipped, because it names a line in a decoder rather than the file. All other
/// panics go to the previous hook. Calls may be nested.
///
/// # Errors
/// The decoder's own reason, or that it failed.
pub fn contained<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !CONTAINED.get() {
                before(panic);
            }
        }));
    });
    let outer = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    result.unwrap_or_else(|_| Err("damaged: the decoder failed on it".to_owned()))
}
