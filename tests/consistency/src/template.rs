use crate::{read, root};
use serde_json::{Map, Value, json};
use yaml_serde::Value as Yaml;
use yaml_serde::value::TaggedValue;

/// A CloudFormation template of `infra/`.
pub struct Template {
    /// The file's name, such as `pipeline.yml`.
    pub name: String,
    text: String,
    sections: Vec<String>,
    document: Value,
}

/// All templates.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn templates() -> Vec<Template> {
    let entries =
        std::fs::read_dir(root().join("infra")).unwrap_or_else(|error| panic!("infra: {error}"));
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".yml"))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "infra/ has no template");
    names.iter().map(|name| Template::load(name)).collect()
}

impl Template {
    /// # Panics
    /// Where the file is missing or no YAML.
    #[must_use]
    pub fn load(name: &str) -> Self {
        let text = read(&format!("infra/{name}"));
        let yaml: Yaml =
            yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("infra/{name}: {error}"));
        let sections = yaml
            .as_mapping()
            .into_iter()
            .flat_map(|mapping| mapping.keys())
            .filter_map(|key| Some(key.as_str()?.to_owned()))
            .collect();
        let document = to_json(&yaml);
        Template {
            name: name.to_owned(),
            text,
            sections,
            document,
        }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of the template's sections in their order.
    #[must_use]
    pub fn sections(&self) -> &[String] {
        &self.sections
    }

    /// The template, short forms written out: `!Ref X` is `{"Ref": "X"}`, `!GetAtt X.Arn` is
    /// `{"Fn::GetAtt": "X.Arn"}`.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The entries of a section, by name; none where the template has no such section.
    #[must_use]
    pub fn entries(&self, section: &str) -> Vec<(&str, &Value)> {
        entries(&self.document[section])
    }

    /// The resources of a type, such as `AWS::IAM::Role`, by name.
    #[must_use]
    pub fn resources(&self, kind: &str) -> Vec<(&str, &Value)> {
        let resources = self.entries("Resources");
        resources
            .into_iter()
            .filter(|(_, resource)| resource["Type"] == kind)
            .collect()
    }

    /// The properties of a resource.
    ///
    /// # Panics
    /// Where the template has no such resource.
    #[must_use]
    pub fn properties(&self, resource: &str) -> &Value {
        let found = &self.document["Resources"][resource];
        assert!(
            found.is_object(),
            "{} has no resource {resource}",
            self.name
        );
        &found["Properties"]
    }

    /// The statements of a role's own policies and of those apart from it, whatever the conditions of
    /// the template say.
    #[must_use]
    pub fn statements(&self, role: &str) -> Vec<&Value> {
        let inside = list(&self.properties(role)["Policies"]);
        let apart = self.resources("AWS::IAM::RolePolicy").into_iter();
        let apart = apart.map(|(_, policy)| &policy["Properties"]);
        let apart = apart.filter(|policy| policy["RoleName"]["Ref"] == role);
        let policies = inside.iter().flat_map(alternatives).chain(apart);
        policies
            .flat_map(|policy| list(&policy["PolicyDocument"]["Statement"]))
            .flat_map(alternatives)
            .collect()
    }

    /// The actions of a role's own policies.
    #[must_use]
    pub fn actions(&self, role: &str) -> Vec<&str> {
        let statements = self.statements(role);
        statements
            .iter()
            .flat_map(|statement| strings(&statement["Action"]))
            .collect()
    }
}

/// A string, or the strings of a list.
#[must_use]
pub fn strings(value: &Value) -> Vec<&str> {
    value.as_str().map_or_else(
        || list(value).iter().filter_map(Value::as_str).collect(),
        |one| vec![one],
    )
}

/// Both values of an `Fn::If`, or the one that does not depend on a condition.
fn alternatives(value: &Value) -> &[Value] {
    match list(&value["Fn::If"]) {
        [] => std::slice::from_ref(value),
        [_condition, either @ ..] => either,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> Vec<(&str, &Value)> {
    value.as_object().map_or_else(Vec::new, |map| {
        map.iter()
            .map(|(name, value)| (name.as_str(), value))
            .collect()
    })
}

fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Number(value) => value
            .as_i64()
            .map_or_else(|| json!(value.as_f64()), |integer| json!(integer)),
        Yaml::String(value) => json!(value),
        Yaml::Sequence(values) => values.iter().map(to_json).collect(),
        Yaml::Mapping(values) => Value::Object(
            values
                .iter()
                .map(|(key, value)| (key_text(key), to_json(value)))
                .collect::<Map<_, _>>(),
        ),
        Yaml::Tagged(tagged) => long_form(tagged),
    }
}

fn long_form(tagged: &TaggedValue) -> Value {
    let tag = tagged.tag.to_string();
    let name = tag.trim_start_matches('!');
    let function = match name {
        "Ref" | "Condition" => name.to_owned(),
        _ => format!("Fn::{name}"),
    };
    json!({ function: to_json(&tagged.value) })
}

fn key_text(key: &Yaml) -> String {
    key.as_str()
        .map_or_else(|| panic!("a key that is no string: {key:?}"), str::to_owned)
}
