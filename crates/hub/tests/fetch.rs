//! Downloads from a mock of the hub on 127.0.0.1.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hub::{Fetched, HubError, Known, Request, fetch, known};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

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

/// How the mock behaves.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// Responds to the repository's address with this status instead.
    status: Option<u16>,
    /// Breaks each connection after so many bytes of the file.
    breaks_after: Option<usize>,
    /// Stalls after so many bytes of the file, and leaves the connection open.
    stalls_after: Option<usize>,
    /// Sends the bytes of the file one by one, a few per second.
    drips: bool,
    /// Announces no size and sends the file again and again.
    endless: bool,
    /// Announces this size.
    size: Option<u64>,
    /// Sends the whole file whatever range is requested.
    ignores_ranges: bool,
    /// Sends bytes that do not match the checksum.
    wrong_bytes: bool,
    /// Announces no checksum.
    no_sum: bool,
}

/// Serves one file as the hub does: a redirect with the headers, then storage.
struct Server {
    endpoint: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(manner: Manner, file: Vec<u8>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(vec![]));
        let seen = log.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(stream.unwrap(), manner, &file, &seen);
            }
        });
        Server { endpoint, log }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

/// Handles one request per connection.
fn answer(
    mut stream: TcpStream,
    manner: Manner,
    file: &[u8],
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let (mut parts, mut from) = (first.split(' '), None);
    let (method, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    for line in lines {
        let line = line?;
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse::<usize>().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock()
        .unwrap()
        .push(format!("{method} {target} {}", from.unwrap_or(0)));
    if target.starts_with("/owner/toy/resolve/") {
        let sum = sum(file);
        let headers = match manner.no_sum {
            true => "ETag: \"0123456789\"\r\n".into(),
            false => format!(
                "X-Linked-Etag: \"{sum}\"\r\n{}X-Repo-Commit: abc123\r\n",
                match manner.endless {
                    true => String::new(),
                    false => {
                        let size = manner.size.unwrap_or(file.len() as u64);
                        format!("X-Linked-Size: {size}\r\n")
                    }
                }
            ),
        };
        return match manner.status {
            Some(status) => write!(
                stream,
                "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
            None => write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: /storage/file\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
            ),
        };
    }
    let from = from.filter(|_| !manner.ignores_ranges);
    let body: Vec<u8> = file[from.unwrap_or(0)..]
        .iter()
        .map(|b| b ^ u8::from(manner.wrong_bytes))
        .collect();
    let status = match from {
        Some(from) => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
            file.len() - 1,
            file.len()
        ),
        None => "200 OK".into(),
    };
    let length = match manner.endless {
        true => String::new(), // until the connection closes
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{length}Connection: close\r\n\r\n"
    )?;
    if method == "GET" && manner.endless {
        loop {
            stream.write_all(&body)?;
        }
    }
    for byte in body.iter().filter(|_| method == "GET" && manner.drips) {
        stream.write_all(&[*byte])?;
        thread::sleep(Duration::from_millis(20));
    }
    if method == "GET" {
        let end = manner.breaks_after.or(manner.stalls_after);
        let end = end.unwrap_or(usize::MAX).min(body.len());
        stream.write_all(&body[..end])?;
        if manner.stalls_after.is_some() && end < body.len() {
            // Waits until the other side gives up and closes.
            let _ = std::io::Read::read(&mut stream, &mut [0]);
        }
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn file() -> Vec<u8> {
    (0..100_000u32).flat_map(|i| i.to_le_bytes()).collect()
}

fn request<'a>(server: &Server, cache: &'a Path) -> Request<'a> {
    Request {
        endpoint: server.endpoint.clone(),
        record: BTreeMap::from([("encoder".into(), "efficientnet_b0".into())]),
        ..Request::new(&KNOWN, cache)
    }
}

fn run(request: &Request<'_>) -> Result<Fetched, HubError> {
    fetch(request, &mut |_, _| ControlFlow::Continue(()))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_fetched_completely_and_only_once() {
    let (server, cache) = (
        Server::start(Manner::default(), file()),
        TempDir::new().unwrap(),
    );
    let mut last = (0, 0);
    let fetched = fetch(&request(&server, cache.path()), &mut |done, total| {
        last = (done, total);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(last, (400_000, 400_000));
    assert_eq!(fs::read(&fetched.path).unwrap(), file());
    assert_eq!(
        (fetched.sha256.as_str(), fetched.cached),
        (sum(&file()).as_str(), false)
    );
    assert_eq!(
        names(cache.path()),
        ["toy.v1.safetensors", "toy.v1.safetensors.json"]
    );
    let record = fs::read_to_string(cache.path().join("toy.v1.safetensors.json")).unwrap();
    for part in [
        &fetched.sha256,
        "abc123",
        "owner/toy/model.safetensors",
        "Apache-2.0",
        "efficientnet_b0",
    ] {
        assert!(record.contains(part), "{record}");
    }
    assert_eq!(
        server.requests().len(),
        4,
        "HEAD and GET, each with a redirect"
    );

    let again = run(&request(&server, cache.path())).unwrap();
    assert!(again.cached && again.path == fetched.path);
    assert_eq!(server.requests(), [""; 0], "a cached file is not requested");
    assert_eq!(
        hub::cached(&KNOWN, cache.path()),
        Some(fetched.path.clone())
    );

    fs::write(&fetched.path, "damaged").unwrap();
    assert!(!run(&request(&server, cache.path())).unwrap().cached);
    assert_eq!(fs::read(&fetched.path).unwrap(), file());
}

#[test]
fn a_broken_download_is_resumed() {
    let manner = Manner {
        breaks_after: Some(150_000),
        ..Manner::default()
    };
    let (server, cache) = (Server::start(manner, file()), TempDir::new().unwrap());
    let fetched = run(&request(&server, cache.path())).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), file());
    let starts: Vec<String> = server
        .requests()
        .into_iter()
        .filter_map(|r| r.strip_prefix("GET /storage/file ").map(str::to_owned))
        .collect();
    assert_eq!(starts, ["0", "150000", "300000"]);
}

#[test]
fn a_hopeless_connection_keeps_the_partial_download() {
    let slow = Manner {
        breaks_after: Some(50_000),
        ..Manner::default()
    };
    let (server, cache) = (Server::start(slow, file()), TempDir::new().unwrap());
    let text = run(&request(&server, cache.path()))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("broke off at 200000 of 400000 bytes"),
        "{text}"
    );
    assert!(
        run(&request(&server, cache.path())).is_ok(),
        "the next call resumes"
    );
}

#[test]
fn a_stalled_connection_is_abandoned_and_the_download_is_resumed() {
    let silent = Manner {
        stalls_after: Some(150_000),
        ..Manner::default()
    };
    let (server, cache) = (Server::start(silent, file()), TempDir::new().unwrap());
    let request = Request {
        stall: Duration::from_millis(200),
        ..request(&server, cache.path())
    };
    let started = Instant::now();
    let fetched = run(&request).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), file());
    let gets = server
        .requests()
        .into_iter()
        .filter(|r| r.starts_with("GET /storage"));
    assert_eq!(gets.count(), 3);
    // Two stalls of 200 ms; without a limit it would never end.
    assert!(started.elapsed() < Duration::from_secs(20));

    let mute = Manner {
        stalls_after: Some(0),
        ..Manner::default()
    };
    let (server, cache) = (Server::start(mute, file()), TempDir::new().unwrap());
    let request = Request {
        stall: Duration::from_millis(50),
        ..self::request(&server, cache.path())
    };
    let text = run(&request).unwrap_err().to_string();
    assert!(
        text.contains("broke off at 0 of 400000 bytes") && text.contains("timeout"),
        "{text}"
    );
}

#[test]
fn a_slow_connection_is_abandoned() {
    let drips = Manner {
        drips: true,
        ..Manner::default()
    };
    let (server, cache) = (Server::start(drips, file()), TempDir::new().unwrap());
    let request = Request {
        stall: Duration::from_millis(300),
        ..request(&server, cache.path())
    };
    let started = Instant::now();
    let text = run(&request).unwrap_err().to_string();
    assert!(text.contains("less than 1024 bytes per second"), "{text}");
    // Four attempts; the whole file would take more than two hours.
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_endless_body_is_not_kept() {
    let endless = Manner {
        endless: true,
        ..Manner::default()
    };
    let (server, cache) = (Server::start(endless, file()), TempDir::new().unwrap());
    let request = Request {
        most_bytes: 1 << 20,
        ..request(&server, cache.path())
    };
    let text = run(&request).unwrap_err().to_string();
    assert!(text.contains("more than 1048576 bytes"), "{text}");
    assert_eq!(names(cache.path()), [""; 0]);

    let boast = Manner {
        size: Some(1 << 63),
        ..Manner::default()
    };
    let (server, cache) = (Server::start(boast, file()), TempDir::new().unwrap());
    let text = run(&self::request(&server, cache.path()))
        .unwrap_err()
        .to_string();
    assert!(text.contains("more than 1073741824 bytes"), "{text}");
    assert!(server.requests().iter().all(|r| r.starts_with("HEAD")));
}

#[test]
fn two_fetches_at_once_do_not_interfere() {
    let silent = Manner {
        stalls_after: Some(1000),
        ..Manner::default()
    };
    let (server, cache) = (Server::start(silent, file()), TempDir::new().unwrap());
    let (first, second) = (
        request(&server, cache.path()),
        request(&server, cache.path()),
    );
    let mut begun = false;
    let stopped = fetch(&first, &mut |_, _| {
        if !std::mem::replace(&mut begun, true) {
            let text = run(&second).unwrap_err().to_string();
            let pid = std::process::id().to_string();
            assert!(text.contains("toy.v1") && text.contains(&pid), "{text}");
        }
        ControlFlow::Break(())
    });
    assert!(begun && matches!(stopped, Err(HubError::Stopped)));
}

#[test]
fn a_server_without_ranges_restarts_the_download() {
    let (server, cache) = (
        Server::start(
            Manner {
                ignores_ranges: true,
                ..Manner::default()
            },
            file(),
        ),
        TempDir::new().unwrap(),
    );
    let stopped = fetch(&request(&server, cache.path()), &mut |_, _| {
        ControlFlow::Break(())
    });
    assert!(matches!(stopped, Err(HubError::Stopped)));
    assert_eq!(names(cache.path()).len(), 1, "the partial file is kept");
    let fetched = run(&request(&server, cache.path())).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), file());
}

#[test]
fn wrong_bytes_are_not_kept() {
    let wrong = Manner {
        wrong_bytes: true,
        ..Manner::default()
    };
    let (server, cache) = (Server::start(wrong, file()), TempDir::new().unwrap());
    let text = run(&request(&server, cache.path()))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains(&sum(&file())) && text.contains("the hub's header"),
        "{text}"
    );
    assert_eq!(names(cache.path()), [""; 0]);
}

#[test]
fn checksums_are_required_before_the_download() {
    let (server, cache) = (
        Server::start(Manner::default(), file()),
        TempDir::new().unwrap(),
    );
    let mut request = request(&server, cache.path());
    request.sha256 = Some("0".repeat(64));
    let text = run(&request).unwrap_err().to_string();
    assert!(text.contains("--sha256"), "{text}");
    assert!(server.requests().iter().all(|r| r.starts_with("HEAD")));
    request.sha256 = Some(sum(&file()).to_uppercase());
    run(&request).unwrap();

    let silent = Server::start(
        Manner {
            no_sum: true,
            ..Manner::default()
        },
        file(),
    );
    let cache = TempDir::new().unwrap();
    let mut request = self::request(&silent, cache.path());
    let text = run(&request).unwrap_err().to_string();
    assert!(text.contains("without a SHA-256"), "{text}");
    request.sha256 = Some(sum(&file()));
    run(&request).unwrap();
}

#[test]
fn errors_state_what_to_do() {
    let check = |request: &Request<'_>, expected: &[&str]| {
        let text = run(request).unwrap_err().to_string();
        for part in expected {
            assert!(text.contains(part), "{part}: {text}");
        }
    };
    let cache = TempDir::new().unwrap();
    for (status, expected) in [
        (404, "no such repository"),
        (401, "login"),
        (503, "try again later"),
    ] {
        let server = Server::start(
            Manner {
                status: Some(status),
                ..Manner::default()
            },
            file(),
        );
        check(
            &request(&server, cache.path()),
            &[
                &format!("/owner/toy/resolve/main/model.safetensors returned {status}"),
                expected,
            ],
        );
    }
    // A port without a listener: bound, and closed again.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut nowhere = Request::new(&KNOWN, cache.path());
    nowhere.endpoint = format!("http://{port}");
    check(&nowhere, &["no answer from", "Is there a connection?"]);

    let server = Server::start(Manner::default(), file());
    let taken = cache.path().join("file");
    fs::write(&taken, "").unwrap();
    check(&request(&server, &taken), &["cannot create", "file"]);
}

#[test]
fn names_are_unique_and_found() {
    let mut names: Vec<&str> = known().iter().map(|k| k.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), known().len());
    assert_eq!(
        hub::find("tf_efficientnet_lite1.in1k").unwrap().mean,
        [0.5; 3]
    );
    let text = hub::find("tf_efficientnet_lite1_in1k")
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("did you mean \"tf_efficientnet_lite1.in1k\"?"),
        "{text}"
    );
}
