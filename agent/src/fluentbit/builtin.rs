//! Files that the image of AWS for Fluent Bit brings along and that task definitions name by path.
//!
//! Promises: a configuration that includes one of them starts although our image holds no such files.
//! Never: hides a file on disk; these names count only where nothing is there.

use std::path::Path;

/// What including a file that only the old image has comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    /// All it asks for is what we do anyway.
    Needless,
    /// It would do something that this version does not do.
    NotYet,
}

/// What is known of `path`.
pub(super) fn builtin(path: &Path) -> Option<Builtin> {
    const FOLDERS: [&str; 3] = ["/fluent-bit/configs", "/fluent-bit/parsers", "/ecs"];
    let name = path.file_name()?.to_str()?;
    if !name.ends_with(".conf") {
        return None;
    }
    let folder = path.parent()?.to_str()?;
    match (folder, name) {
        // `Flush 1` and `Grace 30`.
        ("/fluent-bit/configs", "minimize-log-loss.conf") => Some(Builtin::Needless),
        ("/fluent-bit/etc", name) if name.starts_with("parsers") => Some(Builtin::NotYet),
        (folder, _) if FOLDERS.contains(&folder) => Some(Builtin::NotYet),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_old_image_are_known() {
        for (path, known) in [
            ("/fluent-bit/configs/minimize-log-loss.conf", Some(Builtin::Needless)),
            ("/fluent-bit/configs/parse-json.conf", Some(Builtin::NotYet)),
            ("/fluent-bit/parsers/parsers.conf", Some(Builtin::NotYet)),
            ("/fluent-bit/etc/parsers_multiline.conf", Some(Builtin::NotYet)),
            ("/ecs/cloudwatch.conf", Some(Builtin::NotYet)),
            ("/fluent-bit/etc/external.conf", None),
            ("/fluent-bit/configs/../../etc/passwd", None),
            ("/extra.conf", None),
            ("/", None),
        ] {
            assert_eq!(builtin(Path::new(path)), known, "{path}");
        }
    }
}
