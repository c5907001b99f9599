//! Pictures as data URIs.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The picture at a path as a data URI, whose characters are safe in an attribute.
pub(super) fn data_uri(
    path: &str,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> io::Result<String> {
    let kind = media_type(path)?;
    Ok(format!(
        "data:{kind};base64,{}",
        STANDARD.encode(read(path)?)
    ))
}

fn media_type(path: &str) -> io::Result<&'static str> {
    let ending = path.rsplit('.').next().unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "png" => Ok("image/png"),
        "jpg" | "jpeg" => Ok("image/jpeg"),
        // In an `img` element scripts of an SVG file do not run.
        "svg" => Ok("image/svg+xml"),
        _ => {
            let message = "it is neither PNG, JPEG nor SVG by its ending";
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}
