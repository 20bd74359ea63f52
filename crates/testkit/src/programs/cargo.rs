//! Cargo, and the programs that it builds.

use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The cargo that runs this program.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Programs that cargo has built, by the names of their targets.
#[derive(Debug)]
pub struct Built(BTreeMap<String, PathBuf>);

impl Built {
    /// Runs a command of cargo that builds, and shows what the compiler says.
    ///
    /// # Errors
    /// If cargo cannot be run, or something does not build.
    pub fn by(cargo: &mut Command) -> anyhow::Result<Self> {
        let output = cargo
            .arg("--message-format=json-render-diagnostics")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        let arguments = || cargo.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>();
        ensure!(output.status.success(), "cargo {} failed", arguments().join(" "));
        Ok(Self::named_in(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The program of this name.
    ///
    /// # Errors
    /// If it was not built.
    pub fn program(&self, name: &str) -> anyhow::Result<&Path> {
        let program = self.0.get(name);
        program.map(PathBuf::as_path).with_context(|| format!("cargo built no program named {name}"))
    }

    /// The programs in what cargo says about a build: one JSON value a line.
    fn named_in(messages: &str) -> Self {
        let messages =
            messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let programs = messages.filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        });
        Self(programs.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"peer-common"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"peer-yawc"},"executable":"/t/peer-yawc"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"peer-floor"},"executable":"/t/peer-floor"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let built = Built::named_in(messages);
        assert_eq!(built.program("peer-yawc").expect("it is named"), Path::new("/t/peer-yawc"));
        assert_eq!(built.program("peer-floor").expect("it is named"), Path::new("/t/peer-floor"));
        let error = built.program("peer-common").expect_err("it is a library");
        assert_eq!(error.to_string(), "cargo built no program named peer-common");
    }
}
