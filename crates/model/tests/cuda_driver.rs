//! Tests of every call in `driver/gpu.rs` and `driver/nvrtc.rs` against libraries that emulate a GPU on the host
//! (`cuda_host/driver.hpp`): order and layout of the kernels' arguments, copies, memory, errors. They run in a child
//! process, whose environment names the folder of those libraries.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cuda_host;

use std::sync::Arc;
use std::{env, fs};

use cuda_host::host_emulating_a_gpu;
use kernels::{Nhwc, Precision};
use model::build::{ModelSpec, build};
use model::engine::cuda::check;
use model::engine::cuda::driver::{DeviceError, Driver, Gpu, Launch};
use model::engine::{Device, EngineError, Images};
use model::graph::NodeId;
use model::store::ParamStore;

const CACHE: &str = "MODEL_CUDA_CACHE";

/// Runs tests of this file on the host emulating a GPU, in a separate process; returns whether all passed, and the
/// output. `None` if there is no C++ compiler.
struct Child {
    folder: tempfile::TempDir,
}

impl Child {
    fn new() -> Option<Self> {
        let folder = host_emulating_a_gpu(Precision::F32);
        if folder.is_none() {
            eprintln!("skipped: no C++ compiler");
        }
        Some(Child { folder: folder? })
    }

    fn run(&self, tests: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
        let child = std::process::Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--test-threads=1", "--nocapture"])
            .args(tests)
            .env("LD_LIBRARY_PATH", self.folder.path())
            .env(CACHE, self.folder.path().join("cache"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let said = [child.stdout, child.stderr].map(|s| String::from_utf8_lossy(&s).into_owned());
        (child.status.success(), said.concat())
    }
}

#[test]
fn gpu_driver_runs_on_a_host_emulating_a_gpu() {
    let Some(child) = Child::new() else { return };
    let tests = [
        "computes_as_the_cpu_does",
        "copies_stay",
        "concurrent_copies",
        "launches_are_timed",
        "batch_beyond",
    ];
    let (good, said) = child.run(&tests, &[]);
    assert!(good && said.contains("5 passed"), "{said}");
}

/// A cached cubin from a compiler too new for the driver is recompiled.
#[test]
fn cubins_rejected_by_the_driver_are_replaced() {
    let Some(child) = Child::new() else { return };
    let open = || {
        let (good, said) = child.run(&["opens"], &[]);
        assert!(good && said.contains("1 passed"), "{said}");
    };
    open();
    let mut files = fs::read_dir(child.folder.path().join("cache")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    let good = fs::read(&file).unwrap();
    fs::write(&file, b"\x7fELF of another").unwrap();
    open();
    assert_eq!(fs::read(&file).unwrap(), good);
}

#[test]
fn old_drivers_are_rejected_with_a_remedy() {
    let Some(child) = Child::new() else { return };
    let (good, said) = child.run(&["opens"], &[("HOST_CUDA_VERSION", "11040")]);
    let error = "the NVIDIA driver supports CUDA 11.4, but 12.0 is required: update the driver";
    assert!(!good && said.contains(error), "{said}");
}

#[test]
#[ignore = "a child of the tests above"]
fn opens() {
    if let Err(error) = Gpu::new(Precision::F32) {
        panic!("{error}");
    }
}

#[test]
#[ignore = "a child of the test above"]
fn computes_as_the_cpu_does() {
    check(Precision::F32, Box::new(Gpu::new(Precision::F32).unwrap())).unwrap();
    for name in ["cuda", "auto"] {
        let choice = Device::choose(name, Precision::F32).unwrap().unwrap();
        assert_eq!(choice.device, Device::Cuda);
        assert_eq!(choice.words, "cuda (a host emulating a GPU)");
    }
}

/// Data uploaded concurrently with launches are available after `await_upload`, and a download at a mark returns them.
#[test]
#[ignore = "a child of the test above"]
fn concurrent_copies_are_ordered() {
    let mut gpu = Gpu::new(Precision::F32).unwrap();
    let arena = gpu.allocate(1000).unwrap();
    for (slot, value) in [(0, 1.0), (1, 2.0), (0, 3.0)] {
        let (a, b) = (vec![value; 100], vec![-value; 3 + slot]);
        let pieces = [(arena, &a[..]), (arena.plus(500), &b[..])];
        gpu.upload_concurrent(slot, &pieces).unwrap();
        gpu.await_upload(slot).unwrap();
        gpu.mark(slot).unwrap();
        let mut back = [0.0; 2];
        gpu.download_at(slot, arena.plus(99), &mut back).unwrap();
        assert!(back[0] == value && back[1].is_nan());
        gpu.download_at(slot, arena.plus(502), &mut back[..1])
            .unwrap();
        assert_eq!(back[0], -value);
    }
    let outside = [(arena.plus(999), &[0.0; 2][..])];
    assert!(gpu.upload_concurrent(0, &outside).is_err());
    assert!(gpu.download_at(0, arena.plus(999), &mut [0.0; 2]).is_err());
}

#[test]
#[ignore = "a child of the test above"]
fn launches_are_timed() {
    let mut gpu = Gpu::new(Precision::F32).unwrap();
    let arena = gpu.allocate(1000).unwrap();
    let args = [arena.into(), 1000usize.into(), 7f32.into()];
    let launch = Launch {
        kernel: "fill",
        grid: [4, 1, 1],
        block: [256, 1],
        args: &args,
        node: NodeId::INPUT,
    };
    gpu.start_clock().unwrap();
    gpu.launch(&launch).unwrap();
    gpu.launch(&launch).unwrap();
    assert_eq!(gpu.stop_clock().unwrap().len(), 2);
    let mut back = [0.0; 1000];
    gpu.download(arena, &mut back).unwrap();
    assert_eq!(back, [7.0; 1000]);
}

#[test]
#[ignore = "a child of the test above"]
fn copies_stay_in_the_arena_and_unknown_kernels_are_errors() {
    let mut gpu = Gpu::new(Precision::F32).unwrap();
    let before = gpu.available().unwrap();
    let arena = gpu.allocate(1000).unwrap();
    assert_eq!(gpu.available().unwrap(), before); // the arena's memory counts as available
    gpu.upload(arena.plus(10), &[1.0, 2.0]).unwrap();
    let mut back = [0.0; 3];
    gpu.download(arena.plus(9), &mut back).unwrap();
    assert!(back[0].is_nan() && back[1..] == [1.0, 2.0]);
    for outside in [arena.plus(999), arena.plus(2000)] {
        let error = gpu.upload(outside, &[0.0; 2]).unwrap_err();
        assert!(matches!(error, DeviceError::Call { .. }), "{error}");
    }
    let launch = Launch {
        kernel: "no_such_kernel",
        grid: [1, 1, 1],
        block: [256, 1],
        args: &[],
        node: NodeId::INPUT,
    };
    let error = gpu.launch(&launch).unwrap_err().to_string();
    assert!(error.contains("no_such_kernel"), "{error}");
}

/// The device has 8 GiB.
#[test]
#[ignore = "a child of the test above"]
fn batch_beyond_its_memory_is_rejected() {
    let spec = ModelSpec {
        encoder: Some("efficientnet_b0".into()),
        decoder: Some("unetpp".into()),
        ..ModelSpec::default()
    };
    let graph = Arc::new(build(&spec).unwrap());
    let mut engine = Device::Cuda.engine(graph.clone(), Precision::F32).unwrap();
    let shape = Nhwc {
        n: 100,
        h: 224,
        w: 224,
        c: 3,
    };
    let data = vec![0.0; shape.len()];
    let outputs: Vec<NodeId> = graph.output("logits").into_iter().collect();
    let mut params = ParamStore::initialized(&graph, 0);
    let error = engine
        .forward(&mut params, Images { data: &data, shape }, 0, &outputs)
        .unwrap_err();
    let EngineError::Memory {
        device,
        largest,
        available,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(
        device == "a host emulating a GPU" && *largest > 0 && *available < 8192,
        "{error}"
    );
}
