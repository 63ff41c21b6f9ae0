//! Applies the rules of [`tests::tidy`] to the agent's source and to ARCHITECTURE.md.
//!
//! Promises: everything that is wrong, in one list.
//! Never: builds or runs anything.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tests::tidy::{Source, architecture, check};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn collect(folder: &Path, below: &str, sources: &mut Vec<Source>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), sources)?;
        } else if path.ends_with(".rs") {
            sources.push(Source { text: fs::read_to_string(entry.path())?, path });
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(())
}

#[test]
fn the_source_keeps_its_rules() {
    let mut sources = Vec::new();
    collect(&workspace().join("agent/src"), "", &mut sources).expect("the agent's source can be read");
    assert!(sources.len() > 10, "only {} files: this looks at the wrong folder", sources.len());
    let mut complaints = check(&sources);
    if let Ok(page) = fs::read_to_string(workspace().join("ARCHITECTURE.md")) {
        complaints.extend(architecture(&page, &sources));
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}\n", complaints.len(), complaints.join("\n"));
}
