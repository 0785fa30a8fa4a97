//! `inspect`: pictures of what is in shards, and what it says of what is none.

use crate::program::Place;

const TOKENS: &str = "
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { id: mel, type: log_mel, preset: base-2026 }
  - { type: mask }
  - { id: whole, type: sink_shards, path: whole }
  - { id: tokens, type: patchify, from: mask }
  - { id: cut, type: sink_shards, path: cut, from: tokens }
";

/// The same clips, whole and in patches: drawn from either, mask and all, they are the same picture to the last pixel.
#[test]
fn shards_of_patches_are_put_together_and_drawn_with_their_masks() {
    let place = Place::new();
    place.copies(3);
    place.write("graph.yaml", TOKENS);
    place.done("run graph.yaml --progress off");
    place.done("inspect whole --png from_whole");
    place.done("inspect cut --png from_cut");
    let (whole, cut) =
        (crate::program::files(&place.path("from_whole")), crate::program::files(&place.path("from_cut")));
    assert_eq!(whole.len(), 4, "{:?}", whole.keys());
    crate::program::assert_same(&whole, &cut, "pictures");
}

#[test]
fn what_cannot_be_shown_is_named() {
    let place = Place::new();
    place.copies(2);
    place.write("graph.yaml", TOKENS);
    place.done("run graph.yaml --progress off");
    place.write("afile", "text");
    for (args, said) in [
        ("inspect graph.yaml", "`explain` shows a graph"),
        ("inspect afile", "name the folder it is in"),
        ("inspect whole --png afile", "afile is a file"),
        ("inspect whole --png look --mask ratio:[2,3]", "ratio"),
        ("inspect whole --png look --patch 7x7 --mask ratio:[2,3]", "ratio"),
    ] {
        let mut command = place.command("");
        // A mask is one argument with blanks in it.
        command.args(args.split(' ').map(|word| word.replace("ratio:[2,3]", "ratio: [2, 3]")));
        let ended = crate::program::Ended::of(&command.output().expect("starts"));
        assert_eq!(ended.code, Some(2), "{args}: {ended:?}");
        assert!(ended.err.contains(said), "{args}: {}", ended.err);
    }
}
