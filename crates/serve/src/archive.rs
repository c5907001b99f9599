//! The archive that results are stored in, by STOW-RS (PS3.18, section 10.5).

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pipeline::predict::DicomObjects;
use ureq::Agent;

/// For the archive to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Separates the parts of a request. Sixteen random letters do not occur in a file by chance, and all files of a request
/// are this program's own.
const BOUNDARY: &str = "eff-unet-QzXvKjWpYbRtLmNc";

/// A DICOMweb service.
#[derive(Clone)]
pub struct Archive {
    /// Without a slash at its end; the studies are below it.
    url: String,
    /// The value of the header `Authorization`.
    authorization: Option<String>,
    agent: Agent,
}

/// Without the authorization.
impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("url", &self.url).finish()
    }
}

impl Archive {
    /// `authorization` is a file whose first line is the value of the header `Authorization`, such as `Bearer TOKEN`.
    ///
    /// # Errors
    /// The address is not one of HTTP; the file cannot be read, or contains no such value.
    pub fn new(url: &str, authorization: Option<&Path>) -> Result<Self> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            bail!(
                "{url} is not the address of a DICOMweb service, such as http://127.0.0.1:8042/dicom-web"
            );
        }
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Ok(Archive {
            url: url.trim_end_matches('/').into(),
            authorization: authorization.map(first_line).transpose()?,
            agent: config.into(),
        })
    }

    /// The address of a study.
    pub(crate) fn study(&self, uid: &str) -> String {
        format!("{}/studies/{uid}", self.url)
    }

    /// Stores the results of an image.
    ///
    /// # Errors
    /// The archive cannot be reached, or does not say that it has stored all of them.
    pub(crate) fn store(&self, objects: &DicomObjects) -> Result<()> {
        let files = [objects.segmentation.as_ref(), objects.overlay.as_ref()];
        let files = files.into_iter().flatten().chain([&objects.report]);
        let kind = format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}");
        let mut request = self
            .agent
            .post(format!("{}/studies", self.url))
            .header("Content-Type", &kind)
            .header("Accept", "application/dicom+json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let answered = request.send(&body(files.map(Vec::as_slice))[..]);
        let answered =
            answered.with_context(|| format!("cannot reach the archive at {}", self.url))?;
        // 202 says that some were not stored, or only with changes.
        match answered.status().as_u16() {
            200 => Ok(()),
            status => bail!(
                "the archive at {} did not store the results: it answered {status}",
                self.url
            ),
        }
    }
}

fn first_line(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    match line.is_empty() || line.chars().any(|c| !c.is_ascii_graphic() && c != ' ') {
        true => bail!(
            "{}: the first line is no value of the header Authorization, such as Bearer TOKEN",
            file.display()
        ),
        false => Ok(line.into()),
    }
}

/// Files as the parts of a body.
fn body<'f>(files: impl Iterator<Item = &'f [u8]>) -> Vec<u8> {
    let mut body = vec![];
    for file in files {
        let head = format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_authorizations_that_cannot_be_are_refused() {
        assert!(Archive::new("localhost:8042", None).is_err());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authorization");
        fs::write(&file, "\n").unwrap();
        assert!(Archive::new("http://a", Some(&file)).is_err());
        fs::write(&file, "Bearer secret\n").unwrap();
        let archive = Archive::new("http://a/dicom-web/", Some(&file)).unwrap();
        assert_eq!(archive.study("1.2"), "http://a/dicom-web/studies/1.2");
        assert!(!format!("{archive:?}").contains("secret"));
    }
}
