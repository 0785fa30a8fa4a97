//! Other programs read the parts with no code of ours.

use super::*;

#[test]
fn pyarrow_polars_and_duckdb_read_the_parts() {
    let Some(python) = std::env::var_os("AJEPA_PYTHON") else {
        println!("skipped: AJEPA_PYTHON names no interpreter with pyarrow, polars, duckdb and numpy");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for (name, dtype, compression) in [
        ("f16", Dtype::F16, Compression::None),
        ("f32", Dtype::F32, Compression::None),
        ("zstd", Dtype::F16, Compression::Zstd),
    ] {
        let mut sink = ShardWriter::new(dir.path().join(name), stored(dtype), compression).unwrap();
        drive(&mut sink, &job(&[70, 5]), 50, dtype).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers.py");
    let output = std::process::Command::new(python).arg(script).arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}");
}
