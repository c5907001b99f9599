//! The parameters drawn for one sample, and their application to it.

use std::cell::RefCell;
use std::fmt;

use crate::area::Window;
use crate::resample::SourceMap;
use crate::warp::Field;
use crate::{Affine, Fill, Raster, RelativeRect, Shade, Warp};
use crate::{blur, jpeg, math, occlude, photometric, resample};

/// All transforms of one sample. The default changes nothing; set fields to apply chosen transforms.
///
/// `Display` gives a caption: `cropped to 43.1 %, rotated 12.3° clockwise, zoom ×1.080`, where a crop's percentage is
/// that of the area, or `unchanged`.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// The seed, from which the noise of each pixel is drawn.
    pub seed: u64,
    /// What is shown beyond the edge.
    pub fill: Fill,
    /// The part of the image that is enlarged to fill it, before all other geometry; `None` is all of it.
    pub crop: Option<RelativeRect>,
    /// Rotation about the centre in degrees, positive clockwise.
    pub rotation_degrees: f64,
    /// Whether left and right are exchanged.
    pub flip_horizontal: bool,
    /// Whether top and bottom are exchanged.
    pub flip_vertical: bool,
    /// Enlargement about the centre, above 0; 1 is none.
    pub zoom: f64,
    /// Shear along the rows in degrees; positive leans the top to the right.
    pub shear_degrees: f64,
    /// Displacement to the right and down, in fractions of width and height.
    pub shift: [f64; 2],
    /// Displacements that deform the output; `None` for no deformation.
    pub warp: Option<Warp>,
    /// Standard deviation of the blur in pixels.
    pub blur_sigma: f64,
    /// Factor on every value.
    pub brightness: f64,
    /// Factor on every value's difference from the mean.
    pub contrast: f64,
    /// Exponent of every value.
    pub gamma: f64,
    /// Standard deviation of the noise.
    pub noise_sigma: f64,
    /// Quality at which the image is compressed as JPEG, from 1 to 100; `None` for no compression.
    pub jpeg_quality: Option<u8>,
    /// Width of the blanked ring as a fraction of each side, and the value written.
    pub border: Shade<f64>,
    /// The blanked rectangle, and the value written.
    pub erase: Option<Shade<RelativeRect>>,
}

impl Default for Draw {
    fn default() -> Self {
        Self {
            seed: 0,
            fill: Fill::default(),
            crop: None,
            rotation_degrees: 0.0,
            flip_horizontal: false,
            flip_vertical: false,
            zoom: 1.0,
            shear_degrees: 0.0,
            shift: [0.0, 0.0],
            warp: None,
            blur_sigma: 0.0,
            brightness: 1.0,
            contrast: 1.0,
            gamma: 1.0,
            noise_sigma: 0.0,
            jpeg_quality: None,
            border: Shade {
                area: 0.0,
                value: 0.0,
            },
            erase: None,
        }
    }
}

thread_local! {
    /// Two buffers per thread, of the last image's and the last mask's size: resampling writes into one and
    /// swaps it with the raster's, so that samples of equal size need no allocation.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

impl Draw {
    /// Augments a sample in place: `image`, and `mask` with the same geometry.
    pub fn apply(&self, image: &mut Raster, mask: Option<&mut Raster>) {
        let mut scratch = SCRATCH.take();
        let [for_image, for_mask] = &mut scratch;
        if self.moves() {
            let size = (image.height, image.width);
            let affine = self.source_map(size.0, size.1);
            if let Some(mask) = mask {
                let map = SourceMap {
                    affine: affine.rescaled(size, (mask.height, mask.width)),
                    field: self.field(size, mask),
                };
                resample::nearest(mask, &map, self.fill.for_mask(), for_mask);
            }
            self.move_image(image, affine, for_image);
        }
        self.apply_light(image, for_image);
        SCRATCH.set(scratch);
    }

    /// If all source points are inside the crop, it is cut out first, as by torchvision's `resized_crop`, so that its
    /// surroundings are not blended into its edge. If other geometry reaches beyond the crop, it shows the image there.
    fn move_image(&self, image: &mut Raster, affine: Affine, scratch: &mut Vec<f32>) {
        let size = (image.height, image.width);
        let mut map = SourceMap {
            affine,
            field: self.field(size, image),
        };
        let mut fill = self.fill;
        let within = |part: &RelativeRect| map.field.is_none() && affine.stays_in(*part, size);
        let cut = self.crop.filter(within);
        if let Some(window) = cut.and_then(|part| Window::touched(part, size)) {
            map.affine = affine.with_corner(window.rows.start, window.columns.start);
            fill = Fill::Nearest;
            image.cut(&window);
        }
        resample::bilinear(image, &map, fill, size, scratch);
    }

    /// The deformation of an image of `size`, applied to it or its mask.
    fn field(&self, size: (usize, usize), raster: &Raster) -> Option<Field> {
        self.warp.as_ref().and_then(|warp| warp.over(size, raster))
    }

    /// Whether the sample is left unchanged.
    pub fn is_identity(&self) -> bool {
        *self
            == Self {
                seed: self.seed,
                fill: self.fill,
                ..Self::default()
            }
    }

    /// Maps each output pixel of an image of this size to its source point; with [`Self::warp`], each pixel is first
    /// moved by its displacement, and this map is applied to the result.
    ///
    /// The crop is enlarged to the image's size; the result is flipped, sheared, zoomed, rotated and then translated,
    /// all about the centre: `out = T·C·R·Z·S·F·C⁻¹·crop(source)`, torchvision's order. This is its inverse.
    pub fn source_map(&self, height: usize, width: usize) -> Affine {
        let sign = |flipped: bool| if flipped { -1.0 } else { 1.0 };
        let (flip_x, flip_y) = (sign(self.flip_horizontal), sign(self.flip_vertical));
        let (sin, cos) = math::sin_cos_degrees(self.rotation_degrees);
        let (shear_sin, shear_cos) = math::sin_cos_degrees(self.shear_degrees);
        let tan = shear_sin / shear_cos;
        // F · S⁻¹ · R⁻¹ / zoom, with S⁻¹ = [1 tan; 0 1] and R⁻¹ = [cos sin; −sin cos].
        let rows = [
            [
                flip_x * (cos - tan * sin) / self.zoom,
                flip_x * (sin + tan * cos) / self.zoom,
            ],
            [flip_y * -sin / self.zoom, flip_y * cos / self.zoom],
        ];
        let centre = [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0];
        let moved = [
            centre[0] + self.shift[0] * width as f64,
            centre[1] + self.shift[1] * height as f64,
        ];
        let affine = Affine::about(rows, moved, centre);
        self.crop
            .map_or(affine, |part| affine.through_part(part, (height, width)))
    }

    /// Whether the geometry changes anything.
    fn moves(&self) -> bool {
        let flips = self.flip_horizontal || self.flip_vertical;
        let angles = self.rotation_degrees != 0.0 || self.shear_degrees != 0.0;
        let placed = self.crop.is_some() || self.zoom != 1.0 || self.shift != [0.0, 0.0];
        flips || angles || placed || self.warp.is_some()
    }

    /// Applies everything after the geometry, in the crate's fixed order.
    fn apply_light(&self, image: &mut Raster, scratch: &mut Vec<f32>) {
        if self.blur_sigma > 0.0 {
            blur::gaussian(image, self.blur_sigma as f32, scratch);
        }
        if self.brightness != 1.0 {
            photometric::brightness(image, self.brightness as f32);
        }
        if self.contrast != 1.0 {
            photometric::contrast(image, self.contrast as f32);
        }
        if self.gamma != 1.0 {
            photometric::gamma(image, self.gamma as f32);
        }
        if self.noise_sigma > 0.0 {
            photometric::noise(image, self.noise_sigma as f32, self.seed);
        }
        if let Some(quality) = self.jpeg_quality {
            jpeg::compress(image, quality);
        }
        occlude::border(image, self.border);
        if let Some(erase) = self.erase {
            occlude::erase(image, erase);
        }
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = [self.geometry_captions(), self.light_captions()]
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        if parts.is_empty() {
            f.write_str("unchanged")
        } else {
            f.write_str(&parts.join(", "))
        }
    }
}

impl Draw {
    fn geometry_captions(&self) -> Vec<Option<String>> {
        let direction = if self.rotation_degrees < 0.0 {
            "counter-clockwise"
        } else {
            "clockwise"
        };
        let [right, down] = self.shift.map(|share| share * 100.0);
        let cropped = |part: RelativeRect| {
            let area = part.height * part.width;
            format!("cropped to {:.1} %", area * 100.0)
        };
        vec![
            self.crop.map(cropped),
            say(self.flip_horizontal, || "flipped horizontally".into()),
            say(self.flip_vertical, || "flipped vertically".into()),
            say(self.rotation_degrees != 0.0, || {
                format!("rotated {:.1}° {direction}", self.rotation_degrees.abs())
            }),
            say(self.zoom != 1.0, || format!("zoom ×{:.3}", self.zoom)),
            say(self.shear_degrees != 0.0, || {
                format!("sheared {:.1}°", self.shear_degrees)
            }),
            say(self.shift != [0.0, 0.0], || {
                format!("shifted {right:+.1} % right, {down:+.1} % down")
            }),
            self.warp
                .as_ref()
                .map(|warp| format!("deformed by {:.1} px", warp.strength())),
        ]
    }

    fn light_captions(&self) -> Vec<Option<String>> {
        let erased = self
            .erase
            .map_or(0.0, |shade| shade.area.height * shade.area.width);
        vec![
            say(self.blur_sigma > 0.0, || {
                format!("blur σ {:.2} px", self.blur_sigma)
            }),
            say(self.brightness != 1.0, || {
                format!("brightness ×{:.2}", self.brightness)
            }),
            say(self.contrast != 1.0, || {
                format!("contrast ×{:.2}", self.contrast)
            }),
            say(self.gamma != 1.0, || format!("gamma {:.2}", self.gamma)),
            say(self.noise_sigma > 0.0, || {
                format!("noise σ {:.3}", self.noise_sigma)
            }),
            self.jpeg_quality
                .map(|quality| format!("JPEG quality {quality}")),
            say(self.border.area > 0.0, || {
                format!("border {:.1} % blanked", self.border.area * 100.0)
            }),
            say(erased > 0.0, || format!("{:.1} % erased", erased * 100.0)),
        ]
    }
}

/// The caption if `due`.
fn say(due: bool, caption: impl FnOnce() -> String) -> Option<String> {
    due.then(caption)
}
