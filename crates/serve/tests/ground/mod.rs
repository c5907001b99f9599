//! A folder with a network, and a service of it.
#![allow(dead_code, reason = "no test program uses all of it")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use image::{ImageBuffer, Luma};
use pipeline::predict::Predictor;
use serde_json::Value;
use serve::{Limits, Options, Token, serve};
use terminal::Interrupt;
use viewer::Study;

use crate::small;

/// A folder with a network and images of different sizes.
pub(crate) struct Ground {
    pub(crate) folder: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        small::checkpoint()
            .save(&folder.path().join("model.safetensors"))
            .unwrap();
        Ground { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An image that no other number has.
    pub(crate) fn image(&self, number: u32) -> (PathBuf, Vec<u8>) {
        let path = self.path(&format!("patient-{number}.png"));
        let value =
            |x: u32, y: u32| Luma([((x * (7 + number) + y * 13 + number * 31) % 256) as u8]);
        ImageBuffer::from_fn(20 + number % 5, 30, value)
            .save(&path)
            .unwrap();
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    }

    pub(crate) fn predictor(&self) -> Predictor {
        Predictor::open(&self.path("model.safetensors")).unwrap()
    }

    /// What `predict` records of an image, without its path.
    pub(crate) fn predicted(&self, path: &Path) -> Value {
        let predicted = self
            .predictor()
            .without_pictures()
            .predict(path, self.folder.path());
        // Through text, as a client gets it: f32 has fewer digits there.
        let text = serde_json::to_string(&predicted.unwrap()).unwrap();
        nameless(&serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.path("audit.jsonl")
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            address: ([127, 0, 0, 1], 0).into(),
            token: None,
            limits: Limits::default(),
            audit: self.audit(),
            archive: None,
        }
    }

    /// Serves as long as `test` runs; the service must end in order thereafter.
    pub(crate) fn served(
        &self,
        limits: Limits,
        token: Option<Token>,
        test: impl FnOnce(SocketAddr, &Interrupt),
    ) {
        let options = Options {
            limits,
            token,
            ..self.options()
        };
        self.served_with(None, options, test);
    }

    /// The same with a run to look at.
    pub(crate) fn served_with(
        &self,
        study: Option<Study>,
        options: Options,
        test: impl FnOnce(SocketAddr, &Interrupt),
    ) {
        let (interrupt, (sender, receiver)) = (Interrupt::default(), channel());
        let predictor = self.predictor();
        thread::scope(|scope| {
            let stop = interrupt.clone();
            let ready = move |address| sender.send(address).unwrap();
            let service = scope.spawn(move || serve(predictor, study, options, &stop, ready));
            let address = receiver.recv_timeout(Duration::from_secs(30)).unwrap();
            // The service also ends if the test fails.
            let _stop = Stop(interrupt.clone());
            test(address, &interrupt);
            interrupt.raise();
            service.join().unwrap().unwrap();
        });
    }
}

struct Stop(Interrupt);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

pub(crate) fn nameless(prediction: &Value) -> Value {
    let mut prediction = prediction.clone();
    prediction["image"] = Value::Null;
    prediction
}
