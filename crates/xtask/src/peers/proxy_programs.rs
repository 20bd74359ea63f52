//! The proxies of Debian that stand in front of a server: how each is started, and settings with
//! which it forwards whatever comes.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use framewright_testkit::programs::process::Running;
use tempfile::TempDir;

use crate::free_port;

/// A proxy's program.
#[derive(Debug)]
pub(super) struct Program {
    name: &'static str,
    program: &'static str,
    /// The package of Debian that has it.
    package: &'static str,
    /// What makes the program tell its version.
    version: &'static str,
    /// What it is started with, in front of the file of its settings: it stays in the foreground,
    /// and ends with its process. `FOLDER` is the folder for its files, `ADDR` where it listens.
    arguments: &'static [&'static str],
}

pub(super) const NGINX: Program = Program {
    name: "nginx",
    program: "nginx",
    package: "nginx-light",
    version: "-v",
    arguments: &["-e", "FOLDER/errors", "-c"],
};

pub(super) const HAPROXY: Program = Program {
    name: "haproxy",
    program: "haproxy",
    package: "haproxy",
    version: "-v",
    arguments: &["-db", "-f"],
};

pub(super) const APACHE: Program = Program {
    name: "Apache",
    program: "apache2",
    package: "apache2",
    version: "-v",
    arguments: &["-X", "-f"],
};

pub(super) const CADDY: Program = Program {
    name: "Caddy",
    program: "caddy",
    package: "caddy",
    version: "version",
    arguments: &["run", "--adapter", "caddyfile", "--config"],
};

pub(super) const LIGHTTPD: Program = Program {
    name: "lighttpd",
    program: "lighttpd",
    package: "lighttpd-mod-openssl",
    version: "-v",
    arguments: &["-D", "-f"],
};

pub(super) const VARNISH: Program = Program {
    name: "Varnish",
    program: "varnishd",
    package: "varnish",
    version: "-V",
    arguments: &["-F", "-j", "none", "-a", "ADDR", "-n", "FOLDER/varnish", "-s", "malloc,16m", "-f"],
};

pub(super) const NGHTTPX: Program = Program {
    name: "nghttpx",
    program: "nghttpx",
    package: "nghttp2-proxy",
    version: "--version",
    arguments: &["--conf"],
};

pub(super) const SQUID: Program = Program {
    name: "Squid",
    program: "squid",
    package: "squid-openssl",
    version: "-v",
    arguments: &["-N", "-f"],
};

/// A program with settings of which nothing but addresses changes.
pub(crate) struct Kind {
    program: &'static Program,
    settings: Settings,
}

/// The settings with which a proxy listens on the first address, and forwards to the second; the
/// folder is for its files.
type Settings = fn(SocketAddr, SocketAddr, &Path) -> String;

pub(crate) fn haproxy(settings: Settings) -> Kind {
    Kind { program: &HAPROXY, settings }
}

/// `setting` is a line for the frontend, `server` the address of the server and its options.
pub(crate) fn haproxy_settings(addr: SocketAddr, mode: &str, setting: &str, server: &str) -> String {
    format!(
        "defaults\n mode {mode}\n timeout connect 5s\n timeout client 50s\n timeout server 50s\n timeout tunnel 50s\n\
         frontend here\n bind {addr}\n {setting}\n default_backend there\n\
         backend there\n server echo {server}\n"
    )
}

pub(crate) fn nghttpx(settings: Settings) -> Kind {
    Kind { program: &NGHTTPX, settings }
}

/// HTTP/2 without TLS in front (and HTTP/1.1), HTTP/1.1 behind.
pub(crate) fn nghttpx_settings(addr: SocketAddr, server: SocketAddr) -> String {
    format!(
        "frontend={},{};no-tls\nbackend={},{};;proto=http/1.1\nworkers=1\nerrorlog-file=/dev/stderr\n",
        addr.ip(),
        addr.port(),
        server.ip(),
        server.port()
    )
}

pub(super) fn apache(settings: Settings) -> Kind {
    Kind { program: &APACHE, settings }
}

/// `more` are lines to add.
pub(super) fn apache_settings(addr: SocketAddr, server: SocketAddr, folder: &Path, more: &str) -> String {
    let modules = ["mpm_event", "authz_core", "headers", "proxy", "proxy_http", "proxy_wstunnel"];
    let load = |name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let folder = folder.display();
    format!(
        "{}ServerRoot {folder}\nServerName localhost\nListen {addr}\nUser www-data\nGroup www-data\n\
         PidFile {folder}/pid\nDefaultRuntimeDir {folder}\nErrorLog {folder}/errors\n{more}\
         ProxyPass / http://{server}/ upgrade=websocket\n",
        modules.map(load).concat()
    )
}

pub(super) fn caddy(settings: Settings) -> Kind {
    Kind { program: &CADDY, settings }
}

/// `what` it does with requests.
pub(super) fn caddy_settings(addr: SocketAddr, what: &str) -> String {
    format!(
        "{{\n admin off\n auto_https off\n}}\nhttp://:{} {{\n bind {}\n {what}\n}}\n",
        addr.port(),
        addr.ip()
    )
}

pub(super) fn nginx(settings: Settings) -> Kind {
    Kind { program: &NGINX, settings }
}

/// `more` is added to how it forwards.
pub(super) fn nginx_settings(addr: SocketAddr, server: SocketAddr, folder: &Path, more: &str) -> String {
    let folder = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = paths.map(|path| format!(" {path}_temp_path {folder}/{path};\n")).concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/errors;\nevents {{}}\n\
         http {{\n access_log off;\n{temporary} server {{\n  listen {addr};\n  location / {{\n   \
         proxy_pass http://{server};\n   proxy_http_version 1.1;\n   proxy_set_header Host $http_host;\n   \
         proxy_set_header Upgrade $http_upgrade;\n   proxy_set_header Connection upgrade;\n   {more}\n  }}\n }}\n}}\n"
    )
}

/// A running proxy.
pub(crate) struct Started {
    pub(crate) addr: SocketAddr,
    pub(crate) version: String,
    _process: Running,
    _folder: TempDir,
}

impl Started {
    /// Starts a proxy in front of this server.
    ///
    /// # Errors
    /// As [`Started::with`].
    pub(crate) fn new(kind: &Kind, server: SocketAddr) -> anyhow::Result<Self> {
        Self::with(kind.program, &[], |addr, folder| Ok((kind.settings)(addr, server, folder)))
    }

    /// Starts a proxy with more arguments than it always has, and with the settings that this makes
    /// of the address where it has to listen and a folder for its files.
    ///
    /// # Errors
    /// If the program is not there, does not start, or does not listen within the deadline.
    pub(super) fn with(
        program: &Program,
        more: &[&str],
        settings: impl Fn(SocketAddr, &Path) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let version = version(program)?;
        let folder = tempfile::Builder::new().prefix("framewright-proxy-").tempdir()?;
        // Some work as another user than the one who starts them.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let file = folder.path().join("settings");
        let (process, addr) = free_port::start(program.name, |addr| {
            let path = folder.path();
            fs::write(&file, settings(addr, path)?)?;
            let (path_text, addr_text) = (path.to_string_lossy(), addr.to_string());
            let filled = |it: &&str| it.replace("FOLDER", &path_text).replace("ADDR", &addr_text);
            let mut command = Command::new(program.program);
            command.args(more.iter().chain(program.arguments).map(filled)).arg(&file).stdin(Stdio::null());
            // Caddy keeps files of its own in these.
            command.env("HOME", path).env("XDG_CONFIG_HOME", path).env("XDG_DATA_HOME", path);
            let output = fs::File::create(path.join("output"))?;
            command.stdout(output.try_clone()?).stderr(output);
            Ok(command)
        })?;
        Ok(Self { addr, version, _process: process, _folder: folder })
    }
}

/// The name of the program and its version, from the first line that it says, on whichever output.
fn version(program: &Program) -> anyhow::Result<String> {
    let output =
        Command::new(program.program).arg(program.version).stdin(Stdio::null()).output().with_context(
            || format!("this needs {} (Debian: the package {})", program.name, program.package),
        )?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok(format!("{} {}", program.name, number_in(&said).unwrap_or_default()))
}

/// The first word with a digit, from its first digit behind a slash, if it has one, on.
fn number_in(said: &str) -> Option<&str> {
    let word = said.split_whitespace().find(|word| word.chars().any(|c| c.is_ascii_digit()))?;
    let number = word.rsplit('/').next()?;
    Some(number.trim_start_matches(|c: char| !c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_each_program_says() {
        for (said, number) in [
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n", "2.6.12-1+deb12u4"),
            ("Server version: Apache/2.4.71 (Debian)\n", "2.4.71"),
            ("2.6.2\n", "2.6.2"),
            ("lighttpd/1.4.69 (ssl) - a light and fast webserver\n", "1.4.69"),
            ("varnishd (varnish-7.1.1 revision 7cee1c581bead20e88d101ab3d72afb29f14d87a)\n", "7.1.1"),
            ("nghttpx nghttp2/1.52.0\n", "1.52.0"),
            ("Squid Cache: Version 5.7\n", "5.7"),
        ] {
            assert_eq!(number_in(said), Some(number), "{said}");
        }
        assert_eq!(number_in("no number"), None);
    }
}
