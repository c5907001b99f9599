//! Pickles of state dicts, written as by `torch.save`, and the opcodes of the pickle machine.

/// Opcodes and names that occur in a state dict.
pub(crate) const WORDS: [&[u8]; 30] = [
    b"\x80\x02",
    b".",
    b"(",
    b"t",
    b"u",
    b"e",
    b"}",
    b"]",
    b")",
    b"\x85",
    b"\x86",
    b"\x87",
    b"R",
    b"Q",
    b"b",
    b"0",
    b"1",
    b"2",
    b"N",
    b"K\xFF",
    b"J\xFF\xFF\xFF\x7F",
    b"\x8a\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
    b"\x8a\xFF",
    b"h\x00",
    b"q\x00",
    b"X\xFF\xFF\xFF\x7F",
    b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"cos\nsystem\n",
];

/// A tensor of a state dict, in a storage of its own or one shared with other tensors.
pub(crate) struct Tensor {
    pub(crate) name: &'static str,
    pub(crate) storage: usize,
    pub(crate) elements: usize,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// The state dict, nested under the keys of wrappers.
pub(crate) fn state_dict(tensors: &[Tensor], wrappers: &[&str]) -> Vec<u8> {
    let mut pickle = b"\x80\x02".to_vec();
    for key in wrappers {
        pickle.extend(b"}");
        pickle.extend(text(key));
    }
    pickle.extend(b"ccollections\nOrderedDict\n)R(");
    for tensor in tensors {
        pickle.extend(text(tensor.name));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(text("storage"));
        pickle.extend(b"ctorch\nFloatStorage\n");
        pickle.extend(text(&tensor.storage.to_string()));
        pickle.extend(text("cpu"));
        pickle.extend(int(tensor.elements));
        pickle.extend(b"tQ");
        pickle.extend(int(tensor.offset));
        pickle.extend(tuple(&tensor.shape));
        pickle.extend(tuple(&tensor.strides));
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u");
    pickle.extend(wrappers.iter().map(|_| b's'));
    pickle.push(b'.');
    pickle
}

/// A text opcode.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [
        b"X",
        &(text.len() as u32).to_le_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

fn int(n: usize) -> Vec<u8> {
    [b"J", &(n as u32).to_le_bytes()[..]].concat()
}

fn tuple(numbers: &[usize]) -> Vec<u8> {
    let items = numbers.iter().flat_map(|n| int(*n));
    std::iter::once(b'(').chain(items).chain([b't']).collect()
}
