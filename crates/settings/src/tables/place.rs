//! Where images and masks lie: what `[data]` or `[phantom]` says.

use std::path::PathBuf;

use dataset::{DataLayout, MaskConfig, SplitFolders};

/// Where images and masks lie.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) layout: DataLayout,
    pub(crate) splits: SplitFolders,
    pub(crate) masks: Option<MaskConfig>,
    pub(crate) regions: Vec<(String, PathBuf)>,
}
