//! What a client is answered about its images.

use std::path::PathBuf;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imaging::encode;
use pipeline::predict::{DicomFiles, DicomObjects, Found, Prediction, Predictor, Segments};
use serde::{Deserialize, Serialize};
use viewer::Pictures;

use crate::problem::Problem;

/// What a request asks for besides the prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Overlay and mask.
    #[serde(default)]
    pub(crate) pictures: bool,
    /// The results as DICOM objects.
    pub(crate) dicom: Option<WantedSegments>,
    /// The image and its maps, for the viewer's page.
    #[serde(skip)]
    pub(crate) view: bool,
}

/// A prediction, and what it looks like if that was wanted.
pub(crate) struct Completed {
    pub(crate) prediction: Prediction,
    pub(crate) dicom: Option<DicomObjects>,
    pub(crate) pictures: Option<Pictures>,
}

/// How a DICOM segmentation states where a class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WantedSegments {
    Binary,
    Fractional,
}

impl From<WantedSegments> for Segments {
    fn from(wanted: WantedSegments) -> Self {
        match wanted {
            WantedSegments::Binary => Segments::Binary,
            WantedSegments::Fractional => Segments::Fractional,
        }
    }
}

/// The answer to a request.
#[derive(Serialize)]
pub(crate) struct Answers {
    /// As in the audit log and in the header `x-request-id`.
    pub(crate) request: String,
    /// One per image, in the order of the request.
    pub(crate) images: Vec<Answer>,
}

/// The answer about one image.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// As `predict` records it; `image` is the name that the client gave, and pictures are data URIs.
    Predicted(Box<Prediction>),
    /// Why there is none.
    Refused {
        /// The name that the client gave.
        image: String,
        status: u16,
        error: String,
    },
}

impl Answer {
    pub(crate) fn of(name: String, result: Result<Completed, Problem>) -> Self {
        match result {
            Ok(completed) => Answer::Predicted(Box::new(Prediction {
                image: name.into(),
                dicom: completed.dicom.as_ref().map(uris),
                ..completed.prediction
            })),
            Err(problem) => Answer::Refused {
                image: name,
                status: problem.status.as_u16(),
                error: problem.detail,
            },
        }
    }
}

impl Answers {
    /// 200 if any image was predicted; otherwise the first image's.
    pub(crate) fn status(&self) -> StatusCode {
        let predicted = |answer: &Answer| matches!(answer, Answer::Predicted(_));
        match self.images.first() {
            Some(Answer::Refused { status, .. }) if !self.images.iter().any(predicted) => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY)
            }
            _ => StatusCode::OK,
        }
    }
}

/// The prediction of an image with what else was asked for, as data URIs.
///
/// # Errors
/// The picture cannot be drawn, or the image is no DICOM image that results can refer to.
pub(crate) fn completed(
    predictor: &Predictor,
    (image, bytes): (&imaging::ImageFile, &[u8]),
    found: Found,
    wanted: Wanted,
) -> anyhow::Result<Completed> {
    let overlay = match wanted.pictures || wanted.dicom.is_some() {
        true => predictor.overlay(image, &found)?,
        false => None,
    };
    let dicom = wanted.dicom.map(|segments| {
        predictor.dicom(
            (image.path(), bytes),
            segments.into(),
            &found,
            overlay.as_ref(),
        )
    });
    let mut prediction = found.prediction.clone();
    if wanted.pictures {
        let png = overlay.as_ref().map(encode::picture).transpose()?;
        prediction.overlay = png.map(|png| uri("image/png", &png));
        let mask = predictor.mask(&found)?.map(|png| uri("image/png", &png));
        let segmentation = prediction.segmentation.iter_mut();
        segmentation.for_each(|found| found.mask = mask.clone());
    }
    let pictures = wanted
        .view
        .then(|| Pictures::of(predictor, image, &found))
        .transpose()?;
    Ok(Completed {
        prediction,
        dicom: dicom.transpose()?,
        pictures,
    })
}

/// DICOM objects as data URIs.
fn uris(objects: &DicomObjects) -> DicomFiles {
    let uri = |file: &Vec<u8>| uri("application/dicom", file);
    DicomFiles {
        segmentation: objects.segmentation.as_ref().map(uri),
        overlay: objects.overlay.as_ref().map(uri),
        report: Some(uri(&objects.report)),
    }
}

/// A data URI (RFC 2397). It stands where `predict` has a relative path, which is a URI, too.
fn uri(media: &str, bytes: &[u8]) -> PathBuf {
    format!("data:{media};base64,{}", STANDARD.encode(bytes)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: StatusCode) -> Answer {
        Answer::of("x".into(), Err(Problem::new(status, "no")))
    }

    #[test]
    fn a_request_without_any_prediction_has_the_status_of_its_first_image() {
        let answers = |images| Answers {
            request: "r".into(),
            images,
        };
        let (large, bad) = (
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNPROCESSABLE_ENTITY,
        );
        assert_eq!(answers(vec![refused(bad), refused(large)]).status(), bad);
        assert_eq!(answers(vec![]).status(), StatusCode::OK);
    }

    #[test]
    fn data_uris_have_type_and_base64() {
        assert_eq!(
            uri("image/png", b"abc"),
            PathBuf::from("data:image/png;base64,YWJj")
        );
    }
}
