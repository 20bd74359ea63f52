//! The pages of types that the server and the clients re-export speak to users of each of the
//! crates: they name neither `Connection`, which only one of the crates has, nor paths of one crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const SERVER: &str = include_str!("../../server/src/lib.rs");
const CLIENT: &str = include_str!("../../client/src/lib.rs");
const TOKIO: &str = include_str!("../../tokio/src/lib.rs");

/// The names in the lists of a front page that re-export from `path`.
fn reexported<'a>(page: &'a str, path: &str) -> BTreeSet<&'a str> {
    let list = format!("pub use {path}::");
    let lists = page.split(list.as_str()).skip(1).filter_map(|rest| rest.split(';').next());
    let names = lists.flat_map(|list| list.split(['{', '}', ',']));
    names.map(str::trim).filter(|name| name.starts_with(char::is_uppercase)).collect()
}

/// The documentation of an item at the left margin, and of its parts, with the item's first line.
struct Item<'a> {
    head: &'a str,
    docs: Vec<&'a str>,
}

/// The items of a file that is formatted.
fn items(source: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut docs = Vec::new();
    let mut head = None;
    for line in source.lines() {
        if line.trim_start().starts_with("///") {
            docs.push(line);
        } else if head.is_none() && line.starts_with(|letter: char| letter.is_ascii_lowercase()) {
            head = Some(line);
        }
        if let Some(begun) = head
            && !line.starts_with(' ')
            && line.ends_with(['}', ';'])
        {
            items.push(Item { head: begun, docs: std::mem::take(&mut docs) });
            head = None;
        }
    }
    items
}

/// The type that an item defines, or gives methods to.
fn subject(head: &str) -> Option<&str> {
    let after = ["pub struct ", "pub enum ", "impl "].iter().find_map(|start| head.strip_prefix(start))?;
    after.split(|letter: char| !letter.is_alphanumeric()).next()
}

/// What a reader of another crate's page cannot use.
fn is_foreign(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches('/').trim_start();
    text.contains("Connection::") || text.starts_with("use framewright::")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What a reader of one client's page cannot use, if another client has written it.
fn is_of_one_client(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches('/').trim_start();
    text.contains("framewright_client")
        || text.contains("framewright_tokio")
        || text.contains("Options::")
        || text.starts_with("use framewright_driver::")
}

/// Checks the pages of these types, which are defined in a folder below `crates`.
fn check(names: &BTreeSet<&str>, folder: &str, is_foreign: fn(&str) -> bool) {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder), &mut paths);
    let mut defined = BTreeSet::new();
    let mut foreign = Vec::new();
    for path in &paths {
        let source = fs::read_to_string(path).expect("a file");
        for item in items(&source) {
            let Some(name) = subject(item.head).and_then(|name| names.get(name)) else { continue };
            if !item.head.starts_with("impl") {
                defined.insert(*name);
            }
            let lines = item.docs.iter().filter(|line| is_foreign(line));
            foreign.extend(lines.map(|line| format!("{}: {name}: {}", path.display(), line.trim())));
        }
    }
    assert_eq!(defined, *names, "each is found");
    assert!(foreign.is_empty(), "\n{}", foreign.join("\n"));
}

#[test]
fn pages_of_re_exported_types_fit_each_crate() {
    let names = [SERVER, CLIENT].map(|page| reexported(page, "framewright"));
    check(&names.into_iter().flatten().collect(), "framewright/src", is_foreign);
}

#[test]
fn pages_of_what_clients_share_fit_each_client() {
    let names = [CLIENT, TOKIO].map(|page| reexported(page, "framewright_driver::opening"));
    assert_eq!(names[0], names[1]);
    check(&names[0], "driver/src/opening", is_of_one_client);
}
