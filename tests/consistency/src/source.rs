use crate::{is_action, read, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{
    Attribute, Expr, Fields, GenericArgument, Item, ItemEnum, ItemStruct, Lit, PathArguments, Type,
};

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

    /// The IAM actions that are named in the crates of the workspace that the function uses, and in
    /// those that they use.
    #[must_use]
    pub fn actions_of_dependencies(&self) -> BTreeSet<String> {
        self.dependencies()
            .iter()
            .flat_map(|name| actions_named_in(&format!("crates/{name}")))
            .collect()
    }

    /// The folders of `crates/` that the function uses, and those that they use.
    fn dependencies(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut manifests = vec![format!("functions/{}/Cargo.toml", self.name)];
        while let Some(manifest) = manifests.pop() {
            for name in dependencies(&read(&manifest)) {
                if found.insert(name.clone()) {
                    manifests.push(format!("crates/{name}/Cargo.toml"));
                }
            }
        }
        found
    }

    /// The string literals of the function's sources, tests left out.
    #[must_use]
    pub fn texts(&self) -> BTreeSet<String> {
        literals_in(&format!("functions/{}", self.name))
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

/// The contract's structs.
pub struct Contract {
    structs: Vec<ItemStruct>,
}

impl Contract {
    /// # Panics
    /// Where the contract can not be read.
    #[must_use]
    pub fn load() -> Self {
        let structs = items("crates/contract/src")
            .into_iter()
            .filter_map(|item| match item {
                Item::Struct(item) => Some(item),
                _ => None,
            })
            .collect();
        Contract { structs }
    }

    /// By their names in JSON, the fields of a struct and what they hold: of an `Option<_>` or a
    /// `Box<_>` what is in it. None where there is no such struct.
    #[must_use]
    pub fn fields(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let found = self.structs.iter().find(|it| it.ident == name)?;
        let Fields::Named(fields) = &found.fields else {
            return None;
        };
        let named = fields.named.iter().filter_map(|field| {
            let ident = field.ident.as_ref()?.to_string();
            let own = renamed(&field.attrs).unwrap_or_else(|| camel_case(&ident));
            Some((own, held(&field.ty)))
        });
        Some(named.collect())
    }

    /// What `path` holds, which starts in a struct, e.g. `Plan` and `release.stack`.
    ///
    /// # Errors
    /// A sentence, where a part of the path is not there.
    pub fn resolve(&self, start: &str, path: &[&str]) -> Result<String, String> {
        path.iter().try_fold(start.to_owned(), |holder, part| {
            let fields = self
                .fields(&holder)
                .ok_or_else(|| format!("{holder} is no struct and has no {part}"))?;
            let found = fields.get(*part);
            found
                .cloned()
                .ok_or_else(|| format!("{holder} has no {part}"))
        })
    }

    /// The struct that says of itself to be the answer of a function.
    ///
    /// # Panics
    /// Where there is not exactly one.
    #[must_use]
    pub fn answer_of(&self, function: &str) -> String {
        self.told("Answer of", function)
    }

    /// The struct that says of itself to be the input of a function.
    ///
    /// # Panics
    /// Where there is not exactly one.
    #[must_use]
    pub fn input_of(&self, function: &str) -> String {
        self.told("Input of", function)
    }

    fn told(&self, what: &str, function: &str) -> String {
        let named = format!("`{function}`");
        let found: Vec<String> = self
            .structs
            .iter()
            .filter(|it| {
                let first = documentation(&it.attrs).into_iter().next();
                first.is_some_and(|line| line.trim().starts_with(what) && line.contains(&named))
            })
            .map(|it| it.ident.to_string())
            .collect();
        assert_eq!(found.len(), 1, "{what} {function}: {found:?}");
        found.concat()
    }
}

/// The lines of an item's documentation.
fn documentation(attributes: &[Attribute]) -> Vec<String> {
    let texts = attributes.iter().filter_map(|attribute| {
        let value = &attribute.meta.require_name_value().ok()?.value;
        if !attribute.path().is_ident("doc") {
            return None;
        }
        string_literal(value)
    });
    texts.collect()
}

/// What `#[serde(rename = "…")]` says.
fn renamed(attributes: &[Attribute]) -> Option<String> {
    let serde = attributes.iter().filter(|it| it.path().is_ident("serde"));
    let tokens = serde.filter_map(|it| Some(it.meta.require_list().ok()?.tokens.to_string()));
    tokens
        .filter_map(|text| {
            let (_, rest) = text.split_once("rename = \"")?;
            Some(rest.split_once('"')?.0.to_owned())
        })
        .next()
}

fn string_literal(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// The type within an `Option<_>` or a `Box<_>`; of any other the type itself, without its generics'
/// spaces.
fn held(kind: &Type) -> String {
    let Type::Path(path) = kind else {
        return String::new();
    };
    let Some(last) = path.path.segments.last() else {
        return String::new();
    };
    let inner: Vec<String> = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => arguments
            .args
            .iter()
            .map(|argument| match argument {
                GenericArgument::Type(kind) => held(kind),
                _ => String::new(),
            })
            .collect(),
        _ => Vec::new(),
    };
    match (last.ident.to_string().as_str(), inner.as_slice()) {
        ("Option" | "Box", [one]) => one.clone(),
        (name, []) => name.to_owned(),
        (name, many) => format!("{name}<{}>", many.join(",")),
    }
}

/// The names behind `bluegreen-` under `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("bluegreen-"))
        .filter_map(|line| Some(line.split(['.', ' ']).next()?.to_owned()))
        .collect()
}

/// String literals of a crate's sources, tests left out, that are the name of an IAM action.
fn actions_named_in(folder: &str) -> BTreeSet<String> {
    let texts = literals_in(folder).into_iter();
    texts.filter(|text| is_action(text)).collect()
}

/// What stands between quotes in a crate's sources, tests left out.
fn literals_in(folder: &str) -> BTreeSet<String> {
    sources(&root().join(folder).join("src"))
        .iter()
        .map(|path| text(path))
        .filter_map(|text| Some(text.split("#[cfg(test)]").next()?.to_owned()))
        .flat_map(|text| {
            let pieces = text.split('"').map(str::to_owned);
            pieces.collect::<Vec<_>>()
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
