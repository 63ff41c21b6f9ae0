//! Packs the schema of the configuration: two commands read it, and so the image carries a quarter of its bytes.
//!
//! Promises: the same schema gives the same bytes.
//! Never: reads anything else.

use std::{
    env, fs,
    io::{self, Write as _},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};

const SCHEMA: &str = "src/config/schema.json";

#[expect(clippy::disallowed_methods, reason = "so cargo speaks")]
fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let folder = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo names the folder in OUT_DIR"))?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&fs::read(SCHEMA)?)?;
    fs::write(Path::new(&folder).join("schema.json.gz"), packed.finish()?)
}
