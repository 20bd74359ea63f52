//! What a package says of itself: `cargo metadata`, after cargo has filled in what the workspace
//! says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use framewright_testkit::programs::cargo::cargo;
use framewright_testkit::programs::process::say;
use serde_json::Value;

/// A package that is published.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) rust_version: String,
    /// Where its manifest lies.
    pub(super) folder: PathBuf,
    metadata: Value,
}

/// The packages of the workspace that are published.
pub(super) fn published(root: &Path) -> anyhow::Result<Vec<Package>> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--no-deps", "--format-version=1"]).current_dir(root);
    let metadata: Value = serde_json::from_str(&say(&mut metadata)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    packages.iter().filter(|package| is_published(package)).map(Package::new).collect()
}

/// An empty list of registries is `publish = false`, none at all is any registry.
fn is_published(metadata: &Value) -> bool {
    metadata["publish"].as_array().is_none_or(|registries| !registries.is_empty())
}

impl Package {
    fn new(metadata: &Value) -> anyhow::Result<Self> {
        let text = |key: &str| {
            let text = metadata[key].as_str().map(str::to_owned);
            text.with_context(|| format!("{} has no {key}", metadata["name"]))
        };
        Ok(Self {
            name: text("name")?,
            version: text("version")?,
            rust_version: text("rust_version")?,
            folder: Path::new(&text("manifest_path")?)
                .parent()
                .context("a manifest without a folder")?
                .to_owned(),
            metadata: metadata.clone(),
        })
    }

    /// What is missing or wrong. `published`: the packages that it may depend on beside those of a
    /// registry.
    pub(super) fn faults(&self, published: &BTreeSet<&str>) -> Vec<String> {
        let mut faults = Vec::new();
        for key in ["description", "license", "readme"] {
            if self.metadata[key].as_str().is_none_or(str::is_empty) {
                faults.push(format!("has no {key}"));
            }
        }
        // What a registry takes: up to five of each.
        for key in ["keywords", "categories"] {
            let count = self.metadata[key].as_array().map_or(0, Vec::len);
            if !(1..=5).contains(&count) {
                faults.push(format!("has {count} {key} and not 1 to 5"));
            }
        }
        let docs = &self.metadata["metadata"]["docs"]["rs"];
        let has_cfg =
            docs["rustdoc-args"].as_array().is_some_and(|args| args.iter().any(|arg| arg == "docsrs"));
        if docs["all-features"] != Value::Bool(true) || !has_cfg {
            faults
                .push("does not tell docs.rs to build with all features and with `--cfg docsrs`".to_owned());
        }
        for dependency in self.metadata["dependencies"].as_array().into_iter().flatten() {
            let name = dependency["name"].as_str().unwrap_or_default();
            // Cargo leaves out of a package what only tests need and no version is named of.
            let left_out = dependency["kind"] == "dev" && dependency["req"] == "*";
            if !dependency["path"].is_null() && !left_out && !published.contains(name) {
                faults.push(format!("depends on {name}, which is not published"));
            }
        }
        faults
    }

    /// One that says all it should, in `folder`.
    #[cfg(test)]
    pub(super) fn without_faults(folder: &Path) -> Self {
        let metadata = serde_json::json!({
            "name": "x", "version": "0.1.0", "rust_version": "1.89", "publish": null,
            "manifest_path": folder.join("Cargo.toml"),
            "description": "X.", "license": "MIT", "readme": "README.md",
            "keywords": ["x"], "categories": ["algorithms"],
            "metadata": {"docs": {"rs": {"all-features": true, "rustdoc-args": ["--cfg", "docsrs"]}}},
            "dependencies": [
                {"name": "mio", "kind": null, "req": "^1", "path": null},
                {"name": "y", "kind": null, "req": "^0.1.0", "path": "/y"},
                {"name": "testkit", "kind": "dev", "req": "*", "path": "/testkit"},
            ],
        });
        Self::new(&metadata).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_fault_of_a_manifest_is_told() {
        let good = Package::without_faults(Path::new("/x"));
        let published = BTreeSet::from(["x", "y"]);
        assert_eq!(good.faults(&published), [""; 0]);
        assert_eq!(good.faults(&BTreeSet::from(["x"])), ["depends on y, which is not published"]);
        for (key, value, fault) in [
            ("description", json!(""), "has no description"),
            ("readme", json!(null), "has no readme"),
            ("keywords", json!([]), "has 0 keywords and not 1 to 5"),
            ("categories", json!([1, 2, 3, 4, 5, 6]), "has 6 categories and not 1 to 5"),
            (
                "metadata",
                json!(null),
                "does not tell docs.rs to build with all features and with `--cfg docsrs`",
            ),
            (
                "dependencies",
                json!([{"name": "testkit", "kind": "dev", "req": "^0.1.0", "path": "/testkit"}]),
                "depends on testkit, which is not published",
            ),
        ] {
            let mut package = Package::without_faults(Path::new("/x"));
            package.metadata[key] = value;
            assert_eq!(package.faults(&published), [fault]);
        }
    }

    #[test]
    fn packages_without_a_registry_are_left_out() {
        assert!(is_published(&json!({"publish": null})));
        assert!(is_published(&json!({"publish": ["a"]})));
        assert!(!is_published(&json!({"publish": []})));
    }
}
