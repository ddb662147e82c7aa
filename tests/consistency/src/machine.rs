use crate::read;
use serde_json::Value;
use std::collections::BTreeSet;

/// `statemachine/deploy.asl.json`.
pub struct Machine {
    text: String,
    definition: Value,
}

impl Machine {
    /// # Panics
    /// Where the file is missing or no JSON.
    #[must_use]
    pub fn load() -> Self {
        let path = "statemachine/deploy.asl.json";
        let text = read(path);
        let definition =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Machine { text, definition }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn definition(&self) -> &Value {
        &self.definition
    }

    /// All states, by name.
    ///
    /// # Panics
    /// Where the machine has none.
    #[must_use]
    pub fn states(&self) -> Vec<State<'_>> {
        let states = self.definition["States"]
            .as_object()
            .unwrap_or_else(|| panic!("the state machine has no States"));
        assert!(!states.is_empty(), "the state machine has no states");
        states
            .iter()
            .map(|(name, definition)| State { name, definition })
            .collect()
    }

    /// The states of one type.
    #[must_use]
    pub fn of_type(&self, kind: &str) -> Vec<State<'_>> {
        let states = self.states();
        states
            .into_iter()
            .filter(|state| state.definition["Type"] == kind)
            .collect()
    }

    /// # Panics
    /// Where there is no state of that name.
    #[must_use]
    pub fn state(&self, name: &str) -> State<'_> {
        self.states()
            .into_iter()
            .find(|state| state.name == name)
            .unwrap_or_else(|| panic!("the state machine has no state {name}"))
    }
}

/// One state of the machine.
#[derive(Clone, Copy)]
pub struct State<'a> {
    pub name: &'a str,
    pub definition: &'a Value,
}

impl<'a> State<'a> {
    /// The substitution in the place of the Lambda function's ARN; none in a state that calls none.
    #[must_use]
    pub fn function(&self) -> Option<&'a str> {
        self.definition["Arguments"]["FunctionName"].as_str()
    }

    /// The stem of the function that the state calls; none in a state that calls none.
    #[must_use]
    pub fn stem(&self) -> Option<&'a str> {
        self.function()?
            .strip_prefix("${")?
            .strip_suffix("FunctionArn}")
    }

    /// The retriers, first to last.
    #[must_use]
    pub fn retriers(&self) -> &'a [Value] {
        list(&self.definition["Retry"])
    }

    /// The catchers, first to last.
    #[must_use]
    pub fn catchers(&self) -> &'a [Value] {
        list(&self.definition["Catch"])
    }

    /// Error names that the state's catchers name, wildcards of Step Functions left out.
    #[must_use]
    pub fn caught(&self) -> BTreeSet<String> {
        named(self.catchers())
    }

    /// Error names that the state's retriers name, those of Lambda and of Step Functions left out.
    #[must_use]
    pub fn retried(&self) -> BTreeSet<String> {
        named(self.retriers())
    }

    /// The names of the states that may come next, the catchers' included.
    #[must_use]
    pub fn next(&self) -> BTreeSet<String> {
        let mut names = self.next_without_errors();
        names.extend(
            self.catchers()
                .iter()
                .filter_map(|catcher| catcher["Next"].as_str())
                .map(str::to_owned),
        );
        names
    }

    /// The names of the states that may come next when nothing fails.
    #[must_use]
    pub fn next_without_errors(&self) -> BTreeSet<String> {
        let choices = self.choices().iter().map(|choice| &choice["Next"]);
        choices
            .chain([&self.definition["Next"], &self.definition["Default"]])
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// Whether the state waits until somebody answers its token.
    #[must_use]
    pub fn waits(&self) -> bool {
        let resource = self.definition["Resource"].as_str();
        resource.is_some_and(|resource| resource.ends_with(".waitForTaskToken"))
    }

    /// What the state gives to its function; of a state that waits, what it asks.
    #[must_use]
    pub fn payload(&self) -> &'a Value {
        let payload = &self.definition["Arguments"]["Payload"];
        if self.waits() {
            &payload["asked"]
        } else {
            payload
        }
    }

    /// The choices, first to last.
    #[must_use]
    pub fn choices(&self) -> &'a [Value] {
        list(&self.definition["Choices"])
    }

    /// What the state gives a value, on whichever way it is left: variable and value.
    #[must_use]
    pub fn assigned(&self) -> Vec<(&'a str, &'a Value)> {
        let rules = self.choices().iter().chain(self.catchers());
        rules
            .chain([self.definition])
            .filter_map(|rule| rule["Assign"].as_object())
            .flatten()
            .map(|(name, value)| (name.as_str(), value))
            .collect()
    }

    /// The JSONata expressions of the state, without their marks.
    #[must_use]
    pub fn expressions(&self) -> Vec<&'a str> {
        expressions(self.definition)
    }
}

/// The text of an expression without its marks; none where the value is none.
#[must_use]
pub fn expression(value: &Value) -> Option<&str> {
    let text = value.as_str()?.strip_prefix("{%")?.strip_suffix("%}")?;
    Some(text.trim())
}

fn expressions(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => members.values().flat_map(expressions).collect(),
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        _ => expression(value).into_iter().collect(),
    }
}

/// The paths such as `plan.release` that stand behind a dollar in an expression.
#[must_use]
pub fn paths(expression: &str) -> BTreeSet<&str> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '.';
    expression
        .split('$')
        .skip(1)
        .map(|rest| &rest[..rest.find(|c| !is_path(c)).unwrap_or(rest.len())])
        // A substitution has the same sign.
        .filter(|path| !path.is_empty())
        .collect()
}

/// The error names of a retrier or a catcher.
#[must_use]
pub fn errors(rule: &Value) -> Vec<&str> {
    list(&rule["ErrorEquals"])
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Names of Step Functions, of Lambda and of its sandbox and runtimes have a dot in them.
fn named(rules: &[Value]) -> BTreeSet<String> {
    rules
        .iter()
        .flat_map(errors)
        .filter(|name| !name.contains('.'))
        .map(str::to_owned)
        .collect()
}

/// The names that stand in `${…}` in a text.
#[must_use]
pub fn substitutions(text: &str) -> BTreeSet<String> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_end_where_their_names_do() {
        assert_eq!(
            paths("$plan.limits.a != ${Limit} and f($turn) ? $x.y : 'z'"),
            BTreeSet::from(["plan.limits.a", "turn", "x.y"])
        );
    }
}
