//! Downloads: responses of correct, faulty and malicious servers, and leftovers of earlier downloads.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ::hub::{Known, Request, fetch};
use anyhow::Result;
use sha2::{Digest as _, Sha256};

use crate::formats::json;
use crate::{Case, Outcome, Rng, Session, Target, mutate};

const KNOWN: Known = Known {
    name: "toy.v1",
    encoder: "efficientnet_b0",
    repo: "owner/toy",
    file: "model.safetensors",
    revision: "main",
    sha256: None,
    licence: "Apache-2.0",
    mean: [0.5; 3],
    std: [0.5; 3],
};

/// Files of the server's responses, in order; the last one is repeated.
const ANSWERS: [&str; 4] = ["answer-0", "answer-1", "answer-2", "answer-3"];

/// An endless body ends after this many bytes; the client must have given up long before.
const ENDLESS: usize = 64 << 20;
const GOES_ON: &[u8] = b"X-Goes-On: for ever";

pub(super) struct Hub;

impl Target for Hub {
    fn name(&self) -> &'static str {
        "hub"
    }

    fn about(&self) -> &'static str {
        "responses of a hub: redirects, checksums, lengths, ranges, endless bodies, broken records and partial files \
         in the cache"
    }

    fn short(&self) -> u64 {
        150
    }

    fn file(&self) -> &'static str {
        ANSWERS[0]
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        let body: Vec<u8> = (0..500_u32).map(|i| (i * 7) as u8).collect();
        let sum = Sha256::digest(&body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let server = Server::start()?;
        Ok(Box::new(Hubs { body, sum, server }))
    }
}

struct Hubs {
    body: Vec<u8>,
    sum: String,
    server: Server,
}

impl Session for Hubs {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let mut answers = self.good();
        let at = rng.below(answers.len());
        match rng.below(8) {
            0 => answers.swap(at, 0),
            1 => answers[at] = self.lie(rng),
            _ => {}
        }
        for answer in &mut answers {
            if rng.once_in(2) {
                let lie = self.lie(rng);
                mutate::bytes(rng, answer, &WORDS, &lie);
            }
            stay_here(answer);
        }
        let mut case = Case::default();
        for (name, answer) in ANSWERS.iter().zip(answers) {
            case = case.with(*name, answer);
        }
        match rng.below(4) {
            0 => self.with_leftovers(rng, case),
            _ => case,
        }
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let answers = ANSWERS.map(|name| std::fs::read(input.join(name)).unwrap_or_default());
        self.server.give(answers.into());
        let cache = input.join("cache");
        let request = Request {
            endpoint: self.server.endpoint.clone(),
            sha256: None,
            stall: Duration::from_millis(300),
            ..Request::new(&KNOWN, &cache)
        };
        match fetch(&request, &mut |_, _| ControlFlow::Continue(())) {
            Err(error) => Outcome::refused(error, ""),
            Ok(fetched) => {
                let bytes = std::fs::read(&fetched.path).unwrap_or_default();
                let sum: String = Sha256::digest(&bytes)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                Outcome::accepted_if(sum == fetched.sha256, || {
                    format!(
                        "a file with checksum {sum} is reported with {}",
                        fetched.sha256
                    )
                })
            }
        }
    }
}

const WORDS: [&[u8]; 16] = [
    b"\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1 ",
    b"302",
    b"206",
    b"404",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Location: file:///etc/passwd\r\n",
    b"Location: /\r\n",
    b"Location: \r\n",
    b"Content-Range: bytes 7-1/0\r\n",
    b"X-Linked-Size: 18446744073709551615\r\n",
    b"X-Linked-Etag: \"\"\r\n",
];

impl Hubs {
    /// Valid responses to HEAD and GET, each redirected to storage once, as the hub does.
    fn good(&self) -> Vec<Vec<u8>> {
        let (sum, size) = (&self.sum, self.body.len());
        let known = format!(
            "X-Linked-Etag: \"{sum}\"\r\nX-Linked-Size: {size}\r\nX-Repo-Commit: {}\r\n",
            "a".repeat(40)
        );
        let sent_on = format!(
            "HTTP/1.1 302 Found\r\nLocation: /storage\r\n{known}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
        let get = [head.as_bytes(), &self.body].concat();
        vec![sent_on.clone().into(), head.into(), sent_on.into(), get]
    }

    fn lie(&self, rng: &mut Rng) -> Vec<u8> {
        let zeros = "0".repeat(64);
        let lie = match rng.below(8) {
            0 => format!("HTTP/1.1 200 OK\r\nX-Linked-Etag: \"{zeros}\"\r\nContent-Length: {}\r\n\r\n", self.body.len()),
            1 => "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n".into(),
            2 => "HTTP/1.1 302 Found\r\nLocation: /storage\r\nContent-Length: 0\r\n\r\n".into(),
            3 => format!("HTTP/1.1 200 OK\r\nX-Linked-Size: {}\r\nContent-Length: {}\r\n\r\n", 1_u64 << 63, 1_u64 << 62),
            4 => format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Filler: 0123456789\r\n".repeat(rng.length(2000))),
            5 => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nxxxx".into(),
            6 => "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-499/500\r\nContent-Length: 493\r\n\r\nx".into(),
            _ => String::from_utf8_lossy(GOES_ON).into_owned(),
        };
        match lie.as_bytes() == GOES_ON {
            true => [
                b"HTTP/1.1 200 OK\r\n",
                GOES_ON,
                b"\r\nConnection: close\r\n\r\n",
            ]
            .concat(),
            false => lie.into(),
        }
    }

    /// Whole, damaged and partial files of earlier downloads.
    fn with_leftovers(&self, rng: &mut Rng, case: Case) -> Case {
        let record = format!(
            r#"{{"name": "toy.v1", "revision": "main", "commit": "aaaa", "sha256": "{}"}}"#,
            self.sum
        );
        let part = format!("cache/toy.v1.{}.part", &self.sum[..12]);
        let mut body = self.body.clone();
        if rng.once_in(2) {
            mutate::damage(rng, &mut body);
        }
        let case = case.with(
            "cache/toy.v1.safetensors.json",
            json::mutate_text(rng, record.as_bytes()),
        );
        match rng.once_in(2) {
            true => case.with("cache/toy.v1.safetensors", body),
            false => case.with(part, body),
        }
    }
}

/// Ensures that no redirect leads away from this machine, whatever the mutations.
fn stay_here(answer: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = answer[at..].windows(2).position(|pair| pair == b"//") {
        at += found + 1;
        let local = answer[at - 1..].starts_with(b"///");
        if !local {
            answer[at] = b'_';
        }
    }
}

/// Responds to each connection with the next of its responses.
struct Server {
    endpoint: String,
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let answers = Arc::new(Mutex::new(vec![]));
        let next = answers.clone();
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let answer = take(&next);
                // The client may disconnect at any time.
                thread::spawn(move || drop(reply(stream, &answer)));
            }
        });
        Ok(Self { endpoint, answers })
    }

    /// Sets the responses, in order.
    fn give(&self, mut answers: Vec<Vec<u8>>) {
        answers.reverse();
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }
}

fn take(answers: &Mutex<Vec<Vec<u8>>>) -> Vec<u8> {
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    match answers.len() {
        0 | 1 => answers.first().cloned().unwrap_or_default(),
        _ => answers.pop().unwrap_or_default(),
    }
}

fn reply(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut request, mut buffer) = (Vec::<u8>::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => break,
            n => request.extend(&buffer[..n]),
        }
    }
    stream.write_all(answer)?;
    if answer.windows(GOES_ON.len()).any(|line| line == GOES_ON) {
        for _ in 0..ENDLESS / 4096 {
            stream.write_all(&[b'x'; 4096])?;
        }
    }
    stream.shutdown(std::net::Shutdown::Both)
}
