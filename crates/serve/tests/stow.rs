//! STOW-RS: what archives send, and what becomes of the results. `tools/check_stow.py` does the same with programs that are
//! not ours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod client;
mod ground;
#[path = "../../pipeline/tests/small/mod.rs"]
mod small;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use client::{Reply, post};
use dicom::write::{Object, attributes as a};
use dicom::{ReadOptions, header};
use ground::Ground;
use serve::{Archive, Options};

const STUDY: &str = "1.2.826.5";

/// A radiograph of nobody.
fn radiograph(instance: &str) -> Vec<u8> {
    let pixels: Vec<u8> = (0..20 * 30).map(|i| (i * 7 % 256) as u8).collect();
    Object::default()
        .text(a::SOP_CLASS, "1.2.840.10008.5.1.4.1.1.1.1")
        .text(a::SOP_INSTANCE, instance)
        .text(a::STUDY, STUDY)
        .text(a::SERIES, "1.2.826.6")
        .text(a::PATIENT_NAME, "Nobody^At^All")
        .text(a::PATIENT_ID, "N-1")
        .number(a::SAMPLES, 1)
        .text(a::PHOTOMETRIC, "MONOCHROME2")
        .number(a::ROWS, 20)
        .number(a::COLUMNS, 30)
        .number(a::BITS_ALLOCATED, 8)
        .number(a::BITS_STORED, 8)
        .number(a::HIGH_BIT, 7)
        .number(a::PIXEL_REPRESENTATION, 0)
        .bytes(a::PIXELS, pixels)
        .file()
}

const RELATED: &str = "multipart/related; type=\"application/dicom\"; boundary=part";

fn related(files: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![];
    for file in files {
        body.extend_from_slice(b"--part\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--part--\r\n");
    body
}

/// An archive that answers each request with the next status; returns its address, and the bodies once all are answered.
fn archive(statuses: &'static [u16]) -> (String, thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/dicom-web", listener.local_addr().unwrap());
    let answering = thread::spawn(move || {
        let answer = |status: &u16| {
            let mut stream = listener.accept().unwrap().0;
            let (mut request, mut buffer) = (vec![], [0; 65_536]);
            loop {
                let n = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..n]);
                let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
                    continue;
                };
                let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
                if request.len() >= end + 4 + length {
                    break;
                }
            }
            let reply =
                format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).unwrap();
            request
        };
        statuses.iter().map(answer).collect()
    });
    (address, answering)
}

/// Number of instances that a reply names as stored and as failed, and the reasons of the latter.
fn told(reply: &Reply) -> (usize, Vec<u64>) {
    let json = reply.json();
    let items = |tag: &str| json[tag]["Value"].as_array().cloned().unwrap_or_default();
    let reasons = items("00081198");
    let reasons = reasons
        .iter()
        .map(|item| item["00081197"]["Value"][0].as_u64().unwrap());
    (items("00081199").len(), reasons.collect())
}

#[test]
fn results_are_in_the_archive_before_an_image_is_taken() {
    let ground = Ground::new();
    let (address, answering) = archive(&[200, 507]);
    let options = Options {
        archive: Some(Archive::new(&address, None).unwrap()),
        ..ground.options()
    };
    ground.served_with(None, options, |address, _| {
        let send = |path: &str, files: &[&[u8]]| {
            post(address, path, &[("Content-Type", RELATED)], &related(files))
        };
        let image = radiograph("1.2.826.7");
        let taken = send("/dicomweb/studies", &[&image, b"no image"]);
        assert_eq!(
            (taken.status, told(&taken)),
            (202, (1, vec![0xC000])),
            "{}",
            taken.text()
        );
        assert!(taken.text().contains(&format!("/studies/{STUDY}")));
        // The archive is full.
        let full = send("/dicomweb/studies", &[&image]);
        assert_eq!((full.status, told(&full)), (409, (0, vec![0x0110])));
        // The archive is gone.
        let gone = send("/dicomweb/studies", &[&image]);
        assert_eq!((gone.status, told(&gone)), (409, (0, vec![0x0110])));
        let other = send("/dicomweb/studies/1.2.3", &[&image]);
        assert_eq!((other.status, told(&other)), (409, (0, vec![0xA900])));
        let text = post(
            address,
            "/dicomweb/studies",
            &[("Content-Type", "text/plain")],
            b"x",
        );
        assert_eq!(text.status, 415);
    });
    let requests = answering.join().unwrap();
    let kinds = |request: &[u8]| {
        let files = request
            .windows(4)
            .enumerate()
            .filter(|(_, four)| *four == b"DICM");
        let modality = |(i, _): (usize, &[u8])| {
            let file = &request[i - 128..];
            // A report has no pixels, which `header` needs.
            header(file, &ReadOptions::default()).map_or("SR".into(), |h| h.modality.unwrap())
        };
        files.map(modality).collect::<Vec<String>>()
    };
    assert_eq!(kinds(&requests[0]), ["SEG", "OT", "SR"]);
    let body = |request: &[u8]| {
        let end = request
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        request[end..].to_vec()
    };
    assert_eq!(body(&requests[0]), body(&requests[1]));
}

#[test]
fn without_an_archive_nothing_is_taken() {
    let ground = Ground::new();
    ground.served_with(None, ground.options(), |address, _| {
        let body = related(&[&radiograph("1.2.826.7")]);
        let reply = post(
            address,
            "/dicomweb/studies",
            &[("Content-Type", RELATED)],
            &body,
        );
        assert_eq!(reply.status, 501);
        assert!(reply.text().contains("--archive URL"));
    });
}
