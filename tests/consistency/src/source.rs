use crate::{is_action, read, root};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::{Fields, Item, ItemEnum, ItemStruct};

/// A function: a folder of `functions/` that builds a program.
#[derive(Clone)]
pub struct Crate {
    /// The folder's name, such as `check-exit-code`.
    pub name: String,
}

/// All functions of the workspace.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn functions() -> Vec<Crate> {
    let folder = root().join("functions");
    let mut crates: Vec<Crate> = children(&folder)
        .into_iter()
        .filter(|path| path.join("src/main.rs").is_file())
        .filter_map(|path| {
            Some(Crate {
                name: path.file_name()?.to_str()?.to_owned(),
            })
        })
        .collect();
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!crates.is_empty(), "functions/ has no function");
    crates
}

impl Crate {
    /// The stem that resource, state and substitution share, such as `CheckExitCode`.
    #[must_use]
    pub fn stem(&self) -> String {
        self.name.split('-').map(capitalised).collect()
    }

    /// The names under which the function can fail: the variants of its `Failure`.
    ///
    /// # Panics
    /// Where the crate has not exactly one enum `Failure`.
    #[must_use]
    pub fn failures(&self) -> BTreeSet<String> {
        let found = enums(&format!("functions/{}/src", self.name), "Failure");
        assert_eq!(
            found.len(),
            1,
            "functions/{} has {} enums named Failure",
            self.name,
            found.len()
        );
        found[0]
            .variants
            .iter()
            .map(|variant| variant.ident.to_string())
            .collect()
    }

    /// The IAM actions that the function names where it asks AWS for something.
    #[must_use]
    pub fn actions(&self) -> BTreeSet<String> {
        actions_named_in(&format!("functions/{}", self.name))
    }

    /// The IAM actions that are named in the crates of the workspace that the function uses.
    #[must_use]
    pub fn actions_of_dependencies(&self) -> BTreeSet<String> {
        read(&format!("functions/{}/Cargo.toml", self.name))
            .lines()
            .filter_map(|line| line.strip_prefix("bluegreen-"))
            .filter_map(|line| Some(line.split_once('.')?.0))
            .flat_map(|name| actions_named_in(&format!("crates/{name}")))
            .collect()
    }

    /// The text of the function's README.
    #[must_use]
    pub fn readme(&self) -> String {
        read(&format!("functions/{}/README.md", self.name))
    }
}

/// The variants of a contract's enum as they stand in JSON.
///
/// # Panics
/// Where the contract has not exactly one such enum.
#[must_use]
pub fn contract_enum(name: &str) -> BTreeSet<String> {
    let found = enums("crates/contract/src", name);
    assert_eq!(
        found.len(),
        1,
        "the contract has {} enums named {name}",
        found.len()
    );
    found[0]
        .variants
        .iter()
        .map(|variant| uncapitalised(&variant.ident.to_string()))
        .collect()
}

/// The fields of a contract's struct as they stand in JSON.
///
/// # Panics
/// Where the contract has not exactly one such struct with named fields.
#[must_use]
pub fn contract_struct(name: &str) -> BTreeSet<String> {
    let found: Vec<ItemStruct> = items("crates/contract/src")
        .into_iter()
        .filter_map(|item| match item {
            Item::Struct(item) if item.ident == name => Some(item),
            _ => None,
        })
        .collect();
    assert_eq!(
        found.len(),
        1,
        "the contract has {} structs named {name}",
        found.len()
    );
    let Fields::Named(fields) = &found[0].fields else {
        panic!("the contract's {name} has no named fields");
    };
    fields
        .named
        .iter()
        .filter_map(|field| field.ident.as_ref())
        .map(|ident| camel_case(&ident.to_string()))
        .collect()
}

/// String literals of a crate's sources, tests left out, that are the name of an IAM action.
fn actions_named_in(folder: &str) -> BTreeSet<String> {
    sources(&root().join(folder).join("src"))
        .iter()
        .map(|path| text(path))
        .filter_map(|text| Some(text.split("#[cfg(test)]").next()?.to_owned()))
        .flat_map(|text| {
            let pieces = text.split('"').filter(|piece| is_action(piece));
            pieces.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn enums(folder: &str, name: &str) -> Vec<ItemEnum> {
    items(folder)
        .into_iter()
        .filter_map(|item| match item {
            Item::Enum(item) if item.ident == name => Some(item),
            _ => None,
        })
        .collect()
}

/// The top-level items of all sources below a folder.
fn items(folder: &str) -> Vec<Item> {
    sources(&root().join(folder))
        .iter()
        .flat_map(|path| parse(path))
        .collect()
}

fn parse(path: &Path) -> Vec<Item> {
    let file =
        syn::parse_file(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.items
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All sources below a folder but those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) =
        children(folder).into_iter().partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| sources(folder));
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !is_test(path))
        .chain(below)
        .collect()
}

fn is_test(path: &Path) -> bool {
    path.file_stem()
        .is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

fn children(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn uncapitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

fn camel_case(snake: &str) -> String {
    uncapitalised(&snake.split('_').map(capitalised).collect::<String>())
}
