//! `driver/gpu.rs` and `driver/nvrtc.rs`, every call of them, against libraries that are the host (`cuda_host/driver.hpp`):
//! arguments in the kernels' order and layout, copies, memory, errors. In a child process, whose environment names the
//! folder of those libraries.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cuda_host;

use std::sync::Arc;
use std::{env, fs};

use cuda_host::host_that_plays_a_gpu;
use kernels::{Nhwc, Precision};
use model::build::{ModelSpec, build};
use model::engine::cuda::check;
use model::engine::cuda::driver::{DeviceError, Driver, Gpu};
use model::engine::{Device, EngineError, Images};
use model::graph::NodeId;
use model::store::ParamStore;

const CACHE: &str = "MODEL_CUDA_CACHE";

#[test]
fn the_gpu_driver_runs_on_a_host_that_plays_a_gpu() {
    let Some(folder) = host_that_plays_a_gpu(Precision::F32) else {
        eprintln!("skipped: no C++ compiler");
        return;
    };
    let child = std::process::Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--test-threads=1"])
        .env("LD_LIBRARY_PATH", folder.path())
        .env(CACHE, folder.path().join("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("4 passed"),
        "{said}"
    );
}

#[test]
#[ignore = "a child of the test above"]
fn it_computes_as_the_cpu_does() {
    check(Precision::F32, Box::new(Gpu::new(Precision::F32).unwrap())).unwrap();
    for name in ["cuda", "auto"] {
        let choice = Device::choose(name, Precision::F32).unwrap().unwrap();
        assert_eq!(choice.device, Device::Cuda);
        assert_eq!(choice.words, "cuda (a host that plays a GPU)");
    }
}

/// A cubin of a compiler that the driver does not follow lies in the cache: it is made anew.
#[test]
#[ignore = "a child of the test above"]
fn a_cubin_that_the_driver_refuses_is_replaced() {
    Gpu::new(Precision::F32).unwrap();
    let folder = env::var_os(CACHE).unwrap();
    let file = fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let good = fs::read(&file).unwrap();
    fs::write(&file, b"\x7fELF of another").unwrap();
    Gpu::new(Precision::F32).unwrap();
    assert_eq!(fs::read(&file).unwrap(), good);
}

#[test]
#[ignore = "a child of the test above"]
fn copies_stay_in_the_arena_and_unknown_kernels_are_errors() {
    let mut gpu = Gpu::new(Precision::F32).unwrap();
    let before = gpu.available().unwrap();
    let arena = gpu.allocate(1000).unwrap();
    assert_eq!(gpu.available().unwrap(), before); // what the arena holds can be had again
    gpu.upload(arena.plus(10), &[1.0, 2.0]).unwrap();
    let mut back = [0.0; 3];
    gpu.download(arena.plus(9), &mut back).unwrap();
    assert!(back[0].is_nan() && back[1..] == [1.0, 2.0]);
    for outside in [arena.plus(999), arena.plus(2000)] {
        let error = gpu.upload(outside, &[0.0; 2]).unwrap_err();
        assert!(matches!(error, DeviceError::Call { .. }), "{error}");
    }
    let launch = model::engine::cuda::driver::Launch {
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
fn a_batch_beyond_its_memory_is_refused() {
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
        device == "a host that plays a GPU" && *largest > 0 && *available < 8192,
        "{error}"
    );
}
