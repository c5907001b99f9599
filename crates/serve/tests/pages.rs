//! The pages as a browser gets them. What they do in one is checked by `tools/check_viewer.py`.
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

use client::{Reply, form, get, post};
use files::sha256;
use ground::Ground;
use serve::{Limits, Options, Token};
use viewer::Study;

/// A name that would be an element if it were not escaped.
const HOSTILE: &str = "<b>bold&amp;.png";

/// A run of four images: two of them near the threshold, one of them wrong.
fn study(ground: &Ground) -> Study {
    let (run, data) = (ground.path("run"), ground.path("data"));
    fs::create_dir_all(&run).unwrap();
    fs::create_dir_all(&data).unwrap();
    let mut predictions = "split,path,patient,class,predicted,correct,p_WELL,p_ILL\n".to_owned();
    let mut manifest = "path,split,sha256\n".to_owned();
    for (i, (name, class, ill)) in [
        ("well.png", "WELL", 0.1),
        ("ill.png", "ILL", 0.9),
        (HOSTILE, "WELL", 0.52),
        ("near.png", "ILL", 0.55),
    ]
    .into_iter()
    .enumerate()
    {
        let (path, bytes) = ground.image(i as u32);
        fs::rename(path, data.join(name)).unwrap();
        let predicted = if ill >= 0.5 { "ILL" } else { "WELL" };
        let correct = predicted == class;
        let well = 1.0 - ill;
        predictions +=
            &format!("test,{name},p-{i},{class},{predicted},{correct},{well:.6},{ill:.6}\n");
        manifest += &format!("{name},test,{}\n", sha256::hex(&bytes));
    }
    predictions += "val,other.png,p-9,WELL,WELL,true,0.9,0.1\n";
    let metrics = r#"{"classes": ["WELL", "ILL"], "positive": 1,
        "threshold": {"probability": 0.5, "interval": [0.45, 0.6]}}"#;
    let settings = format!(
        "[pipeline]\nstages = [\"index\"]\ntitle = \"A trial\"\n[data]\ndir = {:?}\n",
        data.display().to_string()
    );
    let record = r#"{"pipeline": "trial", "version": "0", "seed": 1, "device": "cpu", "platform": "x",
        "data_fingerprint": null, "done": [], "finished": true}"#;
    for (name, text) in [
        ("run.json", record),
        ("resolved.toml", &settings),
        ("metrics.json", metrics),
        ("predictions.csv", &predictions),
        ("manifest.csv", &manifest),
    ] {
        fs::write(run.join(name), text).unwrap();
    }
    Study::open(&run, None, ground.folder.path()).unwrap()
}

/// The paths of a worklist, in order.
fn listed(page: &Reply) -> Vec<String> {
    let text = page.text();
    let parts = text.split("<span class=\"path\">").skip(1);
    parts
        .map(|part| part.split("</span>").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_worklist_has_what_needs_a_person_first_and_follows_the_threshold() {
    let ground = Ground::new();
    let study = study(&ground);
    ground.served_with(Some(study), ground.options(), |address, _| {
        let page = get(address, "/", &[]);
        assert_eq!(page.status, 200);
        let hostile = "&lt;b&gt;bold&amp;amp;.png";
        assert_eq!(listed(&page), ["near.png", hostile, "ill.png", "well.png"]);
        assert!(!page.text().contains("<b>bold"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(page.header("cache-control").unwrap(), "no-store");

        assert_eq!(listed(&get(address, "/?show=wrong", &[])), [hostile]);
        assert_eq!(listed(&get(address, "/?show=wrong&t=0.54", &[])).len(), 0);
        assert_eq!(listed(&get(address, "/?show=1-0&t=0.95", &[])).len(), 2);
        assert_eq!(listed(&get(address, "/?q=P-1", &[])), ["ill.png"]);
        // An address that was changed by hand.
        assert_eq!(listed(&get(address, "/?show=x&t=7&page=99", &[])).len(), 4);
    });
}

#[test]
fn an_image_has_its_pixels_and_its_map_unless_it_is_another_by_now() {
    let ground = Ground::new();
    let study = study(&ground);
    ground.served_with(Some(study), ground.options(), |address, _| {
        let page = get(address, "/cases/2", &[]).text();
        assert!(page.contains("false positive") && page.contains("near the threshold"));
        assert!(page.contains("data-image=\"/cases/2/image\""), "{page}");
        for picture in ["image", "map/0", "map/1", "overlay", "thumbnail"] {
            let reply = get(address, &format!("/cases/2/{picture}"), &[]);
            assert_eq!(reply.status, 200, "{picture}: {}", reply.text());
            assert_eq!(reply.header("cache-control").unwrap(), "no-store");
        }
        assert_eq!(get(address, "/cases/2/map/2", &[]).status, 404);
        assert_eq!(get(address, "/cases/4", &[]).status, 404);

        let (_, other) = ground.image(9);
        fs::write(ground.path("data/well.png"), other).unwrap();
        assert!(get(address, "/cases/0", &[]).text().contains("has changed"));
        fs::remove_file(ground.path("data/ill.png")).unwrap();
        assert!(get(address, "/cases/1", &[]).text().contains("--data DIR"));
        assert_eq!(get(address, "/cases/1/image", &[]).status, 404);
    });
}

#[test]
fn pages_and_pictures_need_the_token() {
    let ground = Ground::new();
    let study = study(&ground);
    let options = Options {
        token: Some(Token::new("0123456789abcdef").unwrap()),
        ..ground.options()
    };
    ground.served_with(Some(study), options, |address, _| {
        for path in ["/", "/cases/0", "/cases/0/image", "/cases/0/map/0", "/new"] {
            let reply = get(address, path, &[]);
            assert_eq!(reply.status, 401, "{path}");
            // The first of them; browsers ask for a password.
            assert!(
                reply
                    .header("www-authenticate")
                    .unwrap()
                    .starts_with("Basic")
            );
            let stated = [("Authorization", "Bearer 0123456789abcdef")];
            assert_eq!(get(address, path, &stated).status, 200, "{path}");
        }
    });
}

#[test]
fn images_that_a_reader_sends_are_predicted_recorded_and_shown() {
    let ground = Ground::new();
    ground.served(Limits::default(), None, |address, _| {
        // There is no run to look at.
        let start = get(address, "/", &[]);
        assert_eq!(
            (start.status, start.header("location")),
            (303, Some("/new"))
        );
        assert!(
            get(address, "/new", &[])
                .text()
                .contains("multipart/form-data")
        );

        let (path, image) = ground.image(1);
        let (kind, body) = form(&[(HOSTILE, &image), ("broken.png", b"\x89PNG\r\n\x1a\nx")]);
        let page = post(address, "/new", &[("Content-Type", &kind)], &body);
        assert_eq!(page.status, 200, "{}", page.text());
        let text = page.text();
        assert!(!text.contains("<b>bold"));
        assert!(text.contains("Not predicted") && text.contains("data:image/png;base64,"));
        let predicted = ground.predicted(&path);
        assert!(text.contains(predicted["image_sha256"].as_str().unwrap()));
        assert!(text.contains(predicted["class"].as_str().unwrap()));
        let log = fs::read_to_string(ground.audit()).unwrap();
        assert!(
            log.contains("\"answered\"") && log.contains("\"refused\""),
            "{log}"
        );
        assert!(!log.contains("bold"));

        let many: Vec<(&str, &[u8])> = (0..17).map(|_| ("a.png", &image[..])).collect();
        let (kind, body) = form(&many);
        let refused = post(address, "/new", &[("Content-Type", &kind)], &body);
        assert_eq!(refused.status, 413);
        assert!(refused.text().contains("16 images"), "{}", refused.text());
    });
}
