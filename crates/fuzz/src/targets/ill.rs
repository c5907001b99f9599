//! A reader that fails in every possible way, for the tests of the supervisor.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::{Case, Outcome, Rng, Session, Target};

const FILE: &str = "wish";

/// The behaviours that cases request.
const WISHES: [&str; 8] = [
    "accept", "refuse", "panic", "abort", "overflow", "allocate", "hang", "lie",
];

pub(super) struct Ill;

impl Target for Ill {
    fn name(&self) -> &'static str {
        "ill"
    }

    fn about(&self) -> &'static str {
        "fails as its input requests"
    }

    fn memory(&self) -> usize {
        64 << 20
    }

    fn short(&self) -> u64 {
        WISHES.len() as u64
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(Patient))
    }
}

struct Patient;

impl Session for Patient {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let wish = WISHES[rng.below(WISHES.len())];
        Case::file(FILE, wish.as_bytes().to_vec())
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let wish = fs::read_to_string(input.join(FILE)).unwrap_or_default();
        match wish.as_str() {
            "accept" => Outcome::Accepted,
            "panic" => {
                let nothing: Vec<u8> = black_box(vec![]);
                Outcome::accepted_if(nothing[black_box(0)] == 0, String::new)
            }
            "abort" => std::process::abort(),
            "overflow" => Outcome::accepted_if(deeper(black_box(1)) == 0, String::new),
            "allocate" => {
                Outcome::accepted_if(black_box(vec![1_u8; 128 << 20]).is_empty(), String::new)
            }
            "hang" => {
                thread::sleep(Duration::from_secs(3600));
                Outcome::Accepted
            }
            "lie" => Outcome::Wrong("as requested".into()),
            _ => Outcome::Refused,
        }
    }
}

#[expect(unconditional_recursion, reason = "the stack must overflow")]
fn deeper(n: u64) -> u64 {
    black_box([n; 512])[7] + deeper(black_box(n + 1))
}
