//! Masks as a whole: what holds for every strategy, what each promises, and the digits of the streams.

use proptest::prelude::*;

use super::{BatchCounts, Mask, MaskConfig, MaskPreset, MaskStrategy, Masker, Scope};
use crate::patch::{PatchGrid, TimeAxis};

const KALDI: PatchGrid = PatchGrid { rows: 32, cols: 6 };
const BASE: PatchGrid = PatchGrid { rows: 8, cols: 16 };

fn of(strategy: MaskStrategy) -> MaskConfig {
    MaskConfig { strategy: Some(strategy), ..MaskConfig::default() }
}

fn kaldi(config: &MaskConfig) -> Masker {
    config.build(KALDI, TimeAxis::Rows).unwrap()
}

fn refused(json: &str) -> crate::ConfigError {
    let config: MaskConfig = serde_json::from_str(json).unwrap();
    config.build(KALDI, TimeAxis::Rows).unwrap_err()
}

fn check_invariants(masker: &Masker, mask: &Mask, common: BatchCounts, overlap: bool) {
    let n_tokens = masker.grid().n_tokens();
    let counts = masker.counts();
    for tokens in [&mask.context, &mask.target] {
        assert!(!tokens.is_empty() && tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
        assert!(tokens.iter().all(|&token| (token as usize) < n_tokens));
    }
    assert!(overlap || mask.context.iter().all(|token| mask.target.binary_search(token).is_err()));
    assert!(counts.context.contains(&mask.context.len()), "{counts:?} {}", mask.context.len());
    assert!(counts.target.contains(&mask.target.len()), "{counts:?} {}", mask.target.len());
    assert!(common.context.is_none_or(|n| n == mask.context.len()));
    assert!(common.target.is_none_or(|n| n == mask.target.len()));
    let mut union: Vec<u32> = mask.target_blocks().flatten().copied().collect();
    union.sort_unstable();
    union.dedup();
    assert_eq!(union, mask.target);
    for block in mask.target_blocks() {
        assert!(block.is_sorted_by(|a, b| a < b));
        assert!(common.target_block.is_none_or(|n| n == block.len()));
    }
}

fn any_range(max: f64) -> impl Strategy<Value = [f64; 2]> {
    (0.0..max, 0.0..max).prop_map(|(a, b)| [a.min(b), a.max(b)])
}

prop_compose! {
    fn any_config()(
        kind in 0..5,
        n_masks in 1_u32..4,
        ratio in any_range(1.0),
        scales in (any_range(1.0), any_range(1.0)),
        aspects in (any_range(8.0), any_range(8.0)),
        small in (1_u32..5, 1_u32..5),
        n_context in prop::option::of(1_u32..9),
        scopes in 0..3,
        overlap: bool,
    ) -> MaskConfig {
        let scope = |per_clip: bool| Some(if per_clip { Scope::Clip } else { Scope::Batch });
        let common = MaskConfig {
            n_masks: Some(n_masks), size_per: scope(scopes == 2), layout_per: scope(scopes > 0), ..MaskConfig::default()
        };
        let spans = MaskConfig { ratio: Some(ratio), n_spans: Some(small.0), ..common.clone() };
        match kind {
            0 => MaskConfig { strategy: Some(MaskStrategy::Random), ratio: Some(ratio), ..common },
            1 => MaskConfig { strategy: Some(MaskStrategy::Time), ..spans },
            2 => MaskConfig { strategy: Some(MaskStrategy::Frequency), ..spans },
            3 => MaskConfig {
                strategy: Some(MaskStrategy::InverseBlock), ratio: Some(ratio), block_len: Some(small.0), ..common
            },
            _ => MaskConfig {
                strategy: Some(MaskStrategy::MultiBlock), n_targets: Some(small.0), target_scale: Some(scales.0),
                target_aspect: Some(aspects.0), context_scale: Some(scales.1), context_aspect: Some(aspects.1),
                min_keep: n_context.is_none().then_some(small.1), n_context, allow_overlap: Some(overlap), ..common
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_builds_draws_valid_masks(
        config in any_config(), rows in 1_usize..14, cols in 1_usize..14, swapped: bool, seeds: [u64; 2],
    ) {
        let axis = if swapped { TimeAxis::Cols } else { TimeAxis::Rows };
        let built = config.build(PatchGrid { rows, cols }, axis);
        prop_assume!(built.is_ok());
        let mut masker = built.unwrap();
        let overlap = config.allow_overlap == Some(true);
        for clip in 0..4 {
            let common = masker.batch_counts(seeds[0]);
            let masks = masker.draw(seeds[0], seeds[1].wrapping_add(clip)).to_vec();
            prop_assert_eq!(masks.len(), masker.n_masks());
            for mask in &masks {
                check_invariants(&masker, mask, common, overlap);
                if config.strategy != Some(MaskStrategy::MultiBlock) {
                    prop_assert_eq!(mask.context.len() + mask.target.len(), rows * cols);
                }
            }
        }
    }

    #[test]
    fn draws_depend_on_nothing_but_the_seeds(config in any_config(), seeds: [u64; 3]) {
        let built = config.build(BASE, TimeAxis::Cols);
        prop_assume!(built.is_ok());
        let mut masker = built.unwrap();
        let first = masker.draw(seeds[0], seeds[1]).to_vec();
        let other = masker.draw(seeds[0], seeds[2]).to_vec();
        prop_assert_eq!(masker.draw(seeds[0], seeds[1]), &first[..]);
        if config.layout_per == Some(Scope::Batch) {
            prop_assert_eq!(other, first);
        }
    }

    #[test]
    fn the_time_axis_only_turns_the_picture(config in any_config(), seeds: [u64; 2]) {
        // Random and inverse blocks permute tokens by number; the strategies made of extents must turn with the grid.
        let turns = !matches!(config.strategy, Some(MaskStrategy::Random | MaskStrategy::InverseBlock));
        let thinned = config.n_context.is_some();
        let upright = config.build(PatchGrid { rows: 11, cols: 5 }, TimeAxis::Rows);
        prop_assume!(turns && !thinned && upright.is_ok());
        let mut upright = upright.unwrap();
        let mut lying = config.build(PatchGrid { rows: 5, cols: 11 }, TimeAxis::Cols).unwrap();
        let turn = |tokens: &[u32]| {
            let mut turned: Vec<u32> = tokens.iter().map(|t| t % 5 * 11 + t / 5).collect();
            turned.sort_unstable();
            turned
        };
        for (a, b) in upright.draw(seeds[0], seeds[1]).iter().zip(lying.draw(seeds[0], seeds[1])) {
            prop_assert_eq!(turn(&a.context), b.context.clone());
            prop_assert_eq!(turn(&a.target), b.target.clone());
        }
    }
}

#[test]
fn the_ratio_of_a_batch_is_shared_and_its_mean_is_in_the_middle() {
    let mut masker = kaldi(&MaskConfig::preset(MaskPreset::Code225b816));
    assert_eq!(masker.counts().context, 76..=115);
    let mut hidden = 0;
    for batch in 0..2000 {
        let n = masker.batch_counts(batch).context;
        assert_eq!(Some(masker.draw(batch, 1)[0].context.len()), n);
        assert_eq!(Some(masker.draw(batch, 2)[0].context.len()), n);
        hidden += 192 - n.unwrap();
    }
    // Mean of U(0.4, 0.6) is 0.5; rounding the kept down adds half a token. Its deviation over 2000 draws is 0.0013.
    let mean = f64::from(hidden as u32) / (2000.0 * 192.0);
    assert!((mean - (0.5 + 0.5 / 192.0)).abs() < 5.0 * 0.0013, "{mean}");
}

#[test]
fn random_hides_each_token_equally_often() {
    let mut masker = kaldi(&MaskConfig { ratio: Some([0.5, 0.5]), ..MaskConfig::default() });
    let mut hidden = [0_u32; 192];
    for clip in 0..4000 {
        masker.draw(0, clip)[0].target.iter().for_each(|&token| hidden[token as usize] += 1);
    }
    // Binomial(4000, 0.5): deviation 31.6, so five of them hold for all 192 tokens.
    assert!(hidden.iter().all(|&n| (1842..=2158).contains(&n)), "{hidden:?}");
}

#[test]
fn presets_differ_in_who_shares_the_permutation() {
    for preset in [MaskPreset::Paper2025, MaskPreset::Code225b816] {
        let mut masker = kaldi(&MaskConfig::preset(preset));
        let first = masker.draw(3, 1).to_vec();
        assert_ne!(masker.draw(3, 2), &first[..]);
    }
    let mut masker = MaskConfig::preset(MaskPreset::Base2026).build(BASE, TimeAxis::Cols).unwrap();
    let first = masker.draw(3, 1).to_vec();
    assert_eq!(masker.draw(3, 2), &first[..]);
    assert_ne!(masker.draw(4, 1), &first[..]);
}

#[test]
fn ratios_per_clip_differ_within_a_batch() {
    let mut masker = kaldi(&MaskConfig { size_per: Some(Scope::Clip), ..MaskConfig::default() });
    assert_eq!(masker.batch_counts(0), BatchCounts { context: None, target: None, target_block: None });
    let lengths: std::collections::BTreeSet<usize> =
        (0..50).map(|clip| masker.draw(0, clip)[0].context.len()).collect();
    assert!(lengths.len() > 20, "{lengths:?}");
}

#[test]
fn several_masks_of_a_clip_agree_in_size_and_differ_in_place() {
    let mut masker = kaldi(&MaskConfig { n_masks: Some(8), ..of(MaskStrategy::InverseBlock) });
    let masks = masker.draw(1, 2);
    assert_eq!(masks.len(), 8);
    assert!(masks.iter().all(|mask| mask.context.len() == 38), "floor(192 * 0.2)");
    let distinct: std::collections::BTreeSet<&[u32]> = masks.iter().map(|mask| &mask.context[..]).collect();
    assert_eq!(distinct.len(), 8);
}

#[test]
fn a_whole_inverse_block_is_a_square() {
    // 9 of 35 tokens are kept: one 3 x 3 block, where its centre is off the border (15 of 35 places).
    let config = MaskConfig { ratio: Some([0.74, 0.74]), ..of(MaskStrategy::InverseBlock) };
    let mut masker = config.build(PatchGrid { rows: 5, cols: 7 }, TimeAxis::Rows).unwrap();
    let is_square =
        |context: &[u32]| context.iter().zip([0, 1, 2, 7, 8, 9, 14, 15, 16]).all(|(t, at)| t - context[0] == at);
    let squares = (0..700).filter(|&clip| is_square(&masker.draw(0, clip)[0].context)).count();
    // Binomial(700, 3/7) is 300 +- 13; that cut blocks add up to a square is rare, but counts on top.
    assert!((235..=385).contains(&squares), "{squares}");
}

#[test]
fn multi_block_draws_rectangles_of_the_papers_scale() {
    let grid = PatchGrid { rows: 14, cols: 14 };
    let mut masker = of(MaskStrategy::MultiBlock).build(grid, TimeAxis::Rows).unwrap();
    for clip in 0..300 {
        let common = masker.batch_counts(clip);
        let mask = &masker.draw(clip, clip)[0];
        assert_eq!(mask.target_blocks().len(), 4);
        for block in mask.target_blocks() {
            let (first, last) = (block[0], block[block.len() - 1]);
            let (n_time, n_mel) = ((last / 14 - first / 14 + 1) as usize, (last % 14 - first % 14 + 1) as usize);
            assert_eq!((n_time * n_mel, Some(n_time * n_mel)), (block.len(), common.target_block));
            // 196 * [0.15, 0.2] = 29 to 39 tokens; whole sides miss that by half a row at most.
            assert!((25..=43).contains(&block.len()), "{}", block.len());
            let aspect = n_time as f64 / n_mel as f64;
            assert!((0.6..=1.8).contains(&aspect), "{aspect}");
        }
    }
}

#[test]
fn a_context_block_keeps_its_scale_on_a_grid_far_from_square() {
    // Unit aspect and scale 0.85 on 32 x 6: 13 x 13 does not fit, 6 wide and 27 long does.
    let config = MaskConfig { allow_overlap: Some(true), ..of(MaskStrategy::MultiBlock) };
    let mut masker = kaldi(&config);
    for clip in 0..100 {
        let mask = &masker.draw(clip, clip)[0];
        assert!(mask.context.len() >= 160, "{}", mask.context.len());
    }
}

#[test]
fn a_context_of_fixed_length_stacks_up_to_what_the_refusal_names() {
    let help = refused(r#"{"strategy": "multi_block", "n_context": 190}"#).help;
    let largest: u32 = help.strip_prefix("1 to ").unwrap().parse().unwrap();
    let config = |n_context| MaskConfig { n_context: Some(n_context), ..of(MaskStrategy::MultiBlock) };
    assert!(config(largest + 1).build(KALDI, TimeAxis::Rows).is_err());
    // Four blocks apart cover up to 152 of 192 tokens, so the largest context asks for redraws and for gathered targets.
    let mut gathered = 0;
    for n_context in [60, largest] {
        let mut masker = kaldi(&config(n_context));
        for clip in 0..300 {
            let mask = &masker.draw(clip, clip)[0];
            assert_eq!(mask.context.len(), n_context as usize);
            let blocks: std::collections::BTreeSet<&[u32]> = mask.target_blocks().collect();
            gathered += u32::from(n_context == largest && blocks.len() < 4);
        }
    }
    assert!(gathered > 30, "{gathered}");
}

#[test]
fn spans_are_separate_stretches_over_the_whole_other_axis() {
    let config = MaskConfig { n_spans: Some(3), ..of(MaskStrategy::Time) };
    let mut masker = kaldi(&config);
    let mut starts_hidden = 0;
    for clip in 0..400 {
        let text = masker.draw(clip, clip)[0].to_text(KALDI);
        let column: String = text.lines().map(|line| &line[..1]).collect();
        assert!(text.lines().all(|line| line == line[..1].repeat(6)), "{text}");
        assert_eq!(column.split('.').filter(|span| !span.is_empty()).count(), 3, "{column}");
        starts_hidden += u32::from(column.starts_with('#'));
    }
    // No column is shielded: the first one is hidden when the first gap is empty, 3 in (free + 3) of the time.
    assert!((35..=120).contains(&starts_hidden), "{starts_hidden}");
    let bands = of(MaskStrategy::Frequency).build(BASE, TimeAxis::Cols).unwrap().draw(0, 0)[0].to_text(BASE);
    assert!(bands.lines().all(|line| line == line[..1].repeat(16)), "{bands}");
}

#[test]
fn what_could_leave_nothing_is_refused_before_anything_is_drawn() {
    let error = refused(r#"{"ratio": [0.4, 1.0]}"#);
    assert_eq!(error.to_string(), "ratio: a ratio of 1 hides everything, so there is no context");
    assert_eq!(refused(r#"{"ratio": [0.0, 0.5]}"#).field, "ratio");
    assert_eq!(refused(r#"{"ratio": [0.6, 0.4]}"#).field, "ratio");
    assert_eq!(refused(r#"{"ratio": [0.4, 0.999]}"#).help, "a max of at most 0.994");
    kaldi(&MaskConfig { ratio: Some([0.4, 0.994]), ..MaskConfig::default() });
    let nan = MaskConfig { ratio: Some([f64::NAN, 0.5]), ..MaskConfig::default() };
    assert_eq!(nan.build(KALDI, TimeAxis::Rows).unwrap_err().field, "ratio");

    let error = refused(r#"{"strategy": "frequency", "n_spans": 4}"#);
    assert_eq!(error.to_string(), "n_spans: 4 separate spans among 6 bands of mels at this ratio");
    assert_eq!(error.help, "n_spans from 1 to 2, or another ratio");
    assert_eq!(refused(r#"{"strategy": "frequency", "ratio": [0.05, 0.5]}"#).help, "a min of at least 0.167");
    let flat = of(MaskStrategy::Frequency).build(PatchGrid { rows: 32, cols: 1 }, TimeAxis::Rows).unwrap_err();
    assert_eq!(flat.help, "at least 2 bands of mels: smaller patches or a larger picture");

    assert_eq!(refused(r#"{"strategy": "multi_block", "target_scale": [0.9, 1.0]}"#).field, "target_scale");
    assert_eq!(refused(r#"{"strategy": "multi_block", "context_aspect": [0.0, 1.0]}"#).field, "context_aspect");
    assert_eq!(refused(r#"{"strategy": "multi_block", "n_context": 190}"#).field, "n_context");
    assert_eq!(refused(r#"{"strategy": "multi_block", "min_keep": 0}"#).field, "min_keep");
    assert_eq!(refused(r#"{"strategy": "multi_block", "n_targets": 0}"#).field, "n_targets");
    assert_eq!(refused(r#"{"strategy": "inverse_block", "block_len": 0}"#).field, "block_len");
    assert_eq!(refused(r#"{"n_masks": 65}"#).field, "n_masks");
    let one = MaskConfig::default().build(PatchGrid { rows: 1, cols: 1 }, TimeAxis::Rows).unwrap_err();
    assert_eq!(one.help, "grids of 2 to 65536 tokens");
}

#[test]
fn a_field_of_another_strategy_is_refused_not_ignored() {
    let error = refused(r#"{"strategy": "time", "block_len": 3}"#);
    assert_eq!(error.to_string(), "block_len: has no meaning for strategy time");
    assert_eq!(error.help, "leave it out, or choose strategy inverse_block");
    assert_eq!(refused(r#"{"strategy": "multi_block", "ratio": [0.4, 0.6]}"#).field, "ratio");
    assert_eq!(refused(r#"{"strategy": "multi_block", "preset": "paper-2025"}"#).field, "preset");
    assert_eq!(refused(r#"{"strategy": "multi_block", "min_keep": 5, "n_context": 9}"#).field, "min_keep");
    assert_eq!(refused(r#"{"size_per": "clip", "layout_per": "batch"}"#).field, "size_per");
    assert!(serde_json::from_str::<MaskConfig>(r#"{"ratios": [0.4, 0.6]}"#).is_err());
}

#[test]
fn a_config_survives_being_written_and_read() {
    let config = MaskConfig { n_masks: Some(2), ..MaskConfig::preset(MaskPreset::Code225b816) };
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(json, r#"{"preset":"code-225b816","n_masks":2}"#);
    assert_eq!(serde_json::from_str::<MaskConfig>(&json).unwrap(), config);
}

/// These digits pin the streams: a mask of an old run must be drawn again by every later version. Change the code, not them.
#[test]
fn streams_never_change() {
    let grid = PatchGrid { rows: 4, cols: 8 };
    let text = |config: &MaskConfig, seeds: [u64; 2]| {
        config.build(grid, TimeAxis::Cols).unwrap().draw(seeds[0], seeds[1])[0].to_text(grid)
    };
    let multi_block = MaskConfig { min_keep: Some(1), ..of(MaskStrategy::MultiBlock) };
    let thinned = MaskConfig { n_context: Some(9), ..of(MaskStrategy::MultiBlock) };
    for (config, at_0_0, at_1_2) in [
        (of(MaskStrategy::Random), "###....#/#..#...#/.####.##/..#.###./", "#.#..#../.....##./.#..####/###.####/"),
        (
            MaskConfig::preset(MaskPreset::Base2026),
            "###....#/#..#...#/.####.##/..#.###./",
            "##.###.#/..#...##/#....###/..###.#./",
        ),
        (multi_block, "###...../#######./#######./###...../", "....###./....###./###.####/###.####/"),
        (thinned, "###..  ./####### /#######./###...../", ". ..### / ...###./###.####/###.####/"),
        (
            of(MaskStrategy::InverseBlock),
            "#####.../#######./######../########/",
            "########/##..####/#.######/#...####/",
        ),
        (of(MaskStrategy::Time), "#...###./#...###./#...###./#...###./", "###.#.../###.#.../###.#.../###.#.../"),
        (of(MaskStrategy::Frequency), "########/......../......../########/", "########/......../########/......../"),
    ] {
        assert_eq!(text(&config, [0, 0]).replace('\n', "/"), at_0_0, "{config:?}");
        assert_eq!(text(&config, [1, 2]).replace('\n', "/"), at_1_2, "{config:?}");
    }
}
