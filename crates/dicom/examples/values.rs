//! Answers questions about DICOM files, for `tools/check_dicom.py`: a line of JSON in, a line of JSON out, followed by the
//! values as little-endian doubles. `"what": "time"` answers with the milliseconds that `read` takes.
//!
//! ```text
//! {"path": "a.dcm", "frame": 1, "what": "modality", "window": "auto", "max_pixels": 100000000}
//! {"error": null, "rows": 2, "columns": 3, "samples": 1, "bits": 16, "header": {…}}
//! ```

use std::io::{self, BufRead as _, Write as _};
use std::time::Instant;

use dicom::{DicomImage, Header, ReadOptions, Values, Window};
use image::DynamicImage;
use serde_json::{Value, json};

#[derive(serde::Deserialize)]
struct Question {
    path: String,
    frame: Option<u32>,
    what: What,
    #[serde(default)]
    window: Window,
    max_pixels: Option<u64>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Modality,
    Voi,
    Image,
    Time,
}

fn main() -> io::Result<()> {
    // As the program does.
    decoding::keep_freed_memory();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let question = serde_json::from_str(&line?)?;
        let (answer, values) = match answered(&question) {
            Ok(answer) => answer,
            Err(reason) => (json!({ "error": reason }), Vec::new()),
        };
        writeln!(out, "{answer}")?;
        for value in values {
            out.write_all(&value.to_le_bytes())?;
        }
        out.flush()?;
    }
    Ok(())
}

fn answered(question: &Question) -> Result<(Value, Vec<f64>), String> {
    let bytes = std::fs::read(&question.path).map_err(|error| error.to_string())?;
    let default = ReadOptions::default();
    let options = ReadOptions {
        frame: question.frame,
        window: question.window,
        max_pixels: question.max_pixels.unwrap_or(default.max_pixels),
    };
    if let What::Time = question.what {
        let start = Instant::now();
        std::hint::black_box(dicom::read(&bytes, &options)?);
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        return Ok((
            json!({ "error": null, "milliseconds": milliseconds }),
            Vec::new(),
        ));
    }
    let header = described(&dicom::header(&bytes, &options)?);
    let (values, bits) = match question.what {
        What::Modality => (dicom::modality_values(&bytes, &options)?, 0),
        What::Voi => (dicom::voi_values(&bytes, &options)?, 0),
        What::Image | What::Time => pixels(dicom::read(&bytes, &options)?),
    };
    let answer = json!({
        "error": null,
        "rows": values.rows,
        "columns": values.columns,
        "samples": values.samples,
        "bits": bits,
        "header": header,
    });
    Ok((answer, values.values))
}

fn pixels(DicomImage { pixels, .. }: DicomImage) -> (Values, u8) {
    let (columns, rows, samples) = (
        pixels.width(),
        pixels.height(),
        pixels.color().channel_count().into(),
    );
    let (values, bits): (Vec<f64>, _) = match pixels {
        DynamicImage::ImageLuma16(grey) => {
            (grey.into_raw().into_iter().map(f64::from).collect(), 16)
        }
        other => (other.into_bytes().into_iter().map(f64::from).collect(), 8),
    };
    (
        Values {
            rows,
            columns,
            samples,
            values,
        },
        bits,
    )
}

fn described(header: &Header) -> Value {
    json!({
        "patient_id_length": header.patient_id.as_ref().map(|id| id.reveal().len()),
        "study_uid": header.study_uid,
        "series_uid": header.series_uid,
        "sop_instance_uid": header.sop_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "modality": header.modality,
        "manufacturer": header.manufacturer,
        "view_position": header.view_position,
        "laterality": header.laterality,
        "body_part": header.body_part,
        "age_years": header.age_years,
        "sex": header.sex,
        "burned_in_annotation": header.burned_in_annotation,
        "pixel_spacing": header.pixel_spacing.map(|spacing| [spacing.rows_mm, spacing.columns_mm]),
        "photometric_interpretation": header.photometric_interpretation,
        "rows": header.rows,
        "columns": header.columns,
        "frames": header.frames,
        "samples_per_pixel": header.samples_per_pixel,
        "bits_allocated": header.bits_allocated,
        "bits_stored": header.bits_stored,
        "signed": header.signed,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "transfer_syntax": header.transfer_syntax,
    })
}
