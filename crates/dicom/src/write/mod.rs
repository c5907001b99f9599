//! Writes DICOM files (PS3.10): Explicit VR Little Endian, uncompressed, deterministic.
//!
//! An [`Object`] is built from [`attributes`] and becomes the bytes of a file. A [`Source`] is the image that a result was
//! computed from; [`segmentation`], [`secondary_capture`] and [`report()`] write a result of it, with the source's patient
//! and study, so that an archive files both together. Nothing here is random and no clock is read: UIDs are hashes of what they name
//! ([`uid`]), and dates are the source's. The same result is the same bytes.
//!
//! ```
//! use dicom::write::{Object, attributes as a, uid};
//!
//! let file = Object::default()
//!     .text(a::SOP_CLASS, "1.2.840.10008.5.1.4.1.1.7")
//!     .text(a::SOP_INSTANCE, &uid(&[b"an example"]))
//!     .text(a::MODALITY, "OT")
//!     .file();
//! assert!(dicom::is_dicom(&file));
//! ```

pub mod attributes;
mod capture;
mod common;
mod object;
mod report;
mod segmentation;
mod source;
mod uid;

pub use attributes::Attribute;
pub use capture::{Capture, secondary_capture};
pub use common::{NOTICE, Network};
pub use object::Object;
pub use report::{Classification, MeasuredSegment, Report, report};
pub use segmentation::{SegmentPixels, Segmentation, WrittenSegmentation, segmentation};
pub use source::Source;
pub use uid::uid;
