//! The images in a request: its body, or the files of a form.

use std::io::Cursor;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::limits::Limits;
use crate::problem::Problem;

/// An image as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The name that the client gave it; never stored.
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
}

/// The images of a request, in order.
///
/// # Errors
/// The request is too large, too slow or malformed, or contains no image.
pub(crate) async fn images(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
) -> Result<Vec<Upload>, Problem> {
    let kind = Kind::of(headers)?;
    let body = within(limits.reading, whole(body, limits.bytes)).await?;
    let images = match kind {
        Kind::Image => vec![Upload {
            name: "image".into(),
            bytes: body,
        }],
        Kind::Form(boundary) => parts(body, boundary, limits.images, Part::File).await?,
        Kind::Related(boundary) => parts(body, boundary, limits.images, Part::Instance).await?,
    };
    match images.is_empty() {
        true => Err(Problem::malformed(
            "the request contains no file: `curl -F image=@film.png`",
        )),
        false => Ok(images),
    }
}

/// What the body is, as far as the request says.
enum Kind {
    Image,
    /// With the boundary of its parts.
    Form(String),
    /// DICOM instances, as STOW-RS sends them; with the boundary of its parts.
    Related(String),
}

/// What a part of a body must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// With a name.
    File,
    Instance,
}

impl Kind {
    /// A wrong type of an image does no harm, because its bytes say what it is; text cannot be one.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let stated = headers.get(header::CONTENT_TYPE);
        let stated = stated
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media = stated
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if media == "multipart/form-data" {
            let boundary = multer::parse_boundary(stated);
            let unbounded = |_| Problem::malformed("the form's Content-Type has no boundary");
            return Ok(Kind::Form(boundary.map_err(unbounded)?));
        }
        if media == "multipart/related" {
            return Ok(Kind::Related(related(stated)?));
        }
        let text = media.starts_with("text/") || media.ends_with("json") || media.ends_with("xml");
        if text || media.starts_with("multipart/") {
            return Err(Problem::no_image(format!(
                "{media} is no image: send the image itself as the body, or one or several as files of a form \
                 (multipart/form-data)"
            )));
        }
        Ok(Kind::Image)
    }
}

/// The number of bytes that a request's body has, or may have if it does not say.
///
/// # Errors
/// It says that it is larger than it may be.
pub(crate) fn announced(headers: &HeaderMap, limits: &Limits) -> Result<usize, Problem> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        None => Ok(limits.bytes),
        Some(length) => match usize::try_from(length) {
            Ok(length) if length <= limits.bytes => Ok(length),
            _ => Err(too_large(limits.bytes)),
        },
    }
}

fn too_large(most: usize) -> Problem {
    let most = most >> 20;
    Problem::too_large(format!(
        "a request may have {most} MiB; send fewer or smaller images"
    ))
}

async fn whole(body: Body, most: usize) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, most).collect().await;
    let collected = collected.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(most),
        false => Problem::malformed("the request ended before its body was complete"),
    });
    Ok(collected?.to_bytes())
}

/// The boundary of the instances of STOW-RS.
///
/// # Errors
/// They are not DICOM files, or there is no boundary.
fn related(stated: &str) -> Result<String, Problem> {
    let malformed = || Problem::malformed("the request's Content-Type has no boundary");
    let media: mime::Mime = stated.parse().map_err(|_| malformed())?;
    let kind = media.get_param("type").map(|kind| kind.as_str().to_owned());
    if kind.is_some_and(|kind| kind != "application/dicom") {
        return Err(Problem::no_image(
            "only instances as DICOM files are taken: multipart/related; type=\"application/dicom\"",
        ));
    }
    let boundary = media.get_param(mime::BOUNDARY);
    boundary
        .map(|name| name.as_str().to_owned())
        .ok_or_else(malformed)
}

/// The files in the parts of a body.
async fn parts(
    body: Bytes,
    boundary: String,
    most: usize,
    kind: Part,
) -> Result<Vec<Upload>, Problem> {
    let mut parts = multer::Multipart::with_reader(Cursor::new(body), boundary);
    let mut images = vec![];
    let malformed =
        |error: multer::Error| Problem::malformed(format!("the form is malformed: {error}"));
    while let Some(field) = parts.next_field().await.map_err(malformed)? {
        let name = match (field.file_name(), kind) {
            (Some(name), _) => name.to_owned(),
            (None, Part::Instance) => "instance".into(),
            (None, Part::File) => {
                let field = field.name().unwrap_or("").to_owned();
                return Err(Problem::malformed(format!(
                    "the form's field {field:?} is no file; only files are expected"
                )));
            }
        };
        if images.len() == most {
            return Err(Problem::too_large(format!(
                "a request may have {most} images"
            )));
        }
        let bytes = field.bytes().await.map_err(malformed)?;
        images.push(Upload { name, bytes });
    }
    Ok(images)
}

async fn within<T>(
    time: Duration,
    reading: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let late = |_| {
        let seconds = time.as_secs();
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the request did not arrive within {seconds} seconds"),
        )
    };
    tokio::time::timeout(time, reading).await.map_err(late)?
}
