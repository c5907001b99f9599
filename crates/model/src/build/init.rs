//! Initial values, drawn as in the libraries whose parameter names are used here.

use crate::graph::Init;

/// timm's initialization of EfficientNet's convolutions (`_init_weight_goog`): normal with deviation √(2 / fan_out),
/// where `fan_out = k² · out / groups`.
pub(super) fn goog_conv(kernel: usize, out: usize, groups: usize) -> Init {
    Init::Normal((2.0 / (kernel * kernel * out / groups) as f32).sqrt())
}

/// smp's initialization of a decoder's convolutions (`initialize_decoder`): Kaiming uniform for ReLU, ±√(6 / fan_in).
pub(super) fn kaiming_uniform(kernel: usize, inputs: usize) -> Init {
    Init::Uniform((6.0 / (kernel * kernel * inputs) as f32).sqrt())
}

/// smp's initialization of heads (`initialize_head`) and Keras's of `Dense`: Xavier uniform, ±√(6 / (fan_in +
/// fan_out)).
pub(super) fn xavier_uniform(kernel: usize, inputs: usize, out: usize) -> Init {
    Init::Uniform((6.0 / (kernel * kernel * (inputs + out)) as f32).sqrt())
}

/// He et al., "Delving Deep into Rectifiers", ICCV 2015, as in U-Net's paper: normal with deviation √(2 / fan_in).
pub(super) fn he_normal(kernel: usize, inputs: usize) -> Init {
    Init::Normal((2.0 / (kernel * kernel * inputs) as f32).sqrt())
}
