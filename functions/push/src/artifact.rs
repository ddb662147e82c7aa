//! What a repository holds beside images.

/// Signatures and attestations are kept beside their image under its digest, `sha256-` and 64
/// hexadecimal digits, with or without a suffix such as `.sig`
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>).
pub fn is_referrer(tag: &str) -> bool {
    tag.strip_prefix("sha256-")
        .and_then(|rest| rest.get(..64))
        .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A manifest of something else than an image, such as a Helm chart or a build's cache. Only where
/// the manifest is one of a single image does it say what an image's says; an index never does.
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
    fn a_tag_made_of_a_digest_is_that_of_something_about_an_image() {
        let digest = "0a".repeat(32);
        assert!(is_referrer(&format!("sha256-{digest}")));
        assert!(is_referrer(&format!("sha256-{digest}.sig")));
        assert!(!is_referrer("sha256-2222"));
        assert!(!is_referrer("v1"));
    }

    #[test]
    fn only_a_single_manifest_can_say_that_it_is_no_image() {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let index = "application/vnd.oci.image.index.v1+json";
        let helm = "application/vnd.cncf.helm.config.v1+json";
        assert!(is_other_artifact(manifest, helm));
        assert!(!is_other_artifact(index, helm));
        assert!(!is_other_artifact(manifest, ""));
        assert!(!is_other_artifact(
            manifest,
            "application/vnd.oci.image.config.v1+json"
        ));
    }
}
