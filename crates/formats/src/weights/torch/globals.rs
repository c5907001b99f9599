//! The closed list of globals that a pickle may use. All of them only build data.

use safetensors::Dtype;

/// A global that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`, the type of state dicts.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, …)`, and the older form without further
    /// arguments.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter(tensor, …)`.
    RebuildParameter,
    /// `torch.Size`, a tuple.
    Size,
    /// A storage's type.
    Storage(Dtype),
}

const ALLOWED: [(&str, &str, Global); 15] = [
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    (
        "torch._utils",
        "_rebuild_parameter",
        Global::RebuildParameter,
    ),
    ("torch", "Size", Global::Size),
    ("torch", "FloatStorage", Global::Storage(Dtype::F32)),
    ("torch", "HalfStorage", Global::Storage(Dtype::F16)),
    ("torch", "BFloat16Storage", Global::Storage(Dtype::BF16)),
    ("torch", "DoubleStorage", Global::Storage(Dtype::F64)),
    ("torch", "LongStorage", Global::Storage(Dtype::I64)),
    ("torch", "IntStorage", Global::Storage(Dtype::I32)),
    ("torch", "ShortStorage", Global::Storage(Dtype::I16)),
    ("torch", "CharStorage", Global::Storage(Dtype::I8)),
    ("torch", "ByteStorage", Global::Storage(Dtype::U8)),
    ("torch", "BoolStorage", Global::Storage(Dtype::BOOL)),
];

impl Global {
    /// The global of a module and name; `None` for everything that is not on the list.
    pub(super) fn find(module: &str, name: &str) -> Option<Global> {
        ALLOWED
            .iter()
            .find(|(m, n, _)| (*m, *n) == (module, name))
            .map(|(_, _, global)| *global)
    }
}
