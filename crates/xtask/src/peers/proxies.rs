//! Clients that send a message too large, at full speed: each has to be told 1009, directly and
//! through haproxy, Apache, Caddy and nginx.
//!
//! A proxy closes the connection of its client as soon as it has seen the end of the server's. What
//! the client still sends then resets it, and it may not get to read why. So this is about when our
//! server ends its connections.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use framewright_testkit::programs::process::{Running, say};
use tempfile::TempDir;

use super::install::{Library, Peer};
use super::tally::Tally;
use crate::{echo_server, free_port};

/// How many clients of each library there are for each way to the server.
const CLIENTS: usize = 28;

/// The octets in their messages: a mebibyte more than the server takes.
const OCTETS: usize = 17 << 20;

/// A proxy that can stand in front of a server.
pub(super) struct Kind {
    name: &'static str,
    program: &'static str,
    /// What makes the program tell its version.
    version: &'static str,
    settings: Settings,
    /// What it is started with, in front of the file of its settings: it stays in the foreground,
    /// and is one process. `FOLDER` is the folder for its files.
    arguments: &'static [&'static str],
}

/// The settings with which a proxy listens on the first address, and forwards to the second; the
/// folder is for its files.
type Settings = fn(SocketAddr, SocketAddr, &Path) -> String;

/// Those that forward whatever comes.
fn kinds() -> [Kind; 4] {
    [
        haproxy(|addr, server, _| haproxy_settings(addr, "http", "", &server.to_string())),
        apache(|addr, server, folder| apache_settings(addr, server, folder, "")),
        caddy(|addr, server, _| caddy_settings(addr, &format!("reverse_proxy {server}"))),
        nginx(|addr, server, folder| nginx_settings(addr, server, folder, "")),
    ]
}

pub(super) fn haproxy(settings: Settings) -> Kind {
    Kind { name: "haproxy", program: "haproxy", version: "-v", settings, arguments: &["-db", "-f"] }
}

/// `setting` is a line for the frontend, `server` the address of the server and its options.
pub(super) fn haproxy_settings(addr: SocketAddr, mode: &str, setting: &str, server: &str) -> String {
    format!(
        "defaults\n mode {mode}\n timeout connect 5s\n timeout client 50s\n timeout server 50s\n timeout tunnel 50s\n\
         frontend here\n bind {addr}\n {setting}\n default_backend there\n\
         backend there\n server echo {server}\n"
    )
}

pub(super) fn apache(settings: Settings) -> Kind {
    Kind { name: "Apache", program: "apache2", version: "-v", settings, arguments: &["-X", "-f"] }
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
    let arguments = &["run", "--adapter", "caddyfile", "--config"];
    Kind { name: "Caddy", program: "caddy", version: "version", settings, arguments }
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
    let arguments = &["-e", "FOLDER/errors", "-c"];
    Kind { name: "nginx", program: "nginx", version: "-v", settings, arguments }
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

/// Has the clients of each library send too much, directly and through each proxy.
///
/// # Errors
/// If a proxy or the echo program cannot be started.
pub(super) fn run(peers: &[Peer], tally: &mut Tally) -> anyhow::Result<()> {
    let server = echo_server::start(&[])?;
    for peer in peers {
        tally.note(&format!("{} {}, directly", peer.name, peer.version), told_why(peer, server.addr()));
    }
    for kind in kinds() {
        let proxy = Started::new(&kind, server.addr())?;
        for peer in peers {
            let what = format!("{} {}, through {}", peer.name, peer.version, proxy.version);
            tally.note(&what, told_why(peer, proxy.addr));
        }
    }
    Ok(())
}

/// Every client of this library has to be told 1009.
fn told_why(peer: &Peer, addr: SocketAddr) -> anyhow::Result<String> {
    let mut command = match peer.library {
        Library::Ws => peer.script("ws_too_large.cjs", include_str!("ws_too_large.cjs"))?,
        Library::Websockets => {
            peer.script("websockets_too_large.py", include_str!("websockets_too_large.py"))?
        }
    };
    let url = format!("ws://{addr}/ws");
    let told = say(command.args([&url, &CLIENTS.to_string(), &OCTETS.to_string()]))?;
    let codes: Vec<&str> = told.lines().collect();
    let right = codes.iter().filter(|&&code| code == "1009").count();
    ensure!(right == CLIENTS && codes.len() == CLIENTS, "{right} of {CLIENTS} were told 1009: {codes:?}");
    Ok(format!("{right} of {CLIENTS} were told 1009"))
}

/// A running proxy.
pub(super) struct Started {
    pub(super) addr: SocketAddr,
    pub(super) version: String,
    _process: Running,
    _folder: TempDir,
}

impl Started {
    pub(super) fn new(kind: &Kind, server: SocketAddr) -> anyhow::Result<Self> {
        let version = version(kind)?;
        let folder = tempfile::Builder::new().prefix("framewright-proxy-").tempdir()?;
        let file = folder.path().join("settings");
        let (process, addr) = free_port::start(kind.name, |addr| {
            fs::write(&file, (kind.settings)(addr, server, folder.path()))?;
            let path = folder.path();
            let arguments = kind.arguments.iter().map(|it| it.replace("FOLDER", &path.to_string_lossy()));
            let mut command = Command::new(kind.program);
            command.args(arguments).arg(&file).stdin(Stdio::null());
            // Caddy keeps files of its own in these.
            command.env("HOME", path).env("XDG_CONFIG_HOME", path).env("XDG_DATA_HOME", path);
            let output = fs::File::create(folder.path().join("output"))?;
            command.stdout(output.try_clone()?).stderr(output);
            Ok(command)
        })?;
        Ok(Self { addr, version, _process: process, _folder: folder })
    }
}

/// The name of the program and its version, from the first line that it says, on whichever output.
fn version(kind: &Kind) -> anyhow::Result<String> {
    let output = Command::new(kind.program)
        .arg(kind.version)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("this needs {} (Debian: the package {})", kind.name, kind.program))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let version = said.split_whitespace().find(|word| word.chars().any(|c| c.is_ascii_digit()));
    let number = version.and_then(|version| version.rsplit('/').next());
    Ok(format!("{} {}", kind.name, number.unwrap_or_default()))
}
