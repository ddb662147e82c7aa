//! What a search had no time for.

use crate::repositories::Repository;

/// So many names stand in a sentence.
const NAMED: usize = 10;

#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    /// Repositories whose images could not be read in a repository's time.
    pub(crate) too_large: Vec<String>,
    /// Repositories that were left to the next search, which begins with the first.
    pub(crate) left: Vec<String>,
}

impl Unfinished {
    pub(crate) fn leave(&mut self, repositories: &[&Repository]) {
        let names = repositories
            .iter()
            .map(|repository| repository.name.clone());
        self.left.extend(names);
    }

    /// Sentences, with a space behind; nothing where all was finished.
    pub(crate) fn sentences(&self, repositories: usize) -> String {
        let mut sentences = String::new();
        if let Some(first) = self.left.first() {
            sentences.push_str(&format!(
                "The search for lost pushes has looked at {} of {repositories} repositories in its time, and not at {}. The next one begins with {first}. ",
                repositories - self.left.len() - self.too_large.len(),
                named(&self.left),
            ));
        }
        if !self.too_large.is_empty() {
            sentences.push_str(&format!(
                "The images of {} could not be read in the time that one repository has, so that a lost push there is not found: let a lifecycle policy delete images there. ",
                named(&self.too_large),
            ));
        }
        sentences
    }
}

fn named(names: &[String]) -> String {
    let named = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
