//! A client that can also misbehave: requests are bytes.
#![allow(dead_code, reason = "no test program uses all of it")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A response.
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    /// Reads a response.
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        Self::try_read(stream).unwrap()
    }

    /// Reads a response, unless the connection ends without one; panics if it ends within one.
    pub(crate) fn try_read(stream: &mut TcpStream) -> Option<Self> {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let (mut bytes, mut buffer) = (vec![], [0; 65_536]);
        loop {
            if let Some(reply) = Self::complete(&bytes) {
                return Some(reply);
            }
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) if bytes.is_empty() => return None,
                Ok(0) | Err(_) => panic!(
                    "an answer that is cut off: {}",
                    String::from_utf8_lossy(&bytes)
                ),
                Ok(n) => bytes.extend(&buffer[..n]),
            }
        }
    }

    fn complete(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut reply = Reply {
            status: head.split(' ').nth(1)?.parse().unwrap(),
            head,
            body: bytes[end + 4..].to_vec(),
        };
        let length: usize = reply.header("content-length")?.parse().unwrap();
        reply.body.truncate(length);
        (bytes.len() >= end + 4 + length).then_some(reply)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let mut usual = vec![
        ("Host", "localhost".to_owned()),
        ("Content-Length", body.len().to_string()),
    ];
    usual.retain(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    for (name, value) in &usual {
        head += &format!("{name}: {value}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(&[head.as_bytes(), b"\r\n", body].concat())
        .unwrap();
    Reply::read(&mut stream)
}

pub(crate) fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    ask(address, "GET", path, headers, b"")
}

pub(crate) fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    ask(address, "POST", path, headers, body)
}

/// A form of files, by name: its content type and its body.
pub(crate) fn form(files: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = vec![];
    for (name, bytes) in files {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\r\n"
        );
        body.extend(head.as_bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--b--\r\n");
    ("multipart/form-data; boundary=b".into(), body)
}
