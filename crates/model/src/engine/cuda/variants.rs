//! Choice of a kernel within a family: by a tensor's element type and the elements per thread, or by tile shape.

use ::kernels::Precision;

use crate::plan::Kind;

/// Variants of a kernel: for the program's elements, several at a time or one at a time, and for f32 (`KERNELS` in
/// `values.cu`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Variants {
    pub(super) wide: &'static str,
    pub(super) single: &'static str,
    pub(super) f32: &'static str,
}

/// The [`Variants`] of a name.
macro_rules! variants {
    ($name:literal) => {
        $crate::engine::cuda::variants::Variants {
            wide: concat!($name, "_wide"),
            single: concat!($name, "_single"),
            f32: concat!($name, "_f32"),
        }
    };
}

/// Variants of a matrix product for each tile shape (`GEMM_KERNELS` in `gemm.cu`), in the order of [`Tile::ALL`].
pub(super) type Tiles = [&'static str; 4];

/// The [`Tiles`] of a name.
macro_rules! tiles {
    ($name:literal) => {
        [
            concat!($name, "_128x64"),
            concat!($name, "_128x32"),
            concat!($name, "_128x16"),
            concat!($name, "_64x64"),
        ]
    };
}

pub(super) use {tiles, variants};

/// Element type of feature maps in memory, and how many elements a thread loads at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elements {
    pub(super) kind: Kind,
    pub(super) wide: usize,
}

impl Elements {
    pub(super) fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 | Precision::Tf32 => Elements {
                kind: Kind::F32,
                wide: 4,
            },
            Precision::Bf16 => Elements {
                kind: Kind::Bf16,
                wide: 8,
            },
        }
    }

    /// The kernel for a tensor of `channels` channels, and its number of elements per thread.
    pub(super) fn choose(
        self,
        names: Variants,
        kind: Kind,
        channels: usize,
    ) -> (&'static str, usize) {
        match (kind == self.kind, channels.is_multiple_of(self.wide)) {
            (false, _) => (names.f32, 1),
            (true, false) => (names.single, 1),
            (true, true) => (names.wide, self.wide),
        }
    }
}

/// The part of a matrix product that one block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl Tile {
    pub(super) const ALL: [Tile; 4] = [
        Tile::new(128, 64),
        Tile::new(128, 32),
        Tile::new(128, 16),
        Tile::new(64, 64),
    ];

    /// With fewer blocks of the largest tile much of a GPU would be idle: smaller tiles are distributed better.
    const FEW_BLOCKS: usize = 256;

    const fn new(rows: usize, cols: usize) -> Self {
        Tile { rows, cols }
    }

    /// The tile for a product of `rows × cols` in `slices` slices: as narrow as its columns allow.
    pub(super) fn of(rows: usize, cols: usize, slices: usize) -> Tile {
        match cols {
            0..=16 => Tile::ALL[2],
            17..=32 => Tile::ALL[1],
            _ if Tile::ALL[0].blocks(rows, cols) * slices < Self::FEW_BLOCKS => Tile::ALL[3],
            _ => Tile::ALL[0],
        }
    }

    /// Number of blocks that cover a product.
    pub(super) fn blocks(self, rows: usize, cols: usize) -> usize {
        rows.div_ceil(self.rows) * cols.div_ceil(self.cols)
    }

    /// The kernel for this tile.
    pub(super) fn name(self, names: Tiles) -> &'static str {
        let index = Tile::ALL.iter().position(|tile| *tile == self);
        names[index.unwrap_or_default()]
    }
}
