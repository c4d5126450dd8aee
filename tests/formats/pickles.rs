//! Pickles that are damaged, hostile or only odd: an error that says where, in bounded time and memory.

use std::fs;
use std::path::Path;

use gatewave::ErrorKind;
use gatewave::formats::{numpy, torch};
use gatewave::weights::Tensors;

/// A file of the legacy format around a pickle: no records, since nothing is read of them.
fn around(pickle: &[u8]) -> Vec<u8> {
    [b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.}.", pickle, b"]."].concat()
}

/// Returns the error of a pickle.
fn refused(pickle: &[u8]) -> String {
    let error = torch::read_bytes(&around(pickle)).expect_err("this must be refused");
    assert_eq!(error.kind(), ErrorKind::Weights, "{error}");
    error.to_string()
}

/// Reads every tensor, where they are small.
fn explore(tensors: &Tensors) {
    for (_, tensor) in tensors.iter() {
        let elements = tensor.shape().iter().product::<usize>();
        if elements < 1 << 16
            && let Ok(read) = tensor.read()
        {
            assert_eq!(read.len(), elements);
        }
    }
}

#[test]
fn a_name_that_is_not_in_the_list_is_refused_whatever_spells_it() {
    let hint = "which is never run; save the weights alone: torch.save(model.state_dict(), \"model.pt\")";
    let begin = (b"}".len() + 22, "the pickle of the data");
    for (pickle, at) in [
        (&b"}cos\nsystem\n(S'true'\ntR."[..], 1),
        (b"}\x8c\x02os\x8c\x06system\x93.", 13),
        (b"}(S'a'\ncposix\nsystem\nu.", 7),
        (b"}c__builtin__\neval\n.", 1),
        (b"}cbuiltins\ngetattr\n.", 1),
        (b"}ctorch\nload\n.", 1),
        (b"}ctorch.hub\nload\n.", 1),
        (b"}c__torch__\nNet\n.", 1),
        (b"}cnumpy.core.multiarray\nload\n.", 1),
        (b"}comegaconfig\neval\n.", 1),
    ] {
        let error = refused(pickle);
        assert!(
            error.starts_with(&format!("{}: byte {}: expected plain data and tensors, got ", begin.1, begin.0 + at)),
            "{error}"
        );
        assert!(error.ends_with(hint), "{error}");
    }
}

#[test]
fn opcodes_that_only_code_needs_are_refused() {
    for opcode in [b'i', b'o', b'P', 0x82, 0x83, 0x84, 0x97, 0x98, 0xff] {
        let error = refused(&[b'}', opcode]);
        assert!(
            error.ends_with(&format!("expected an opcode of plain data and tensors, got {opcode:#04x}")),
            "{error}"
        );
    }
}

#[test]
fn a_pickle_that_ends_early_or_takes_what_is_not_there_is_refused() {
    for (pickle, wanted) in [
        (&b"."[..], "expected a value on the stack, got none; the file is damaged"),
        (b"0.", "expected a value on the stack, got none; the file is damaged"),
        (b"}h\x05.", "expected value 5 of the memo, got none"),
        (b"}K\x01s.", "expected a value on the stack, got none; the file is damaged"),
        (b"}(K\x01u.", "expected a value for each key, got a key alone"),
        (b"(}K\x01\x86t\x87.", "expected a value on the stack, got none; the file is damaged"),
        (b"K\x01K\x02a.", "expected a list to append to, got a number"),
        (b"NK\x01K\x02s.", "expected a dict to fill, got None"),
        (b"NK\x01R.", "expected a class or a function to call, got None"),
        (b"NQ.", "expected the id of a storage (its class, key, place and length), got other data"),
        (b"NN\x93.", "expected the name of a class or a function, got other data"),
        (b"X\xff\xff\xff\xff.", "expected more of the pickle, got its end; the file is cut off"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "expected more of the pickle, got its end; the file is cut off"),
    ] {
        let error = refused(pickle);
        assert!(error.ends_with(wanted), "{error}");
    }
}

#[test]
fn tensors_of_other_storages_sizes_and_strides_are_refused() {
    let tensor = |args: &str| {
        let pickle = format!(
            "}}(X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ{args}tRu."
        );
        refused(pickle.as_bytes())
    };
    for (args, wanted) in [
        ("K\0(K\x01t(K\x01t", "tensor w: expected storage 0 in the file, got none"),
        ("K\0(K\x01t(t", "expected as many strides as axes, got 0 and 1"),
        ("I-1\n(K\x01t(K\x01t", "expected whole numbers for a tensor's offset, size and strides, got other data"),
        ("K\0(I-1\nt(K\x01t", "expected whole numbers for a tensor's offset, size and strides, got other data"),
        ("N(K\x01t(K\x01t", "expected a tensor's storage, offset, size and strides, got other data"),
        (&format!("K\0({0}t({0}t", "K\x01".repeat(65)), "expected a tensor of at most 64 axes, got 65"),
    ] {
        let error = tensor(args);
        assert!(error.ends_with(wanted), "{error}");
    }
    // With a record of eight bytes.
    let with_record = |args: &str| {
        let pickle = format!(
            "}}(X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ{args}tRu."
        );
        let mut bytes = around(pickle.as_bytes());
        bytes.truncate(bytes.len() - 2);
        bytes.extend(b"](X\x01\0\0\x000e.");
        bytes.extend(2_u64.to_le_bytes());
        bytes.extend([0; 8]);
        torch::read_bytes(&bytes).map(|contents| contents.tensors)
    };
    assert_eq!(with_record("K\0(K\x02t(K\x01t").unwrap().shape("w"), Some(&[2][..]));
    assert_eq!(with_record("K\x01(K\x09t(K\0t").unwrap().shape("w"), Some(&[9][..]));
    for args in
        ["K\x01(K\x02t(K\x01t", "K\0(K\x02t(K\x02t", "K\0(K\x03t(K\x01t", "L9223372036854775807L\n(K\x02t(K\x01t"]
    {
        let error = with_record(args).expect_err("outside of the storage").to_string();
        assert!(error.contains("tensor w: expected elements in storage 0 of 8 bytes, got ["), "{error}");
    }
    let error = with_record("K\0(L1099511627776L\nt(K\0t").expect_err("a tensor of a terabyte").to_string();
    assert!(error.ends_with("expected tensors of at most 256 times the bytes of the file, got more"), "{error}");
}

#[test]
fn values_that_hold_themselves_or_double_are_walked_once() {
    // A dict in itself.
    assert!(refused(b"}q\0(X\x01\0\0\0ah\0u.").contains("expected tensors by name, got a dict with none in it, of a"));
    // Forty dicts, each twice in the next: 2^40 paths.
    let mut pickle = b"}q\0".to_vec();
    for _ in 0..40 {
        pickle.extend(b"0}(X\x01\0\0\0ah\0X\x01\0\0\0bh\0uq\0");
    }
    pickle.push(b'.');
    refused(&pickle);
    // The same around a tensor.
    let tensor = b"ctorch._utils\n_rebuild_sparse_tensor\n)R";
    let mut pickle = [&b"}(X\x01\0\0\0w"[..], tensor, b"uq\0"].concat();
    for _ in 0..22 {
        pickle.extend(b"0}(X\x01\0\0\0ah\0X\x01\0\0\0bh\0uq\0");
    }
    pickle.push(b'.');
    let error = refused(&pickle);
    let most = around(&pickle).len() * 64;
    assert!(error.ends_with(&format!("expected at most {most} bytes of names and shapes, got more")), "{error}");
    // Deep ones.
    let mut pickle = vec![];
    for _ in 0..100 {
        pickle.extend(b"}(X\x01\0\0\0a");
    }
    pickle.extend(tensor);
    pickle.extend([b'u'; 100]);
    pickle.push(b'.');
    assert!(refused(&pickle).contains("expected dicts at most 24 deep, got deeper ones"));
}

#[test]
fn long_names_and_keys_are_refused_where_they_are_of_tensors() {
    let name = |length: u32| [&b"X"[..], &length.to_le_bytes(), &vec![b'n'; length as usize]].concat();
    let tensor = &b"ctorch._utils\n_rebuild_sparse_tensor\n)R"[..];
    let beside = [b"(", &name(2000)[..], b"N", &name(1024), tensor, b"u."].concat();
    let contents = torch::read_bytes(&around(&[b"}", &beside[..]].concat())).expect("a name of 1024 bytes is short");
    assert_eq!(contents.listed.len(), 1);
    for value in [tensor.to_vec(), [b"}(X\x01\0\0\0w", tensor, b"u"].concat()] {
        let error = refused(&[b"}(", &name(1025)[..], &value, b"u."].concat());
        assert!(error.ends_with("expected names of at most 1024 bytes, got one of 1025"), "{error}");
    }
    let storage = [b"((X\x07\0\0\0storagectorch\nFloatStorage\n", &name(1025)[..], b"NK\x02tQ."].concat();
    let error = refused(&storage);
    assert!(error.ends_with("expected a storage's key of at most 1024 bytes, got 1025"), "{error}");
}

#[test]
fn millions_of_values_are_refused() {
    for opcode in [b'N', b']', b'}', b')', b'('] {
        let mut pickle = vec![opcode; 5_000_000];
        pickle.push(b'.');
        let error = refused(&pickle);
        assert!(error.ends_with("expected at most 4194304 values, got more"), "{error}");
    }
}

#[test]
fn no_part_and_no_changed_byte_of_a_file_makes_a_reader_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch");
    let mut changed = 0;
    for name in ["zip.pt", "legacy.pt", "lightning.ckpt", "traced.pt", "views.pt", "plain.npz", "packed.npz"] {
        let whole = fs::read(folder.join(name)).unwrap();
        let read = |bytes: Vec<u8>| match name.ends_with(".npz") {
            true => numpy::read_shared(bytes.into()).map(|contents| contents.tensors),
            false => torch::read_shared(bytes.into()).map(|contents| contents.tensors),
        };
        explore(&read(whole.clone()).unwrap());
        for length in (0..whole.len()).step_by(1 + whole.len() / 400) {
            if let Ok(tensors) = read(whole[..length].to_vec()) {
                explore(&tensors);
            }
        }
        // Every byte of the pickle, and some of the rest.
        for (at, by) in (0..whole.len()).flat_map(|at| [(at, 0x01), (at, 0x80), (at, 0xff)]).step_by(5) {
            let mut bytes = whole.clone();
            bytes[at] ^= by;
            if let Ok(tensors) = read(bytes) {
                explore(&tensors);
            }
            changed += 1;
        }
    }
    assert!(changed > 5_000);
}
