//! Paths as text, '/'-separated.

use std::path::Path;

use super::names::has_no_extension;

/// A file's path below a root; `None` if it is not UTF-8 or not below the root.
pub(crate) fn relative(root: &Path, file: &Path) -> Option<String> {
    let parts = file.strip_prefix(root).ok()?.components();
    let parts: Option<Vec<&str>> = parts.map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

/// A path up to the last dot of its name, unless a number follows, which is no extension.
pub(crate) fn without_extension(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[name..].rfind('.') {
        Some(dot) if !has_no_extension(&path[name..]) => &path[..name + dot],
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_has_an_extension() {
        assert_eq!(without_extension("a.b/c"), "a.b/c");
        assert_eq!(without_extension("a.b/c.d.png"), "a.b/c.d");
        assert_eq!(without_extension("a.b/1.2.840.113"), "a.b/1.2.840.113");
        assert_eq!(without_extension("a.b/1.2.840.113.dcm"), "a.b/1.2.840.113");
    }
}
