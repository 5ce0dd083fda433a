//! The source files, and what is production code in them.

use std::fs;
use std::path::Path;

/// One file, by its path from the project's root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Every Rust file of the project.
    pub(crate) fn all() -> Vec<Self> {
        let mut files = Vec::new();
        for folder in ["src", "tests", "benches"] {
            collect(&root().join(folder), &mut files);
        }
        files
    }

    /// The files under `src` that are not tests.
    pub(crate) fn production() -> Vec<Self> {
        let mut files = Self::all();
        files.retain(|file| {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            file.path.starts_with("src/")
                && !name.ends_with("_tests.rs")
                && !matches!(name, "tests.rs" | "testing.rs")
                && !file.path.contains("/tests/")
        });
        files
    }

    /// The file's lines up to its inline tests.
    pub(crate) fn production_lines(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.text.lines().collect();
        let end = lines
            .windows(2)
            .position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod "))
            .unwrap_or(lines.len());
        lines[..end].to_vec()
    }

    /// The folder under `src` that the file belongs to: its layer.
    pub(crate) fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let path = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            files.push(Source { path, text });
        }
    }
}
