//! What a repository holds beside images.

/// Signatures and attestations are kept beside their image under its digest, `sha256-` and 64
/// hexadecimal digits, with or without a suffix such as `.sig`
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>).
#[must_use]
pub fn is_referrer(tag: &str) -> bool {
    tag.strip_prefix("sha256-")
        .and_then(|rest| rest.get(..64))
        .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A manifest of something else than an image, such as a Helm chart or a build's cache. Only where
/// the manifest is one of a single image does it say what an image's says; an index never does.
#[must_use]
pub fn is_other_artifact(manifest: &str, artifact: &str) -> bool {
    let is_single = matches!(
        manifest,
        "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json"
    );
    let is_image = matches!(
        artifact,
        "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
    );
    is_single && !artifact.is_empty() && !is_image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_as_a_tag_is_a_referrer() {
        assert!(is_referrer(&format!("sha256-{}", "0a".repeat(32))));
        assert!(is_referrer(&format!("sha256-{}.sig", "0a".repeat(32))));
        assert!(!is_referrer("sha256-2222"));
        assert!(!is_referrer("v1"));
    }

    #[test]
    fn a_single_manifest_that_is_of_no_image_is_another_artifact() {
        let single = "application/vnd.oci.image.manifest.v1+json";
        let index = "application/vnd.oci.image.index.v1+json";
        let chart = "application/vnd.cncf.helm.config.v1+json";
        assert!(is_other_artifact(single, chart));
        assert!(!is_other_artifact(single, ""));
        assert!(!is_other_artifact(
            single,
            "application/vnd.oci.image.config.v1+json"
        ));
        assert!(!is_other_artifact(index, index));
    }
}
