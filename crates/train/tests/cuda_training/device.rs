//! Devices with fenced memory, and comparisons.

use std::sync::{Mutex, OnceLock};

use model::engine::Precision;
use model::engine::cuda::driver::{Address, Driver, Gpu};
use random::Rng;
use serde_json::Value;
use train::TrainConfig;

use crate::cuda_host::{Host, gpu};

/// Minimum number of guard values between two allocations, which must not be written.
pub(crate) const FENCE: usize = 64;

pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) base: Address,
    pub(crate) len: usize,
    pub(crate) used: usize,
    pub(crate) places: Vec<(usize, usize)>,
}

impl Device {
    pub(crate) fn new(name: &'static str, mut driver: Box<dyn Driver>, len: usize) -> Self {
        let base = driver.allocate(len).unwrap();
        driver.upload(base, &vec![f32::NAN; len]).unwrap();
        Device {
            name,
            driver,
            base,
            len,
            used: 0,
            places: vec![],
        }
    }

    pub(crate) fn place(&mut self, len: usize) -> Address {
        let start = self.used + FENCE;
        self.used = (start + len).next_multiple_of(64);
        assert!(
            self.used + FENCE <= self.len,
            "the test's arena is too small"
        );
        self.places.push((start, start + len));
        self.base.plus(start)
    }

    pub(crate) fn put(&mut self, data: &[f32]) -> Address {
        let at = self.place(data.len());
        self.driver.upload(at, data).unwrap();
        at
    }

    pub(crate) fn get(&mut self, at: Address, len: usize) -> Vec<f32> {
        let mut data = vec![0.0; len];
        self.driver.download(at, &mut data).unwrap();
        data
    }

    /// Checks that memory outside the allocations is unchanged.
    pub(crate) fn check_fences(&mut self) {
        let all = self.get(self.base, self.len);
        let mut at = 0;
        for (start, end) in self.places.iter().copied().chain([(self.len, self.len)]) {
            let fence = all[at..start].iter();
            assert!(
                fence.clone().all(|v| v.is_nan()),
                "{}: written outside an allocation, before {start}",
                self.name
            );
            at = end;
        }
    }
}

/// The host running blocks and threads in both orders, and a GPU if there is one, each with `len` values of memory.
pub(crate) fn devices(len: usize) -> Vec<Device> {
    let host = |reverse| {
        let mut host = Host::new(Precision::F32)?;
        host.reverse = reverse;
        Some(Box::new(host) as Box<dyn Driver>)
    };
    let gpu = a_gpu().map(|gpu| Box::new(gpu) as Box<dyn Driver>);
    let all = [
        ("host", host(false)),
        ("host, reversed", host(true)),
        ("GPU", gpu),
    ];
    let there =
        |(name, driver): (_, Option<_>)| driver.map(|driver| Device::new(name, driver, len));
    all.into_iter().filter_map(there).collect()
}

/// A GPU, if there is one. The first handle is kept alive: a GPU's context is created for its first user and destroyed
/// with its last, and creating it takes longer than a test case.
fn a_gpu() -> Option<Gpu> {
    static FIRST: OnceLock<Mutex<Option<Gpu>>> = OnceLock::new();
    let first = FIRST.get_or_init(|| Mutex::new(gpu(Precision::F32)));
    let there = first.lock().unwrap().is_some();
    there.then(|| gpu(Precision::F32)).flatten()
}

/// Runs a case on every device; both orders on the host must give identical bits, and each device the expected result.
pub(crate) fn everywhere(
    len: usize,
    run: impl Fn(&mut Device) -> Vec<Vec<f32>>,
    check: impl Fn(&str, &[Vec<f32>]),
) {
    let mut first: Option<Vec<Vec<f32>>> = None;
    for mut device in devices(len) {
        let found = run(&mut device);
        device.check_fences();
        check(device.name, &found);
        let first = first.get_or_insert_with(|| found.clone());
        if device.name.starts_with("host") {
            assert_eq!(
                bits(first),
                bits(&found),
                "the result depends on the order of blocks and threads"
            );
        }
    }
}

pub(crate) fn bits(values: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let of = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect();
    values.iter().map(of).collect()
}

pub(crate) fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::stream(seed, 77);
    (0..len).map(|_| rng.normal_f32()).collect()
}

pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// Checks that differences are within `tolerance` times the largest expected value, or times `floor` if that is larger.
pub(crate) fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32, floor: f32) {
    let scale = expected.iter().fold(floor, |m, v| m.max(v.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * scale,
            "{what}[{i}]: {f} instead of {e}, of {scale}"
        );
    }
}

pub(crate) fn settings(json: Value) -> TrainConfig {
    let config: TrainConfig = serde_json::from_value(json).unwrap();
    config.check().unwrap();
    config
}
