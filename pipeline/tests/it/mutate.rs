//! Whatever is done to a document, the answer is a graph or a list of faults: no panic, no hang.

use proptest::prelude::*;

use crate::{load, load_with};

const SEEDS: [&str; 3] = [
    "pipeline: mel\nseed: 3\nstages:\n  - { id: clips, type: source_folder, path: audio, extensions: [wav, flac] }\n  - { type: decode }\n  - type: resample\n    rate_hz: 32000\n  - { type: crop, seconds: 10, position: random }\n  - { id: mel, type: log_mel, preset: code-225b816 }\n  - { type: mask, mask: { ratio: [0.6, 0.6] } }\n  - { type: patchify, patch_frames: 16, patch_mels: 16 }\n  - { type: sink_shards, path: out }\non_error: { policy: quarantine, max_fraction: 0.01 }\nresources: { jobs: auto, memory: 4GiB }\n",
    "stages:\n  - &s { id: a, type: source_folder, path: a }\n  - { <<: *s, id: b }\n  - { type: concat, from: [a, b] }\n  - { type: decode }\n  - { type: sink_null }\n",
    "stages:\n- id: clips\n  type: source_folder\n  path: |\n    audio\n- {type: decode}\n- {type: crop, seconds: 3}\n- {id: b, type: crop, seconds: 3, from: decode}\n- {type: interleave, from: [crop, b]}\n- {type: shuffle, rows: 10}\n- {type: sink_null}\n",
];

const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "-",
    "- ",
    "\n",
    "\t",
    "  ",
    "#",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!x ",
    "|",
    ">",
    "'",
    "\"",
    "\\",
    "~",
    "null",
    "true",
    "-1",
    "1e999",
    ".nan",
    "99999999999999999999",
    "0x10",
    "?",
    "%YAML 1.2\n",
    "---\n",
    "...\n",
    "\u{0}",
    "\u{feff}",
    "\u{1f3b5}",
    "type: mask",
    "from: [a]",
    "id: mel",
];

#[derive(Debug, Clone)]
enum Cut {
    Insert(usize, usize),
    Delete(usize, usize),
    Copy(usize, usize, usize),
}

fn apply(text: &str, cut: &Cut) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let n = chars.len().max(1);
    match *cut {
        Cut::Insert(at, piece) => {
            let at = (at % n).min(chars.len());
            chars.splice(at..at, PIECES[piece % PIECES.len()].chars());
        }
        Cut::Delete(at, len) => {
            let at = (at % n).min(chars.len());
            let end = (at + len % 12).min(chars.len());
            chars.drain(at..end);
        }
        Cut::Copy(from, len, to) => {
            let from = (from % n).min(chars.len());
            let end = (from + len % 60).min(chars.len());
            let piece: Vec<char> = chars[from..end].to_vec();
            let to = (to % n).min(chars.len());
            chars.splice(to..to, piece);
        }
    }
    chars.into_iter().collect()
}

fn cut() -> impl Strategy<Value = Cut> {
    let n = || 0_usize..2000;
    prop_oneof![
        (n(), n()).prop_map(|(at, piece)| Cut::Insert(at, piece)),
        (n(), n()).prop_map(|(at, len)| Cut::Delete(at, len)),
        (n(), n(), n()).prop_map(|(from, len, to)| Cut::Copy(from, len, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_mutated_document_is_a_graph_or_faults(seed in 0..SEEDS.len(), cuts in prop::collection::vec(cut(), 1..6)) {
        let text = cuts.iter().fold(SEEDS[seed].to_owned(), |text, cut| apply(&text, cut));
        if let Err(errors) = load(&text) {
            prop_assert!(!errors.faults().is_empty());
            prop_assert!(!errors.render(false, 100).is_empty());
        }
    }

    #[test]
    fn a_mutated_override_is_a_graph_or_faults(cuts in prop::collection::vec(cut(), 1..4)) {
        let text = cuts.iter().fold("stages.mel.n_mels=96".to_owned(), |text, cut| apply(&text, cut));
        if let Err(errors) = load_with(SEEDS[0], &[&text]) {
            prop_assert!(!errors.render(false, 100).is_empty());
        }
    }
}

#[test]
fn the_unmutated_documents_are_good() {
    for text in SEEDS {
        crate::good(text);
    }
}

#[test]
fn deep_wide_and_long_documents_are_refused() {
    let deep = "[".repeat(10_000);
    let wide = format!("stages: [{}]", "{ type: decode }, ".repeat(5_000));
    let long = format!("stages: [{{ type: {} }}]", "x".repeat(900_000));
    let keys: String = (0..20_000).fold("stages: []\n".to_owned(), |text, i| text + &format!("k{i}: 1\n"));
    let fields: String = (0..30_000).fold(String::new(), |text, i| text + &format!(", k{i}: 1"));
    let fields = format!("stages: [{{ type: decode{fields} }}]");
    let names: String = (0..30_000).fold(String::new(), |text, i| text + &format!("n{i}, "));
    let names = format!("stages: [{{ type: concat, from: [{names}] }}]");
    for text in [deep, wide, long, keys, fields, names] {
        let shown = load(&text).expect_err("refused").render(false, 100);
        assert!(shown.len() < 100_000, "{} bytes of report", shown.len());
    }
}
