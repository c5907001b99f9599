//! Handwritten pickles: what a file may and may not do.

use super::storage::Storages;
use super::value::Value;
use super::{Problem, machine, state_dict};

/// `torch.save(…)` of a list is `\x80\x02]…`; here only the opcodes that matter.
fn error(pickle: &[u8]) -> Problem {
    machine::run(pickle).map(|p| p.root).unwrap_err()
}

fn root(pickle: &[u8]) -> Value {
    machine::run(pickle).unwrap().root
}

#[test]
fn functions_outside_the_list_are_rejected_by_name() {
    let check = |pickle: &[u8], name: &str| assert_eq!(error(pickle), Problem::Global(name.into()));
    check(
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        "os.system",
    );
    check(
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
        "builtins.eval",
    );
    check(b"\x80\x02ctorch\nload\n.", "torch.load");
    check(
        b"ccollections\nOrderedDict.popitem\n.",
        "collections.OrderedDict.popitem",
    );
}

#[test]
fn scalars_are_read() {
    let check = |pickle: &[u8], expected: Value| assert_eq!(root(pickle), expected);
    check(b"J\xff\xff\xff\xff.", Value::Int(-1));
    check(b"M\x01\x02.", Value::Int(513));
    check(b"\x8a\x02\x00\x80.", Value::Int(-32768));
    check(b"\x8a\x00.", Value::Int(0));
    check(b"G\x3f\xf8\x00\x00\x00\x00\x00\x00.", Value::Float(1.5));
    check(b"\x8c\x02\xc3\xa9.", Value::Text("é".into()));
}

#[test]
fn recalled_containers_are_shared() {
    // d = {}; d["a"] = d
    let pickle = machine::run(b"}q\x00\x8c\x01ah\x00s.").unwrap();
    let entries = pickle.arena.entries(&pickle.root).unwrap();
    assert_eq!(entries, [(Value::Text("a".into()), pickle.root.clone())]);
}

#[test]
fn bad_pickles_are_errors() {
    let damaged = [
        &b""[..],
        b"\x80",
        b".",
        b"h\x05.",
        b"K\x01s.",
        b"]K\x01K\x02s.",
        b"(K\x01d.",
        b"u.",
        b"X\xff\xff\xff\xff.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x8c\x01\xff.",
        b"NQ.",
        b"K\x01K\x02R.",
        b"ccollections\nOrderedDict\nK\x01\x85R.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
    ];
    for pickle in damaged {
        assert!(
            matches!(error(pickle), Problem::Damaged(_)),
            "{:?}",
            String::from_utf8_lossy(pickle)
        );
    }
    assert!(matches!(error(b"i."), Problem::Unsupported(_)));
}

/// A million nested tuples: nothing may recurse, not even the destructor.
#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let mut pickle = vec![b')'];
    pickle.extend(std::iter::repeat_n(0x85, 1 << 20));
    pickle.push(b'.');
    assert!(matches!(root(&pickle), Value::Sequence(_)));
}

/// Truncating a small file anywhere is an error, never a panic.
#[test]
fn truncated_pickles_are_errors() {
    let whole = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bK\x02u.";
    machine::run(whole).unwrap();
    for len in 0..whole.len() {
        assert!(machine::run(&whole[..len]).is_err(), "{len}");
    }
}

fn text(text: &str) -> Vec<u8> {
    [
        &b"X"[..],
        &(text.len() as u32).to_le_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

/// A tensor of `len` zeros in the storage "0", whose bytes are in the file.
fn tensor(len: u32) -> Vec<u8> {
    tensor_at(0, len)
}

fn tensor_at(offset: u8, len: u32) -> Vec<u8> {
    let len = [&b"J"[..], &len.to_le_bytes()].concat();
    let storage = [
        &b"("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"J\x00\x10\x00\x00NtQ",
    ]
    .concat();
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
        &storage,
        &[b'K', offset],
        &len,
        b"\x85K\x01\x85\x89}tR",
    ]
    .concat()
}

fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> = entries
        .iter()
        .flat_map(|(key, value)| [text(key), value.clone()].concat())
        .collect();
    [b"}(", entries.as_slice(), b"u"].concat()
}

/// Path and tensor names of the state dict that is found in a pickle's object.
fn chosen(object: Vec<u8>) -> Result<(String, Vec<String>), Problem> {
    let pickle = machine::run(&[object.as_slice(), b"."].concat()).unwrap();
    let bytes = vec![0; 1 << 16];
    let mut storages = Storages::new(&bytes);
    storages.insert("0", 0..1 << 14);
    let tensors = state_dict::tensors(&pickle, &storages)?;
    let names = tensors.entries.into_iter().map(|e| e.name).collect();
    Ok((tensors.unwrapped.join("."), names))
}

#[test]
fn the_state_dict_is_found_among_other_tensors() {
    let model = || dict(&[("conv.weight", tensor(100)), ("conv.bias", tensor(4))]);
    let number = || b"K\x05".to_vec();
    let check = |object: Vec<u8>, path: &str| {
        let (found, names) = chosen(object).unwrap();
        assert_eq!((found.as_str(), names.len()), (path, 2), "{names:?}");
    };
    check(model(), "");
    check(
        dict(&[("network", model()), ("epoch", number())]),
        "network",
    );
    // Only one of them is a dictionary of tensors.
    check(
        dict(&[("weights_of_mine", model()), ("epoch", number())]),
        "weights_of_mine",
    );
    // A single tensor before the state dict.
    let loss = dict(&[
        ("loss", tensor(1)),
        ("state_dict", model()),
        ("epoch", number()),
    ]);
    check(loss, "state_dict");
    let loss = dict(&[("loss", tensor(1)), ("mine", model()), ("epoch", number())]);
    check(loss, "mine");
    // Lightning's callbacks hold tensors under text keys, deeply nested.
    let best = dict(&[("best_k_models", dict(&[("a.ckpt", tensor(1))]))]);
    check(
        dict(&[
            ("callbacks", dict(&[("ModelCheckpoint", best.clone())])),
            ("state_dict", model()),
        ]),
        "state_dict",
    );
    check(
        dict(&[
            ("callbacks", dict(&[("ModelCheckpoint", best)])),
            ("mine", model()),
        ]),
        "mine",
    );
    check(dict(&[("state", dict(&[("net", model())]))]), "state.net");
    check(
        dict(&[("model", dict(&[("state_dict", model())]))]),
        "model.state_dict",
    );
    // The average is preferred, as it is what was validated.
    check(
        dict(&[("state_dict", model()), ("state_dict_ema", model())]),
        "state_dict_ema",
    );
    // Fewer tensors than other entries, but no other dictionary has any.
    let (path, names) =
        chosen(dict(&[("w", tensor(3)), ("a", number()), ("b", number())])).unwrap();
    assert_eq!(
        (path.as_str(), names.as_slice()),
        ("", &["w".to_owned()][..])
    );
}

#[test]
fn errors_list_the_keys_if_none_identifies_the_state_dict() {
    let refused = |object: Vec<u8>, expected: &[&str]| match chosen(object) {
        Err(Problem::Unsupported(why)) => {
            assert!(expected.iter().all(|part| why.contains(part)), "{why}");
        }
        other => panic!("{other:?}"),
    };
    let model = || dict(&[("conv.weight", tensor(100)), ("conv.bias", tensor(4))]);
    refused(
        dict(&[("generator", model()), ("discriminator", model())]),
        &["`generator` (2 tensors)", "`discriminator` (2 tensors)"],
    );
    refused(
        dict(&[("epoch", b"K\x05".to_vec()), ("args", dict(&[]))]),
        &["no named tensors", "`epoch`, `args`", "model.state_dict()"],
    );
    refused(b"]".to_vec(), &["no dictionary of named tensors"]);
    refused(b"}".to_vec(), &["is empty"]);
}

/// Small files that would take gigabytes, or hours.
#[test]
fn small_files_cannot_exhaust_memory_or_time() {
    let many = |what: &[u8], n: usize| what.repeat(n);
    // One list, converted to a dict repeatedly.
    let list = [
        &b"NN\x86q\x00]q\x01("[..],
        &many(b"h\x00", 100_000),
        b"e\x85q\x02",
    ]
    .concat();
    let again = many(b"ccollections\nOrderedDict\nh\x02R", 1000);
    assert!(matches!(
        error(&[list.as_slice(), &again, b"."].concat()),
        Problem::Damaged(why) if why.contains("too many times")
    ));
    // A large argument tuple in many calls: only the arguments that are used are copied.
    let tuple = [&b"("[..], &tensor(1), &many(b"N", 1_000_000), b"tq\x00"].concat();
    let calls = many(b"ctorch._utils\n_rebuild_parameter\nh\x00R0", 10_000);
    root(&[tuple.as_slice(), &calls, b"."].concat());
    // A shape with many axes.
    let shape = [&b"("[..], &many(b"K\x01", 100), b"tq\x00"].concat();
    let storage = [
        &b"("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x01NtQ",
    ]
    .concat();
    let call = [
        b"ctorch._utils\n_rebuild_tensor_v2\n(",
        storage.as_slice(),
        b"K\x00h\x00h\x00tR.",
    ]
    .concat();
    error(&[shape, call].concat());
    // A tensor with many names is copied once; many views of one storage are rejected.
    let shared = [&tensor(4096)[..], b"q\x07"].concat();
    let names: Vec<u8> = (0..10_000)
        .flat_map(|i| [&text(&i.to_string())[..], b"h\x07"].concat())
        .collect();
    let tied = [&b"}("[..], &text("a"), &shared, &names, b"u"].concat();
    assert_eq!(chosen(tied).unwrap().1.len(), 10_001);
    let views: Vec<(String, Vec<u8>)> = (0..=255)
        .map(|i| (i.to_string(), tensor_at(i, 3000)))
        .collect();
    let views: Vec<(&str, Vec<u8>)> = views.iter().map(|(n, t)| (n.as_str(), t.clone())).collect();
    assert!(matches!(
        chosen(dict(&views)),
        Err(Problem::Damaged(why)) if why.contains("larger than the file")
    ));
}
