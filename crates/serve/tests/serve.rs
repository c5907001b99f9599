//! The service as its clients see it: good ones, broken ones, hostile ones, and many at once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod client;
mod ground;
#[path = "../../pipeline/tests/small/mod.rs"]
mod small;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{Reply, ask, form, get, post};
use ground::{Ground, nameless};
use serde_json::{Value, json};
use serve::{Limits, Token, audit};

fn one(reply: &Reply) -> Value {
    let images = reply.json()["images"].as_array().unwrap().clone();
    assert_eq!(images.len(), 1);
    images[0].clone()
}

#[test]
fn answers_are_what_predict_records() {
    let ground = Ground::new();
    ground.served(Limits::default(), None, |address, _| {
        let images: Vec<_> = (0..5).map(|i| ground.image(i)).collect();
        for (path, bytes) in &images {
            let reply = post(address, "/predict", &[("Content-Type", "image/png")], bytes);
            assert_eq!(reply.status, 200);
            assert_eq!(nameless(&one(&reply)), ground.predicted(path));
            assert_eq!(one(&reply)["image"], "image");
        }
        let files: Vec<(&str, &[u8])> = images
            .iter()
            .map(|(_, bytes)| ("a/b.png", &bytes[..]))
            .collect();
        let (header, body) = form(&files);
        let reply = post(address, "/predict", &[("Content-Type", &header)], &body);
        let answers = reply.json()["images"].as_array().unwrap().clone();
        let predicted: Vec<Value> = images
            .iter()
            .map(|(path, _)| ground.predicted(path))
            .collect();
        assert_eq!(answers.iter().map(nameless).collect::<Vec<_>>(), predicted);
        assert!(answers.iter().all(|answer| answer["image"] == "a/b.png"));
        assert_eq!(
            reply.header("x-request-id").unwrap(),
            reply.json()["request"]
        );
    });
}

#[test]
fn pictures_are_those_that_predict_writes() {
    let ground = Ground::new();
    let (path, bytes) = ground.image(3);
    let written = ground
        .predictor()
        .predict(&path, &ground.path("out"))
        .unwrap();
    ground.served(Limits::default(), None, |address, _| {
        let answer = one(&post(address, "/predict?pictures=true", &[], &bytes));
        let check = |uri: &Value, file: &Path| {
            let data = uri
                .as_str()
                .unwrap()
                .strip_prefix("data:image/png;base64,")
                .unwrap();
            assert_eq!(STANDARD.decode(data).unwrap(), fs::read(file).unwrap());
        };
        check(&answer["overlay"], &written.overlay.unwrap());
        check(
            &answer["segmentation"]["mask"],
            &written.segmentation.unwrap().mask.unwrap(),
        );
    });
}

#[test]
fn many_clients_get_their_own_answers_and_all_are_recorded() {
    let ground = Ground::new();
    let images: Vec<_> = (0..12).map(|i| ground.image(i)).collect();
    let expected: Vec<Value> = images
        .iter()
        .map(|(path, _)| ground.predicted(path))
        .collect();
    let (clients, each) = (48, 6);
    ground.served(Limits::default(), None, |address, _| {
        thread::scope(|scope| {
            for client in 0..clients {
                let (images, expected) = (&images, &expected);
                scope.spawn(move || {
                    for i in 0..each {
                        let image = (client * 5 + i * 7) % images.len();
                        let reply = post(address, "/predict", &[], &images[image].1);
                        assert_eq!(nameless(&one(&reply)), expected[image]);
                    }
                });
            }
        });
        let metrics = get(address, "/metrics", &[]).text();
        let counted = "effunet_requests_total{status=\"200\"}";
        let line = metrics
            .lines()
            .find(|line| line.starts_with(counted))
            .unwrap();
        assert!(line.ends_with(&format!(" {}", clients * each)), "{line}");
    });
    let lines: Vec<Value> = lines(&ground.audit());
    let answered = lines.iter().filter(|line| line["event"] == "answered");
    assert_eq!(answered.count(), clients * each);
    assert_eq!(audit::verify(&ground.audit()).unwrap().lines, lines.len());
    let text = fs::read_to_string(ground.audit()).unwrap();
    assert!(!text.contains("patient-") && !text.contains(".png"));
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn what_is_no_good_request_has_a_status_and_a_reason() {
    let ground = Ground::new();
    let (_, good) = ground.image(1);
    let broken = &good[..good.len() / 2];
    let (empty_form, no_file) = (
        form(&[]),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n",
        ),
    );
    ground.served(Limits::default(), None, |address, _| {
        let check = |reply: Reply, status: u16, part: &str| {
            assert_eq!(reply.status, status, "{}", reply.text());
            assert!(reply.text().contains(part), "{}", reply.text());
        };
        let typed =
            |media: &str, body: &[u8]| post(address, "/predict", &[("Content-Type", media)], body);
        check(typed("image/png", broken), 422, "decoded");
        check(typed("image/png", b"hello"), 415, "not a JPEG, PNG");
        check(typed("image/png", b""), 415, "empty");
        check(typed("application/json", b"{}"), 415, "is no image");
        check(typed("text/plain", &good), 415, "is no image");
        // What `curl --data-binary` says of every body.
        check(
            typed("application/x-www-form-urlencoded", &good),
            200,
            "probabilities",
        );
        check(typed(&empty_form.0, &empty_form.1), 400, "no file");
        check(typed(no_file.0, no_file.1.as_bytes()), 400, "is no file");
        check(typed("multipart/form-data", &good), 400, "boundary");
        check(
            typed("multipart/form-data; boundary=y", &good),
            400,
            "malformed",
        );
        check(
            post(address, "/predict?picture=true", &[], &good),
            400,
            "picture",
        );
        check(
            post(address, "/predict?dicom=binary", &[], &good),
            422,
            "DICOM",
        );
        check(post(address, "/nothing", &[], &good), 404, "/predict");
        check(get(address, "/predict", &[]), 405, "POST");
        check(
            get(address, "/model", &[("Host", "evil.example")]),
            421,
            "localhost",
        );
        let reply = ask(address, "POST", "/predict", &[("Content-Length", "x")], b"");
        assert_eq!(reply.status, 400);
    });
}

#[test]
fn an_image_of_several_that_is_broken_does_not_affect_the_others() {
    let ground = Ground::new();
    let ((path, good), broken) = (ground.image(1), &ground.image(2).1[..60]);
    ground.served(Limits::default(), None, |address, _| {
        let (header, body) = form(&[("a", broken), ("b", &good), ("c", b"text")]);
        let reply = post(address, "/predict", &[("Content-Type", &header)], &body);
        assert_eq!(reply.status, 200);
        let answers = reply.json()["images"].clone();
        assert_eq!(
            (&answers[0]["status"], &answers[0]["image"]),
            (&json!(422), &json!("a"))
        );
        assert_eq!(nameless(&answers[1]), ground.predicted(&path));
        assert_eq!(answers[2]["status"], 415);
        let (header, body) = form(&[("a", broken)]);
        let reply = post(address, "/predict", &[("Content-Type", &header)], &body);
        assert_eq!(reply.status, 422);
    });
    let refused: Vec<Value> = lines(&ground.audit());
    let refused = refused.iter().filter(|line| line["event"] == "refused");
    assert_eq!(refused.count(), 3);
}

#[test]
fn a_body_that_is_too_large_is_refused_whether_or_not_it_says_so() {
    let ground = Ground::new();
    let limits = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    ground.served(limits, None, |address, _| {
        let started = Instant::now();
        // 10 GiB, of which the client has sent nothing yet.
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
            10_u64 << 30
        );
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream).status, 413);
        // As many, in pieces, until the service hangs up.
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let piece = [b"10000\r\n", &[0; 0x10000][..], b"\r\n"].concat();
        let sent = (0..(10_u64 << 30) / 0x10000).take_while(|_| stream.write_all(&piece).is_ok());
        assert!(sent.count() < 1000);
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(
            post(address, "/predict", &[], &ground.image(1).1).status,
            200
        );
    });
}

#[test]
fn too_many_images_and_pixels_are_refused() {
    let ground = Ground::new();
    let limits = Limits {
        images: 2,
        pixels: 700,
        ..Limits::default()
    };
    let ((_, small), (_, large)) = (ground.image(1), ground.image(4));
    ground.served(limits, None, |address, _| {
        let (header, body) = form(&[("a", &small[..]), ("b", &small), ("c", &small)]);
        let reply = post(address, "/predict", &[("Content-Type", &header)], &body);
        assert_eq!(reply.status, 413);
        assert_eq!(post(address, "/predict", &[], &small).status, 200);
        let reply = post(address, "/predict", &[], &large);
        assert_eq!(reply.status, 422);
        assert!(reply.text().contains("24x30"), "{}", reply.text());
    });
}

#[test]
fn slow_clients_are_cut_off_and_disturb_nobody() {
    let ground = Ground::new();
    let limits = Limits {
        reading: Duration::from_millis(400),
        ..Limits::default()
    };
    let (_, image) = ground.image(1);
    ground.served(limits, None, |address, _| {
        // One stops in its head, one in its body.
        let mut in_head = TcpStream::connect(address).unwrap();
        in_head
            .write_all(b"POST /predict HTTP/1.1\r\nHost: loc")
            .unwrap();
        let mut in_body = TcpStream::connect(address).unwrap();
        in_body
            .write_all(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
            )
            .unwrap();
        assert_eq!(post(address, "/predict", &[], &image).status, 200);
        assert_eq!(Reply::read(&mut in_body).status, 408);
        in_head
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut rest = vec![];
        in_head.read_to_end(&mut rest).unwrap();
    });
}

#[test]
fn clients_that_leave_are_forgotten() {
    let ground = Ground::new();
    let (_, image) = ground.image(1);
    ground.served(Limits::default(), None, |address, _| {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(address).unwrap();
            let head = format!(
                "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                image.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&image).unwrap();
        }
        assert_eq!(post(address, "/predict", &[], &image).status, 200);
        let until = Instant::now() + Duration::from_secs(10);
        while !get(address, "/metrics", &[])
            .text()
            .contains("effunet_requests_in_flight ")
            || in_flight(address) > 0
        {
            assert!(
                Instant::now() < until,
                "{}",
                get(address, "/metrics", &[]).text()
            );
            thread::sleep(Duration::from_millis(20));
        }
    });
}

fn in_flight(address: SocketAddr) -> i64 {
    let text = get(address, "/metrics", &[]).text();
    let line = text
        .lines()
        .find(|line| line.starts_with("effunet_requests_in_flight "));
    line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// A request whose body never ends.
fn held(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        .unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while in_flight(address) == 0 {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(5));
    }
    stream
}

#[test]
fn requests_beyond_the_limits_are_asked_to_come_again() {
    let ground = Ground::new();
    let (_, image) = ground.image(1);
    let check = |limits: Limits, status: u16| {
        ground.served(limits, None, |address, _| {
            let first = held(address);
            let reply = post(address, "/predict", &[], &image);
            assert_eq!(reply.status, status);
            assert_eq!(reply.header("retry-after").unwrap(), "1");
            drop(first);
            let until = Instant::now() + Duration::from_secs(10);
            while post(address, "/predict", &[], &image).status != 200 {
                assert!(Instant::now() < until);
                thread::sleep(Duration::from_millis(20));
            }
        });
    };
    check(
        Limits {
            requests: 1,
            ..Limits::default()
        },
        503,
    );
    check(
        Limits {
            per_client: Some(1),
            ..Limits::default()
        },
        429,
    );
}

#[test]
fn a_service_that_is_stopped_answers_what_it_has_accepted() {
    let ground = Ground::new();
    let (path, image) = ground.image(1);
    let expected = ground.predicted(&path);
    ground.served(Limits::default(), None, |address, interrupt| {
        let streams: Vec<TcpStream> = (0..40)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                let head = format!(
                    "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                    image.len()
                );
                stream
                    .write_all(&[head.as_bytes(), &image].concat())
                    .unwrap();
                stream
            })
            .collect();
        while in_flight(address) == 0
            && !get(address, "/metrics", &[])
                .text()
                .contains("images_total{")
        {
            thread::yield_now();
        }
        interrupt.raise();
        let mut answered = 0;
        for mut stream in streams {
            // What had not been read yet has no answer; what is answered is whole and right.
            if let Some(reply) = Reply::try_read(&mut stream) {
                assert_eq!(nameless(&one(&reply)), expected);
                answered += 1;
            }
        }
        assert!(answered > 0);
        let mut left = TcpStream::connect(address).ok();
        assert!(
            left.as_mut()
                .is_none_or(|stream| Reply::try_read(stream).is_none())
        );
    });
    assert_eq!(lines(&ground.audit()).last().unwrap()["event"], "stopped");
}

#[test]
fn a_token_protects_everything_but_health_and_the_description() {
    let ground = Ground::new();
    let (_, image) = ground.image(1);
    let token = Token::new("correct-horse-battery").unwrap();
    ground.served(Limits::default(), Some(token), |address, _| {
        let right = [("Authorization", "Bearer correct-horse-battery")];
        let wrong = [("Authorization", "Bearer correct-horse-stapler")];
        for path in ["/model", "/metrics"] {
            assert_eq!(get(address, path, &[]).status, 401);
            assert_eq!(get(address, path, &wrong).status, 401);
            assert_eq!(get(address, path, &right).status, 200);
        }
        assert_eq!(post(address, "/predict", &wrong, &image).status, 401);
        assert_eq!(post(address, "/predict", &right, &image).status, 200);
        assert_eq!(get(address, "/health", &[]).status, 200);
        let openapi = get(address, "/openapi.json", &[]).json();
        assert_eq!(openapi["info"]["version"], pipeline::VERSION);
    });
}

#[test]
fn the_card_says_what_is_served() {
    let ground = Ground::new();
    ground.served(Limits::default(), None, |address, _| {
        let card = get(address, "/model", &[]).json();
        assert_eq!(card["classes"], json!(["WELL", "ILL"]));
        assert_eq!(card["map_classes"], json!(["background", "lung"]));
        assert_eq!(card["networks"][0]["input"], json!([16, 16, 3]));
        assert_eq!(card["weights_sha256"], ground.predictor().sha256());
    });
}

/// Every member of an answer is described, and everything described as required is there.
#[test]
fn the_description_has_the_members_of_the_answers() {
    let ground = Ground::new();
    let (_, image) = ground.image(1);
    ground.served(Limits::default(), None, |address, _| {
        let schemas = get(address, "/openapi.json", &[]).json()["components"]["schemas"].clone();
        let check = |schema: &str, value: &Value| {
            let members = |value: &Value| -> Vec<String> {
                value.as_object().unwrap().keys().cloned().collect()
            };
            assert_eq!(
                members(&schemas[schema]["properties"]),
                members(value),
                "{schema}"
            );
        };
        let answer = post(address, "/predict?pictures=true", &[], &image).json();
        check("Answers", &answer);
        check("Prediction", &answer["images"][0]);
        check("Segmentation", &answer["images"][0]["segmentation"]);
        let card = get(address, "/model", &[]).json();
        check("Card", &card);
        check("Network", &card["networks"][0]);
        check("Problem", &get(address, "/nothing", &[]).json());
        let refused = post(address, "/predict", &[], b"x").json();
        check("Refused", &refused["images"][0]);
    });
}
