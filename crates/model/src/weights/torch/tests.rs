//! Hand-made pickles: what a file may and may not ask for.

use super::value::Value;
use super::{Problem, machine};

/// `torch.save(…)` of a list is `\x80\x02]…`; here only the opcodes that matter.
fn error(pickle: &[u8]) -> Problem {
    machine::run(pickle).map(|p| p.root).unwrap_err()
}

fn root(pickle: &[u8]) -> Value {
    machine::run(pickle).unwrap().root
}

#[test]
fn functions_outside_the_list_are_refused_by_name() {
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
fn containers_share_what_the_memo_recalls() {
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

/// A million tuples in each other: nothing may recurse, not even the destructor.
#[test]
fn depth_does_not_matter() {
    let mut pickle = vec![b')'];
    pickle.extend(std::iter::repeat_n(0x85, 1 << 20));
    pickle.push(b'.');
    assert!(matches!(root(&pickle), Value::Sequence(_)));
}

/// Any cut of a small file is an error, never a panic.
#[test]
fn cuts_are_errors() {
    let whole = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bK\x02u.";
    machine::run(whole).unwrap();
    for len in 0..whole.len() {
        assert!(machine::run(&whole[..len]).is_err(), "{len}");
    }
}
