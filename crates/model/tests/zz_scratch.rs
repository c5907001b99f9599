use kernels::Nhwc;
use model::build::{ModelSpec, build};
use model::engine::cuda::CudaEngine;
use model::engine::cuda::driver::*;
use model::engine::{Engine, Images, Precision};
use model::store::ParamStore;
use std::collections::BTreeMap;
use std::sync::Arc;
#[derive(Default, Clone)]
struct D(Arc<std::sync::Mutex<Vec<(&'static str, [u32; 3], usize)>>>);
impl Driver for D {
    fn name(&self) -> String {
        "d".into()
    }
    fn available(&self) -> Result<u64, DeviceError> {
        Ok(1 << 40)
    }
    fn allocate(&mut self, _: usize) -> Result<Address, DeviceError> {
        Ok(Address(256))
    }
    fn upload(&mut self, _: Address, _: &[f32]) -> Result<(), DeviceError> {
        Ok(())
    }
    fn download(&mut self, _: Address, _: &mut [f32]) -> Result<(), DeviceError> {
        Ok(())
    }
    fn launch(&mut self, l: &Launch<'_>) -> Result<(), DeviceError> {
        self.0
            .lock()
            .unwrap()
            .push((l.kernel, l.grid, l.node.index()));
        Ok(())
    }
    fn record(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
    fn recorded(&mut self) -> Result<Recording, DeviceError> {
        Ok(Recording(0))
    }
    fn replay(&mut self, _: Recording) -> Result<(), DeviceError> {
        Ok(())
    }
}
#[test]
fn counts() {
    let spec = ModelSpec {
        encoder: Some("efficientnet_b1".into()),
        decoder: Some("unetpp".into()),
        ..ModelSpec::default()
    };
    let graph = Arc::new(build(&spec).unwrap());
    for n in [32usize] {
        let d = D::default();
        let mut e = CudaEngine::with_driver(graph.clone(), Precision::Bf16, Box::new(d.clone()));
        let shape = Nhwc {
            n,
            h: 224,
            w: 224,
            c: 3,
        };
        let data = vec![0.0; shape.len()];
        let mut params = ParamStore::initialized(&graph, 0);
        let out = [graph.output("logits").unwrap()];
        let v = e
            .forward(&mut params, Images { data: &data, shape }, 0, &out)
            .unwrap();
        let f = d.0.lock().unwrap().len();
        let mut grads = ParamStore::zeros(params.map().clone());
        e.backward(&params, &[v[0].data.clone()], &mut grads)
            .unwrap();
        let l = d.0.lock().unwrap();
        for (name, part) in [("forward", &l[..f]), ("backward", &l[f..])] {
            let mut m: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
            for (k, g, _) in part {
                let e = m.entry(k).or_default();
                e.0 += 1;
                if (g[0] * g[1] * g[2]) < 132 {
                    e.1 += 1
                }
            }
            println!("{name}: {}", part.len());
            for (k, (c, s)) in m {
                println!("  {k:40} {c:4}  few blocks {s}");
            }
        }
    }
}
