//! The state machine as it is shipped: its states, and which calls they make.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The states by their names.
#[derive(Debug)]
pub(crate) struct Machine {
    states: BTreeMap<String, State>,
}

/// One state.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) does: Does,
}

/// What a state does that can go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Nothing: it decides, or assigns, or ends.
    Nothing,
    /// It lets time pass.
    Wait,
    /// It invokes a function, which calls AWS in turn.
    Invoke {
        /// The function's resource in `infra/pipeline.yml`.
        resource: String,
        /// The operations that the function's role allows, `ecs:RunTask`.
        calls: Vec<String>,
    },
    /// It calls AWS itself: service and operation, as the local AWS names them.
    Call {
        service: String,
        operation: String,
        /// A read that may answer what was before.
        stale: bool,
    },
}

impl Machine {
    /// Reads `statemachine/deploy.asl.json`, and `infra/pipeline.yml` for what functions call.
    pub(crate) fn load() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let definition = std::fs::read_to_string(root.join("statemachine/deploy.asl.json"))?;
        let definition: Value = serde_json::from_str(&definition)?;
        let template = std::fs::read_to_string(root.join("infra/pipeline.yml"))?;
        let states = definition["States"].as_object().context("no states")?;
        let states = states.iter().map(|(name, state)| {
            let does = does(state, &template).with_context(|| format!("state {name}"))?;
            let name = name.clone();
            Ok((name.clone(), State { name, does }))
        });
        Ok(Self {
            states: states.collect::<Result<_>>()?,
        })
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = &State> {
        self.states.values()
    }

    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.states.keys().map(String::as_str).collect()
    }

    pub(crate) fn state(&self, name: &str) -> Result<&State> {
        let state = self.states.get(name);
        state.with_context(|| format!("the machine has no state {name}"))
    }
}

fn does(state: &Value, template: &str) -> Result<Does> {
    match state["Type"].as_str().unwrap_or_default() {
        "Wait" => return Ok(Does::Wait),
        "Task" => {}
        _ => return Ok(Does::Nothing),
    }
    let resource = state["Resource"].as_str().context("no resource")?;
    let integration = resource.split(":::").nth(1).context("no integration")?;
    let arguments = &state["Arguments"];
    if integration == "lambda:invoke" {
        let function = arguments["FunctionName"].as_str().unwrap_or_default();
        let function = function.strip_prefix("${").unwrap_or_default();
        let resource = function.strip_suffix("Arn}").context("no function")?;
        return Ok(Does::Invoke {
            calls: allowed(template, resource)?,
            resource: resource.to_owned(),
        });
    }
    let call = integration.strip_prefix("aws-sdk:").unwrap_or(integration);
    let (service, operation) = call.split_once(':').context("no operation")?;
    let service = match service {
        "sfn" => "states",
        "cloudwatch" => "monitoring",
        other => other,
    };
    let mut letters = operation.chars();
    let first = letters.next().context("no operation")?;
    let reads_table = service == "dynamodb" && ["getItem", "query", "scan"].contains(&operation);
    Ok(Does::Call {
        service: service.to_owned(),
        operation: first.to_uppercase().chain(letters).collect(),
        stale: reads_table && arguments["ConsistentRead"] != true,
    })
}

/// The operations that the role of a function allows. Those that are no operations of their own are
/// left out: they are checked while another is carried out. So are those on its own log, which
/// Lambda writes.
fn allowed(template: &str, function: &str) -> Result<Vec<String>> {
    let stem = function.trim_end_matches("Function");
    let role = format!("\n  {stem}Role:\n");
    let (_, rest) = template.split_once(&role).context("it has no role")?;
    let end = rest
        .match_indices("\n  ")
        .find(|(at, _)| !rest[at + 3..].starts_with([' ', '#']))
        .map_or(rest.len(), |(at, _)| at);
    let is_action = |word: &&str| {
        let Some((service, operation)) = word.split_once(':') else {
            return false;
        };
        [
            "cloudformation",
            "ecr",
            "ecs",
            "elasticloadbalancing",
            "logs",
        ]
        .contains(&service)
            && operation.starts_with(|letter: char| letter.is_ascii_uppercase())
            && operation.chars().all(char::is_alphanumeric)
    };
    const NO_CALL: [&str; 3] = [
        "ecs:TagResource",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    ];
    let actions: BTreeSet<&str> = rest[..end]
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .filter(is_action)
        .filter(|action| !NO_CALL.contains(action))
        .collect();
    ensure!(
        !stem.is_empty() && !actions.is_empty(),
        "its role allows nothing"
    );
    Ok(actions.into_iter().map(str::to_owned).collect())
}
