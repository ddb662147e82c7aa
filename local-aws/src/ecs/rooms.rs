//! Holds the rooms of ECS to what `mod.rs` says of them. It reads the files, because Rust's own
//! visibility cannot say "by the rooms above only".

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The lowest first. A room uses itself and those before it.
const ROOMS: [&str; 4] = ["model", "rules", "life", "api"];

/// A file of a room, without its tests and comments: these may look at ECS as a whole.
struct Source {
    /// Such as `["rules", "route"]`; a room's `mod.rs` is the room itself.
    module: Vec<String>,
    code: String,
}

impl Source {
    fn name(&self) -> String {
        self.module.join("::")
    }

    fn height(&self) -> usize {
        height(&self.module[0]).unwrap()
    }

    /// The paths within ECS that the file names, each from the rooms on.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        for (start, _) in self.code.match_indices("crate::ecs::") {
            expand(&self.code[start + "crate::ecs::".len()..], &[], &mut found);
        }
        for (start, _) in self.code.match_indices("super::") {
            if self.code[..start].ends_with("super::") {
                continue;
            }
            let mut rest = &self.code[start..];
            let mut module = self.module.as_slice();
            while let Some(shorter) = rest.strip_prefix("super::") {
                rest = shorter;
                // A file that leaves ECS altogether names no room, and is found for that.
                module = module.split_last().map_or(&[], |(_, parents)| parents);
            }
            expand(rest, module, &mut found);
        }
        found
    }

    /// The blocks `impl Type`, each with the type's name.
    fn impls(&self) -> Vec<(&str, &str)> {
        let blocks = self.code.split("\nimpl").skip(1).filter_map(|block| {
            let block = block.split_once("\n}").map_or(block, |(block, _)| block);
            let (head, _) = block.split_once('{')?;
            let (_, name) = head.split_once(' ')?;
            let end = name.find(|c: char| !is_of_name(c)).unwrap_or(name.len());
            (!head.contains(" for ")).then_some((&name[..end], block))
        });
        blocks.collect()
    }

    fn declares(&self, name: &str) -> bool {
        let mut items = ["struct", "enum"].into_iter();
        items.any(|item| {
            let declaration = format!("{item} {name}");
            let mut places = self.code.match_indices(&declaration);
            places.any(|(start, _)| {
                let next = self.code[start + declaration.len()..].chars().next();
                next.is_none_or(|next| !is_of_name(next))
            })
        })
    }
}

fn height(room: &str) -> Option<usize> {
    ROOMS.iter().position(|one| *one == room)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads what stands behind a path's beginning: `name`, `name::…`, or `{…, …}`. Answers what is
/// left of the text.
fn expand<'a>(text: &'a str, start: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if rest.is_empty() || rest.starts_with('}') {
                return rest.strip_prefix('}').unwrap_or(rest);
            }
            rest = expand(rest, start, found);
        }
    }
    let end = text.find(|c: char| !is_of_name(c) && c != '*');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let path = [start, &[name.to_owned()]].concat();
    match rest.strip_prefix("::") {
        Some(more) if !more.starts_with('<') => expand(more, &path, found),
        _ => {
            found.push(path);
            let separator = rest.find([',', '}', ';']).unwrap_or(rest.len());
            &rest[separator..]
        }
    }
}

/// The text without what is for tests, and without comments.
fn without_tests(text: &str) -> String {
    let mut parts = text.split("\n#[cfg(test)]\n");
    let mut code = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (item, end) = part.split_once('\n').unwrap_or((part, ""));
        let rest = match item.ends_with(';') {
            true => end,
            false => end.split_once("\n}").map_or("", |(_, rest)| rest),
        };
        code.push('\n');
        code.push_str(rest);
    }
    let lines = code.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    });
    files.collect()
}

fn sources() -> Vec<Source> {
    let ecs = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ecs");
    let files = ROOMS.iter().flat_map(|room| files(&ecs.join(room)));
    let files = files.filter(|file| !file.ends_with("tests.rs"));
    let sources = files.map(|file| {
        let path = file.strip_prefix(&ecs).unwrap().with_extension("");
        let parts = path.iter().map(|part| part.to_str().unwrap().to_owned());
        Source {
            module: parts.filter(|part| part != "mod").collect(),
            code: without_tests(&std::fs::read_to_string(&file).unwrap()),
        }
    });
    sources.collect()
}

/// The files that each file uses, by their modules.
fn uses(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<String> = sources.iter().map(Source::name).collect();
    let used = |source: &Source| {
        let paths = source.paths().into_iter();
        // The longest beginning of the path that is a file's module.
        let files = paths.filter_map(|path| {
            let mut starts = (1..=path.len()).rev().map(|end| path[..end].join("::"));
            starts.find(|start| modules.contains(start))
        });
        files.filter(|file| *file != source.name()).collect()
    };
    sources.iter().map(|one| (one.name(), used(one))).collect()
}

#[test]
fn the_files_are_read_as_they_are_meant() {
    let sources = sources();
    let uses = uses(&sources);
    assert!(uses["api::services"].contains("rules::deploy"));
    assert!(uses["rules::rollout"].contains("rules::route"));
    assert!(uses["life::walk"].contains("model::walk"));
    let code = "use crate::ecs::life::{a, b::{self, C as D}};\nfn f() { super::g::<u8>() }";
    let source = Source {
        module: vec!["rules".to_owned(), "route".to_owned()],
        code: code.to_owned(),
    };
    let paths: Vec<String> = source.paths().iter().map(|path| path.join("::")).collect();
    let all = ["life::a", "life::b::self", "life::b::C", "rules::g"];
    assert_eq!(paths, all);
    let tested = "a\n#[cfg(test)]\nmod tests {\n    b\n}\n// c\n#[cfg(test)]\nmod d;\ne";
    assert_eq!(without_tests(tested).replace('\n', ""), "ae");
}

#[test]
fn every_arrow_between_rooms_points_downward() {
    for source in sources() {
        for path in source.paths() {
            let (from, to) = (source.name(), path.join("::"));
            let target = path.first().and_then(|room| height(room));
            let target = target.unwrap_or_else(|| panic!("{from} uses {to}, which is in no room"));
            assert!(
                target <= source.height(),
                "{from} uses {to}, which is above"
            );
        }
        // What could not be followed from here.
        for hidden in ["crate::{", "use crate::ecs;", "use crate::ecs as "] {
            let name = source.name();
            assert!(!source.code.contains(hidden), "{name}: name it by its room");
        }
    }
}

#[test]
fn no_files_use_one_another_in_a_circle() {
    let mut uses = uses(&sources());
    while !uses.is_empty() {
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        let used: BTreeSet<String> = uses.values().flatten().cloned().collect();
        // A circle leads neither through a file that uses none nor through one that none uses.
        uses.retain(|file, below| used.contains(file) && !below.is_disjoint(&left));
        let names = || uses.keys().cloned().collect::<Vec<_>>().join(", ");
        assert!(uses.len() < left.len(), "a circle among {}", names());
    }
}

/// The call of a method names no room. So whatever a room adds to a type of another one is seen in
/// that room alone, or belongs to what ECS offers to others.
#[test]
fn what_a_room_adds_to_a_type_of_another_stays_within_the_room() {
    let sources = sources();
    for source in &sources {
        for (name, block) in source.impls() {
            let mut room = sources.iter().filter(|one| one.height() == source.height());
            let is_own = room.any(|one| one.declares(name));
            assert!(
                is_own || !block.contains("pub(in crate::ecs)"),
                "{} shows the whole of ECS what it adds to {name}",
                source.name()
            );
        }
    }
}
