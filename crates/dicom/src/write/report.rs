//! Structured reports (PS3.3, A.35.3): what a network says of an image in numbers, by the template "Measurement Report"
//! (PS3.16, TID 1500), which viewers and archives can read without knowing the network.
//!
//! The names of classes and of what is measured about them are in no standard terminology: they have codes of a private
//! scheme, each a hash of its meaning, so that equal codes mean the same in the reports of all networks.

use files::sha256;

use super::attributes as a;
use super::common::{self, Network, Uids, code};
use super::object::Object;
use super::segmentation::{SEGMENTATION, WrittenSegmentation};
use super::source::Source;

const COMPREHENSIVE_REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.33";

/// The private coding scheme.
const SCHEME: &str = "99EFFUNET";

/// What a network says of an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report<'a> {
    /// Of the whole image, if it classifies.
    pub classification: Option<Classification<'a>>,
    /// Of its segments, if it segments.
    pub segments: &'a [MeasuredSegment<'a>],
}

/// The class of an image.
#[derive(Clone, Copy, Debug)]
pub struct Classification<'a> {
    /// The predicted class.
    pub class: &'a str,
    /// The calibrated probability of each class.
    pub probabilities: &'a [(&'a str, f64)],
    /// The class that has a threshold, and the probability from which it is predicted.
    pub threshold: Option<(&'a str, f64)>,
}

/// What a segment covers.
#[derive(Clone, Copy, Debug)]
pub struct MeasuredSegment<'a> {
    /// The class.
    pub class: &'a str,
    /// Its number in the segmentation.
    pub number: u16,
    /// Of the image, in [0, 1].
    pub share: f64,
    /// In square millimetres, where known.
    pub area_mm2: Option<f64>,
}

/// The file of a report. Segments refer to `segmentation`.
///
/// # Errors
/// There is nothing to report; segments without a segmentation; a number that is not finite.
pub fn report(
    source: &Source,
    network: Network<'_>,
    report: &Report<'_>,
    segmentation: Option<&WrittenSegmentation>,
) -> Result<Vec<u8>, String> {
    if report.classification.is_none() && report.segments.is_empty() {
        return Err(
            "there is nothing to report: the network neither classifies nor segments".into(),
        );
    }
    if segmentation.is_none() && !report.segments.is_empty() {
        return Err("segments are reported of a segmentation only".into());
    }
    let content = format!("{report:?}");
    let uids = Uids::new(network, source, [b"report", content.as_bytes()]);
    let writer = Writer {
        source,
        network,
        uids: &uids,
    };
    let root = container("126000", "Imaging Measurement Report", "1500")
        .items(a::CONTENT, writer.content(report, segmentation)?);
    let object = common::instance(source, network, &uids)
        .with(common::dated(source))
        .with(root)
        .text(a::SOP_CLASS, COMPREHENSIVE_REPORT)
        .text(a::MODALITY, "SR")
        .items(a::CODING_SCHEMES, vec![scheme()])
        .items(a::PERFORMED_STEP, vec![])
        .items(a::PERFORMED_CODES, vec![])
        .text(a::COMPLETION, "COMPLETE")
        .text(a::VERIFICATION, "UNVERIFIED")
        .text(a::PRELIMINARY, "FINAL")
        .items(a::EVIDENCE, vec![evidence(source, segmentation)]);
    Ok(object.file())
}

fn scheme() -> Object {
    Object::default().text(a::CODING_SCHEME, SCHEME).text(
        a::CODING_SCHEME_NAME,
        "eff-unet: classes of networks, by a hash of their names",
    )
}

/// The instances that the report refers to.
fn evidence(source: &Source, segmentation: Option<&WrittenSegmentation>) -> Object {
    let series = |uid: &str, instance: Object| {
        Object::default()
            .text(a::SERIES, uid)
            .items(a::REFERENCED_SOP, vec![instance])
    };
    let mut all = vec![series(&source.series, common::reference(source))];
    all.extend(segmentation.map(|written| series(&written.series, segments(written))));
    Object::default()
        .bytes(a::STUDY, source.study.value(a::STUDY))
        .items(a::REFERENCED_SERIES, all)
}

fn segments(written: &WrittenSegmentation) -> Object {
    Object::default()
        .text(a::REFERENCED_CLASS, SEGMENTATION)
        .text(a::REFERENCED_INSTANCE, &written.instance)
}

/// What all items of a report need.
struct Writer<'a> {
    source: &'a Source,
    network: Network<'a>,
    uids: &'a Uids<'a>,
}

impl Writer<'_> {
    /// Language, observer, procedure, and a group for the image and for each segment (TID 1500).
    fn content(
        &self,
        report: &Report<'_>,
        segmentation: Option<&WrittenSegmentation>,
    ) -> Result<Vec<Object>, String> {
        let mut groups = vec![];
        if let Some(found) = &report.classification {
            groups.push(self.whole(found)?);
        }
        if let Some(written) = segmentation {
            for segment in report.segments {
                groups.push(self.segment(segment, written)?);
            }
        }
        let language = item(
            "CODE",
            "HAS CONCEPT MOD",
            dcm("121049", "Language of Content Item and Descendants"),
        )
        .items(a::CONCEPT_CODE, vec![code("RFC5646", "en", "English")]);
        let procedure = item(
            "CODE",
            "HAS CONCEPT MOD",
            dcm("121058", "Procedure reported"),
        )
        .items(
            a::CONCEPT_CODE,
            vec![code("SCT", "363679005", "Imaging procedure")],
        );
        let measurements = item(
            "CONTAINER",
            "CONTAINS",
            dcm("126010", "Imaging Measurements"),
        )
        .text(a::CONTINUITY, "SEPARATE")
        .items(a::CONTENT, groups);
        let mut content = vec![language];
        content.extend(self.observer());
        content.extend([procedure, measurements]);
        Ok(content)
    }

    /// The device that observed (TID 1002, TID 1004).
    fn observer(&self) -> Vec<Object> {
        let Network {
            program,
            version,
            weights_sha256,
        } = self.network;
        let device = item("CODE", OBSERVED, dcm("121005", "Observer Type"))
            .items(a::CONCEPT_CODE, vec![dcm("121007", "Device")]);
        let text = |value, meaning, text: &str| {
            item("TEXT", OBSERVED, dcm(value, meaning)).text(a::TEXT_VALUE, text)
        };
        // The same weights are the same device.
        let device_uid = super::uid(&[b"device", program.as_bytes(), weights_sha256.as_bytes()]);
        vec![
            device,
            item("UIDREF", OBSERVED, dcm("121012", "Device Observer UID"))
                .text(a::UID_VALUE, &device_uid),
            text("121013", "Device Observer Name", program),
            text("121014", "Device Observer Manufacturer", program),
            text(
                "121015",
                "Device Observer Model Name",
                &format!("{program} {version}"),
            ),
            text("121016", "Device Observer Serial Number", weights_sha256),
        ]
    }

    /// What the network says of the whole image (TID 1501).
    fn whole(&self, found: &Classification<'_>) -> Result<Object, String> {
        let mut content = self.group("image", found.class);
        for (class, probability) in found.probabilities {
            let name = self.private(&format!("Probability of {class}"));
            content.push(self.number(name, *probability, no_units())?);
        }
        if let Some((class, threshold)) = found.threshold {
            let name = self.private(&format!("Threshold for {class}"));
            content.push(self.number(name, threshold, no_units())?);
        }
        Ok(measurement_group("1501", content))
    }

    /// What a segment covers (TID 1410).
    fn segment(
        &self,
        segment: &MeasuredSegment<'_>,
        written: &WrittenSegmentation,
    ) -> Result<Object, String> {
        let mut content = self.group(&format!("segment {}", segment.number), segment.class);
        // A segment has one frame, of its number; a reference has the number of either.
        let number = segment.number.to_string();
        let frame = segments(written).text(a::REFERENCED_FRAME, &number);
        content.push(image(
            "CONTAINS",
            dcm("121214", "Referenced Segmentation Frame"),
            frame,
        ));
        content.push(image(
            "CONTAINS",
            dcm("121233", "Source image for segmentation"),
            common::reference(self.source),
        ));
        if let Some(area) = segment.area_mm2 {
            let name = code("SCT", "42798000", "Area");
            content.push(self.number(name, area, code("UCUM", "mm2", "square millimeter"))?);
        }
        let name = self.private("Share of the image");
        content.push(self.number(name, 100.0 * segment.share, code("UCUM", "%", "Percent"))?);
        Ok(measurement_group("1410", content))
    }

    /// The beginning of a group: how to find it again, what was found, and by which algorithm (TID 4019).
    fn group(&self, purpose: &str, class: &str) -> Vec<Object> {
        let algorithm = |value, meaning, text: &str| {
            item("TEXT", "HAS CONCEPT MOD", dcm(value, meaning)).text(a::TEXT_VALUE, text)
        };
        vec![
            item("TEXT", OBSERVED, dcm("112039", "Tracking Identifier"))
                .text(a::TEXT_VALUE, purpose),
            item(
                "UIDREF",
                OBSERVED,
                dcm("112040", "Tracking Unique Identifier"),
            )
            .text(a::UID_VALUE, &self.uids.of(purpose)),
            algorithm("111001", "Algorithm Name", self.network.program),
            algorithm("111003", "Algorithm Version", self.network.version),
            item("CODE", "CONTAINS", dcm("121071", "Finding"))
                .items(a::CONCEPT_CODE, vec![self.private(class)]),
        ]
    }

    /// A measurement of the source (TID 300).
    fn number(&self, name: Object, value: f64, units: Object) -> Result<Object, String> {
        if !value.is_finite() {
            return Err(format!("{value} is no number that can be reported"));
        }
        let measured = Object::default()
            .text(a::NUMERIC_VALUE, &decimal(value))
            .items(a::UNITS, vec![units]);
        let from = image(
            "INFERRED FROM",
            dcm("121112", "Source of Measurement"),
            common::reference(self.source),
        );
        Ok(item("NUM", "CONTAINS", name)
            .items(a::MEASURED_VALUE, vec![measured])
            .items(a::CONTENT, vec![from]))
    }

    /// A code of the private scheme.
    fn private(&self, meaning: &str) -> Object {
        let hash = sha256::hex(meaning.as_bytes());
        let value = hash.get(..16).unwrap_or_default();
        Object::default()
            .text(a::CODE_VALUE, value)
            .text(a::CODING_SCHEME, SCHEME)
            .bytes(a::CODE_MEANING, self.source.encoded(meaning, 64))
    }
}

/// The relationship of what describes the observation.
const OBSERVED: &str = "HAS OBS CONTEXT";

fn dcm(value: &str, meaning: &str) -> Object {
    code("DCM", value, meaning)
}

fn no_units() -> Object {
    code("UCUM", "1", "no units")
}

/// A content item (PS3.3, C.17.3).
fn item(kind: &str, relationship: &str, name: Object) -> Object {
    named(kind, name).text(a::RELATIONSHIP, relationship)
}

fn named(kind: &str, name: Object) -> Object {
    Object::default()
        .text(a::VALUE_TYPE, kind)
        .items(a::CONCEPT_NAME, vec![name])
}

fn image(relationship: &str, name: Object, reference: Object) -> Object {
    item("IMAGE", relationship, name).items(a::REFERENCED_SOP, vec![reference])
}

/// A container by a template.
fn container(value: &str, meaning: &str, template: &str) -> Object {
    let by = Object::default()
        .text(a::MAPPING_RESOURCE, "DCMR")
        .text(a::TEMPLATE_IDENTIFIER, template);
    named("CONTAINER", dcm(value, meaning))
        .text(a::CONTINUITY, "SEPARATE")
        .items(a::TEMPLATE, vec![by])
}

fn measurement_group(template: &str, content: Vec<Object>) -> Object {
    container("125007", "Measurement Group", template)
        .text(a::RELATIONSHIP, "CONTAINS")
        .items(a::CONTENT, content)
}

/// A number as a decimal string, which has at most 16 characters (PS3.5, section 6.2), with as many digits as fit.
fn decimal(value: f64) -> String {
    let short = |text: &String| text.len() <= 16;
    let exact = Some(value.to_string()).filter(short);
    let rounded = || {
        (0..=14)
            .rev()
            .map(|digits| format!("{value:.digits$}"))
            .find(short)
    };
    let scientific = || {
        (0..=9)
            .rev()
            .map(|digits| format!("{value:.digits$e}"))
            .find(short)
    };
    exact
        .or_else(|| rounded().filter(|_| value.abs() >= 1e-4))
        .or_else(scientific)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_strings_fit_and_keep_their_value() {
        for value in [
            0.0,
            1.0,
            0.25,
            1.0 / 3.0,
            2e-9 / 3.0,
            12_345.678_901_234_5,
            1e20,
            -0.1234567890123456,
        ] {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            let read: f64 = text.parse().unwrap();
            assert!(
                (read - value).abs() <= 1e-8 * value.abs(),
                "{value} is written as {text}"
            );
        }
    }
}
