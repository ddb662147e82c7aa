//! Templates and functions on their way to CloudFormation, through a bucket of their own.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::cli::Cli;
use crate::names::ARTIFACTS;
use crate::stacks::{Stacks, Wanted};
use crate::template::{Parameters, Template};

/// The bucket, and how its objects are addressed.
#[derive(Clone, Debug)]
pub struct Artifacts {
    cli: Cli,
    bucket: String,
    /// Before the bucket's objects: of AWS by the bucket's host name, of an endpoint by its path.
    base: String,
}

impl Artifacts {
    /// Makes the bucket where it is missing, with these parameters of its template.
    ///
    /// # Errors
    /// Its stack could not be made.
    pub async fn open(
        stacks: &Stacks,
        cli: &Cli,
        infra: &Path,
        place: Place<'_>,
        parameters: Parameters,
    ) -> Result<Self> {
        let template = Template::read(&infra.join("artifacts.yml"))?;
        stacks
            .deploy(&Wanted {
                stack: ARTIFACTS.to_owned(),
                body: template.body,
                parameters: template.parameters,
                always: parameters,
                ..Wanted::default()
            })
            .await?;
        let outputs = stacks.outputs(ARTIFACTS).await?;
        let bucket = outputs
            .get("BucketName")
            .context("the bucket has no name")?;
        Ok(Self {
            cli: cli.clone(),
            bucket: bucket.clone(),
            base: place.of(bucket),
        })
    }

    /// What a stack is to become by a template that lies in this bucket: a request takes 51,200
    /// bytes of one and no more.
    ///
    /// # Errors
    /// The template could not be uploaded.
    pub async fn wanted(&self, stack: &str, template: Template) -> Result<Wanted> {
        let hash = Sha256::digest(template.body.as_bytes());
        let name: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let key = format!("templates/{name}.yml");
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), &template.body)?;
        let from = file.path().display().to_string();
        let to = format!("s3://{}/{key}", self.bucket);
        self.cli.run(["s3", "cp", "--quiet", &from, &to]).await?;
        Ok(Wanted {
            stack: stack.to_owned(),
            url: Some(format!("{}/{key}", self.base)),
            body: template.body,
            parameters: template.parameters,
            always: Parameters::new(),
            at_first: Parameters::new(),
        })
    }

    /// Uploads what a template names by path, and answers the template that names it in S3.
    ///
    /// # Errors
    /// What it names is missing: the functions are not built.
    pub async fn package(&self, template: &Path) -> Result<Template> {
        let packaged = tempfile::NamedTempFile::new()?;
        let (from, to) = (
            template.display().to_string(),
            packaged.path().display().to_string(),
        );
        let package = ["cloudformation", "package", "--s3-bucket", &self.bucket];
        let files = ["--template-file", &from, "--output-template-file", &to];
        self.cli.run([package, files].concat()).await?;
        Template::read(packaged.path())
    }
}

/// Where S3 is.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// AWS's, in this region.
    Region(&'a str),
    /// At another endpoint.
    Endpoint(&'a str),
}

impl Place<'_> {
    fn of(self, bucket: &str) -> String {
        match self {
            Self::Endpoint(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            Self::Region(region) => {
                let domain = if region.starts_with("cn-") {
                    "amazonaws.com.cn"
                } else {
                    "amazonaws.com"
                };
                format!("https://{bucket}.s3.{region}.{domain}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_addressed_as_its_s3_wants_it() {
        for (place, url) in [
            (
                Place::Region("eu-central-1"),
                "https://b.s3.eu-central-1.amazonaws.com",
            ),
            (
                Place::Region("cn-north-1"),
                "https://b.s3.cn-north-1.amazonaws.com.cn",
            ),
            (
                Place::Endpoint("http://127.0.0.1:5000/"),
                "http://127.0.0.1:5000/b",
            ),
        ] {
            assert_eq!(place.of("b"), url);
        }
    }
}
