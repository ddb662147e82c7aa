//! What a search for lost pushes remembers for the next one. It is no release's: it stands beside the
//! stacks' items, under a key that is no stack's name.

use crate::Item;
use crate::attributes::{number, text};
use crate::transaction::{Attributes, Change, Condition, Effect, Transaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// No stack's name has a slash.
pub(crate) const SEARCHES: &str = "/searches";
/// Key of the item that says how far the last search has come.
pub(crate) const LAST: &str = "last";
/// How the keys of repositories' items begin.
const TAGS: &str = "tags#";

/// How far the last search has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The repository at which the next one begins; `None`: wherever it likes.
    pub next: Option<String>,
    /// When the last look at each repository began, RFC 3339.
    pub looked: BTreeMap<String, String>,
}

/// The tags of a repository, as the last look at it has found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenTags {
    /// How often it was written; 0: never, so that the rest says nothing.
    pub version: i64,
    /// What stands for each tag and its image, one behind the other.
    pub tags: String,
    /// The same of tags that the look before has found, and the last one has not.
    pub gone: String,
    /// When the oldest image was pushed whose tags are among them, RFC 3339; `None`: all are.
    pub since: Option<String>,
    /// Tags that were given to images which the repository had already, the newest first.
    pub moved: Vec<MovedTag>,
}

/// A tag that was given to an image after the image was pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedTag {
    pub tag: String,
    pub digest: String,
    /// When the last look began that has not seen it, RFC 3339.
    pub after: String,
    /// When the look began that has seen it first, RFC 3339.
    pub seen: String,
}

impl Search {
    pub(crate) fn from_item(item: &Item) -> Self {
        let looked = text(item, "looked").unwrap_or_default();
        Self {
            next: text(item, "next"),
            looked: serde_json::from_str(&looked).unwrap_or_default(),
        }
    }
}

impl SeenTags {
    pub(crate) fn from_item(item: &Item) -> Self {
        let moved = text(item, "moved").unwrap_or_default();
        Self {
            version: number(item, "version").unwrap_or_default(),
            tags: text(item, "tags").unwrap_or_default(),
            gone: text(item, "gone").unwrap_or_default(),
            since: text(item, "since"),
            moved: serde_json::from_str(&moved).unwrap_or_default(),
        }
    }

    /// Whether nobody has looked before.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.version == 0
    }
}

pub(crate) fn tags_of(repository: &str) -> String {
    format!("{TAGS}{repository}")
}

/// How far a search has come. What two searches write of it at once is the same but for seconds.
pub(crate) fn came_to(search: &Search) -> Transaction {
    let looked = serde_json::json!(search.looked).to_string();
    let attributes = Attributes::default().set("looked", looked);
    let attributes = or_remove(attributes, "next", search.next.as_deref());
    of_searches(LAST.to_owned(), vec![], attributes)
}

/// What is seen of a repository, if it still is as it was read: else another search has seen it
/// meanwhile.
pub(crate) fn sees(repository: &str, before: &SeenTags, seen: &SeenTags) -> Transaction {
    let version = (!before.is_first()).then_some(before.version);
    let unchanged = Condition::as_seen("version", version);
    let attributes = Attributes::default()
        .set("version", before.version + 1)
        .set("tags", seen.tags.as_str())
        .set("gone", seen.gone.as_str())
        .set("moved", serde_json::json!(seen.moved).to_string());
    let attributes = or_remove(attributes, "since", seen.since.as_deref());
    of_searches(tags_of(repository), vec![unchanged], attributes)
}

fn or_remove(attributes: Attributes, name: &'static str, value: Option<&str>) -> Attributes {
    match value {
        Some(value) => attributes.set(name, value),
        None => attributes.remove([name]),
    }
}

fn of_searches(item: String, conditions: Vec<Condition>, attributes: Attributes) -> Transaction {
    let change = Change {
        item,
        conditions,
        effect: Effect::Update(attributes),
    };
    Transaction {
        stack: SEARCHES.to_owned(),
        changes: vec![change],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn stored(memory: &Memory, key: &str) -> Option<Item> {
        memory.item(key).cloned()
    }

    #[test]
    fn what_a_search_remembers_is_what_the_next_one_reads() {
        let mut memory = Memory::default();
        let looked = [("team/web".to_owned(), "2026-01-01T00:00:00Z".to_owned())];
        let mut search = Search {
            next: Some("team/web".to_owned()),
            looked: looked.into(),
        };
        assert!(memory.write(&came_to(&search)));
        let read = |memory: &Memory| Search::from_item(&stored(memory, LAST).unwrap());
        assert_eq!(read(&memory), search);
        search.next = None;
        assert!(memory.write(&came_to(&search)));
        assert_eq!(read(&memory), search);
    }

    #[test]
    fn of_two_searches_that_have_read_the_same_only_one_writes_what_it_sees() {
        let mut memory = Memory::default();
        let moved = MovedTag {
            tag: "prod-5".to_owned(),
            digest: "sha256:5".to_owned(),
            after: "2026-01-01T11:55:00Z".to_owned(),
            seen: "2026-01-01T12:00:00Z".to_owned(),
        };
        let seen = SeenTags {
            version: 0,
            tags: "one".to_owned(),
            gone: "other".to_owned(),
            since: Some("2025-01-01T00:00:00Z".to_owned()),
            moved: vec![moved],
        };
        let never = SeenTags::default();
        assert!(never.is_first());
        assert!(memory.write(&sees("web", &never, &seen)));
        assert!(!memory.write(&sees("web", &never, &seen)));

        let read = SeenTags::from_item(&stored(&memory, &tags_of("web")).unwrap());
        assert!(!read.is_first());
        let read_back = SeenTags {
            version: 0,
            ..read.clone()
        };
        assert_eq!(read_back, seen);
        assert!(memory.write(&sees("web", &read, &never)));
        assert!(!memory.write(&sees("web", &read, &never)));
        let read = SeenTags::from_item(&stored(&memory, &tags_of("web")).unwrap());
        assert_eq!((read.tags.as_str(), read.since), ("", None));
    }
}
