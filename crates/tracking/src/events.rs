//! TensorBoard's event files: records of protocol buffers, as in `tensorboard/compat/proto/{event,summary}.proto`.
//!
//! A record is its length (u64), the masked CRC-32C of the length, the message, and the masked CRC-32C of the message, all
//! little-endian (TFRecord). A file begins with an event that states the format's version, `brain.Event:2`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crc32c::crc32c;
use prost::Message;

/// Part of the name by which TensorBoard recognizes event files.
const MARK: &str = "tfevents";

/// An event file that grows.
#[derive(Debug)]
pub struct Events {
    file: File,
}

/// A picture to show beside the curves.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// What it shows; a slash makes groups.
    pub name: &'a str,
    /// Height and width in pixels.
    pub size: (u32, u32),
    /// A PNG file.
    pub png: &'a [u8],
}

impl Events {
    /// Begins the only event file in a folder: those of earlier attempts of the same run are removed.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn begin(folder: &Path) -> io::Result<Self> {
        files::create_folder(folder)?;
        for old in event_files(folder)? {
            std::fs::remove_file(old)?;
        }
        let path = folder.join(format!("events.out.{MARK}.{}.run", seconds() as u64));
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let mut events = Events { file };
        events.append(&proto::Event {
            wall_time: seconds(),
            file_version: Some("brain.Event:2".into()),
            ..proto::Event::default()
        })?;
        Ok(events)
    }

    /// Opens the event file in a folder to add to it; begins one if there is none.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn reopen(folder: &Path) -> io::Result<Self> {
        match event_files(folder).unwrap_or_default().pop() {
            Some(path) => Ok(Events {
                file: OpenOptions::new().append(true).open(path)?,
            }),
            None => Self::begin(folder),
        }
    }

    /// Adds the values of a step; those that are not finite are left out.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn scalars<'n>(
        &mut self,
        step: i64,
        values: impl IntoIterator<Item = (&'n str, f64)>,
    ) -> io::Result<()> {
        let finite = values.into_iter().filter(|(_, value)| value.is_finite());
        let value = finite.map(|(tag, value)| proto::Value {
            tag: tag.into(),
            simple_value: Some(value as f32),
            image: None,
        });
        self.summary(step, value.collect())
    }

    /// Adds pictures to a step.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn pictures(&mut self, step: i64, pictures: &[Picture<'_>]) -> io::Result<()> {
        let value = pictures.iter().map(|picture| proto::Value {
            tag: picture.name.into(),
            simple_value: None,
            image: Some(proto::Image {
                height: i32::try_from(picture.size.0).unwrap_or(i32::MAX),
                width: i32::try_from(picture.size.1).unwrap_or(i32::MAX),
                // Colours.
                colorspace: 3,
                encoded_image_string: picture.png.to_vec(),
            }),
        });
        self.summary(step, value.collect())
    }

    fn summary(&mut self, step: i64, value: Vec<proto::Value>) -> io::Result<()> {
        self.append(&proto::Event {
            wall_time: seconds(),
            step,
            file_version: None,
            summary: Some(proto::Summary { value }),
        })
    }

    fn append(&mut self, event: &proto::Event) -> io::Result<()> {
        // In one call, so that a reader never sees half a record.
        self.file.write_all(&record(&event.encode_to_vec()))
    }
}

/// The event files of a folder, the newest last.
fn event_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = vec![];
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.contains(MARK) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let sums = [masked(&length), masked(message)].map(u32::to_le_bytes);
    [&length[..], &sums[0], message, &sums[1]].concat()
}

/// The checksum as stored: a sum of data that contain sums would otherwise be weak.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The messages, as far as they are used.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Event {
        #[prost(double, tag = "1")]
        pub(super) wall_time: f64,
        #[prost(int64, tag = "2")]
        pub(super) step: i64,
        #[prost(string, optional, tag = "3")]
        pub(super) file_version: Option<String>,
        #[prost(message, optional, tag = "5")]
        pub(super) summary: Option<Summary>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Summary {
        #[prost(message, repeated, tag = "1")]
        pub(super) value: Vec<Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Value {
        #[prost(string, tag = "1")]
        pub(super) tag: String,
        #[prost(float, optional, tag = "2")]
        pub(super) simple_value: Option<f32>,
        #[prost(message, optional, tag = "4")]
        pub(super) image: Option<Image>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Image {
        #[prost(int32, tag = "1")]
        pub(super) height: i32,
        #[prost(int32, tag = "2")]
        pub(super) width: i32,
        #[prost(int32, tag = "3")]
        pub(super) colorspace: i32,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) encoded_image_string: Vec<u8>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file; every length and sum is checked.
    fn read(path: &Path) -> Vec<proto::Event> {
        let bytes = std::fs::read(path).unwrap();
        let (mut at, mut events) = (0, vec![]);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            assert_eq!(word(at + 8), masked(&bytes[at..at + 8]));
            let message = &bytes[at + 12..at + 12 + length];
            assert_eq!(word(at + 12 + length), masked(message));
            events.push(proto::Event::decode(message).unwrap());
            at += 16 + length;
        }
        events
    }

    #[test]
    fn sums_are_those_of_tensorflow() {
        // Castagnoli's sum of "123456789" is 0xe3069283 (RFC 3720); masked by hand.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(
            masked(b"123456789"),
            0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
        // The first bytes of every event file of TensorFlow: a length of 24, and its sum.
        assert_eq!(
            record(&[0; 24])[..12],
            [24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]
        );
    }

    #[test]
    fn a_file_has_its_version_and_what_was_added() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::begin(folder.path()).unwrap();
        events
            .scalars(1, [("loss", 0.5), ("auc", f64::NAN)])
            .unwrap();
        let picture = Picture {
            name: "roc",
            size: (2, 3),
            png: b"png",
        };
        Events::reopen(folder.path())
            .unwrap()
            .pictures(1, &[picture])
            .unwrap();
        let files = event_files(folder.path()).unwrap();
        let read = read(&files[0]);
        assert_eq!((files.len(), read.len()), (1, 3));
        assert_eq!(read[0].file_version.as_deref(), Some("brain.Event:2"));
        let values = &read[1].summary.as_ref().unwrap().value;
        assert_eq!((values.len(), values[0].simple_value), (1, Some(0.5)));
        let image = read[2].summary.as_ref().unwrap().value[0]
            .image
            .clone()
            .unwrap();
        assert_eq!((image.height, image.width), (2, 3));
        // A run that begins again does not leave the curves of the earlier attempt.
        Events::begin(folder.path()).unwrap();
        assert_eq!(event_files(folder.path()).unwrap().len(), 1);
    }
}
