//! Where images and masks are, as `[data]` or `[phantom]` states.

use std::path::PathBuf;

use dataset::{DataLayout, MaskConfig, SplitFolders};

/// Where images and masks are.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) layout: DataLayout,
    pub(crate) splits: SplitFolders,
    pub(crate) masks: Option<MaskConfig>,
    pub(crate) regions: Vec<(String, PathBuf)>,
}
