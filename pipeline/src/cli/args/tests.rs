//! What the command line takes, what it refuses and in which words, and every help page as people see it.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Verb, clap::Error> {
    Cli::of(line.split_whitespace()).map(|cli| cli.verb)
}

#[test]
fn run_takes_everything_the_manual_says() {
    let line = "ajepa-pipe run a.yaml --set stages.mel.n_mels=96 --set seed=7 --jobs 4 --part 3/8 --report r.html \
                --progress plain --fresh";
    let Verb::Run(run) = parse(line).unwrap() else { panic!("not a run") };
    let wanted = RunArgs {
        graph: GraphArgs {
            file: "a.yaml".into(),
            overrides: vec![
                Override { path: ["stages", "mel", "n_mels"].map(String::from).to_vec(), value: "96".to_owned() },
                Override { path: vec!["seed".to_owned()], value: "7".to_owned() },
            ],
        },
        jobs: NonZeroUsize::new(4),
        part: Some(Part { index: 2, of: 8 }),
        cluster: None,
        token_file: None,
        reports: vec![ReportFile { path: "r.html".into(), format: ReportFormat::Html }],
        progress: ProgressMode::Plain,
        fresh: true,
    };
    assert_eq!(run, wanted);
}

#[test]
fn defaults_leave_the_graph_its_say() {
    let Verb::Run(run) = parse("ajepa-pipe run a.yaml").unwrap() else { panic!("not a run") };
    assert_eq!((run.jobs, run.part, run.progress, run.fresh), (None, None, ProgressMode::Auto, false));
    let Verb::Inspect(inspect) = parse("ajepa-pipe inspect out --png d --mask ratio:0.5 --patch 16x8").unwrap() else {
        panic!("not an inspect")
    };
    assert_eq!((inspect.clips.get(), inspect.seed), (12, 0));
    assert_eq!(inspect.patch, Some(PatchSize { frames: 16, mels: 8 }));
}

#[test]
fn values_of_set_may_hold_equals_signs_and_commas() {
    let it: Override = "stages.clips.where=array_has(labels, 'a=b')".parse().unwrap();
    assert_eq!((it.path.len(), it.value.as_str()), (3, "array_has(labels, 'a=b')"));
}

#[test]
fn tables_of_a_query_have_names_or_none() {
    let table = |text: &str| text.parse::<TableArg>();
    let named = |name: Option<&str>, path: &str| TableArg { name: name.map(str::to_owned), path: path.into() };
    assert_eq!(table("out/mel").unwrap(), named(None, "out/mel"));
    assert_eq!(table("Old=out/a=b/mel").unwrap(), named(Some("old"), "out/a=b/mel"));
    assert_eq!(table("./a=b").unwrap(), named(None, "./a=b"));
    assert!(table("mel=").unwrap_err().contains("mel=out/mel") && table("").is_err());
    let Verb::Query(query) = parse("ajepa-pipe query - --at a.csv --at b=c.tsv --memory 1GiB").unwrap() else {
        panic!("not a query")
    };
    assert_eq!((query.sql.as_deref(), query.tables.len(), query.memory), (Some("-"), 2, Some(1 << 30)));
    for line in [
        "query x --memory 17",
        "query x --memory 3KiB",
        "query --out a.csv",
        "query x --functions",
        "query x --format xml",
    ] {
        assert!(parse(&format!("ajepa-pipe {line}")).is_err(), "{line}");
    }
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let cases = [
        "run a.yaml --part 3/2",
        "run a.yaml --part 0/2",
        "run a.yaml --part 1/0",
        "run a.yaml --part two",
        "run a.yaml --part -1/2",
        "run a.yaml --jobs 0",
        "run a.yaml --set n_mels",
        "run a.yaml --set stages..n_mels=9",
        "run a.yaml --report run.pdf",
        "run a.yaml --progress fancy",
        "run a.yaml --cluster df://h:1 --part 1/2",
        "run a.yaml --token-file t",
        "cluster scheduler --listen everywhere",
        "cluster scheduler --token-file t --insecure",
        "cluster executor",
        "cluster executor --scheduler df://h:1 --unit-limit 90",
        "run a.yaml --report s3://bucket/report.html",
        "bench s3://bucket/mel",
        "verify ftp://host/mel",
        "copy out/mel s3:/bucket/mel",
        "run",
        "explain a.yaml --format png",
        "inspect out --clips 3",
        "inspect out --png d --patch 16",
        "inspect out --png d --patch 0x16",
        "inspect out --png d --clips 3 --clip a",
        "embed --checkpoint c --out e.csv a.wav",
        "embed --checkpoint c --out e.npy",
        "embed --checkpoint c --out e.npy --frames --tokens a.wav",
        "embed --checkpoint c --out e.npy --hop 0 a.wav",
        "checkpoint show",
        "rum a.yaml",
    ];
    let mut transcript = String::new();
    for case in cases {
        let error = parse(&format!("ajepa-pipe {case}")).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{case}");
        // The first paragraph is ours to word; the usage below it is covered by the help pages.
        let message = error.to_string();
        let first = message.split("\n\n").next().unwrap();
        transcript.extend(["$ ajepa-pipe ", case, "\n", first, "\n\n"]);
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn help_goes_to_stdout_with_code_zero_and_nothing_to_stderr_with_two() {
    let help = parse("ajepa-pipe run --help").unwrap_err();
    assert_eq!((help.kind(), help.exit_code(), help.use_stderr()), (ErrorKind::DisplayHelp, 0, false));
    let nothing = parse("ajepa-pipe").unwrap_err();
    assert_eq!((nothing.exit_code(), nothing.use_stderr()), (2, true));
}

#[test]
fn definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_help_page() {
    let command = Cli::command().term_width(100);
    insta::assert_snapshot!("help", command.clone().render_long_help());
    for verb in command.get_subcommands() {
        let name = verb.get_name().to_owned();
        let error = Cli::command().term_width(100).try_get_matches_from(["ajepa-pipe", &name, "--help"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("Examples:") && text.contains(&format!("ajepa-pipe {name}")), "{name} teaches nothing");
        insta::assert_snapshot!(format!("help_{name}"), text);
        for inner in verb.get_subcommands() {
            let inner = inner.get_name();
            let words = ["ajepa-pipe", &name, inner, "--help"];
            let error = Cli::command().term_width(100).try_get_matches_from(words).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(&format!("ajepa-pipe {name} {inner}")) && text.contains("Examples:"),
                "{name} {inner}"
            );
            insta::assert_snapshot!(format!("help_{name}_{inner}"), text);
        }
    }
}
