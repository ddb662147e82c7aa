//! What an address of the registry is about.

/// What of a repository a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A blob, by its digest.
    Blob(String),
    /// Where uploads begin.
    Uploads,
    /// An upload that has begun, by its id.
    Upload(String),
    /// A manifest, by its tag or digest.
    Manifest(String),
    Tags,
}

/// The repository and the target of a path below `/v2/`. A repository's name may have slashes.
pub(super) fn parse(path: &str) -> Option<(String, Target)> {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let (name, target) = match parts.as_slice() {
        [name @ .., "blobs", "uploads"] => (name, Target::Uploads),
        [name @ .., "blobs", "uploads", id] => (name, Target::Upload((*id).to_owned())),
        [name @ .., "blobs", digest] => (name, Target::Blob((*digest).to_owned())),
        [name @ .., "manifests", reference] => (name, Target::Manifest((*reference).to_owned())),
        [name @ .., "tags", "list"] => (name, Target::Tags),
        _ => return None,
    };
    let name = name.join("/");
    (!name.is_empty()).then_some((name, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_repository_and_what_of_it() {
        let target = |path: &str| parse(path).unwrap();
        let named = |name: &str, target| (name.to_owned(), target);
        let text = str::to_owned;
        for (path, expected) in [
            ("demo/blobs/uploads/", named("demo", Target::Uploads)),
            ("demo/blobs/uploads", named("demo", Target::Uploads)),
            (
                "a/b/blobs/uploads/1",
                named("a/b", Target::Upload(text("1"))),
            ),
            (
                "a/b/blobs/sha256:0",
                named("a/b", Target::Blob(text("sha256:0"))),
            ),
            (
                "demo/manifests/v1",
                named("demo", Target::Manifest(text("v1"))),
            ),
            (
                "blobs/manifests/v1",
                named("blobs", Target::Manifest(text("v1"))),
            ),
            ("demo/tags/list", named("demo", Target::Tags)),
        ] {
            assert_eq!(target(path), expected, "{path}");
        }
        for path in [
            "demo",
            "manifests/v1",
            "tags/list",
            "_catalog",
            "demo/referrers/x",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
