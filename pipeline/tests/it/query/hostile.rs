//! Statements that would read, write, take or break more than they may.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{ask, place, rows};
use crate::program::{Ended, Place, files};

#[test]
fn nothing_is_written_defined_set_or_read_that_was_not_named() {
    let place = place();
    place.write("secret.csv", "word\nhunter2\n");
    let before = files(&place.path(""));
    let statements = [
        "COPY mel TO 'stolen.csv'",
        "COPY (SELECT 1) TO 'stolen.parquet' STORED AS PARQUET",
        "CREATE TABLE t AS SELECT * FROM mel",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'secret.csv'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'http://127.0.0.1:9/x.csv'",
        "CREATE VIEW v AS SELECT 1",
        "CREATE FUNCTION f(int) RETURNS int RETURN $1",
        "CREATE SCHEMA s",
        "DROP TABLE mel",
        "INSERT INTO mel SELECT * FROM mel",
        "UPDATE mel SET clip_id = 'x'",
        "DELETE FROM mel",
        "TRUNCATE TABLE mel",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "EXPLAIN ANALYZE INSERT INTO mel SELECT * FROM mel",
        "EXPLAIN COPY mel TO 'stolen.csv'",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "BEGIN",
        "WITH t AS (INSERT INTO mel SELECT * FROM mel) SELECT * FROM t",
        "SELECT clip_id INTO t FROM mel",
        "SELECT * FROM 'secret.csv'",
        "SELECT * FROM \"secret.csv\"",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('secret.csv')",
        "SELECT * FROM mel, '../../../../etc/passwd'",
        "SELECT read_text('/etc/passwd')",
        "SELECT pg_read_file('/etc/passwd')",
        "SHOW CREATE TABLE nothing",
        "SELECT 1; DROP TABLE mel",
    ];
    for sql in statements {
        let ended = ask(&place, "--at out/mel --format csv", sql);
        assert_eq!(ended.code, Some(2), "{sql}: {ended:?}");
        assert!(ended.out.is_empty() && !ended.err.contains("hunter2"), "{sql}: {ended:?}");
    }
    assert_eq!(before.keys().collect::<Vec<_>>(), files(&place.path("")).keys().collect::<Vec<_>>());
    for sql in
        ["SHOW TABLES", "DESCRIBE mel", "EXPLAIN SELECT 1", "EXPLAIN ANALYZE SELECT clip_id FROM mel", "VALUES (1)"]
    {
        assert_eq!(ask(&place, "--at out/mel --format json", sql).code, Some(0), "{sql}");
    }
}

#[test]
fn an_answer_is_not_written_over_what_is_read() {
    let place = place();
    let inside = ask(&place, "--at out/mel --out out/mel/part-00000.parquet --format csv", "SELECT 1");
    // A new name inside the set is no file that is read; those that are there are.
    assert_eq!(inside.code, Some(0), "{inside:?}");
    std::fs::remove_file(place.path("out/mel/part-00000.parquet")).expect("remove");
    let over = ask(&place, "--at out/mel --out out/mel/manifest.json", "SELECT 1");
    assert_eq!(over.code, Some(2), "{over:?}");
    let folder = ask(&place, "--at out/mel --out out", "SELECT 1");
    assert_eq!(folder.code, Some(2), "{folder:?}");
    // A statement that fails on its way leaves the old file as it was.
    place.write("kept.csv", "old\n");
    let failed = ask(&place, "--at out/mel --out kept.csv", "SELECT 10 / (n_frames - n_frames) FROM mel");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(std::fs::read_to_string(place.path("kept.csv")).expect("kept"), "old\n");
    place.done("verify out/mel");
}

/// Statements as deep or as long as they are read, and deeper: an answer or words, never a crash.
#[test]
fn depth_and_length_are_bounded() {
    let place = Place::new();
    place.write("t.csv", "a\n1\n2\n");
    let nested = |n: usize| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n));
    let chain =
        |n: usize, op: &str| format!("SELECT count(*) FROM t WHERE a = 'x'{}", format!(" {op} a = '1'").repeat(n));
    let unary = |n: usize| format!("SELECT {} true", "NOT ".repeat(n));
    let queries = |n: usize| format!("{} SELECT 1 {}", "SELECT * FROM (".repeat(n), ")".repeat(n));
    let unions = |n: usize| format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n));
    let tables = |n: usize| {
        format!(
            "SELECT 1 FROM t{}",
            (0..n).fold(String::new(), |mut text, i| {
                let _ = write!(text, ", t t{i}");
                text
            })
        )
    };
    let cases = [
        (nested(10_000), 2),
        (chain(100_000, "OR"), 2),
        (chain(900, "OR"), 0),
        (chain(900, "AND"), 0),
        (unary(20_000), 2),
        (queries(2_000), 2),
        (unions(30_000), 2),
        (unions(400), 0),
        (tables(5_000), 2),
        (format!("SELECT 1{}", "::int".repeat(50_000)), 2),
        (format!("SELECT {}", "-".repeat(30_000) + "1"), 2),
        (format!("SELECT {}", "- ".repeat(30_000) + "1"), 2),
        (format!("SELECT 1 WHERE 1 IN ({}1)", "1,".repeat(600_000)), 2),
        ("x".repeat(2 << 20), 2),
        ("SELECT 'a".to_owned() + &"'".repeat(10_000), 2),
    ];
    for (sql, code) in cases {
        let file = format!("query --at t.csv --format csv {}", "");
        // Longer than what a command line may hold, as it is: through the shortest way that takes it.
        let ended = if sql.len() < 120_000 {
            Ended::of(&place.command(&file).arg(&sql).output().expect("the program starts"))
        } else {
            place.write("long.sql", &sql);
            let mut command = place.command(&file);
            command.arg("-").stdin(std::fs::File::open(place.path("long.sql")).expect("a file"));
            Ended::of(&command.output().expect("the program starts"))
        };
        let shown: String = sql.chars().take(60).collect();
        assert_eq!(ended.code, Some(code), "{shown}: {}", ended.err.chars().take(500).collect::<String>());
        assert!(ended.err.len() < 4_000, "{shown}: {} bytes of words", ended.err.len());
    }
    let list: String = (0..60_000).fold(String::new(), |mut text, i| {
        let _ = write!(text, "'{i}',");
        text
    });
    place.write("long.sql", format!("SELECT count(*) AS n FROM t WHERE a IN ({list}'-')"));
    let mut command = place.command("query --at t.csv --format csv -");
    command.stdin(std::fs::File::open(place.path("long.sql")).expect("a file"));
    let ended = Ended::of(&command.output().expect("the program starts"));
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "n\n2\n"), "{ended:?}");
}

/// Entries of the folder that takes spills.
fn spills(place: &Place) -> usize {
    place.path("tmp").read_dir().expect("a folder").count()
}

#[test]
fn what_does_not_fit_into_memory_spills_or_ends_in_words() {
    let place = place();
    std::fs::create_dir(place.path("tmp")).expect("a folder");
    let run = |options: &str, sql: &str| {
        let mut command = place.command(&format!("query --at out/mel {options}"));
        command.args(["--format", "csv"].iter().take(if options.contains("--format") { 0 } else { 2 }));
        Ended::of(&command.env("TMPDIR", place.path("tmp")).arg(sql).output().expect("the program starts"))
    };
    // 729,000 rows of some hundred bytes: sorted in pieces.
    let sorted = "SELECT count(*), max(r), sum(r) FROM (SELECT row_number() OVER (ORDER BY reverse(a.clip_id || b.clip_id), \
                  c.clip_id, d.clip_id) AS r FROM mel a, mel b, mel c, (SELECT clip_id FROM mel LIMIT 8) d)";
    let spilt = run("--memory 32MiB --jobs 1", sorted);
    assert_eq!(spilt.code, Some(0), "{}", spilt.err);
    assert_eq!(spilt.out.lines().nth(1), Some("729000,729000,265720864500"), "{}", spilt.out);
    let plan = run("--memory 32MiB --jobs 1 --format json", &format!("EXPLAIN ANALYZE {sorted}"));
    let counts =
        plan.out.split("spill_count=").skip(1).filter(|rest| !rest.starts_with("0,") && !rest.starts_with("0]"));
    assert!(counts.count() > 0, "{}", plan.out);
    let endless = "SELECT count(DISTINCT a.clip_id || b.clip_id || c.clip_id || d.clip_id || e.clip_id) \
                   FROM mel a, mel b, mel c, mel d, mel e";
    let ended = run("--memory 4MiB", endless);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("needs more than it may take") && ended.err.contains("--memory"), "{}", ended.err);
    assert_eq!(spills(&place), 0);
    for sql in
        ["SELECT repeat('x', 2000000000)", "SELECT range(0, 100000000000)", "SELECT array_repeat(1, 10000000000)"]
    {
        assert_eq!(run("", sql).code, Some(2), "{sql}");
    }
}

#[test]
#[cfg(unix)]
fn a_signal_ends_an_endless_statement_and_leaves_nothing() {
    let place = place();
    std::fs::create_dir(place.path("tmp")).expect("a folder");
    for sql in [
        "SELECT count(*) FROM mel a, mel b, mel c, mel d, mel e, mel f, mel g WHERE a.clip_id || g.clip_id LIKE '%x%y%z%q%'",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    ] {
        let mut command = place.command("query --at out/mel --out answer.csv");
        let child = command.env("TMPDIR", place.path("tmp")).arg(sql).spawn().expect("the program starts");
        let begun = Instant::now();
        while spills(&place) == 0 && begun.elapsed() < Duration::from_mins(1) {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
        assert!(sent.success(), "it ended by itself");
        let ended = Ended::of(&child.wait_with_output().expect("the end"));
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.err.contains("stopping: no file is written"), "{}", ended.err);
        assert_eq!((spills(&place), place.path("answer.csv").exists()), (0, false));
        let names = place.path("").read_dir().expect("the place").map(|entry| entry.expect("an entry").file_name());
        assert_eq!(names.filter(|name| name.to_string_lossy().starts_with(".answer")).count(), 0);
    }
}

#[test]
fn files_that_are_not_what_they_say_are_words() {
    let place = place();
    place.write("empty.parquet", "");
    place.write("text.parquet", "PAR1 is what it begins with, and then PAR1");
    place.write("text.arrow", "ARROW1\0\0 and then nothing that makes sense ARROW1");
    place.write("torn.json", "{\"a\": [1, 2");
    place.write("number.json", "17");
    place.write("bad.jsonl", "{\"a\": 1}\n{\"a\": \n");
    place.write("ragged.csv", "a,b\n1,2\n3\n");
    place.write("notes.txt", "hello");
    std::fs::create_dir(place.path("nothing")).expect("a folder");
    let names = [
        "empty.parquet",
        "text.parquet",
        "text.arrow",
        "torn.json",
        "number.json",
        "bad.jsonl",
        "notes.txt",
        "nothing",
        "missing.csv",
    ];
    for name in names {
        let ended = place.run(&format!("query --at t={name}"));
        assert_eq!(ended.code, Some(2), "{name}: {ended:?}");
        assert!(ended.err.contains(name) && !ended.err.contains("panicked"), "{name}: {}", ended.err);
    }
    let ragged = ask(&place, "--at ragged.csv", "SELECT * FROM ragged");
    assert_eq!(ragged.code, Some(1), "{ragged:?}");
    assert!(ragged.err.contains("ragged.csv"), "{}", ragged.err);
    // A part that is cut short while its set says otherwise.
    let part = place.path("out/mel/part-00001.arrow");
    let bytes = std::fs::read(&part).expect("bytes");
    std::fs::write(&part, &bytes[..bytes.len() - 100]).expect("write");
    let cut = ask(&place, "--at out/mel", "SELECT clip_id FROM mel");
    assert_eq!(cut.code, Some(1), "{cut:?}");
    assert!(cut.err.contains("part-00001.arrow"), "{}", cut.err);
    assert_eq!(rows(&place, "--at out/mel", "SELECT count(*) FROM mel"), ["45"]);
}
