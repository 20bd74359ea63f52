//! Each setting of the page: with which program, and what is replaced in it.

use std::net::SocketAddr;
use std::path::Path;

use super::super::proxy_programs::{APACHE, CADDY, HAPROXY, LIGHTTPD, NGHTTPX, NGINX, Program, VARNISH};
use super::page::Settings;
use crate::certificates::Certificate;

/// A proxy as the page has it.
pub(super) struct Setup {
    pub(super) what: &'static str,
    pub(super) program: &'static Program,
    /// Where TLS ends.
    pub(super) tls: Tls,
    /// How the proxy is told to end silent connections soon; `None` if it cannot be.
    pub(super) hurry: Option<Hurry>,
    settings: fn(&Places<'_>) -> anyhow::Result<Settings>,
    /// What Debian has around it in files that the page does not repeat.
    around: fn(&Places<'_>, &str) -> String,
}

/// Where TLS ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    AtTheProxy,
    /// At the server: the proxy passes it on.
    AtTheServer,
    /// There is none.
    Nowhere,
}

/// What ends silent connections after two seconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hurry {
    /// Other words in the settings.
    Settings(&'static [(&'static str, &'static str)]),
    /// An argument.
    Arguments(&'static [&'static str]),
}

/// What the settings are filled with.
pub(super) struct Places<'a> {
    pub(super) proxy: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) certificate: &'a Certificate,
    pub(super) folder: &'a Path,
    pub(super) hurried: bool,
}

impl Setup {
    /// The settings as the program reads them.
    ///
    /// # Errors
    /// If the page does not have what is replaced.
    pub(super) fn settings(&self, places: &Places<'_>) -> anyhow::Result<String> {
        let mut settings = (self.settings)(places)?;
        if let (true, Some(Hurry::Settings(words))) = (places.hurried, self.hurry) {
            for (words, others) in words {
                settings = settings.with(words, others)?;
            }
        }
        Ok((self.around)(places, &settings.into_text()))
    }

    /// Arguments beside the usual ones.
    pub(super) fn arguments(&self, hurried: bool) -> &'static [&'static str] {
        match self.hurry {
            Some(Hurry::Arguments(arguments)) if hurried => arguments,
            _ => &[],
        }
    }
}

/// Every block of the page but those for clients.
pub(super) const SETUPS: [Setup; 9] = [
    Setup {
        what: "TLS ends at nginx",
        program: &NGINX,
        tls: Tls::AtTheProxy,
        hurry: Some(Hurry::Settings(&[("proxy_read_timeout 60s", "proxy_read_timeout 2s")])),
        settings: |at| {
            files(Settings::of("nginx", 0)?, at)?
                .with("listen 443 ", &format!("listen {} ", at.proxy))?
                .with("server_name example.org", "server_name localhost")
        },
        around: |at, settings| {
            let folder = at.folder.display();
            let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let temporary = paths.map(|path| format!("{path}_temp_path {folder}/{path};\n")).concat();
            nginx_around(at, &format!("http {{\naccess_log off;\n{temporary}{settings}\n}}\n"))
        },
    },
    Setup {
        what: "TLS passes through nginx",
        program: &NGINX,
        tls: Tls::AtTheServer,
        hurry: Some(Hurry::Settings(&[("proxy_timeout 60s", "proxy_timeout 2s")])),
        settings: |at| {
            Settings::of("nginx", 1)?
                .with("127.0.0.1:5443", &at.server.to_string())?
                .with("listen 443;", &format!("listen {};", at.proxy))?
                .with("example.org", "localhost")
        },
        around: |at, settings| {
            let module = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n";
            format!("{module}{}", nginx_around(at, settings))
        },
    },
    Setup {
        what: "TLS ends at haproxy",
        program: &HAPROXY,
        tls: Tls::AtTheProxy,
        hurry: Some(Hurry::Settings(&[("timeout tunnel 60s", "timeout tunnel 2s")])),
        settings: |at| {
            Settings::of("haproxy", 0)?
                .with("127.0.0.1:5000", &at.server.to_string())?
                .with("/etc/ssl/example.org.both", &at.certificate.both.to_string_lossy())?
                .with("bind :443 ", &format!("bind {} ", at.proxy))
        },
        around: as_it_is,
    },
    Setup {
        what: "TLS passes through haproxy",
        program: &HAPROXY,
        tls: Tls::AtTheServer,
        hurry: Some(Hurry::Settings(&[
            ("timeout client 60s", "timeout client 2s"),
            ("timeout server 60s", "timeout server 2s"),
        ])),
        settings: |at| {
            Settings::of("haproxy", 1)?
                .with("127.0.0.1:5443", &at.server.to_string())?
                .with("bind :443", &format!("bind {}", at.proxy))?
                .with("example.org", "localhost")
        },
        around: as_it_is,
    },
    Setup {
        what: "TLS ends at Apache",
        program: &APACHE,
        tls: Tls::AtTheProxy,
        hurry: Some(Hurry::Settings(&[("Timeout 300", "Timeout 2")])),
        settings: |at| {
            files(Settings::of("apache", 0)?, at)?
                .with("*:443", &at.proxy.to_string())?
                .with("ServerName example.org", "ServerName localhost")
        },
        around: |at, settings| {
            let modules =
                ["mpm_event", "authz_core", "headers", "socache_shmcb", "ssl", "proxy", "proxy_http"];
            let load = |name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
            let folder = at.folder.display();
            format!(
                "{}ServerRoot {folder}\nServerName localhost\nListen {}\nUser www-data\nGroup www-data\n\
                 PidFile {folder}/pid\nDefaultRuntimeDir {folder}\nErrorLog {folder}/errors\n{settings}\n",
                modules.map(load).concat(),
                at.proxy
            )
        },
    },
    Setup {
        what: "TLS ends at lighttpd",
        program: &LIGHTTPD,
        tls: Tls::AtTheProxy,
        hurry: Some(Hurry::Settings(&[
            ("read-idle = 60", "read-idle = 2"),
            ("write-idle = 360", "write-idle = 2"),
        ])),
        settings: |at| {
            let server = format!("\"host\" => \"{}\", \"port\" => {}", at.server.ip(), at.server.port());
            Settings::of("lighttpd", 0)?
                .with("/etc/ssl/example.org.pem", &at.certificate.chain.to_string_lossy())?
                .with("/etc/ssl/example.org.key", &at.certificate.key.to_string_lossy())?
                .with("\"host\" => \"127.0.0.1\", \"port\" => 5000", &server)?
                .with("server.port = 443", &format!("server.port = {}", at.proxy.port()))?
                .with("example\\.org", "localhost")
        },
        around: |at, settings| {
            let (folder, ip) = (at.folder.display(), at.proxy.ip());
            format!("server.document-root = \"{folder}\"\nserver.bind = \"{ip}\"\n{settings}\n")
        },
    },
    Setup {
        what: "TLS ends at Caddy",
        program: &CADDY,
        tls: Tls::AtTheProxy,
        hurry: None,
        settings: |at| {
            let site = format!("localhost:{} {{\n\tbind {}\n", at.proxy.port(), at.proxy.ip());
            files(Settings::of("caddyfile", 0)?, at)?.with("example.org {\n", &site)
        },
        around: |_, settings| format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{settings}\n"),
    },
    Setup {
        what: "Varnish",
        program: &VARNISH,
        tls: Tls::Nowhere,
        hurry: Some(Hurry::Arguments(&["-p", "pipe_timeout=2"])),
        settings: |at| {
            Settings::of("vcl", 0)?
                .with("\"127.0.0.1\"", &format!("\"{}\"", at.server.ip()))?
                .with("\"5000\"", &format!("\"{}\"", at.server.port()))
        },
        around: as_it_is,
    },
    Setup {
        what: "TLS ends at nghttpx",
        program: &NGHTTPX,
        tls: Tls::AtTheProxy,
        hurry: Some(Hurry::Settings(&[("backend-read-timeout=60s", "backend-read-timeout=2s")])),
        settings: |at| {
            let address = |addr: SocketAddr| format!("{},{}", addr.ip(), addr.port());
            Settings::of("nghttpx", 0)?
                .with("/etc/ssl/example.org.pem", &at.certificate.chain.to_string_lossy())?
                .with("/etc/ssl/example.org.key", &at.certificate.key.to_string_lossy())?
                .with("frontend=*,443", &format!("frontend={}", address(at.proxy)))?
                .with("backend=127.0.0.1,5000", &format!("backend={}", address(at.server)))
        },
        around: |at, settings| {
            let folder = at.folder.display();
            format!("workers=1\nno-ocsp=yes\nerrorlog-file={folder}/errors\n{settings}\n")
        },
    },
];

/// The server's address, the certificate and its key.
fn files(settings: Settings, at: &Places<'_>) -> anyhow::Result<Settings> {
    settings
        .with("127.0.0.1:5000", &at.server.to_string())?
        .with("/etc/ssl/example.org.pem", &at.certificate.chain.to_string_lossy())?
        .with("/etc/ssl/example.org.key", &at.certificate.key.to_string_lossy())
}

fn nginx_around(at: &Places<'_>, settings: &str) -> String {
    let folder = at.folder.display();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/errors;\nevents {{}}\n{settings}\n"
    )
}

fn as_it_is(_at: &Places<'_>, settings: &str) -> String {
    format!("{settings}\n")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::page::count;
    use super::*;

    #[test]
    fn every_block_of_the_page_is_tried_and_has_what_is_replaced() {
        let certificate = Certificate { chain: "chain".into(), key: "key".into(), both: "both".into() };
        let addr = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for setup in &SETUPS {
            for hurried in [false, true] {
                let folder = Path::new("folder");
                let places =
                    Places { proxy: addr(1), server: addr(2), certificate: &certificate, folder, hurried };
                let settings = setup.settings(&places).expect("the page has what is replaced");
                for left in ["example", "443", "5000"] {
                    assert!(!settings.contains(left), "{}: {left} in\n{settings}", setup.what);
                }
            }
        }
        // Two are for clients, and one starts relays, which the tests of the program do.
        assert_eq!(count(), SETUPS.len() + 3);
    }
}
