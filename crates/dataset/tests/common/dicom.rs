//! DICOM files with planted identifiers.

use std::path::Path;

/// What is planted in a header and must not be found in a manifest.
pub(crate) const NAME: &str = "Doe^Jane";
pub(crate) const BIRTH: &str = "19390102";
pub(crate) const ACCESSION: &str = "ACC4711";

#[derive(Clone, Copy, Default)]
pub(crate) struct Planted<'p> {
    pub(crate) patient: Option<&'p str>,
    pub(crate) study: Option<&'p str>,
    pub(crate) age: &'p str,
    pub(crate) burned_in: bool,
    /// The value of all pixels, of 4,095.
    pub(crate) grey: u16,
}

/// A DICOM file (PS3.10) of 4 × 4 pixels and 12 bits, Explicit VR Little Endian.
pub(crate) fn file(planted: Planted<'_>) -> Vec<u8> {
    let mut body = vec![];
    let mut put = |group: u16, element: u16, vr: &[u8; 2], value: &[u8]| {
        body.extend(group.to_le_bytes());
        body.extend(element.to_le_bytes());
        body.extend(vr);
        let mut value = value.to_vec();
        value.resize(
            value.len().next_multiple_of(2),
            if vr == b"UI" { 0 } else { b' ' },
        );
        if vr == b"OW" {
            body.extend([0, 0]);
            body.extend((value.len() as u32).to_le_bytes());
        } else {
            body.extend((value.len() as u16).to_le_bytes());
        }
        body.extend(value);
    };
    put(0x0008, 0x0050, b"SH", ACCESSION.as_bytes());
    put(0x0008, 0x0060, b"CS", b"DX");
    put(0x0010, 0x0010, b"PN", NAME.as_bytes());
    if let Some(patient) = planted.patient {
        put(0x0010, 0x0020, b"LO", patient.as_bytes());
    }
    put(0x0010, 0x0030, b"DA", BIRTH.as_bytes());
    put(0x0010, 0x0040, b"CS", b"F");
    put(0x0010, 0x1010, b"AS", planted.age.as_bytes());
    put(0x0018, 0x1164, b"DS", b"0.2\\0.1");
    put(0x0018, 0x5101, b"CS", b"PA");
    if let Some(study) = planted.study {
        put(0x0020, 0x000D, b"UI", study.as_bytes());
    }
    put(0x0028, 0x0002, b"US", &1_u16.to_le_bytes());
    put(0x0028, 0x0004, b"CS", b"MONOCHROME2");
    put(0x0028, 0x0010, b"US", &4_u16.to_le_bytes());
    put(0x0028, 0x0011, b"US", &4_u16.to_le_bytes());
    put(0x0028, 0x0100, b"US", &16_u16.to_le_bytes());
    put(0x0028, 0x0101, b"US", &12_u16.to_le_bytes());
    put(0x0028, 0x0102, b"US", &11_u16.to_le_bytes());
    put(0x0028, 0x0103, b"US", &0_u16.to_le_bytes());
    if planted.burned_in {
        put(0x0028, 0x0301, b"CS", b"YES");
    }
    put(
        0x7FE0,
        0x0010,
        b"OW",
        &planted.grey.to_le_bytes().repeat(16),
    );
    let syntax = b"1.2.840.10008.1.2.1\0";
    let mut meta = vec![0x02, 0, 0x10, 0, b'U', b'I', syntax.len() as u8, 0];
    meta.extend(syntax);
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend([0x02, 0, 0, 0, b'U', b'L', 4, 0]);
    bytes.extend((meta.len() as u32).to_le_bytes());
    bytes.extend(meta);
    bytes.extend(body);
    bytes
}

pub(crate) fn write(root: &Path, path: &str, planted: Planted<'_>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, file(planted)).unwrap();
}
