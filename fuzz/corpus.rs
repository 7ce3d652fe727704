//! Writes the valid inputs of every decoder into `corpus/`, for the fuzzers to start from.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for (name, seeds) in rowferry_fuzz::corpus() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
