use std::path::Path;

use super::*;
use crate::audioset::AudioSet;
use crate::folder::{FolderRules, folder};
use crate::ontology::Ontology;
use crate::xares::{TarSample, XaresTask, xares};

/// A row of a scan.
#[derive(Clone)]
struct File<'a> {
    source: &'a str,
    status: &'a str,
    duration_s: f64,
    hash: u8,
    print: Vec<u32>,
}

fn file(source: &str, hash: u8) -> File<'_> {
    File { source, status: "ok", duration_s: 10.0, hash, print: Vec::new() }
}

fn scan(files: &[File<'_>]) -> Scan {
    let source = StringChunked::from_iter_values("source".into(), files.iter().map(|file| file.source));
    let status = StringChunked::from_iter_values("status".into(), files.iter().map(|file| file.status));
    let duration_s = Float64Chunked::from_iter_values("duration_s".into(), files.iter().map(|file| file.duration_s));
    let hash = BinaryChunked::from_iter_values("content_hash".into(), files.iter().map(|file| vec![file.hash; 16]));
    let mut prints =
        ListPrimitiveChunkedBuilder::<UInt32Type>::new("fingerprint".into(), files.len(), 0, DataType::UInt32);
    for file in files {
        prints.append_slice(&file.print);
    }
    let codec = StringChunked::from_iter_values("codec".into(), files.iter().map(|_| "aac"));
    let taken_by = StringChunked::from_iter_values("taken_by".into(), files.iter().map(|_| "me"));
    let columns = vec![
        source.into_column(),
        status.into_column(),
        duration_s.into_column(),
        hash.into_column(),
        prints.finish().into_column(),
        codec.into_column(),
        taken_by.into_column(),
    ];
    Scan::of(DataFrame::new(files.len(), columns).unwrap()).unwrap()
}

fn audioset(lines: &str) -> Wanted {
    audioset_of(&[("eval", lines)])
}

fn audioset_of(lists: &[(&str, &str)]) -> Wanted {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (split, lines) in lists {
        files.push((*split, dir.path().join(split)));
        std::fs::write(dir.path().join(split), lines).unwrap();
    }
    AudioSet::read(&files, Ontology::default()).unwrap().wanted
}

fn texts(joined: &Joined, column: &str) -> Vec<String> {
    let column = joined.manifest.texts(column).unwrap();
    column.iter().map(|text| text.unwrap_or("-").to_owned()).collect()
}

fn numbers(joined: &Joined, column: &str) -> Vec<f64> {
    joined.manifest.frame().column(column).unwrap().f64().unwrap().iter().flatten().collect()
}

const FOUR: &str = "aaaaaaaaaaa, 30.000, 40.000, \"/m/a\"\n-bbbbbbbbb_, 0.000, 10.000, \"/m/a,/m/b\"\n\
                    cccc_cccccc, 5.500, 15.500, \"/m/b\"\nddddddddddd, 70.000, 80.000, \"/m/b\"\n";

#[test]
fn clips_are_found_under_all_their_names_and_missing_ones_stay() {
    let files = [
        file("audio/eval/Yaaaaaaaaaaa_30.000.m4a", 1),
        file("shards/07.tar!-bbbbbbbbb_.flac", 2),
        file("cccc_cccccc_5500_15500.webm", 3),
        file("notes.wav", 4),
    ];
    let joined = join(&audioset(FOUR), &scan(&files), &JoinConfig::default()).unwrap();
    assert_eq!(texts(&joined, "clip_id"), ["aaaaaaaaaaa", "-bbbbbbbbb_", "cccc_cccccc", "ddddddddddd"]);
    assert_eq!(texts(&joined, "status"), ["ok", "ok", "ok", "missing"]);
    assert_eq!(texts(&joined, "reason"), ["-", "-", "-", "not_held"]);
    let paths = ["audio/eval/Yaaaaaaaaaaa_30.000.m4a", "shards/07.tar", "cccc_cccccc_5500_15500.webm", "-"];
    assert_eq!(texts(&joined, "path"), paths);
    assert_eq!(texts(&joined, "member"), ["-", "-bbbbbbbbb_.flac", "-", "-"]);
    assert_eq!(texts(&joined, "taken_by"), ["me", "me", "me", "-"]);
    assert_eq!(numbers(&joined, "start_s"), [0.0, 0.0, 0.0, 70.0]);
    assert_eq!((joined.held.files, joined.held.matched, joined.held.unwanted), (4, 3, 1));
    assert_eq!(joined.held.unwanted_first, ["notes.wav"]);
    assert_eq!(joined.manifest.usable().unwrap().frame().height(), 3);
}

#[test]
fn a_whole_recording_holds_all_its_segments() {
    let lines = "aaaaaaaaaaa, 30.000, 40.000, \"/m/a\"\naaaaaaaaaaa, 90.000, 100.000, \"/m/a\"\n\
                 aaaaaaaaaaa, 300.000, 310.000, \"/m/a\"\n";
    let long = File { duration_s: 95.0, ..file("aaaaaaaaaaa.m4a", 1) };
    let joined = join(&audioset(lines), &scan(&[long]), &JoinConfig::default()).unwrap();
    assert_eq!(texts(&joined, "clip_id"), ["aaaaaaaaaaa_30000", "aaaaaaaaaaa_90000", "aaaaaaaaaaa_300000"]);
    assert_eq!(numbers(&joined, "start_s"), [30.0, 90.0, 300.0]);
    assert_eq!(numbers(&joined, "duration_s"), [10.0, 5.0, 10.0]);
    assert_eq!(texts(&joined, "status"), ["ok", "ok", "too_short"]);
    assert_eq!(texts(&joined, "duplicate_of"), ["-", "-", "-"]);
    assert_eq!(joined.held.matched, 1);
}

#[test]
fn another_start_is_no_clip_and_says_so() {
    let joined = join(&audioset(FOUR), &scan(&[file("aaaaaaaaaaa_50.wav", 1)]), &JoinConfig::default()).unwrap();
    assert_eq!(texts(&joined, "reason")[0], "other_start");
    assert_eq!(texts(&joined, "detail")[0], "held with another start: aaaaaaaaaaa_50.wav");
    assert_eq!((joined.held.other_start, joined.held.matched, joined.held.unwanted), (1, 0, 0));
}

#[test]
fn of_two_files_of_a_clip_the_one_that_decodes_is_taken() {
    let broken = File { status: "truncated", ..file("old/aaaaaaaaaaa.wav", 1) };
    let files = [broken.clone(), file("aaaaaaaaaaa.m4a", 2), file("new/aaaaaaaaaaa.m4a", 2)];
    let joined = join(&audioset(FOUR), &scan(&files), &JoinConfig::default()).unwrap();
    assert_eq!((texts(&joined, "path")[0].as_str(), texts(&joined, "status")[0].as_str()), ("aaaaaaaaaaa.m4a", "ok"));
    assert_eq!((joined.held.matched, joined.held.again), (1, 2));
    let joined = join(&audioset(FOUR), &scan(&[broken]), &JoinConfig::default()).unwrap();
    assert_eq!((texts(&joined, "status")[0].as_str(), texts(&joined, "reason")[0].as_str()), ("corrupt", "truncated"));
}

#[test]
fn duplicates_are_told_from_near_ones_and_silence_from_both() {
    let mut bits = crate::seed::Bits::new(1);
    let mut print = || -> Vec<u32> { (0..40).map(|_| bits.next() as u32).collect() };
    let (one, other) = (print(), print());
    // Another encoding: one bit in every second number.
    let encoded: Vec<u32> = one.iter().enumerate().map(|(at, value)| value ^ ((at as u32 % 2) << (at % 32))).collect();
    let ids: Vec<String> = "abcdefgh".chars().map(|c| String::from(c).repeat(11)).collect();
    let lines: Vec<String> = ids.iter().map(|id| format!("{id}, 0.000, 10.000, \"/m/a\"")).collect();
    let lines = lines.join("\n");
    let names: Vec<String> = ids.iter().map(|id| format!("{id}.wav")).collect();
    let of = |row: usize, hash: u8, print: &[u32]| File { print: print.to_vec(), ..file(&names[row], hash) };
    let files = [
        of(0, 1, &one),
        of(1, 2, &other),
        of(2, 1, &one),
        of(3, 3, &encoded[2..]),
        of(4, 3, &encoded[2..]),
        File { status: "silent", ..of(5, 9, &[0; 40]) },
        File { status: "silent", ..of(6, 9, &[0; 40]) },
        File { status: "corrupt", ..of(7, 1, &one) },
    ];
    let config = JoinConfig { near: Some(NearConfig::default()), ..JoinConfig::default() };
    let joined = join(&audioset(&lines), &scan(&files), &config).unwrap();
    let (a, d) = ("aaaaaaaaaaa", "ddddddddddd");
    assert_eq!(texts(&joined, "duplicate_of"), ["-", "-", a, "-", d, "-", "-", "-"]);
    assert_eq!(texts(&joined, "near_duplicate_of"), ["-", "-", "-", a, a, "-", "-", "-"]);
    let without = join(&audioset(&lines), &scan(&files), &JoinConfig::default()).unwrap();
    assert_eq!(texts(&without, "near_duplicate_of"), ["-"; 8]);
}

#[test]
fn of_copies_in_a_training_and_another_split_the_other_one_stays() {
    let ids: Vec<String> = "abcde".chars().map(|c| String::from(c).repeat(11)).collect();
    let line = |id: &String| format!("{id}, 0.000, 10.000, \"/m/a\"\n");
    let lists = [
        ("balanced_train", ids[..2].iter().map(line).collect::<String>()),
        ("eval", ids[2..4].iter().map(line).collect()),
        ("unbalanced_train", ids[4..].iter().map(line).collect()),
    ];
    let lists: Vec<(&str, &str)> = lists.iter().map(|(split, lines)| (*split, lines.as_str())).collect();
    let names: Vec<String> = ids.iter().map(|id| format!("{id}.wav")).collect();
    let print: Vec<u32> = (0..40u32).map(|at| at.wrapping_mul(2_654_435_761)).collect();
    let of = |row: usize, hash: u8| File { print: print.clone(), ..file(&names[row], hash) };
    // The samples of a, c and e are the same; b and d sound like them.
    let files = [of(0, 1), of(1, 2), of(2, 1), of(3, 3), of(4, 1)];
    let config = JoinConfig { near: Some(NearConfig::default()), ..JoinConfig::default() };
    let joined = join(&audioset_of(&lists), &scan(&files), &config).unwrap();
    let c = ids[2].as_str();
    assert_eq!(texts(&joined, "duplicate_of"), [c, "-", "-", "-", c]);
    assert_eq!(texts(&joined, "near_duplicate_of"), ["-", c, "-", c, "-"]);
    let kept = joined.manifest.without_duplicates(true).unwrap().usable().unwrap();
    assert_eq!(kept.texts("clip_id").unwrap().iter().flatten().collect::<Vec<_>>(), [c]);
}

#[test]
fn folders_are_joined_by_path_and_tars_by_member() {
    let wanted = folder(Path::new("/data/own"), ["dog/1.wav", "cat/1.wav"], &FolderRules::default()).unwrap();
    let config = JoinConfig { root: Some("/data/own/".into()), ..JoinConfig::default() };
    let joined = join(&wanted, &scan(&[file("/data/own/cat/1.wav", 1), file("dog/1.wav", 2)]), &config).unwrap();
    assert_eq!(texts(&joined, "path"), ["dog/1.wav", "/data/own/cat/1.wav"]);

    let sample = TarSample {
        tar: "env/esc50/wds-audio-fold-2-0.tar".to_owned(),
        key: "a".to_owned(),
        audio: Some("a.flac".to_owned()),
        json: Some(r#"{"label": 3}"#.to_owned()),
    };
    let wanted = xares(XaresTask::of("esc50").unwrap(), &[sample]).unwrap();
    let held =
        [file("/elsewhere/wds-audio-fold-1-0.tar!a.flac", 1), file("/elsewhere/wds-audio-fold-2-0.tar!a.flac", 2)];
    let joined = join(&wanted, &scan(&held), &JoinConfig::default()).unwrap();
    assert_eq!(texts(&joined, "path"), ["/elsewhere/wds-audio-fold-2-0.tar"]);
    assert_eq!(texts(&joined, "split"), ["fold2"]);
}

#[test]
fn a_short_clip_and_settings_without_a_meaning() {
    let short = File { duration_s: 0.4, ..file("aaaaaaaaaaa.wav", 1) };
    let config = JoinConfig { min_duration_s: 1.0, ..JoinConfig::default() };
    let joined = join(&audioset(FOUR), &scan(&[short]), &config).unwrap();
    assert_eq!(texts(&joined, "status")[0], "too_short");
    let config = JoinConfig { min_duration_s: f64::NAN, ..JoinConfig::default() };
    assert!(join(&audioset(FOUR), &scan(&[]), &config).is_err());
}

#[test]
fn rows_of_a_table_go_by_their_clips_names() {
    let mut frame = scan(&[file("hub/0.parquet#17", 1)]).frame().clone();
    frame
        .with_column(StringChunked::from_iter_values("clip_id".into(), ["aaaaaaaaaaa"].into_iter()).into_column())
        .unwrap();
    let joined = join(&audioset(FOUR), &Scan::of(frame).unwrap(), &JoinConfig::default()).unwrap();
    assert_eq!(texts(&joined, "path")[0], "hub/0.parquet");
    assert_eq!(joined.manifest.frame().column("row").unwrap().u64().unwrap().get(0), Some(17));
}

#[test]
fn nothing_wanted_and_nothing_held_are_tables_too() {
    let empty = folder(Path::new("x"), [], &FolderRules::default()).unwrap();
    let near = JoinConfig { near: Some(NearConfig::default()), ..JoinConfig::default() };
    let joined = join(&empty, &scan(&[]), &near).unwrap();
    assert_eq!(joined.manifest.frame().height(), 0);
    assert_eq!(joined.manifest.hash().unwrap().len(), 64);
    let joined = join(&audioset(FOUR), &Scan::of_listing([]).unwrap(), &near).unwrap();
    assert_eq!(texts(&joined, "status"), ["missing"; 4]);
}
