//! The same promises as on a disk, over a store in memory.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::memory::InMemory;

use super::register;
use crate::{
    Fetch, Fs, PendingFile, Wanted, about, commit_bytes, commit_bytes_new, fs_of, list, open, open_local, walk,
};

/// A bucket of its own.
fn bucket(name: &str) -> (Arc<dyn Fs>, PathBuf) {
    let url = format!("mem://{name}");
    register(&url, Arc::new(InMemory::new()));
    let root = PathBuf::from(url);
    (fs_of(&root).unwrap(), root)
}

fn noise(n: usize) -> Vec<u8> {
    (0..n as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

#[test]
fn a_file_appears_when_it_is_committed_in_parts_or_whole() {
    let (fs, root) = bucket("appears");
    for (name, n) in [("small", 5), ("part", 8 << 20), ("parts", (21 << 20) + 7), ("empty", 0)] {
        let (path, bytes) = (root.join("out").join(name), noise(n));
        let mut file = PendingFile::create(&fs, path.clone()).unwrap();
        bytes.chunks(999_999).for_each(|chunk| file.write_all(chunk).unwrap());
        assert!(fs.len(&path).is_err(), "{name} is there too early");
        file.commit().unwrap();
        assert_eq!(fs.len(&path).unwrap(), n as u64);
        assert!(fs.read(&path, 1 << 30).unwrap() == bytes, "{name}");
    }
    let mut dropped = PendingFile::create(&fs, root.join("out/dropped")).unwrap();
    dropped.write_all(&noise(20 << 20)).unwrap();
    drop(dropped);
    assert_eq!(fs.list(&root.join("out")).unwrap(), ["empty", "part", "parts", "small"]);
    assert_eq!(fs.list(&root).unwrap(), ["out"]);
    assert!(fs.list(&root.join("nowhere")).unwrap().is_empty());
    assert_eq!(fs.read(&root.join("out/parts"), 100).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn the_second_claim_finds_the_first() {
    let (fs, root) = bucket("claims");
    let path = root.join("job.json");
    assert!(commit_bytes_new(&fs, path.clone(), b"one").unwrap());
    assert!(!commit_bytes_new(&fs, path.clone(), b"two").unwrap());
    assert_eq!(fs.read(&path, 10).unwrap(), b"one");
    commit_bytes(&fs, path.clone(), b"three").unwrap();
    assert_eq!(fs.read(&path, 10).unwrap(), b"three");
    let mut large = PendingFile::create(&fs, path.clone()).unwrap();
    large.write_all(&noise(9 << 20)).unwrap();
    assert!(!large.commit_new().unwrap());
    fs.rename(&path, &root.join("aside.json")).unwrap();
    assert_eq!(fs.list(&root).unwrap(), ["aside.json"]);
    let all = fs.read_all(&[root.join("aside.json"), path], 10);
    assert_eq!(all[0].as_ref().unwrap(), b"three");
    assert_eq!(all[1].as_ref().unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn an_object_is_read_like_a_file_from_any_place() {
    let (fs, root) = bucket("reads");
    let (path, bytes) = (root.join("a b/x#1.bin"), noise((9 << 20) + 3));
    commit_bytes(&fs, path.clone(), &bytes).unwrap();
    let mut opened = open(&path).unwrap();
    assert_eq!(opened.len, bytes.len() as u64);
    let mut all = Vec::new();
    opened.reader.read_to_end(&mut all).unwrap();
    assert!(all == bytes);
    for at in [0, 4 << 20, 17, (9 << 20) - 5, 8 << 20] {
        let mut piece = vec![0; 8];
        opened.reader.seek(SeekFrom::Start(at)).unwrap();
        opened.reader.read_exact(&mut piece).unwrap();
        assert_eq!(piece, bytes[at as usize..at as usize + 8], "{at}");
    }
    opened.reader.seek(SeekFrom::End(-2)).unwrap();
    assert_eq!(opened.reader.read_to_end(&mut all).unwrap(), 2);
    // Another object under its name is no part of the one that was opened.
    commit_bytes(&fs, path.clone(), &noise(9 << 20)).unwrap();
    opened.reader.seek(SeekFrom::Start(0)).unwrap();
    let error = opened.reader.read_exact(&mut [0; 8]).unwrap_err().to_string();
    assert!(error.contains("written anew"), "{error}");
    let mut copy = Vec::new();
    open_local(&path).unwrap().read_to_end(&mut copy).unwrap();
    assert!(copy == noise(9 << 20));
    assert_eq!(open(&root.join("none")).err().unwrap().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn many_are_listed_asked_for_and_fetched_at_once() {
    let (fs, root) = bucket("many");
    let name = |i: usize| format!("{}/{i:03}.flac", i % 3);
    for i in 0..200 {
        commit_bytes(&fs, root.join("audio").join(name(i)), &noise(i)).unwrap();
    }
    let found = walk(&root.join("audio")).unwrap();
    let mut names: Vec<String> = (0..200).map(name).collect();
    names.sort_unstable();
    assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
    assert_eq!(list(&root.join("audio/1"), usize::MAX).unwrap().len(), 67);
    assert!(list(&root.join("audio"), usize::MAX).unwrap().is_empty());
    let url = |name: &str| format!("mem://many/audio/{name}");
    let asked = about(&[url(&name(7)), url("none"), url(&name(8))]);
    assert_eq!(asked[0].as_ref().unwrap(), &found.iter().find(|(of, _)| *of == name(7)).unwrap().1);
    assert_eq!(asked[1].as_ref().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_ne!(asked[0].as_ref().unwrap().version, asked[2].as_ref().unwrap().version);
    let wanted = |i: usize, range| Wanted { url: url(&name(i)), range };
    let wants = vec![wanted(199, None), wanted(150, Some((10, 20))), wanted(150, Some((140, 20))), wanted(900, None)];
    let fetched = Fetch::start(wants).wait().unwrap();
    assert_eq!(fetched[0].as_ref().unwrap().as_ref(), noise(199));
    assert_eq!(fetched[1].as_ref().unwrap().as_ref(), &noise(150)[10..30]);
    assert_eq!(fetched[2].as_ref().unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(fetched[3].as_ref().unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn addresses_that_are_not_known_are_refused() {
    let error = fs_of(Path::new("ftp://host/x")).unwrap_err().to_string();
    assert!(error.contains("ftp://") && error.contains("s3://bucket"), "{error}");
}
