//! What each file names, and which file defines it.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, Meta, Stmt, Type, UseTree, Visibility};

use super::graph::Graph;
use super::source::{Module, Sources, attributes, is_for_tests};

/// Which files of a crate depend on which.
pub(super) fn dependencies(sources: &Sources) -> Graph {
    let names = Names::of(sources);
    let mut graph = Graph::default();
    for number in 0..sources.modules.len() {
        let mut walk = Walk { names: &names, module: number, found: BTreeSet::new(), in_body: false };
        for item in &sources.modules[number].items {
            walk.visit_item(item);
        }
        let continued = names.continued_parent(number);
        for (file, item) in walk.found {
            if Some(file) != continued {
                graph.add(sources.modules[number].file, file, &item);
            }
        }
    }
    graph
}

/// What a name stands for in a module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    Module(usize),
    /// An item that is defined in the module itself.
    Item,
    /// What a `use` brings in, by its path.
    Import(Vec<String>),
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Module(usize),
    Item(Definition),
}

/// The file that defines an item, and the item's name.
type Definition = (usize, String);

/// The names of a crate.
struct Names<'a> {
    modules: &'a [Module],
    /// For each module: its names. One can have two meanings: a type's and a function's, or one in
    /// each build.
    meanings: Vec<BTreeMap<String, Vec<Meaning>>>,
    /// For each module: the paths behind which it takes all names.
    globs: Vec<Vec<Vec<String>>>,
    /// The macros by example, which can be known without a path.
    macros: BTreeMap<String, Vec<usize>>,
}

impl<'a> Names<'a> {
    fn of(sources: &'a Sources) -> Self {
        let modules = sources.modules.as_slice();
        let count = modules.len();
        let mut names = Names {
            modules,
            meanings: vec![BTreeMap::new(); count],
            globs: vec![Vec::new(); count],
            macros: BTreeMap::new(),
        };
        for (number, module) in modules.iter().enumerate() {
            if let Some(parent) = module.parent {
                names.add(parent, &module.name, Meaning::Module(number));
            }
            for item in &module.items {
                names.add_item(number, item);
            }
        }
        names
    }

    fn add(&mut self, module: usize, name: &str, meaning: Meaning) {
        self.meanings[module].entry(name.to_owned()).or_default().push(meaning);
    }

    fn add_item(&mut self, module: usize, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                let Some(name) = &item.ident else { return };
                self.macros.entry(name.to_string()).or_default().push(self.modules[module].file);
                name
            }
            Item::Use(item) if item.leading_colon.is_none() => {
                for leaf in leaves(&item.tree) {
                    match leaf.name {
                        Some(name) => self.add(module, &name, Meaning::Import(leaf.path)),
                        None => self.globs[module].push(leaf.path),
                    }
                }
                return;
            }
            _ => return,
        };
        self.add(module, &name.to_string(), Meaning::Item);
    }

    /// The items of this crate that a path in a module names. Another crate's are none, and neither
    /// is a module by itself.
    fn defined(&self, module: usize, path: &[String]) -> BTreeSet<Definition> {
        let targets = self.resolve(module, path, &mut BTreeSet::new());
        targets
            .into_iter()
            .filter_map(|target| match target {
                Target::Item(definition) => Some(definition),
                Target::Module(_) => None,
            })
            .collect()
    }

    /// What a path in a module leads to. `seen` ends a circle of imports.
    fn resolve(
        &self,
        module: usize,
        path: &[String],
        seen: &mut BTreeSet<(usize, String)>,
    ) -> BTreeSet<Target> {
        let Some((first, rest)) = path.split_first() else { return BTreeSet::new() };
        let mut targets = match first.as_str() {
            "crate" => BTreeSet::from([Target::Module(0)]),
            "self" => BTreeSet::from([Target::Module(module)]),
            "super" => self.modules[module].parent.map(Target::Module).into_iter().collect(),
            name => self.look_up(module, name, seen),
        };
        for name in rest {
            let mut next = BTreeSet::new();
            let mut unknown = Vec::new();
            for target in targets {
                match target {
                    // The rest of the path is something of this item: a variant, a constant, a
                    // function.
                    Target::Item(_) => {
                        next.insert(target);
                    }
                    Target::Module(inner) if name == "super" => {
                        next.extend(self.modules[inner].parent.map(Target::Module));
                    }
                    Target::Module(inner) => {
                        let found = self.look_up(inner, name, seen);
                        if found.is_empty() {
                            unknown.push(inner);
                        }
                        next.extend(found);
                    }
                }
            }
            if next.is_empty() {
                next = unknown.into_iter().flat_map(|inner| self.made_by_macros(inner, name)).collect();
            }
            targets = next;
        }
        targets
    }

    /// What a name stands for in a module. Names that are brought in one by one go before those
    /// that come with `*`.
    fn look_up(&self, module: usize, name: &str, seen: &mut BTreeSet<(usize, String)>) -> BTreeSet<Target> {
        if !seen.insert((module, name.to_owned())) {
            return BTreeSet::new();
        }
        let mut targets = BTreeSet::new();
        for meaning in self.meanings[module].get(name).into_iter().flatten() {
            match meaning {
                Meaning::Module(inner) => {
                    targets.insert(Target::Module(*inner));
                }
                Meaning::Item => {
                    targets.insert(Target::Item((self.modules[module].file, name.to_owned())));
                }
                Meaning::Import(path) => targets.extend(self.resolve_import(module, name, path, seen)),
            }
        }
        if targets.is_empty() {
            for path in &self.globs[module] {
                for target in self.resolve(module, path, seen) {
                    if let Target::Module(inner) = target {
                        targets.extend(self.look_up(inner, name, seen));
                    }
                }
            }
        }
        seen.remove(&(module, name.to_owned()));
        targets
    }

    /// `use name::Other` or `use name` in a module that has nothing else of that name is about
    /// another crate.
    fn resolve_import(
        &self,
        module: usize,
        name: &str,
        path: &[String],
        seen: &mut BTreeSet<(usize, String)>,
    ) -> BTreeSet<Target> {
        if let [only] = path
            && only == name
            && let Some(files) = self.macros.get(name)
        {
            // `pub(crate) use commands;` behind `macro_rules! commands`.
            return files.iter().map(|&file| Target::Item((file, name.to_owned()))).collect();
        }
        self.resolve(module, path, seen)
    }

    /// A path leads into a module that has no item of this name: a macro makes it there, or it is
    /// an exported macro.
    fn made_by_macros(&self, module: usize, name: &str) -> Vec<Target> {
        let exported = self.macros.get(name).filter(|_| module == 0);
        let files = exported.cloned().unwrap_or_else(|| vec![self.modules[module].file]);
        files.into_iter().map(|file| Target::Item((file, name.to_owned()))).collect()
    }

    /// The file of the direct parent of a module's file, if the module has an `impl` block for a
    /// type that is defined there.
    fn continued_parent(&self, module: usize) -> Option<usize> {
        let file = self.modules[module].file;
        let in_file = self.modules.iter().enumerate().filter(|(_, other)| other.file == file);
        // The first module of a file is the file itself, the others are parts of it.
        let parent = in_file.clone().next()?.1.parent?;
        let parents_file = self.modules[parent].file;
        let continues = in_file.into_iter().any(|(number, other)| {
            other.items.iter().any(|item| {
                let Item::Impl(block) = item else { return false };
                let Type::Path(implemented) = block.self_ty.as_ref() else { return false };
                let defined = self.defined(number, &segments(&implemented.path));
                defined.iter().any(|(file, _)| *file == parents_file)
            })
        });
        continues.then_some(parents_file)
    }
}

/// One of the names that a `use` brings in.
struct Leaf {
    /// `None`: all names behind the path.
    name: Option<String>,
    path: Vec<String>,
}

fn leaves(tree: &UseTree) -> Vec<Leaf> {
    match tree {
        UseTree::Path(path) => {
            let mut below = leaves(&path.tree);
            for leaf in &mut below {
                leaf.path.insert(0, path.ident.to_string());
            }
            // `use a::{self}` brings in `a`.
            for leaf in &mut below {
                if leaf.path.len() == 2 && leaf.path[1] == "self" {
                    leaf.path.pop();
                    if leaf.name.as_deref() == Some("self") {
                        leaf.name = leaf.path.last().cloned();
                    }
                }
            }
            below
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            vec![Leaf { name: Some(name.clone()), path: vec![name] }]
        }
        UseTree::Rename(renamed) => {
            vec![Leaf { name: Some(renamed.rename.to_string()), path: vec![renamed.ident.to_string()] }]
        }
        UseTree::Glob(_) => vec![Leaf { name: None, path: Vec::new() }],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

fn segments(path: &syn::Path) -> Vec<String> {
    if path.leading_colon.is_some() {
        return Vec::new();
    }
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// A walk through the items of a module, that collects what they name.
struct Walk<'a> {
    names: &'a Names<'a>,
    module: usize,
    found: BTreeSet<Definition>,
    /// In a function: its `use` lines are its own.
    in_body: bool,
}

impl Walk<'_> {
    fn name(&mut self, path: &[String]) {
        self.found.extend(self.names.defined(self.module, path));
    }

    /// The paths in what a macro or an attribute is given. What it makes of them is not known: all
    /// that looks like a path is taken for one.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut follows_dot = false;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 || path.is_empty() {
                        self.name(&path);
                        path.clear();
                    }
                    // A field or a method is none of the module's names.
                    if !follows_dot {
                        path.push(name.to_string());
                    }
                    (colons, follows_dot) = (0, false);
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                TokenTree::Punct(sign) => {
                    self.name(&path);
                    path.clear();
                    (colons, follows_dot) = (0, sign.as_char() == '.');
                }
                TokenTree::Group(group) => {
                    self.name(&path);
                    path.clear();
                    (colons, follows_dot) = (0, false);
                    self.tokens(group.stream());
                }
                TokenTree::Literal(_) => {
                    self.name(&path);
                    path.clear();
                    (colons, follows_dot) = (0, false);
                }
            }
        }
        self.name(&path);
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_contents =
            self.names.modules[self.module].is_front && !matches!(item.vis, Visibility::Inherited);
        if is_contents || item.leading_colon.is_some() {
            return;
        }
        for leaf in leaves(&item.tree) {
            self.name(&leaf.path);
            // All names that a function takes from a module: which ones it uses is not looked at.
            if leaf.name.is_none() && self.in_body {
                for target in self.names.resolve(self.module, &leaf.path, &mut BTreeSet::new()) {
                    if let Target::Module(inner) = target {
                        self.found.insert((self.names.modules[inner].file, "*".to_owned()));
                    }
                }
            }
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let outer = std::mem::replace(&mut self.in_body, true);
        visit::visit_block(self, block);
        self.in_body = outer;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(&segments(path));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let path = segments(&call.path);
        // A call without a path can mean a macro that stands above, in any file.
        if let [name] = path.as_slice()
            && !self.names.meanings[self.module].contains_key(name)
        {
            let files = self.names.macros.get(name).into_iter().flatten();
            self.found.extend(files.map(|&file| (file, name.clone())));
        }
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let is_about_items = ["doc", "cfg", "cfg_attr", "allow", "expect", "warn", "deny", "forbid"]
            .iter()
            .all(|name| !attribute.path().is_ident(name));
        if is_about_items {
            match &attribute.meta {
                Meta::List(list) => self.tokens(list.tokens.clone()),
                Meta::NameValue(pair) => self.visit_expr(&pair.value),
                Meta::Path(_) => {}
            }
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes: &[Attribute] = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        let attributes: &[Attribute] = match item {
            syn::TraitItem::Const(item) => &item.attrs,
            syn::TraitItem::Fn(item) => &item.attrs,
            syn::TraitItem::Type(item) => &item.attrs,
            syn::TraitItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_for_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if !is_for_tests(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_for_tests(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !is_for_tests(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let attributes: &[Attribute] = match statement {
            Stmt::Local(local) => &local.attrs,
            Stmt::Macro(call) => &call.attrs,
            Stmt::Expr(Expr::Block(block), _) => &block.attrs,
            Stmt::Expr(Expr::Call(call), _) => &call.attrs,
            Stmt::Expr(Expr::MethodCall(call), _) => &call.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_stmt(self, statement);
        }
    }
}
