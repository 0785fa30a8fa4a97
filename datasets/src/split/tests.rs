use proptest::prelude::*;

use super::*;
use crate::seed::Bits;

/// A manifest of clips: name, group, labels.
fn manifest(clips: &[(String, Option<String>, Vec<String>)]) -> Manifest {
    let ids = StringChunked::from_iter_values("clip_id".into(), clips.iter().map(|(id, ..)| id.as_str()));
    let groups = StringChunked::from_iter_options("group".into(), clips.iter().map(|(_, group, _)| group.as_deref()));
    let mut labels = ListStringChunkedBuilder::new("labels".into(), clips.len(), clips.len());
    for (.., of) in clips {
        labels.append_values_iter(of.iter().map(String::as_str));
    }
    let status = StringChunked::from_iter_values("status".into(), clips.iter().map(|_| "ok"));
    let columns = vec![ids.into_column(), groups.into_column(), labels.finish().into_column(), status.into_column()];
    Manifest::of(DataFrame::new(clips.len(), columns).unwrap()).unwrap()
}

/// `n` clips of `n_groups` speakers with one to three of twelve labels, the later ones rarer.
fn random(n: usize, n_groups: u64, seed: u64) -> Vec<(String, Option<String>, Vec<String>)> {
    let mut bits = Bits::new(seed);
    let mut clip = |number: usize| {
        let group = (!bits.next().is_multiple_of(4)).then(|| format!("speaker{}", bits.next() % n_groups));
        let mut labels: Vec<String> = Vec::new();
        for _ in 0..=(bits.next() % 3) {
            let label = format!("label{}", (bits.next() % 12).min(bits.next() % 12));
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        (format!("clip{number:04}"), group, labels)
    };
    (0..n).map(&mut clip).collect()
}

fn splits(manifest: &Manifest) -> Vec<String> {
    manifest.texts("split").unwrap().iter().map(|split| split.unwrap_or("-").to_owned()).collect()
}

#[test]
fn every_label_is_shared_out_as_the_clips_are() {
    let clips = random(3000, 2000, 1);
    let parted =
        split(&manifest(&clips), &SplitConfig::new(&[("train", 0.8), ("valid", 0.1), ("test", 0.1)], 3)).unwrap();
    let parts = splits(&parted);
    for (part, share) in [("train", 0.8), ("valid", 0.1), ("test", 0.1)] {
        let n = parts.iter().filter(|of| *of == part).count();
        assert!((n as f64 - 3000.0 * share).abs() <= 15.0, "{part}: {n}");
        for label in 0..12 {
            let label = format!("label{label}");
            let has = |(row, _): &(usize, &String)| clips[*row].2.contains(&label);
            let all = parts.iter().enumerate().filter(has).count() as f64;
            let here = parts.iter().enumerate().filter(has).filter(|(_, of)| *of == part).count() as f64;
            assert!((here - all * share).abs() <= 4.0, "{part} {label}: {here} of {all}");
        }
    }
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let mut clips = random(400, 60, 2);
    let config = SplitConfig::folds(5, 9);
    let by_name = |clips: &[(String, Option<String>, Vec<String>)], config: &SplitConfig| {
        let parts = splits(&split(&manifest(clips), config).unwrap());
        let mut named: Vec<(String, String)> = clips.iter().map(|clip| clip.0.clone()).zip(parts).collect();
        named.sort();
        named
    };
    let first = by_name(&clips, &config);
    clips.reverse();
    clips.swap(3, 77);
    assert_eq!(by_name(&clips, &config), first);
    assert_ne!(by_name(&clips, &SplitConfig { seed: 10, ..config }), first);
}

#[test]
fn chains_of_duplicates_stay_together() {
    let clips = random(40, 1, 4).into_iter().map(|(id, _, labels)| (id, None, labels)).collect::<Vec<_>>();
    let next = |step: usize| {
        StringChunked::from_iter_options(
            "x".into(),
            (0..40_usize).map(|row| (row % 4 == step).then(|| format!("clip{:04}", row - 1))),
        )
    };
    // 0 = 1 by content, 1 ~ 2 by sound; 3 stays alone.
    let manifest = manifest(&clips).with_texts("duplicate_of", next(1)).unwrap();
    let manifest = manifest.with_texts("near_duplicate_of", next(2)).unwrap();
    let parted = split(&manifest, &SplitConfig::folds(4, 0)).unwrap();
    let parts = splits(&parted);
    (0..40).step_by(4).for_each(|row| assert!(parts[row] == parts[row + 1] && parts[row] == parts[row + 2]));
    assert!(leaks(&parted).unwrap().is_empty());
    let torn =
        parted.with_texts("split", StringChunked::from_iter_values("x".into(), (0..40).map(|row| ["a", "b"][row % 2])));
    let leaks = leaks(&torn.unwrap()).unwrap();
    assert_eq!(leaks.len(), 10);
    assert_eq!(leaks[0].n_clips, 3);
    assert_eq!(leaks[0].clips, [("clip0000".to_owned(), "a".to_owned()), ("clip0001".to_owned(), "b".to_owned())]);
}

#[test]
fn only_the_splits_asked_for_are_shared_out() {
    let clips = random(300, 1, 5).into_iter().map(|(id, _, labels)| (id, None, labels)).collect::<Vec<_>>();
    let given =
        StringChunked::from_iter_values("x".into(), (0..300).map(|row| if row < 100 { "eval" } else { "train" }));
    let manifest = manifest(&clips).with_texts("split", given).unwrap();
    let config =
        SplitConfig { of: Some(vec!["train".to_owned()]), ..SplitConfig::new(&[("train", 0.9), ("valid", 0.1)], 1) };
    let parted = split(&manifest, &config).unwrap();
    let parts = splits(&parted);
    assert!(parts[..100].iter().all(|part| part == "eval"));
    assert_eq!(parts.iter().filter(|part| *part == "valid").count(), 20);
    assert_eq!(parted.texts("publisher_split").unwrap().get(0), Some("eval"));
    let again = split(&parted, &SplitConfig::folds(2, 0)).unwrap();
    assert_eq!(again.texts("publisher_split").unwrap().get(299), Some("train"));

    let copied = StringChunked::from_iter_options("x".into(), (0..300).map(|row| (row == 200).then_some("clip0000")));
    let copied = manifest.with_texts("duplicate_of", copied).unwrap();
    assert!(split(&copied, &config).unwrap_err().to_string().contains("\"clip0000\" keeps its split"));
}

#[test]
fn parts_without_a_meaning_are_refused() {
    let manifest = manifest(&random(4, 2, 6));
    for parts in [&[][..], &[("a", 0.0)], &[("a", f64::NAN)], &[("a", 1.0), ("a", 1.0)], &[("", 1.0)]] {
        assert!(split(&manifest, &SplitConfig::new(parts, 0)).is_err(), "{parts:?}");
    }
}

proptest! {
    #[test]
    fn nothing_leaks_and_nothing_is_lost(
        n in 1_usize..80,
        groups in 1_u64..30,
        seed in any::<u64>(),
        folds in 1_usize..6,
    ) {
        let parted = split(&manifest(&random(n, groups, seed)), &SplitConfig::folds(folds, seed)).unwrap();
        prop_assert!(leaks(&parted).unwrap().is_empty());
        prop_assert!(splits(&parted).iter().all(|part| part.starts_with("fold")));
        prop_assert_eq!(parted.frame().height(), n);
    }
}
