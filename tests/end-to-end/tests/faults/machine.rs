//! The state machine as it is shipped: its states, and which calls they make.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use consistency::{Template, strings};
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
    /// Nothing: it decides, or ends.
    Nothing,
    /// It invokes a function, which calls AWS in turn.
    Invoke {
        /// The function's resource in `infra/pipeline.yml`.
        resource: String,
        /// The operations that the function's role allows, `ecs:RunTask`.
        calls: Vec<String>,
        /// Whether it goes on only when somebody answers its token.
        waits: bool,
    },
}

impl State {
    /// Whether the state's function may write to the table of releases, and so does in transactions.
    pub(crate) fn has_transactions(&self) -> bool {
        matches!(&self.does, Does::Invoke { calls, .. } if calls.iter().any(|it| it == TRANSACTION))
    }

    pub(crate) fn waits(&self) -> bool {
        matches!(self.does, Does::Invoke { waits: true, .. })
    }
}

/// How the table of releases is written.
pub(crate) const TRANSACTION: &str = "dynamodb:TransactWriteItems";

impl Machine {
    /// Reads `statemachine/deploy.asl.json`, and `infra/pipeline.yml` for what functions call.
    pub(crate) fn load() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let definition = std::fs::read_to_string(root.join("statemachine/deploy.asl.json"))?;
        let definition: Value = serde_json::from_str(&definition)?;
        let pipeline = Template::load("pipeline.yml");
        let states = definition["States"].as_object().context("no states")?;
        let states = states.iter().map(|(name, state)| {
            let does = does(state, &pipeline).with_context(|| format!("state {name}"))?;
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

fn does(state: &Value, pipeline: &Template) -> Result<Does> {
    if state["Type"] != "Task" {
        return Ok(Does::Nothing);
    }
    let resource = state["Resource"].as_str().context("no resource")?;
    let integration = resource.split(":::").nth(1).context("no integration")?;
    let waits = match integration {
        "lambda:invoke" => false,
        "lambda:invoke.waitForTaskToken" => true,
        other => bail!("nothing is known of what goes wrong in {other}"),
    };
    let function = state["Arguments"]["FunctionName"].as_str();
    let function = function.unwrap_or_default().strip_prefix("${");
    let function = function.and_then(|name| name.strip_suffix("Arn}"));
    let resource = function.context("no function")?;
    Ok(Does::Invoke {
        calls: allowed(pipeline, resource)?,
        resource: resource.to_owned(),
        waits,
    })
}

/// The operations that the role of a function allows, as far as the function makes them by itself.
fn allowed(pipeline: &Template, function: &str) -> Result<Vec<String>> {
    let stem = function.strip_suffix("Function");
    let role = format!("{}Role", stem.context("no function's resource")?);
    let mut operations = BTreeSet::new();
    for statement in pipeline.statements(&role) {
        let of_releases = statement["Resource"]["Fn::GetAtt"] == "ReleasesTable.Arn";
        let actions = strings(&statement["Action"]).into_iter();
        operations.extend(actions.filter_map(|action| operation(action, of_releases)));
    }
    ensure!(!operations.is_empty(), "its role allows nothing");
    Ok(operations.into_iter().collect())
}

/// The operation for which a function needs to be allowed this action; none where it is checked while
/// another is carried out, or where AWS does it for the function.
fn operation(action: &str, of_releases: bool) -> Option<String> {
    const WRITES: [&str; 4] = [
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
    ];
    const NO_CALLS: [&str; 5] = [
        "ecs:TagResource",
        "iam:PassRole",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sqs:SendMessage",
    ];
    // By these a token is forgotten: where they fail, what is left of it expires.
    const FORGETTING: [&str; 2] = ["dynamodb:ConditionCheckItem", "dynamodb:DeleteItem"];
    match action {
        _ if of_releases && WRITES.contains(&action) => Some(TRANSACTION.to_owned()),
        _ if NO_CALLS.contains(&action) || FORGETTING.contains(&action) => None,
        _ => Some(action.replace("cloudwatch:", "monitoring:")),
    }
}
