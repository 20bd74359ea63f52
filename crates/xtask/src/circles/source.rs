//! The source of a crate: its files, parsed, and the modules that they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta, Token};

/// The files of a crate that are compiled into it, and their modules.
pub(super) struct Sources {
    /// By their paths below the crate's `src`.
    pub(super) files: Vec<String>,
    /// The first one is the crate's root. A parent stands before its children.
    pub(super) modules: Vec<Module>,
}

/// A module: a file, or a part of one.
pub(super) struct Module {
    /// Empty at the root.
    pub(super) name: String,
    pub(super) parent: Option<usize>,
    /// Among the files.
    pub(super) file: usize,
    /// Without what is for tests only, and without the modules.
    pub(super) items: Vec<Item>,
    /// Its file is a front: it declares modules that are other files.
    pub(super) is_front: bool,
}

impl Sources {
    /// Reads the crates whose roots are `lib.rs` and `main.rs` in this folder: a package can have
    /// both.
    ///
    /// # Errors
    /// If a file cannot be read or parsed, and if there is one that no `mod` leads to.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let (mut crates, mut reached) = (Vec::new(), BTreeSet::new());
        for root in ["lib.rs", "main.rs"].map(|name| folder.join(name)) {
            if root.is_file() {
                let sources = Sources { files: Vec::new(), modules: Vec::new() };
                let mut reader = Reader { folder, sources, reached };
                reader.file(&root, String::new(), None, true)?;
                crates.push(reader.sources);
                reached = reader.reached;
            }
        }
        ensure!(!crates.is_empty(), "{} has no lib.rs and no main.rs", folder.display());
        for file in rust_files(folder)? {
            ensure!(reached.contains(&file), "no `mod` leads to {}", file.display());
        }
        Ok(crates)
    }
}

/// All Rust files below a folder.
fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// A crate that is being read.
struct Reader<'a> {
    folder: &'a Path,
    sources: Sources,
    /// Also those that are for tests only.
    reached: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    /// Reads a file and those below it. What is for tests only is followed, so that it counts as
    /// reached, and forgotten.
    fn file(&mut self, path: &Path, name: String, parent: Option<usize>, counts: bool) -> anyhow::Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", path.display()))?;
        self.reached.insert(path.to_owned());
        let counts = counts && !is_for_tests(&parsed.attrs);
        let above = path.parent().unwrap_or(path);
        let is_root = parent.is_none();
        let is_mod_rs = is_root || path.file_name().is_some_and(|name| name == "mod.rs");
        let below = if is_mod_rs { above.to_owned() } else { path.with_extension("") };
        let file = self.sources.files.len();
        if counts {
            let shown = path.strip_prefix(self.folder).unwrap_or(path);
            self.sources.files.push(shown.to_string_lossy().into_owned());
        }
        let place = Place { file, is_front: is_mod_rs || declares_files(&parsed.items), above, below };
        self.module(&place, name, parent, parsed.items, counts)
    }

    /// Notes a module, and reads those that it declares.
    fn module(
        &mut self,
        place: &Place<'_>,
        name: String,
        parent: Option<usize>,
        items: Vec<Item>,
        counts: bool,
    ) -> anyhow::Result<()> {
        let (modules, items): (Vec<Item>, Vec<Item>) =
            items.into_iter().partition(|item| matches!(item, Item::Mod(_)));
        let number = self.sources.modules.len();
        if counts {
            let items = items.into_iter().filter(|item| !is_for_tests(attributes(item))).collect();
            let &Place { file, is_front, .. } = place;
            self.sources.modules.push(Module { name, parent, file, items, is_front });
        }
        for module in modules {
            let Item::Mod(module) = module else { continue };
            let counts = counts && !is_for_tests(&module.attrs);
            let name = module.ident.to_string();
            if let Some((_, items)) = module.content {
                let below = place.below.join(&name);
                let inner = Place { above: &below, below: below.clone(), ..*place };
                self.module(&inner, name, Some(number), items, counts)?;
                continue;
            }
            for file in declared_files(&name, &module.attrs, place) {
                self.file(&file, name.clone(), Some(number), counts)?;
            }
        }
        Ok(())
    }
}

/// Where the code of a module stands.
struct Place<'a> {
    file: usize,
    is_front: bool,
    /// The folder that a `path` attribute counts from.
    above: &'a Path,
    /// The folder of the modules that it declares.
    below: PathBuf,
}

/// The files that `mod name;` stands for: one, and one for each `cfg_attr` with a `path`.
fn declared_files(name: &str, attributes: &[Attribute], place: &Place<'_>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut is_moved = false;
    for attribute in attributes {
        if attribute.path().is_ident("path") {
            is_moved = true;
            files.extend(path_in(&attribute.meta).map(|path| place.above.join(path)));
        } else if attribute.path().is_ident("cfg_attr") {
            let nested = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
            let paths = nested.iter().flatten().filter_map(path_in);
            files.extend(paths.map(|path| place.above.join(path)));
        }
    }
    if !is_moved {
        let beside = place.below.join(format!("{name}.rs"));
        files.push(if beside.is_file() { beside } else { place.below.join(name).join("mod.rs") });
    }
    files
}

/// What `path = "..."` says.
fn path_in(meta: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = meta else { return None };
    match &pair.value {
        Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) if pair.path.is_ident("path") => Some(path.value()),
        _ => None,
    }
}

/// Whether some of the items are modules in files of their own.
fn declares_files(items: &[Item]) -> bool {
    items.iter().any(
        |item| matches!(item, Item::Mod(module) if module.content.is_none() && !is_for_tests(&module.attrs)),
    )
}

/// Whether code with these attributes is compiled for tests only.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Meta>().is_ok_and(|meta| demands_tests(&meta))
    })
}

/// Whether the condition of a `cfg` holds in tests only.
fn demands_tests(condition: &Meta) -> bool {
    let parts = |list: &syn::MetaList| {
        let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        parts.map(|parts| parts.iter().map(demands_tests).collect::<Vec<_>>()).unwrap_or_default()
    };
    match condition {
        Meta::Path(path) => path.is_ident("test") || path.is_ident("doctest"),
        Meta::List(list) if list.path.is_ident("all") => parts(list).contains(&true),
        Meta::List(list) if list.path.is_ident("any") => !parts(list).contains(&false),
        _ => false,
    }
}

/// The attributes of an item.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
