//! The templates of `infra/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use yaml_serde::Value;

/// The templates whose parameters a person may set, in the order of their stacks.
pub const TEMPLATES: [&str; 6] = [
    "artifacts",
    "network",
    "image-repository",
    "database",
    "cluster",
    "pipeline",
];

/// A template as CloudFormation gets it.
#[derive(Clone, Debug)]
pub struct Template {
    /// The whole text.
    pub body: String,
    /// The names of its parameters.
    pub parameters: BTreeSet<String>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// There is no such file, or it is no template.
    pub fn read(path: &Path) -> Result<Self> {
        let body = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(body).with_context(|| format!("{} is no template", path.display()))
    }

    fn parse(body: String) -> Result<Self> {
        let document: Value = yaml_serde::from_str(&body)?;
        let parameters = match document.get("Parameters") {
            Some(Value::Mapping(parameters)) => parameters
                .keys()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
            _ => BTreeSet::new(),
        };
        Ok(Self { body, parameters })
    }
}

/// Parameters by their names.
pub type Parameters = BTreeMap<String, String>;

/// What a person sets beyond what the stacks tell one another: `TEMPLATE.PARAMETER=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    template: String,
    parameter: String,
    value: String,
}

impl std::str::FromStr for Setting {
    type Err = anyhow::Error;

    /// # Errors
    /// The text is not of that form, or there is no such template.
    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('=').and_then(|(name, value)| {
            let (template, parameter) = name.split_once('.')?;
            Some((template, parameter, value))
        });
        let (template, parameter, value) = parts.with_context(|| {
            format!("{text:?} is no setting: it has to be like cluster.DesiredCount=4")
        })?;
        ensure!(
            TEMPLATES.contains(&template),
            "{text:?} sets a parameter of {template}: the templates are {}",
            TEMPLATES.join(", ")
        );
        Ok(Self {
            template: template.to_owned(),
            parameter: parameter.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// The settings of one template.
#[must_use]
pub fn of_template(settings: &[Setting], template: &str) -> Parameters {
    settings
        .iter()
        .filter(|setting| setting.template == template)
        .map(|setting| (setting.parameter.clone(), setting.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_template_are_read_among_its_short_forms() {
        let template = Template::parse(
            "Parameters:\n  One:\n    Type: String\n  Two:\n    Type: Number\nConditions:\n  \
             Has: !Not [!Equals [!Ref One, '']]\nResources: {}\n"
                .to_owned(),
        );
        let names: Vec<_> = template.unwrap().parameters.into_iter().collect();
        assert_eq!(names, ["One", "Two"]);
    }

    #[test]
    fn every_template_that_can_be_set_exists() {
        let infra = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra");
        for name in TEMPLATES {
            let template = Template::read(&infra.join(format!("{name}.yml"))).unwrap();
            assert!(!template.parameters.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_setting_names_template_and_parameter_and_may_have_any_value() {
        let setting: Setting = r#"cluster.MigrationCommand=["a=b","c.d"]"#.parse().unwrap();
        let parameters = of_template(&[setting], "cluster");
        assert_eq!(parameters["MigrationCommand"], r#"["a=b","c.d"]"#);
    }

    #[test]
    fn a_setting_that_would_be_lost_is_refused() {
        for (text, word) in [
            ("DesiredCount=4", "cluster.DesiredCount=4"),
            ("cluster.DesiredCount", "cluster.DesiredCount=4"),
            ("app.DesiredCount=4", "the templates are artifacts, network"),
        ] {
            let error = text.parse::<Setting>().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
