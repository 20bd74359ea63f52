use super::*;
use std::path::PathBuf;

/// The circles of a crate of these files: what `drawn` says of each, in one line.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder for scratch files");
    for (name, text) in files {
        let file: PathBuf = folder.path().join(name);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    let crates = source::Sources::read(folder.path()).expect("the crate can be read");
    let [sources] = &crates[..] else { panic!("one root") };
    let graph = names::dependencies(sources);
    let lines = |circle: Vec<usize>| {
        let drawn = drawn(&graph, &circle, &sources.files);
        drawn.lines().skip(1).map(str::trim).collect::<Vec<_>>().join("; ")
    };
    graph.circles().into_iter().map(lines).collect()
}

const ROOT: (&str, &str) = ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;");

#[test]
fn a_circle_by_use() {
    let a = ("a.rs", "use crate::b::B; pub struct A(B);");
    let b = ("b.rs", "use crate::a::{A as Other}; pub struct B; fn f(_: Other) {}");
    assert_eq!(circles_of(&[ROOT, a, b]), ["a.rs names B of b.rs; b.rs names A of a.rs"]);
    assert!(circles_of(&[ROOT, a, ("b.rs", "pub struct B;")]).is_empty());
}

#[test]
fn a_circle_by_path() {
    let a = ("a.rs", "pub struct A(super::b::B);");
    let b = ("b.rs", "use crate::a; pub struct B; fn f() -> usize { size_of::<a::A>() }");
    assert_eq!(circles_of(&[ROOT, a, b]), ["a.rs names B of b.rs; b.rs names A of a.rs"]);
}

#[test]
fn a_circle_through_a_re_export() {
    let a = ("a.rs", "pub struct A(crate::B);");
    let b = ("b.rs", "use super::A; pub struct B; fn f(_: A) {}");
    assert_eq!(circles_of(&[ROOT, a, b]), ["a.rs names B of b.rs; b.rs names A of a.rs"]);
}

#[test]
fn a_circle_through_all_names_of_a_module() {
    let a = ("a.rs", "use crate::b::*; pub struct A(B);");
    let b = ("b.rs", "use super::A; pub struct B; fn f(_: A) {}");
    assert_eq!(circles_of(&[ROOT, a, b]), ["a.rs names B of b.rs; b.rs names A of a.rs"]);
}

#[test]
fn a_circle_by_what_macros_are_given_and_by_macros() {
    let a = (
        "a.rs",
        "macro_rules! twice { ($x:expr) => { ($x, $x) } } pub(crate) use twice; pub struct A; fn f() { vec![crate::b::B]; }",
    );
    let b = ("b.rs", "use crate::a::twice; pub struct B; fn f() { twice!(1); }");
    assert_eq!(circles_of(&[ROOT, a, b]), ["a.rs names B of b.rs; b.rs names twice of a.rs"]);
    let root = ("lib.rs", "#[macro_use] mod a; mod b;");
    let b = ("b.rs", "pub struct B; fn f() { twice!(1); }");
    assert_eq!(circles_of(&[root, a, b]), ["a.rs names B of b.rs; b.rs names twice of a.rs"]);
}

#[test]
fn what_a_macro_makes_counts_as_its_files() {
    let a = ("a.rs", "codes! { A = 1 } use crate::b::B; fn f(_: B) {}");
    let b = ("b.rs", "use crate::a::A; pub struct B; fn f(_: A) {}");
    assert_eq!(circles_of(&[ROOT, a, b]), ["a.rs names B of b.rs; b.rs names A of a.rs"]);
}

#[test]
fn tests_and_comments_do_not_count() {
    let a = ("a.rs", "use crate::b::B; pub struct A(B);");
    for b in [
        "pub struct B; #[cfg(test)] use crate::a::A;",
        "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }",
        "pub struct B; #[cfg(test)] mod tests;",
        "pub struct B; #[cfg(all(test, unix))] fn f(_: crate::a::A) {}",
        "pub struct B; impl B { #[cfg(test)] fn f(_: crate::a::A) {} }",
        "pub struct B { #[cfg(test)] a: Option<Box<crate::a::A>> }",
        "pub struct B; fn f() { #[cfg(test)] let a: crate::a::A; }",
        "/// See [`A`](crate::a::A).\n///\n/// ```\n/// use crate::a::A;\n/// ```\npub struct B; // crate::a::A",
    ] {
        let files = [ROOT, a, ("b.rs", b), ("b/tests.rs", "use crate::a::A;")];
        let files = if b.contains("mod tests;") { &files[..] } else { &files[..3] };
        assert!(circles_of(files).is_empty(), "{b}");
    }
    let b = (
        "b.rs",
        "pub struct B; #[cfg(any(test, unix))] use crate::a::A; #[cfg(not(test))] use crate::a::A as C;",
    );
    assert_eq!(circles_of(&[ROOT, a, b]).len(), 1);
}

#[test]
fn modules_by_themselves_and_names_of_other_crates_do_not_count() {
    let a = ("a.rs", "use crate::b; pub struct A; fn f() { b::B; }");
    let b = (
        "b.rs",
        "use super::a; use ::a::A; use std::fmt; pub struct B; fn f(b: other::a::A) -> fmt::Result { b.a }",
    );
    assert!(circles_of(&[ROOT, a, b]).is_empty());
}

const CHILD: (&str, &str) =
    ("parent/child.rs", "use super::Parent; pub struct Part; impl Parent { fn f(&self) {} }");

#[test]
fn a_child_may_continue_its_direct_parent() {
    let root = ("lib.rs", "pub mod parent;");
    let parent =
        ("parent/mod.rs", "mod child; use child::Part; pub struct Parent(Part); const LIMIT: u8 = 1;");
    assert!(circles_of(&[root, parent, CHILD]).is_empty());
    // A file beside the folder is a parent as well, and a trait can be what continues it.
    let parent = ("parent.rs", parent.1);
    let child = (
        "parent/child.rs",
        "use super::*; pub struct Part; impl Drop for Parent { fn drop(&mut self) { LIMIT; } }",
    );
    assert!(circles_of(&[root, parent, child]).is_empty());
}

#[test]
fn a_child_that_only_uses_its_parent_does_not_continue_it() {
    let root = ("lib.rs", "pub mod parent;");
    let parent = ("parent/mod.rs", "mod child; use child::Part; pub struct Parent(Part);");
    let child = ("parent/child.rs", "use super::Parent; pub struct Part; fn f(_: Parent) {}");
    let expected =
        ["parent/mod.rs names Part of parent/child.rs; parent/child.rs names Parent of parent/mod.rs"];
    assert_eq!(circles_of(&[root, parent, child]), expected);
}

#[test]
fn a_grandchild_does_not_continue_its_grandparent() {
    let root = ("lib.rs", "pub mod parent;");
    let parent = ("parent/mod.rs", "mod child; use child::Part; pub struct Parent(Part);");
    let child = ("parent/child/mod.rs", "mod grand; pub use grand::Part;");
    let grand = ("parent/child/grand.rs", "use crate::parent::Parent; pub struct Part; impl Parent {}");
    let expected = [
        "parent/mod.rs names Part of parent/child/grand.rs; parent/child/grand.rs names Parent of parent/mod.rs",
    ];
    assert_eq!(circles_of(&[root, parent, child, grand]), expected);
}

#[test]
fn siblings_are_no_parents() {
    let root = ("lib.rs", "pub mod parent;");
    let parent = ("parent/mod.rs", "mod child; mod other; pub struct Parent;");
    let other = ("parent/other.rs", "use super::child::Part; pub fn f(_: Part) {}");
    let child =
        ("parent/child.rs", "use super::Parent; use super::other::f; pub struct Part; impl Parent {}");
    let expected =
        ["parent/child.rs names f of parent/other.rs; parent/other.rs names Part of parent/child.rs"];
    assert_eq!(circles_of(&[root, parent, other, child]), expected);
}

#[test]
fn a_circle_of_three_files() {
    let root = ("main.rs", "mod a; mod b; mod c; fn main() {}");
    let a = ("a.rs", "use crate::b::B; pub struct A(B);");
    let b = ("b.rs", "use crate::c::C; pub struct B(C);");
    let c = ("c.rs", "pub enum C { A(Box<crate::a::A>) }");
    assert_eq!(
        circles_of(&[root, a, b, c]),
        ["a.rs names B of b.rs; b.rs names C of c.rs; c.rs names A of a.rs"]
    );
}

#[test]
fn a_file_in_the_place_of_another_counts_too() {
    let root = ("lib.rs", "mod a; #[cfg_attr(not(unix), path = \"other.rs\")] mod b;");
    let a = ("a.rs", "use crate::b::B; pub struct A(B);");
    let b = ("b.rs", "pub struct B;");
    let other = ("other.rs", "pub struct B(Box<crate::a::A>);");
    assert_eq!(circles_of(&[root, a, b, other]), ["a.rs names B of other.rs; other.rs names A of a.rs"]);
}

#[test]
fn a_file_that_no_mod_leads_to_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder for scratch files");
    let read = || {
        source::Sources::read(folder.path())
            .map(|crates| crates.into_iter().flat_map(|sources| sources.files).collect::<Vec<_>>())
    };
    assert!(read().is_err());
    fs::write(folder.path().join("lib.rs"), "").expect("a file");
    assert_eq!(read().expect("a crate of one file"), ["lib.rs"]);
    fs::write(folder.path().join("forgotten.rs"), "").expect("a file");
    assert!(read().is_err());
    fs::write(folder.path().join("lib.rs"), "mod missing; mod forgotten;").expect("a file");
    assert!(read().is_err());
}

#[test]
fn a_crate_that_is_missing_or_not_listed_is_an_error() {
    let known: BTreeSet<String> = CRATES.into_iter().map(str::to_owned).collect();
    assert!(check_names(&known).is_ok());
    let mut more = known.clone();
    more.insert("another".to_owned());
    assert!(check_names(&more).is_err());
    let mut fewer = known;
    fewer.remove("simd");
    assert!(check_names(&fewer).is_err());
}
