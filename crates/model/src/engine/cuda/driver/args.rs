//! A launch and its arguments in the form that the kernels take.

use std::ffi::c_void;

use kernels::{Nhwc, Window};

use super::{Address, DeviceError};
use crate::graph::NodeId;

/// A kernel, the shape of its grid, and its arguments.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Name in the program.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y; 256 in all.
    pub block: [u32; 2],
    /// In the order of the kernel's parameters.
    pub args: &'a [Arg],
    /// The node to whose step it belongs.
    pub node: NodeId,
}

impl Launch<'_> {
    /// Threads of a block, in every kernel.
    pub const THREADS: u32 = 256;

    /// Checks that every GPU since 2014 accepts it.
    ///
    /// # Errors
    /// A grid with no blocks, or more blocks along an axis than allowed.
    pub fn check(&self) -> Result<(), DeviceError> {
        let [x, y, z] = self.grid;
        let fits =
            (1..1 << 31).contains(&x) && (1..1 << 16).contains(&y) && (1..1 << 16).contains(&z);
        if fits && self.block[0] * self.block[1] == Self::THREADS {
            return Ok(());
        }
        Err(DeviceError::Geometry {
            kernel: self.kernel,
            grid: self.grid,
        })
    }
}

/// One argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A pointer into the arena, or null.
    Pointer(Address),
    /// `u32`.
    U32(u32),
    /// `int`.
    I32(i32),
    /// `u64`.
    U64(u64),
    /// `float`.
    F32(f32),
    /// `struct Windowed`.
    Windowed(Windowed),
    /// `struct Up`.
    Up(Up),
    /// `struct Parts`.
    Parts(Parts),
    /// `struct NormParameters`.
    Norm(NormParameters),
    /// `struct Patches`.
    Patches(Patches),
}

impl Arg {
    /// A pointer to the value itself, as required for a launch.
    pub fn value(&self) -> *const c_void {
        match self {
            Arg::Pointer(v) => std::ptr::from_ref(v).cast(),
            Arg::U32(v) => std::ptr::from_ref(v).cast(),
            Arg::I32(v) => std::ptr::from_ref(v).cast(),
            Arg::U64(v) => std::ptr::from_ref(v).cast(),
            Arg::F32(v) => std::ptr::from_ref(v).cast(),
            Arg::Windowed(v) => std::ptr::from_ref(v).cast(),
            Arg::Up(v) => std::ptr::from_ref(v).cast(),
            Arg::Parts(v) => std::ptr::from_ref(v).cast(),
            Arg::Norm(v) => std::ptr::from_ref(v).cast(),
            Arg::Patches(v) => std::ptr::from_ref(v).cast(),
        }
    }
}

impl From<Address> for Arg {
    fn from(v: Address) -> Self {
        Arg::Pointer(v)
    }
}

/// `None` becomes a null pointer.
impl From<Option<Address>> for Arg {
    fn from(v: Option<Address>) -> Self {
        Arg::Pointer(v.unwrap_or(Address::NULL))
    }
}

impl From<u32> for Arg {
    fn from(v: u32) -> Self {
        Arg::U32(v)
    }
}

/// A count; the plan rejects those that do not fit before anything is launched.
impl From<usize> for Arg {
    fn from(v: usize) -> Self {
        Arg::U32(v as u32)
    }
}

impl From<i32> for Arg {
    fn from(v: i32) -> Self {
        Arg::I32(v)
    }
}

impl From<u64> for Arg {
    fn from(v: u64) -> Self {
        Arg::U64(v)
    }
}

impl From<f32> for Arg {
    fn from(v: f32) -> Self {
        Arg::F32(v)
    }
}

impl From<bool> for Arg {
    fn from(v: bool) -> Self {
        Arg::I32(v.into())
    }
}

impl From<Windowed> for Arg {
    fn from(v: Windowed) -> Self {
        Arg::Windowed(v)
    }
}

impl From<Up> for Arg {
    fn from(v: Up) -> Self {
        Arg::Up(v)
    }
}

impl From<Parts> for Arg {
    fn from(v: Parts) -> Self {
        Arg::Parts(v)
    }
}

impl From<Patches> for Arg {
    fn from(v: Patches) -> Self {
        Arg::Patches(v)
    }
}

impl From<NormParameters> for Arg {
    fn from(v: NormParameters) -> Self {
        Arg::Norm(v)
    }
}

/// A window over an input; laid out as in `values.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windowed {
    input: [i32; 4],
    output: [i32; 3],
    kernel: [i32; 2],
    stride: i32,
    padding: [i32; 2],
}

impl Windowed {
    /// The window that maps `xs` to `ys`.
    pub fn new(xs: Nhwc, window: Window, ys: Nhwc) -> Self {
        Windowed {
            input: [xs.n, xs.h, xs.w, xs.c].map(int),
            output: [ys.h, ys.w, ys.c].map(int),
            kernel: window.kernel.map(int),
            stride: int(window.stride),
            padding: [window.pad_before(0, xs.h), window.pad_before(1, xs.w)].map(int),
        }
    }
}

/// A 3×3 convolution by patches; laid out as in `conv3x3.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    input: [i32; 4],
    output: [i32; 2],
    padding: [i32; 2],
    across: i32,
    down: i32,
}

impl Patches {
    /// Columns of a patch.
    pub const COLUMNS: usize = 16;

    /// Patches of `rows` rows that compute an image of `output` (height, width) from `xs`, with `padding` before it.
    pub fn new(xs: Nhwc, output: [usize; 2], padding: [usize; 2], rows: usize) -> Self {
        Patches {
            input: [xs.n, xs.h, xs.w, xs.c].map(int),
            output: output.map(int),
            padding: padding.map(int),
            across: int(output[1].div_ceil(Self::COLUMNS)),
            down: int(output[0].div_ceil(rows)),
        }
    }

    /// Number of patches.
    pub fn count(&self) -> usize {
        [self.input[0], self.across, self.down]
            .map(|v| v as usize)
            .iter()
            .product()
    }
}

/// A transposed convolution; laid out as in `conv_transpose.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Up {
    input: [i32; 4],
    cout: i32,
}

impl Up {
    /// Transposed convolution from `xs` to `cout` channels.
    pub fn new(xs: Nhwc, cout: usize) -> Self {
        Up {
            input: [xs.n, xs.h, xs.w, xs.c].map(int),
            cout: int(cout),
        }
    }
}

/// The parts of a convolution's input, or of its gradient; laid out as in `conv.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    data: [u64; Parts::MAX],
    end: [i32; Parts::MAX],
    doubled: [i32; Parts::MAX],
    add: [i32; Parts::MAX],
}

/// One of [`Parts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its address.
    pub data: Address,
    /// Number of channels.
    pub channels: usize,
    /// Whether each of its pixels is read as 2×2 pixels.
    pub doubled: bool,
    /// For a gradient: whether it is added to the existing values.
    pub add: bool,
}

impl Parts {
    /// Largest number of parts.
    pub const MAX: usize = kernels::conv2d::Inputs::MAX;

    /// Collects at most [`Parts::MAX`] parts, in order.
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut all = Parts {
            data: [0; Parts::MAX],
            end: [0; Parts::MAX],
            doubled: [0; Parts::MAX],
            add: [0; Parts::MAX],
        };
        let mut end = 0;
        for (i, part) in parts.into_iter().take(Parts::MAX).enumerate() {
            end += int(part.channels);
            all.data[i] = part.data.0;
            all.doubled[i] = part.doubled.into();
            all.add[i] = part.add.into();
            all.end[i..].fill(end); // unused parts end where the last does
        }
        all
    }
}

/// Parameters of a batch norm; laid out as in `norm.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormParameters {
    /// Scale.
    pub gamma: Address,
    /// Shift.
    pub beta: Address,
    /// Running mean.
    pub running_mean: Address,
    /// Running variance.
    pub running_var: Address,
    /// The values that the norm saves: mean, variance, scale, shift.
    pub saved: Address,
    /// Added to the variance.
    pub eps: f32,
    /// The batch's weight in the running statistics.
    pub momentum: f32,
}

// The kernels assert the same sizes for their structs.
const _: () = assert!(
    size_of::<Windowed>() == 48
        && size_of::<Up>() == 20
        && size_of::<Parts>() == 160
        && size_of::<NormParameters>() == 48
        && size_of::<Patches>() == 40
);

/// A size; the plan rejects those that do not fit before anything is launched.
fn int(v: usize) -> i32 {
    v as i32
}
