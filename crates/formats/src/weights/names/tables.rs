//! One row per layer: this crate's name (timm's) and the other program's.

/// How a family writes a block's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// `blocks.STAGE.BLOCK.`
    ByStage,
    /// `_blocks.N.`, counted across all stages.
    Flat,
    /// `features.STAGE+1.BLOCK.block.`
    Features,
}

type Rows = &'static [(&'static str, &'static str)];

/// A family's names.
#[derive(Debug)]
pub(in super::super) struct Table {
    /// Prefix of the encoder's names.
    pub(super) encoder: &'static str,
    /// Layers outside the blocks, the stem's convolution first; few networks have the layers after the last block.
    pub(super) outside: Rows,
    /// How blocks are numbered.
    pub(super) blocks: Blocks,
    /// A block of the first stage, which does not expand.
    pub(super) separable: Rows,
    /// A block of the other stages.
    pub(super) inverted: Rows,
    /// Prefixes of the layers after the last stage, which serve ImageNet's classes; used if the network lacks these
    /// layers.
    pub(super) tail: &'static [&'static str],
}

const TIMM_OUTSIDE: Rows = &[
    ("conv_stem", "conv_stem"),
    ("bn1", "bn1"),
    ("conv_head", "conv_head"),
    ("bn2", "bn2"),
];
const TIMM_SEPARABLE: Rows = &[
    ("conv_dw", "conv_dw"),
    ("bn1", "bn1"),
    ("se.conv_reduce", "se.conv_reduce"),
    ("se.conv_expand", "se.conv_expand"),
    ("conv_pw", "conv_pw"),
    ("bn2", "bn2"),
];
const TIMM_INVERTED: Rows = &[
    ("conv_pw", "conv_pw"),
    ("bn1", "bn1"),
    ("conv_dw", "conv_dw"),
    ("bn2", "bn2"),
    ("se.conv_reduce", "se.conv_reduce"),
    ("se.conv_expand", "se.conv_expand"),
    ("conv_pwl", "conv_pwl"),
    ("bn3", "bn3"),
];
const TIMM_TAIL: &[&str] = &["conv_head.", "bn2.", "classifier."];

const fn timm(encoder: &'static str) -> Table {
    Table {
        encoder,
        outside: TIMM_OUTSIDE,
        blocks: Blocks::ByStage,
        separable: TIMM_SEPARABLE,
        inverted: TIMM_INVERTED,
        tail: TIMM_TAIL,
    }
}

pub(super) static OURS: Table = timm("encoder.");
pub(super) static TIMM: Table = timm("");
pub(super) static SMP_TIMM: Table = timm("encoder.model.");

const fn lukemelas(encoder: &'static str) -> Table {
    Table {
        encoder,
        outside: &[
            ("conv_stem", "_conv_stem"),
            ("bn1", "_bn0"),
            ("conv_head", "_conv_head"),
            ("bn2", "_bn1"),
        ],
        blocks: Blocks::Flat,
        separable: &[
            ("conv_dw", "_depthwise_conv"),
            ("bn1", "_bn1"),
            ("se.conv_reduce", "_se_reduce"),
            ("se.conv_expand", "_se_expand"),
            ("conv_pw", "_project_conv"),
            ("bn2", "_bn2"),
        ],
        inverted: &[
            ("conv_pw", "_expand_conv"),
            ("bn1", "_bn0"),
            ("conv_dw", "_depthwise_conv"),
            ("bn2", "_bn1"),
            ("se.conv_reduce", "_se_reduce"),
            ("se.conv_expand", "_se_expand"),
            ("conv_pwl", "_project_conv"),
            ("bn3", "_bn2"),
        ],
        tail: &["_conv_head.", "_bn1.", "_fc."],
    }
}

pub(super) static LUKEMELAS: Table = lukemelas("");
pub(super) static SMP_OWN: Table = lukemelas("encoder.");

pub(super) static TORCHVISION: Table = Table {
    encoder: "",
    outside: &[
        ("conv_stem", "features.0.0"),
        ("bn1", "features.0.1"),
        ("conv_head", "features.8.0"),
        ("bn2", "features.8.1"),
    ],
    blocks: Blocks::Features,
    separable: &[
        ("conv_dw", "0.0"),
        ("bn1", "0.1"),
        ("se.conv_reduce", "1.fc1"),
        ("se.conv_expand", "1.fc2"),
        ("conv_pw", "2.0"),
        ("bn2", "2.1"),
    ],
    inverted: &[
        ("conv_pw", "0.0"),
        ("bn1", "0.1"),
        ("conv_dw", "1.0"),
        ("bn2", "1.1"),
        ("se.conv_reduce", "2.fc1"),
        ("se.conv_expand", "2.fc2"),
        ("conv_pwl", "3.0"),
        ("bn3", "3.1"),
    ],
    tail: &["features.8.", "classifier."],
};
