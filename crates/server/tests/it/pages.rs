//! Pages and static files, as a browser and as somebody who is after other files sees them.

use crate::common::{Answer, TestServer, upgrade_request};
use crate::scripted::Scripted;
use framewright_server::{
    FieldName, FieldValue, Files, MemoryLimit, Page, Response, Server, ServerLimits, StatusCode,
};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Sends a request without a body, and reads all of the answer, to the end of the connection.
#[track_caller]
fn ask(server: &TestServer, method: &str, path: &str, fields: &str) -> Answer {
    let mut client = server.connect();
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
    let answer = if method == "HEAD" { client.answer_head() } else { read(&mut client) };
    client.expect_end();
    answer
}

#[track_caller]
fn read(client: &mut crate::common::Client) -> Answer {
    let mut answer = client.answer_head();
    if let Some(length) = answer.field("Content-Length") {
        answer.body = client.read_exact(length.parse().expect("a number"));
    }
    answer
}

#[track_caller]
fn get(server: &TestServer, path: &str) -> Answer {
    ask(server, "GET", path, "")
}

#[track_caller]
fn tag(answer: &Answer) -> String {
    let tag = answer.field("ETag").expect("a tag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 34, "a strong tag: {tag}");
    tag
}

#[test]
fn a_page_is_sent_once_and_then_304() {
    let page = Page::html("<p>hello</p>").with_field(
        FieldName::from_static("Content-Security-Policy"),
        FieldValue::from_static("default-src 'none'"),
    );
    let server = TestServer::start(|builder| builder.page("/", page));
    let whole = get(&server, "/");
    assert_eq!((whole.status, whole.text()), (200, "<p>hello</p>"));
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
        ("Content-Security-Policy", "default-src 'none'"),
        ("Connection", "close"),
    ] {
        assert_eq!(whole.field(name), Some(value), "{name}");
    }
    assert_eq!(whole.field("Last-Modified"), None);
    let tag = tag(&whole);

    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
    //# The server generating a 304 response MUST generate any of the following header fields that would have been sent
    //# in a 200 (OK) response to the same request:
    for fields in [
        format!("If-None-Match: {tag}\r\n"),
        format!("If-None-Match: W/\"x\", W/{tag}\r\n"),
        "If-None-Match: *\r\n".to_owned(),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(&server, method, "/", &fields);
            assert_eq!(answer.status, 304, "{fields}");
            assert_eq!(answer.field("ETag"), Some(&tag[..]));
            assert_eq!(answer.field("Cache-Control"), Some("no-cache"));
            assert!(answer.field("Date").is_some());
            for absent in ["Content-Length", "Content-Type", "Content-Security-Policy", "Last-Modified"] {
                assert_eq!(answer.field(absent), None, "{absent}");
            }
        }
    }
    assert_eq!(ask(&server, "GET", "/", "If-None-Match: \"x\"\r\n").text(), "<p>hello</p>");
    assert_eq!(ask(&server, "GET", "/", "If-Match: \"x\"\r\n").status, 412);
}

#[test]
fn head_is_answered_as_get_is_and_other_methods_are_not() {
    let server = TestServer::start(|builder| builder.page("/", Page::text("hello")));
    let (head, whole) = (ask(&server, "HEAD", "/", ""), get(&server, "/"));
    let without_date = |answer: &Answer| {
        answer.fields.iter().filter(|(name, _)| name != "Date").cloned().collect::<Vec<_>>()
    };
    assert_eq!((head.status, without_date(&head)), (200, without_date(&whole)));
    assert_eq!(whole.field("Content-Length"), Some("5"));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let answer = ask(&server, method, "/", "If-None-Match: *\r\n");
        assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn what_an_application_says_about_caching_goes_before_the_default() {
    let field = |name, value| (FieldName::from_static(name), FieldValue::from_static(value));
    let (cache, seconds) = field("cache-control", "max-age=60");
    let (vary, what) = field("Vary", "Cookie");
    let page = Page::text("x").with_field(cache, seconds).with_field(vary, what);
    let server = TestServer::start(|builder| builder.page("/", page));
    for (fields, status) in [("", 200), ("If-None-Match: *\r\n", 304)] {
        let answer = ask(&server, "GET", "/", fields);
        assert_eq!(answer.status, status);
        assert_eq!(answer.field("Cache-Control"), Some("max-age=60"));
        assert_eq!(answer.field("Vary"), Some("Cookie"));
    }
}

#[test]
fn a_response_is_a_page_that_is_sent_as_it_is() {
    let location = (FieldName::from_static("Location"), FieldValue::from_static("/new"));
    let moved = Response::new(StatusCode::FOUND).with_field(location.0, location.1);
    let server = TestServer::start(|builder| builder.page("/old", moved));
    let answer = ask(&server, "GET", "/old", "If-None-Match: *\r\n");
    assert_eq!((answer.status, answer.field("Location"), answer.field("ETag")), (302, Some("/new"), None));
    assert_eq!(ask(&server, "POST", "/old", "").status, 405);
}

/// A folder to serve, in a folder that holds something else, too.
fn site() -> TempDir {
    let outside = tempfile::tempdir().expect("a folder");
    let folder = outside.path().join("site");
    for (path, content) in [
        ("index.html", "start"),
        ("app.js", "let it = 1;"),
        ("DATA.JSON", "{}"),
        ("model.gltf", "model"),
        ("README", "read me"),
        ("a b%.txt", "blank"),
        (".env", "secret"),
        (".git/config", "secret"),
        (".well-known/security.txt", "contact"),
        ("sub/index.html", "below"),
        ("sub/page.html", "page"),
        ("dépôt/index.html", "store"),
        ("empty/deep/x.txt", "deep"),
    ] {
        write(&folder.join(path), content);
    }
    write(&outside.path().join("secret.txt"), "secret");
    outside
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

fn serve(prefix: &str, site: &TempDir) -> TestServer {
    let files = Files::new(site.path().join("site"))
        .with_type("GLTF", FieldValue::from_static("model/gltf+json"))
        .with_field(FieldName::from_static("X-Site"), FieldValue::from_static("here"));
    TestServer::start(|builder| builder.files(prefix, files))
}

#[test]
fn files_are_served_with_their_types() {
    let site = site();
    for (prefix, start) in [("/", ""), ("/static", "/static"), ("/a/b/", "/a/b")] {
        let server = serve(prefix, &site);
        for (path, content, content_type) in [
            ("/", "start", "text/html; charset=utf-8"),
            ("/index.html", "start", "text/html; charset=utf-8"),
            ("/app.js", "let it = 1;", "text/javascript; charset=utf-8"),
            ("/app.js?v=1", "let it = 1;", "text/javascript; charset=utf-8"),
            ("/DATA.JSON", "{}", "application/json"),
            ("/model.gltf", "model", "model/gltf+json"),
            ("/README", "read me", "application/octet-stream"),
            ("/a%20b%25.txt", "blank", "text/plain; charset=utf-8"),
            ("/.well-known/security.txt", "contact", "text/plain; charset=utf-8"),
            ("/sub/", "below", "text/html; charset=utf-8"),
            ("/sub/page.html", "page", "text/html; charset=utf-8"),
            ("/empty/deep/x.txt", "deep", "text/plain; charset=utf-8"),
        ] {
            let answer = get(&server, &format!("{start}{path}"));
            assert_eq!((answer.status, answer.text()), (200, content), "{start}{path}");
            assert_eq!(answer.field("Content-Type"), Some(content_type), "{path}");
            assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"), "{path}");
            assert_eq!(answer.field("X-Site"), Some("here"), "{path}");
            tag(&answer);
        }
    }
}

#[test]
fn nothing_but_the_files_is_served() {
    let site = site();
    let outside = site.path().join("secret.txt");
    let absolute = outside.to_str().expect("a path in UTF-8");
    for (prefix, start) in [("/", ""), ("/static", "/static")] {
        let server = serve(prefix, &site);
        for path in [
            "/../secret.txt",
            "/sub/../../secret.txt",
            "/sub/../index.html",
            "/./index.html",
            "/%2e%2e/secret.txt",
            "/%2e%2e%2fsecret.txt",
            "/..%2fsecret.txt",
            "/..%5csecret.txt",
            "/..\\secret.txt",
            "/sub%2findex.html",
            "/sub%5cindex.html",
            "/sub\\index.html",
            "/%00",
            "/index.html%00",
            "/index.html%00.txt",
            "//index.html",
            "//sub/",
            "/sub//index.html",
            "/index.html/",
            // Nobody codes these octets (RFC 3986, section 6.2.2.2).
            "/%61pp.js",
            "/app%2Ejs",
            "/%73ub/",
            "/sub/%70age.html",
            "/.env",
            "/%2eenv",
            "/.git/config",
            "/.git/",
            "/empty",
            "/empty/",
            "/empty/deep/",
            "/APP.JS",
            "/nothing",
            "/con",
            "/index.html::$DATA",
            "/%",
            "/%zz",
            "/%ff%fe",
            absolute,
            &format!("/{absolute}"),
        ] {
            let answer = get(&server, &format!("{start}{path}"));
            assert_eq!(answer.status, 404, "{start}{path}: {}", answer.text());
            assert!(!answer.text().contains("secret"));
        }
    }
}

#[test]
fn a_folder_is_asked_for_with_a_slash() {
    let site = site();
    let server = serve("/static", &site);
    for (path, location) in [
        ("/static", "./static/"),
        ("/static?x=1", "./static/?x=1"),
        ("/static/sub", "./sub/"),
        ("/static/d%c3%a9p%C3%B4t", "./d%c3%a9p%C3%B4t/"),
    ] {
        let answer = get(&server, path);
        assert_eq!((answer.status, answer.field("Location")), (301, Some(location)), "{path}");
        assert_eq!(ask(&server, "POST", path, "").status, 405, "{path}");
    }
    assert_eq!(get(&server, "/staticx").status, 404);
}

#[test]
fn a_file_says_when_it_was_modified() {
    let site = site();
    let file = site.path().join("site/app.js");
    let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_900);
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).expect("a time");
    let future = SystemTime::now() + Duration::from_secs(86_400);
    let readme = site.path().join("site/README");
    fs::File::options().write(true).open(readme).unwrap().set_modified(future).expect("a time");
    let past = SystemTime::UNIX_EPOCH - Duration::from_secs(86_400);
    let data = site.path().join("site/DATA.JSON");
    fs::File::options().write(true).open(data).unwrap().set_modified(past).expect("a time");
    let server = serve("/", &site);
    let data = get(&server, "/DATA.JSON");
    assert_eq!((data.status, data.text(), data.field("Last-Modified")), (200, "{}", None));
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(get(&server, "/app.js").field("Last-Modified"), Some(date));
    assert_eq!(get(&server, "/README").field("Last-Modified"), None, "nothing was modified tomorrow");
    let since = format!("If-Modified-Since: {date}\r\n");
    assert_eq!(ask(&server, "GET", "/app.js", &since).status, 304);
    let both = format!("{since}If-None-Match: \"x\"\r\n");
    assert_eq!(ask(&server, "GET", "/app.js", &both).status, 200);
}

#[test]
fn what_changes_on_the_disk_is_not_seen_before_the_next_server() {
    let site = site();
    let server = serve("/", &site);
    let before = tag(&get(&server, "/app.js"));
    write(&site.path().join("site/app.js"), "let it = 2;");
    assert_eq!(get(&server, "/app.js").text(), "let it = 1;");
    let next = serve("/", &site);
    let after = get(&next, "/app.js");
    assert_eq!(after.text(), "let it = 2;");
    assert_ne!(tag(&after), before);
    assert_eq!(tag(&get(&serve("/x", &site), "/x/app.js")), tag(&after), "the same content, the same tag");
}

#[test]
fn files_stand_beside_routes_that_are_more_literal() {
    let site = site();
    let (scripted, _seen) = Scripted::echo();
    let folder = site.path().join("site");
    let server = TestServer::start(|builder| {
        builder.files("/", folder).route("/ws", scripted).page("/app.js", Page::text("mine"))
    });
    let mut client = server.open("/ws");
    client.send_text("hello");
    client.expect_text("hello");
    assert_eq!(get(&server, "/app.js").text(), "mine");
    assert_eq!(get(&server, "/sub/").text(), "below");
    // Where files are served nobody is upgraded.
    let mut client = server.connect();
    client.send(upgrade_request("/", ""));
    assert_eq!(read(&mut client).text(), "start");
}

/// Routes are compared as they stand in the request, files are looked up decoded: the route was got
/// past with another spelling of its path.
#[test]
fn no_spelling_of_a_path_gets_past_a_more_literal_route_to_a_file() {
    let site = site();
    let folder = site.path().join("site");
    for path in ["admin/report.html", "a+b/report.html", "caf\u{e9}/report.html", "other+/report.html"] {
        write(&folder.join(path), "secret");
    }
    let gate = || Page::text("gate");
    for files_first in [true, false] {
        let server = TestServer::start(|mut builder| {
            if files_first {
                builder = builder.files("/", folder.clone());
            }
            for path in ["/admin/{*rest}", "/a+b/{*rest}", "/caf%C3%A9/{*rest}"] {
                builder = builder.page(path, gate());
            }
            if files_first { builder } else { builder.files("/", folder.clone()) }
        });
        for path in ["/admin/report.html", "/a+b/report.html", "/caf%C3%A9/report.html"] {
            assert_eq!(get(&server, path).text(), "gate", "{path}");
        }
        for path in [
            "/%61dmin/report.html",
            "/admi%6E/report.html",
            "/admi%6e/report.html",
            "/a%2Bb/report.html",
            "/a%2bb/report.html",
            "/%61+b/report.html",
            "/caf%c3%a9/report.html",
            "/caf%C3%a9/report.html",
            "/%63af%C3%A9/report.html",
        ] {
            assert_eq!(get(&server, path).status, 404, "{path}");
        }
        // Nobody can mistake these.
        assert_eq!(get(&server, "/a%20b%25.txt").text(), "blank");
    }
    // Where no route has such an octet, whoever codes it gets the file.
    let server = serve("/", &site);
    assert_eq!(get(&server, "/other%2b/report.html").text(), "secret");
    assert_eq!(get(&server, "/caf%c3%A9/report.html").text(), "secret");
}

#[test]
fn files_do_not_take_the_path_of_a_route() {
    let site = site();
    let folder = site.path().join("site");
    for files_first in [true, false] {
        for (prefix, path) in [("/", "/"), ("/static", "/static"), ("/static/", "/static/")] {
            let server = TestServer::start(|builder| {
                let builder = if files_first { builder.files(prefix, folder.clone()) } else { builder };
                let builder = builder.page(path, Page::text("mine")).fallback(Scripted::echo().0);
                if files_first { builder } else { builder.files(prefix, folder.clone()) }
            });
            assert_eq!(get(&server, path).text(), "mine", "{prefix}, first: {files_first}");
            let file = format!("{}/app.js", prefix.trim_end_matches('/'));
            assert_eq!(get(&server, &file).text(), "let it = 1;");
        }
    }
}

#[track_caller]
fn build_error(files: Files) -> String {
    let built = Server::builder().listen("127.0.0.1:0").files("/", files).build();
    built.expect_err("it cannot be served").to_string()
}

#[test]
fn a_folder_that_cannot_be_served_is_an_error_that_names_it() {
    let site = site();
    let folder = site.path().join("site");
    assert!(build_error(Files::new(site.path().join("nowhere"))).contains("nowhere"));
    assert!(build_error(Files::new(site.path().join("secret.txt"))).contains("secret.txt"));
    // "secret" is left out, and counts nothing.
    let sum = "start|let it = 1;|{}|model|read me|blank|contact|below|page|store|deep".replace('|', "").len()
        as u64;
    let error = build_error(Files::new(&folder).with_limit(sum - 1));
    assert!(error.contains(&format!("more than {} bytes", sum - 1)), "{error}");
    Server::builder().listen("127.0.0.1:0").files("/", Files::new(&folder).with_limit(sum)).build().unwrap();
    let unlimited = Files::new(&folder).with_limit(u64::MAX);
    Server::builder().listen("127.0.0.1:0").files("/", unlimited).build().unwrap();
    for prefix in ["static", "/{x}", "/{*x}"] {
        let built = Server::builder().listen("127.0.0.1:0").files(prefix, folder.clone()).build();
        assert!(built.is_err(), "{prefix}");
    }
}

#[cfg(unix)]
#[test]
fn links_lead_to_what_is_in_the_folder_and_nowhere_else() {
    use std::os::unix::fs::symlink;

    let site = site();
    let folder = site.path().join("site");
    symlink("app.js", folder.join("linked.js")).unwrap();
    symlink("sub", folder.join("other")).unwrap();
    symlink(folder.join("README"), folder.join("absolute.txt")).unwrap();
    let server = serve("/", &site);
    assert_eq!(get(&server, "/linked.js").text(), "let it = 1;");
    assert_eq!(get(&server, "/other/").text(), "below");
    assert_eq!(get(&server, "/absolute.txt").text(), "read me");

    for (link, target, why) in [
        ("out", "../secret.txt", "leads out"),
        ("up", "..", "leads out"),
        ("sub/again", "..", "in itself"),
        ("gone", "nothing", "gone"),
        ("loop", "loop", "loop"),
    ] {
        symlink(target, folder.join(link)).unwrap();
        let error = build_error(Files::new(&folder));
        // The folder has another name, too, by the link that is made above.
        let name = link.trim_start_matches("sub/");
        assert!(error.contains(why) && error.contains(name), "{link}: {error}");
        fs::remove_file(folder.join(link)).unwrap();
    }
    // Where the folder itself is a link, what it leads to is the folder.
    symlink(&folder, site.path().join("link")).unwrap();
    let server = TestServer::start(|builder| builder.files("/", site.path().join("link")));
    assert_eq!(get(&server, "/linked.js").text(), "let it = 1;");

    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    assert!(build_error(Files::new(&folder)).contains("neither a file nor a folder"));
}

#[test]
fn a_long_page_arrives_whole_while_others_are_served() {
    let octets: Vec<u8> = (0..12_u32 << 20).map(|at| (at / 251).to_le_bytes()[0]).collect();
    let page = Page::new(FieldValue::from_static("application/wasm"), octets.clone());
    let (scripted, _seen) = Scripted::echo();
    // Nobody who reads the page holds it: it is the server's.
    let limits = ServerLimits { memory: MemoryLimit::Bytes(1 << 20), ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).page("/", page).route("/ws", scripted));
    let mut other = server.open("/ws");
    let mut readers: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for reader in &mut readers {
        reader.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    other.send_text("between");
    other.expect_text("between");
    for reader in &mut readers {
        assert!(read(reader).body == octets);
        reader.expect_end();
    }
    assert_eq!(server.handle().stats().memory.ended, 0);
}
