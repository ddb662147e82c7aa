//! References to images in ECR.

/// A parsed reference to an image in a private ECR repository:
/// `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY[:TAG][@DIGEST]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EcrImage<'a> {
    /// The registry's host name as it is written.
    pub registry: &'a str,
    pub account: &'a str,
    pub region: &'a str,
    /// May contain slashes.
    pub repository: &'a str,
    pub tag: Option<&'a str>,
    /// With its algorithm, `sha256:…`.
    pub digest: Option<&'a str>,
}

impl<'a> EcrImage<'a> {
    /// `None` where the image is not in a private ECR repository.
    pub fn parse(reference: &'a str) -> Option<Self> {
        let (registry, rest) = reference.split_once('/')?;
        let (account, region) = account_and_region(registry)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        // The registry, and with it any port, is split off: a colon that is left starts a tag.
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        (!repository.is_empty()).then_some(EcrImage {
            registry,
            account,
            region,
            repository,
            tag,
            digest,
        })
    }

    /// Checks that `reference` is what a release runs: an image of the ECR repository, by digest.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn check_release(reference: &str, repository: &str) -> Result<(), String> {
        match EcrImage::parse(reference) {
            Some(image) if image.digest.is_none() => Err(format!("`{reference}` names no digest")),
            Some(image) if image.repository == repository => Ok(()),
            _ => Err(format!(
                "`{reference}` is not an image of the ECR repository `{repository}`"
            )),
        }
    }

    /// The same repository of the same account and region, however the registry is spelt.
    pub fn is_same_repository(&self, other: &EcrImage<'_>) -> bool {
        (self.account, self.region, self.repository)
            == (other.account, other.region, other.repository)
    }

    /// `registry/repository@digest`.
    pub fn pinned_to(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.registry, self.repository)
    }
}

/// The spellings of a registry's host
/// (<https://docs.aws.amazon.com/general/latest/gr/ecr.html>): the usual one, FIPS, and dual stack;
/// the domain after the region differs between partitions.
fn account_and_region(registry: &str) -> Option<(&str, &str)> {
    let host = registry.split_once(':').map_or(registry, |(host, _)| host);
    let (account, rest) = host.split_once('.')?;
    let rest = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."]
        .iter()
        .find_map(|service| rest.strip_prefix(service))?;
    let (region, domain) = rest.split_once('.')?;
    let is_account = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
    (is_account && !region.is_empty() && !domain.is_empty()).then_some((account, region))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

    #[test]
    fn tag_and_digest_are_told_apart() {
        let digest = "sha256:abc";
        for (suffix, tag, expected) in [
            ("", None, None),
            (":v1", Some("v1"), None),
            ("@sha256:abc", None, Some(digest)),
            (":v1@sha256:abc", Some("v1"), Some(digest)),
        ] {
            let reference = format!("{HOST}/team/web{suffix}");
            let image = EcrImage::parse(&reference).unwrap();
            assert_eq!(image.repository, "team/web");
            assert_eq!((image.tag, image.digest), (tag, expected), "{reference}");
            assert_eq!((image.account, image.region), ("123456789012", "us-east-1"));
        }
    }

    #[test]
    fn every_partition_and_spelling_of_the_registry_is_known() {
        for (host, region) in [
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
            ),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
            (
                "123456789012.dkr.ecr.us-east-1.amazonaws.com:443",
                "us-east-1",
            ),
        ] {
            let reference = format!("{host}/web:v1");
            let image = EcrImage::parse(&reference).unwrap();
            assert_eq!((image.registry, image.region), (host, region));
        }
    }

    #[test]
    fn other_registries_are_not_ecr() {
        for reference in [
            "nginx",
            "nginx:1.27",
            "public.ecr.aws/nginx/nginx:1.27",
            "ghcr.io/acme/web:v1",
            "localhost:5000/web",
            "1234.dkr.ecr.us-east-1.amazonaws.com/web",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/",
            "123456789012.dkr.ecr.us-east-1/web",
        ] {
            assert_eq!(EcrImage::parse(reference), None, "{reference}");
        }
    }

    #[test]
    fn the_same_repository_name_elsewhere_is_another_repository() {
        let here = format!("{HOST}/web:v1");
        let here = EcrImage::parse(&here).unwrap();
        let dual_stack = "123456789012.dkr-ecr.us-east-1.on.aws/web@sha256:abc";
        assert!(here.is_same_repository(&EcrImage::parse(dual_stack).unwrap()));
        for other in [
            "210987654321.dkr.ecr.us-east-1.amazonaws.com/web:v1",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:v1",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/web-extra:v1",
        ] {
            assert!(!here.is_same_repository(&EcrImage::parse(other).unwrap()));
        }
    }

    #[test]
    fn a_release_is_an_image_of_its_repository_by_digest() {
        let check = |suffix: &str, repository: &str| {
            EcrImage::check_release(&format!("{HOST}/{suffix}"), repository)
        };
        assert_eq!(check("web@sha256:abc", "web"), Ok(()));
        assert!(check("web:v1", "web").unwrap_err().contains("digest"));
        assert!(
            check("web@sha256:abc", "demo")
                .unwrap_err()
                .contains("`demo`")
        );
        assert!(EcrImage::check_release("nginx@sha256:abc", "nginx").is_err());
    }

    #[test]
    fn pinning_drops_the_tag() {
        let reference = format!("{HOST}/web:v1");
        let image = EcrImage::parse(&reference).unwrap();
        assert_eq!(
            image.pinned_to("sha256:abc"),
            format!("{HOST}/web@sha256:abc")
        );
    }
}
