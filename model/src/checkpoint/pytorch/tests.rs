//! Files that were made to do harm: each is an error, quickly, in little memory, and nothing of it runs.

use std::path::{Path, PathBuf};

use super::source::Source;
use super::{ImportError, ImportOptions, Imported};

/// An archive as `torch.save` writes one, around a pickle and a storage of 64 bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    entries(&[
        ("archive/data.pkl", pickle),
        ("archive/byteorder", b"little"),
        ("archive/data/0", &[0; 64]),
        ("archive/version", b"3\n"),
    ])
}

/// A zip archive with nothing compressed.
fn entries(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let sizes = [crc32fast::hash(bytes), bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let name_bytes = (name.len() as u16).to_le_bytes();
        // Versions, flags, method, time and date are 0.
        directory.extend([&b"PK\x01\x02"[..], &[0; 12], &sizes, &name_bytes, &[0; 12]].concat());
        directory.extend([&(zip.len() as u32).to_le_bytes(), name.as_bytes()].concat());
        zip.extend([&b"PK\x03\x04"[..], &[0; 10], &sizes, &name_bytes, &[0; 2], name.as_bytes(), bytes].concat());
    }
    let n = (entries.len() as u16).to_le_bytes();
    let end = [directory.len() as u32, zip.len() as u32].map(u32::to_le_bytes).concat();
    zip.extend([&directory[..], b"PK\x05\x06", &[0; 4], &n, &n, &end, &[0; 2]].concat());
    zip
}

/// A pickle of protocol 2.
fn pickle(body: &[&[u8]]) -> Vec<u8> {
    [&[0x80, 2], &body.concat()[..], b"."].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn open(bytes: &[u8]) -> Result<Imported, ImportError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hostile.ckpt");
    std::fs::write(&path, bytes).unwrap();
    Imported::open(&path, ImportOptions::default())
}

#[track_caller]
fn refused(what: &str, bytes: &[u8]) -> String {
    match open(bytes) {
        Ok(_) => panic!("{what}: taken"),
        Err(error @ (ImportError::Unreadable { .. } | ImportError::Unknown { .. })) => error.to_string(),
        Err(other) => panic!("{what}: {other}"),
    }
}

/// A tensor of `shape` that begins at `offset` of storage 0, which is said to have `numel` numbers.
fn tensor(numel: u32, offset: u32, shape: [u32; 2], stride: [u32; 2]) -> Vec<u8> {
    tensor_of("0", numel, offset, shape, stride)
}

fn tensor_of(key: &str, numel: u32, offset: u32, shape: [u32; 2], stride: [u32; 2]) -> Vec<u8> {
    let int = |n: u32| [&b"J"[..], &n.to_le_bytes()].concat();
    let pair = |[a, b]: [u32; 2]| [int(a), int(b), b"\x86".to_vec()].concat();
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(key),
        text("cpu"),
        int(numel),
        b"tQ".to_vec(),
        int(offset),
        pair(shape),
        pair(stride),
        b"\x89ccollections\nOrderedDict\n)RtR".to_vec(),
    ]
    .concat()
}

/// A dictionary with one tensor, under a name that a published layout has.
fn one(tensor: &[u8]) -> Vec<u8> {
    archive(&pickle(&[b"}", &text("encoder.patch_embed.proj.weight"), tensor, b"s"]))
}

/// The most memory that this process ever had, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
}

#[test]
fn nothing_in_a_pickle_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("marker");
    let shell = format!("touch {}", marker.display());
    let (command, code) = (text(&shell), text(&format!("open({:?}, 'w')", marker.display())));
    let global = |name: &str| format!("c{}\n", name.replace('.', "\n")).into_bytes();
    let reduce = |callable: &str, argument: &[u8]| [&global(callable)[..], argument, b"\x85R"].concat();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("REDUCE of os.system", reduce("os.system", &command)),
        ("REDUCE of posix.system", reduce("posix.system", &command)),
        ("REDUCE of eval", reduce("builtins.eval", &code)),
        ("REDUCE of exec", reduce("__builtin__.exec", &code)),
        ("REDUCE of getattr", reduce("builtins.getattr", &code)),
        ("a class alone", global("builtins.eval")),
        ("INST", format!("(S'{shell}'\nios\nsystem\n").into_bytes()),
        ("OBJ", [b"(", &global("os.system")[..], &command, b"o"].concat()),
        ("NEWOBJ", [&global("os.system")[..], &command, b"\x85\x81"].concat()),
        ("NEWOBJ_EX", [&global("os.system")[..], &command, b"\x85}\x92"].concat()),
        ("STACK_GLOBAL", [text("os"), text("system"), b"\x93".to_vec(), command.clone(), b"\x85R".to_vec()].concat()),
        ("BUILD", [&global("os.system")[..], &b")\x81}"[..], &text("__setstate__"), &command, b"sb"].concat()),
        ("EXT", b"\x82\x01".to_vec()),
        ("a persistent id", [command.clone(), b"Q".to_vec()].concat()),
        ("a persistent id in text", format!("P{shell}\n").into_bytes()),
    ];
    for (what, body) in bodies {
        for in_dictionary in [false, true] {
            let body = if in_dictionary { [b"}", &text("state_dict")[..], &body, b"s"].concat() } else { body.clone() };
            let said = refused(what, &archive(&pickle(&[&body])));
            assert!(said.contains("hostile.ckpt"), "{what}: {said}");
            assert!(!marker.exists(), "{what} was called");
        }
    }
}

#[test]
fn objects_beside_the_weights_are_left_alone() {
    let marker = "/nonexistent/never";
    let evil = [b"cos\nsystem\n", &text(&format!("touch {marker}"))[..], b"\x85R"].concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published/base.ckpt");
    // The fixture's own pickle has functools.partial in it; here is one more that is named and skipped.
    let said = refused("no weights", &archive(&pickle(&[b"}", &text("hyper_parameters"), &evil, b"s"])));
    assert!(said.contains("it holds no tensors"), "{said}");
    Imported::open(&path, ImportOptions::default()).map(drop).unwrap();
}

#[test]
fn lengths_are_not_believed() {
    let huge = u64::MAX / 2;
    let before = peak_bytes();
    let eight = |code: u8, n: u64| [&[code][..], &n.to_le_bytes()].concat();
    let four = |code: u8, n: u32| [&[code][..], &n.to_le_bytes()].concat();
    for (what, body) in [
        ("BINUNICODE8", eight(0x8D, huge)),
        ("BINBYTES8", eight(0x8E, huge)),
        ("BYTEARRAY8", eight(0x96, huge)),
        ("BINUNICODE", four(b'X', u32::MAX)),
        ("BINBYTES", four(b'B', u32::MAX)),
        ("BINSTRING", four(b'T', u32::MAX >> 1)),
        ("LONG4", four(0x8B, u32::MAX >> 1)),
        ("FRAME", eight(0x95, huge)),
        ("LONG_BINPUT of a far slot", four(b'r', u32::MAX)),
        ("LONG_BINGET of nothing", four(b'j', 77)),
    ] {
        refused(what, &archive(&pickle(&[&body])));
    }
    let many = 1 << 30;
    for (what, bytes) in [
        ("a storage longer than its file", one(&tensor(many, 0, [many >> 10, 1 << 10], [1 << 10, 1]))),
        ("a shape beyond its storage", one(&tensor(16, 0, [1 << 16, 1 << 14], [1 << 14, 1]))),
        ("a shape whose product overflows", one(&tensor(16, 0, [i32::MAX as u32; 2], [1, 1]))),
        ("one number repeated a billion times", one(&tensor(16, 0, [1 << 15, 1 << 15], [0, 0]))),
        ("an offset beyond the storage", one(&tensor(16, 1 << 20, [1, 1], [1, 1]))),
        ("negative strides", one(&tensor(16, 0, [4, 4], [u32::MAX, 1]))),
        ("negative lengths", one(&tensor(16, 0, [u32::MAX, 4], [4, 1]))),
    ] {
        refused(what, &bytes);
    }
    if let (Some(before), Some(after)) = (before, peak_bytes()) {
        assert!(after - before < 256 << 20, "{} MiB", (after - before) >> 20);
    }
}

#[test]
fn depth_memo_and_size_are_bounded() {
    let before = peak_bytes();
    for (what, body) in [
        ("lists in lists", [b"]".repeat(1 << 20), b"a".repeat((1 << 20) - 1)].concat()),
        ("tuples in tuples", [b"N".to_vec(), b"\x85".repeat(1 << 20)].concat()),
        ("dictionaries in dictionaries", b"}K\x01".repeat(1 << 19)),
        ("marks", b"(".repeat(1 << 20)),
        ("a list in itself", b"]q\x00h\x00a".to_vec()),
        ("a dictionary in itself", [&b"}q\x00"[..], &text("state_dict"), b"h\x00s"].concat()),
        ("copies of copies", {
            // Each level holds the one before ten times.
            let level = |i: u8| [b"(".to_vec(), [b'h', i].repeat(10), vec![b't', b'q', i + 1]].concat();
            [&b"Nq\x00"[..], &(0..60).flat_map(level).collect::<Vec<_>>()].concat()
        }),
        ("DUP of DUP", [b"]".to_vec(), b"2a2".repeat(1 << 16)].concat()),
        ("pops of nothing", b"000".to_vec()),
        ("a million nothings", b"N".repeat(1 << 20)),
    ] {
        refused(what, &archive(&pickle(&[&body])));
    }
    let said = refused("a pickle of 5 MiB", &archive(&b"N".repeat(5 << 20)));
    assert!(said.contains("data.pkl has 5242880 bytes; at most 4194304 are read"), "{said}");
    if let (Some(before), Some(after)) = (before, peak_bytes()) {
        assert!(after - before < 768 << 20, "{} MiB", (after - before) >> 20);
    }
}

#[test]
fn a_storage_is_looked_for_in_the_archive_alone() {
    let named = |key: &str, numel: u32, shape| {
        let tensor = tensor_of(key, numel, 0, shape, [shape[1], 1]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pt");
        std::fs::write(&path, archive(&pickle(&[b"}", &text("x"), &tensor, b"s"]))).unwrap();
        let source = Source::open(&path).unwrap();
        source.numbers("x").map_err(|error| error.to_string())
    };
    assert_eq!(named("0", 16, [4, 4]), Ok(vec![0.0; 16]));
    assert_eq!(named("0", 16, [2, 3]), Ok(vec![0.0; 6]));
    let said = named("../../../../etc/passwd", 16, [4, 4]).unwrap_err();
    assert!(said.contains("there is no archive/data/../../../../etc/passwd in it"), "{said}");
    // The pickle says that the storage is longer than it is.
    let said = named("0", 1 << 20, [1 << 10, 1 << 10]).unwrap_err();
    assert!(said.contains("it claims 4194304 bytes, more than the file has"), "{said}");
    let said = named("0", 17, [1, 17]).unwrap_err();
    assert!(said.contains("archive/data/0 has 64 bytes"), "{said}");
}

#[test]
fn a_transposed_view_is_read_in_its_own_order() {
    let numbers: Vec<u8> = (0..16_u8).flat_map(|x| f32::from(x).to_le_bytes()).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pt");
    let pickle = pickle(&[b"}", &text("x"), &tensor(16, 1, [3, 2], [1, 4]), b"s"]);
    std::fs::write(&path, entries(&[("a/data.pkl", &pickle), ("a/data/0", &numbers)])).unwrap();
    let read = Source::open(&path).unwrap().numbers("x").unwrap();
    assert_eq!(read, [1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
}

#[test]
fn archives_that_are_torn_compressed_or_strange() {
    let good = one(&tensor(16, 0, [4, 4], [4, 1]));
    for keep in (0..good.len()).step_by(7) {
        refused("torn", &good[..keep]);
    }
    // What says that it is compressed may become anything: no byte of it is unpacked. Its method is 8 in both places.
    let mut bomb = good.clone();
    for at in 0..bomb.len() - 12 {
        match &bomb[at..at + 4] {
            b"PK\x03\x04" => bomb[at + 8] = 8,
            b"PK\x01\x02" => bomb[at + 10] = 8,
            _ => {}
        }
    }
    let said = refused("compressed", &bomb);
    assert!(said.contains("is compressed in it"), "{said}");
    let climbing = entries(&[("../../../tmp/data.pkl", &pickle(&[b"}"])), ("/etc/data/0", b"x")]);
    let said = refused("names that climb", &climbing);
    assert!(said.contains("it holds no tensors"), "{said}");
    refused("no pickle", &entries(&[("archive/data/0", &[0; 64])]));
    refused("a big-endian one", &entries(&[("a/data.pkl", &pickle(&[b"}"])), ("a/byteorder", b"big")]));
    refused("nothing", b"");
    refused("a bare pickle", &pickle(&[b"cos\nsystem\nX\x02\0\0\0ls\x85R"]));
    refused("a tar", &[&[0_u8; 257][..], b"ustar", &[0; 300]].concat());
    let folder = Imported::open(&PathBuf::from(env!("CARGO_MANIFEST_DIR")), ImportOptions::default());
    assert!(matches!(folder, Err(ImportError::Unreadable { .. })));
    refused("safetensors with a header of 2^60 bytes", &[&(1_u64 << 60).to_le_bytes()[..], b"{}"].concat());
    let overlapping = br#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    refused(
        "safetensors that overlap",
        &[&(overlapping.len() as u64).to_le_bytes()[..], overlapping, &[0; 16]].concat(),
    );
}
