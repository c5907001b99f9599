//! Documents as files.

use std::io;
use std::path::{Component, Path};

use crate::document::Document;
use crate::error::{Error, write};

/// Largest picture that is put into an HTML file.
const MAX_PICTURE: u64 = 64 << 20;

impl Document {
    /// Writes the document as Markdown, atomically. The folder must exist.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write(path, self.to_markdown().as_bytes())
    }

    /// As [`Document::save`], and next to it a file of the same name with the ending `.html` that holds the pictures,
    /// which are read relative to the document's folder.
    pub fn save_with_html(&self, path: &Path) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let html = self.to_html(&|picture| read_inside(folder, picture))?;
        self.save(path)?;
        write(&path.with_extension("html"), html.as_bytes())
    }
}

/// Reads a file below `folder`. Any other is refused: a document can come from another program, and the file that it
/// becomes is passed on.
fn read_inside(folder: &Path, picture: &str) -> io::Result<Vec<u8>> {
    // As in links of the Markdown file.
    let picture = picture.replace('\\', "/");
    let path = Path::new(&picture);
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(inside) {
        let message = "it is not in the document's folder";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    files::read(&folder.join(path), MAX_PICTURE)
}
