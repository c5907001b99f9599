use kernels::*;
use std::time::Instant;
fn t(mut f: impl FnMut()) -> f64 {
    f();
    let mut best = 1e9f64;
    for _ in 0..4 {
        let s = Instant::now();
        f();
        best = best.min(s.elapsed().as_secs_f64());
    }
    best
}
fn main() {
    let threads: usize = std::env::args().nth(1).map_or(1, |a| a.parse().unwrap());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(run);
}
fn run() {
    {
        let (m, k, n) = (1536, 1536, 1536);
        let a = vec![0.1f32; m * k];
        let b = vec![0.1f32; k * n];
        let mut c = vec![0.0f32; m * n];
        let s = t(|| unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                1,
                k as isize,
                b.as_ptr(),
                1,
                n as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            )
        });
        println!(
            "gemm crate 1 thread: {:.1} GF/s",
            2.0 * (m * k * n) as f64 / s / 1e9
        );
    }
    for (k, n, hw, cin, cout) in [
        (3, 8, 14, 432, 256),
        (3, 8, 14, 256, 256),
        (3, 8, 28, 168, 128),
        (3, 8, 56, 64, 64),
        (3, 8, 56, 88, 24),
        (3, 8, 112, 80, 32),
        (3, 8, 112, 40, 40),
        (3, 8, 112, 32, 16),
        (3, 2, 224, 32, 16),
        (3, 2, 224, 16, 16),
        (1, 8, 112, 32, 16),
        (1, 8, 112, 16, 96),
        (1, 8, 56, 144, 24),
        (1, 8, 56, 24, 144),
        (1, 8, 28, 240, 40),
        (1, 8, 14, 112, 672),
        (1, 8, 14, 672, 112),
        (1, 8, 7, 1152, 320),
        (1, 8, 7, 320, 1920),
        (1, 8, 1, 1152, 48),
        (1, 8, 1, 48, 1152),
        (1, 1, 1, 48, 1152),
    ] {
        let xs = Nhwc {
            n,
            h: hw,
            w: hw,
            c: cin,
        };
        let win = Window {
            kernel: [k, k],
            stride: 1,
            padding: Padding::Same,
        };
        let x = vec![0.5f32; xs.len()];
        let mut y = vec![0.5f32; xs.pixels() * cout];
        let mut w = vec![0.01f32; k * k * cin * cout];
        let mut dx = x.clone();
        let mut sc = vec![
            0.0;
            conv2d::forward_scratch(xs, cout, win)
                .max(conv2d::backward_input_scratch(xs, cout, win))
                .max(conv2d::backward_weight_scratch(xs, cout, win))
        ];
        let gf = 2.0 * (xs.pixels() * k * k * cin * cout) as f64 / 1e9;
        let f = t(|| conv2d::forward(&x, xs, &w, cout, win, Epilogue::default(), &mut y, &mut sc));
        let b = t(|| {
            conv2d::backward_input(&y, &w, xs, cout, win, &mut dx, Accumulate::Replace, &mut sc)
        });
        let g = t(|| {
            conv2d::backward_weight(&x, &y, xs, cout, win, &mut w, Accumulate::Replace, &mut sc)
        });
        println!(
            "{k}x{k} {n}x{hw}² {cin}->{cout}: fwd {:.0} GF/s ({:.2} ms) dx {:.0} ({:.2}) dw {:.0} ({:.2})",
            gf / f,
            f * 1e3,
            gf / b,
            b * 1e3,
            gf / g,
            g * 1e3
        );
    }
}
