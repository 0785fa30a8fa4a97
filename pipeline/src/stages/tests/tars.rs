use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;

/// A tar of these members, as another program would write it.
fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// One member whose header says what it likes.
fn forged(name: &[u8], kind: EntryType, size: u64, body: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn ended(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend([0; 1024]);
    bytes
}

fn error(bytes: &[u8]) -> String {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "x.tar", bytes);
    source_error("source_webdataset", &format!("path: {}/x.tar", root.path().display()))
        .replace(&format!("{}/", root.path().display()), "")
}

fn read(bytes: &[u8]) -> RecordBatch {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "x.tar", bytes);
    read_all(source("source_webdataset", &format!("path: {}", root.path().display()), 2).as_mut())
}

#[test]
fn samples_are_ranges_of_the_tar_and_texts_are_columns() {
    let (a, b) = (wav_bytes(10), wav_bytes(700));
    let long = format!("{}/{}.flac", "d".repeat(90), "n".repeat(90));
    let tar = tar_of(&[
        ("./s/000.wav", &a),
        ("./s/000.json", b"{\"labels\": [\"dog\", \"bark\"], \"n\": 1}"),
        ("./s/000.cls", b"7"),
        ("./s/000.jpg", b"not read"),
        ("s/001.seg.FLAC", &b),
        ("s/001.json", b"{\"labels\": \"dog\"}"),
        (&long, b"fLaC"),
    ]);
    let rows = read(&tar);
    assert_eq!(texts(&rows, "clip_id"), ["s/000", "s/001", long.strip_suffix(".flac").unwrap()]);
    assert_eq!(texts(&rows, "source")[..2], ["x.tar!s/000.wav", "x.tar!s/001.seg.FLAC"]);
    assert_eq!(texts(&rows, "labels"), ["[dog, bark]", "-", "-"]);
    assert_eq!(texts(&rows, "cls"), ["7", "-", "-"]);
    assert_eq!(texts(&rows, "json")[1], "{\"labels\": \"dog\"}");
    assert!(rows.column_by_name("txt").is_none());
    let at = |row: usize, name: &str| media(&rows, name)[row].parse::<usize>().unwrap();
    for (row, bytes) in [(0, a.as_slice()), (1, &b), (2, b"fLaC")] {
        let offset = at(row, "byte_offset");
        assert_eq!(&tar[offset..offset + at(row, "byte_len")], bytes);
    }
}

#[test]
fn pax_names_and_sizes_are_followed() {
    let body = b"18 path=k/one.wav\n11 size=22\n";
    let mut bytes = Vec::new();
    bytes.extend(forged(b"PaxHeaders/x", EntryType::XHeader, body.len() as u64, body));
    // The size of the header itself is one that does not hold: that of the record does.
    bytes.extend(forged(b"short.wav", EntryType::Regular, 0, &wav_bytes(600)[..22]));
    bytes.extend(forged(b"two.wav", EntryType::Regular, 3, b"abc"));
    let rows = read(&ended(bytes));
    assert_eq!(texts(&rows, "clip_id"), ["k/one", "two"]);
    assert_eq!(media(&rows, "byte_len"), ["22", "3"]);
    assert_eq!(media(&rows, "byte_offset"), ["1536", "2560"]);
}

#[test]
fn several_tars_come_in_order_and_shared_keys_get_the_name_of_their_tar() {
    let root = tempfile::tempdir().unwrap();
    for tar in ["p-01.tar", "p-02.tar", "p-10.tar"] {
        let own = format!("own{tar}");
        put(root.path(), tar, &tar_of(&[("0.wav", b"x"), (&format!("{}.wav", own.replace('.', "_")), b"y")]));
    }
    let of = |path: &str| {
        let yaml = format!("path: \"{}/{path}\"", root.path().display());
        texts(&read_all(source("source_webdataset", &yaml, 2).as_mut()), "clip_id")
    };
    assert_eq!(of("p-{02..01}.tar"), ["p-02/0", "ownp-02_tar", "p-01/0", "ownp-01_tar"]);
    assert_eq!(of("p-*.tar"), ["p-01/0", "ownp-01_tar", "p-02/0", "ownp-02_tar", "p-10/0", "ownp-10_tar"]);
    assert_eq!(of("p-10.tar"), ["0", "ownp-10_tar"]);
    let yaml = format!("path: \"{}/q-*.tar\"", root.path().display());
    assert!(source_error("source_webdataset", &yaml).contains("no .tar file is there"));
    let yaml = format!("path: \"{}/p-{{01..03}}.tar\"", root.path().display());
    assert!(source_error("source_webdataset", &yaml).contains("p-03.tar: No such file"));
}

#[test]
fn names_that_lead_elsewhere_are_only_names() {
    let [up, root] =
        [&b"../../etc/passwd.wav"[..], b"/abs/y.wav"].map(|name| forged(name, EntryType::Regular, 1, b"x"));
    let rows = read(&ended([up, root].concat()));
    assert_eq!(texts(&rows, "clip_id"), ["../../etc/passwd", "/abs/y"]);
    assert!(media(&rows, "path").iter().all(|path| path.ends_with("x.tar")));
}

#[test]
fn a_sample_without_audio_stays_as_a_row_of_no_bytes() {
    let rows = read(&tar_of(&[("a.json", b"{}"), ("b.wav", b"x")]));
    assert_eq!(texts(&rows, "clip_id"), ["a", "b"]);
    assert_eq!(media(&rows, "byte_len"), ["0", "1"]);
}

#[test]
fn hostile_tars_are_errors_that_name_what_is_wrong() {
    let link = ended(forged(b"a.wav", EntryType::Symlink, 0, b""));
    assert!(error(&link).contains("a.wav is a symbolic link"));
    let hard = ended(forged(b"a.wav", EntryType::Link, 5000, b""));
    assert!(error(&hard).contains("a hard link"));
    assert!(error(&tar_of(&[("a.wav", b"1"), ("b.wav", b"2"), ("a.wav", b"3")])).contains("the key a comes again"));
    assert!(error(&tar_of(&[("a.wav", b"1"), ("a.flac", b"2")])).contains("second audio member"));
    assert!(
        error(&tar_of(&[("a.wav", b"1"), ("a.json", b"{}"), ("a.json", b"{}")])).contains("second member of its name")
    );
    assert!(
        error(&forged(b"a.wav", EntryType::Regular, u64::MAX, b""))
            .contains("ends inside the member a.wav, which begins at byte 0")
    );
    assert!(error(&forged(b"a.wav", EntryType::Regular, 1 << 40, b"x")).contains("ends inside"));
    assert!(error(&ended(forged(b"a.wav", EntryType::GNUSparse, 1, b"x"))).contains("a sparse file"));
    let huge_name = forged(b"././@LongLink", EntryType::GNULongName, 1 << 20, &vec![b'n'; 1 << 20]);
    assert!(error(&huge_name).contains("more than 64 KiB"));
    let long_name = [
        forged(b"././@LongLink", EntryType::GNULongName, 5000, &[b'n'; 5000]),
        forged(b"x", EntryType::Regular, 0, b""),
    ]
    .concat();
    assert!(error(&long_name).contains("4,096 bytes"));
    assert!(error(&forged(b"p", EntryType::XHeader, 6, b"no pax")).contains("PAX record"));
    assert!(error(&tar_of(&[("a.json", &vec![b' '; (1 << 20) + 1])])).contains("1 MiB"));
    let mut wrong_sum = forged(b"a.wav", EntryType::Regular, 1, b"x");
    wrong_sum[0] = b'b';
    assert!(error(&wrong_sum).contains("wrong checksum in the header at byte 0"));
    assert!(error(&[0x1F, 0x8B, 8, 0]).contains("compressed with gzip"));
    assert!(error(&[0x28, 0xB5, 0x2F, 0xFD, 0]).contains("compressed with zstd"));
    assert!(error(b"short").contains("fewer than 512 bytes"));
    assert!(error(b"").contains("without its end mark"));
    assert!(error(&[0; 1024]).contains("no samples"));
}

#[test]
fn a_tar_cut_short_anywhere_is_an_error() {
    let bytes = tar_of(&[("a.wav", &wav_bytes(400)), ("b.wav", &wav_bytes(10)), ("b.json", b"{}")]);
    // The end mark is two blocks, and one of them is enough.
    let whole = bytes.len() - 512;
    for end in (0..=bytes.len()).step_by(64) {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "x.tar", &bytes[..end]);
        let built = build("source_webdataset", &format!("path: {}", root.path().display()), &[], 7, 4);
        match built {
            Ok(Stage::Source(mut source)) => {
                assert!(end >= whole && read_all(source.as_mut()).num_rows() == 2, "{end}");
            }
            Ok(_) => panic!("no source"),
            Err(error) => assert!(end < whole && error.contains("again"), "{end}: {error}"),
        }
    }
}

#[test]
fn a_torn_tar_costs_what_is_behind_the_tear_unless_the_first_fault_ends_the_run() {
    let tolerant = |bytes: &[u8]| {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "x.tar", bytes);
        let extensions = crate::corpus::audio_extensions();
        let samples = crate::corpus::TarSamples::scan(vec![root.path().join("x.tar")], &extensions, false).unwrap();
        let mut samples = samples;
        let clips: Vec<u32> = (0..crate::corpus::Listing::n_clips(&samples) as u32).collect();
        let rows = crate::corpus::Listing::rows(&mut samples, &clips).unwrap();
        let faults =
            media(&rows, "fault").into_iter().map(|fault| fault.replace(&root.path().display().to_string(), ""));
        texts(&rows, "clip_id").into_iter().zip(faults).collect::<Vec<_>>()
    };
    let bytes = tar_of(&[("a.wav", &wav_bytes(400)), ("b.wav", &wav_bytes(400)), ("b.json", b"{}"), ("c.wav", b"x")]);
    let at = |name: &str| bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    let whole = |rows: &[(String, String)]| rows.iter().filter(|(_, fault)| fault == "-").count();
    // Cut inside the bytes of b.wav: a is kept, and b is the reject.
    let cut = tolerant(&bytes[..at("b.wav") + 600]);
    assert_eq!((cut.len(), whole(&cut), cut[1].0.as_str()), (2, 1, "b"));
    assert!(cut[1].1.starts_with("torn_tar: /x.tar ends inside the member b.wav"), "{}", cut[1].1);
    // Inside its text: a clip without its labels is not whole.
    let cut = tolerant(&bytes[..at("b.json") + 512]);
    assert_eq!((cut.len(), whole(&cut), cut[1].0.as_str()), (2, 1, "b"));
    // A damaged header: the clips before it, and one reject for all behind.
    let mut damaged = bytes.clone();
    damaged[at("c.wav")] ^= 1;
    let cut = tolerant(&damaged);
    assert_eq!((cut.len(), whole(&cut)), (3, 2));
    assert!(cut[2].1.contains("wrong checksum in the header at byte"), "{}", cut[2].1);
    // What is hostile costs its own sample.
    let link = forged(b"l.wav", EntryType::Symlink, 0, b"");
    let again = forged(b"a.wav", EntryType::Regular, 1, b"x");
    let body = &bytes[..bytes.len() - 1024];
    let rows = tolerant(&ended([body, &link, &again].concat()));
    let kinds: Vec<&str> = rows.iter().map(|(_, fault)| fault.split(':').next().unwrap()).collect();
    assert_eq!(kinds, ["-", "-", "-", "not_a_file", "repeated_key"]);
    assert!(rows[4].0.starts_with("a@"), "{}", rows[4].0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn mutated_tars_never_panic_and_never_point_outside(edits in prop::collection::vec((0_usize..4096, any::<u8>()), 1..12), sums in any::<bool>()) {
        let mut bytes = tar_of(&[("a.wav", &wav_bytes(300)), ("a.json", b"{\"labels\": []}"), (&format!("{}.wav", "n".repeat(120)), b"x"), ("b/c.flac", b"fLaC")]);
        let len = bytes.len();
        for (at, value) in edits {
            bytes[at % len] = value;
        }
        if sums {
            // With its checksum mended, a header's other fields are believed.
            for at in (0..len).step_by(512) {
                if bytes[at + 257..at + 262] != *b"ustar" {
                    continue;
                }
                let mut header = Header::new_old();
                header.as_mut_bytes().copy_from_slice(&bytes[at..at + 512]);
                header.set_cksum();
                bytes[at..at + 512].copy_from_slice(header.as_bytes());
            }
        }
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "x.tar", &bytes);
        if let Ok(Stage::Source(mut source)) = build("source_webdataset", &format!("path: {}", root.path().display()), &[], 7, 4) {
            let rows = read_all(source.as_mut());
            for (offset, len_of) in media(&rows, "byte_offset").iter().zip(media(&rows, "byte_len")) {
                prop_assert!(offset.parse::<usize>().unwrap() + len_of.parse::<usize>().unwrap() <= len);
            }
        }
    }
}
