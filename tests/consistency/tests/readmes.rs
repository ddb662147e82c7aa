//! What the READMEs say of the functions, the templates and the state machine.

use consistency::{
    Crate, Machine, Template, backticked, first_column, functions, is_action, read, section,
    templates,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// The item of a function's README that starts with a word in bold, up to the next item or
/// paragraph.
///
/// # Panics
/// Where there is no such item.
fn item(function: &Crate, word: &str) -> String {
    let readme = function.readme();
    let mark = format!("- **{word}**:");
    let lines: Vec<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with(&mark))
        .enumerate()
        .take_while(|(number, line)| *number == 0 || line.starts_with("  "))
        .map(|(_, line)| line)
        .collect();
    assert!(
        !lines.is_empty(),
        "functions/{}/README.md has no {mark}",
        function.name
    );
    lines.join("\n")
}

#[test]
fn the_monthly_cost_is_the_sum_of_its_rows_and_the_readme_has_it() {
    let page = read("docs/getting-started.md");
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| what, by the templates' defaults |"))
        .take_while(|line| line.starts_with('|'));
    let costs = rows.filter_map(|row| row.trim_end_matches(" |").rsplit("| ").next());
    let cents = |cost: &str| cost.replacen('.', "", 1).parse::<u32>().ok();
    let (mut sum, mut total) = (0, None);
    for cost in costs {
        match cost.strip_prefix("**").and_then(|it| it.strip_suffix("**")) {
            Some(bold) => total = cents(bold),
            None => sum += cents(cost).unwrap_or_default(),
        }
    }
    assert_eq!(total, Some(sum));
    let dollars = format!("about {} dollars a month", (sum + 50) / 100);
    assert!(read("README.md").contains(&dollars), "{dollars}");
}

/// Such a one is deployed by way of S3 alone.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
#[test]
fn the_readme_names_the_templates_that_are_too_long_for_a_request() {
    let long = templates()
        .into_iter()
        .filter(|template| template.text().len() > 51_200);
    let long: Vec<String> = long
        .map(|template| format!("`{}`", template.name))
        .collect();
    let sentence = format!(
        "A template in a request may have 51,200 bytes, and {} has more.",
        long.join(" and ")
    );
    assert!(read("README.md").contains(&sentence), "{sentence}");
}

#[test]
fn every_function_s_readme_says_what_goes_in_and_what_comes_out() {
    for function in functions() {
        assert!(
            function
                .readme()
                .starts_with(&format!("# {}\n", function.name))
        );
        for word in ["Event", "Answer", "Environment", "Permissions"] {
            item(&function, word);
        }
    }
}

#[test]
fn every_function_s_readme_lists_its_errors_and_no_other() {
    for function in functions() {
        let listed = first_column(function.readme().lines());
        assert_eq!(listed, function.failures(), "{}", function.name);
    }
}

#[test]
fn every_function_s_readme_names_the_actions_of_its_role_and_no_other() {
    let pipeline = Template::load("pipeline.yml");
    // What every function may do for its log, and Lambda in its name for an event it gave up.
    let common = [
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sqs:SendMessage",
    ];
    for function in functions() {
        let role = function.stem() + "Role";
        let allowed: BTreeSet<String> = pipeline
            .actions(&role)
            .into_iter()
            .filter(|action| !common.contains(action))
            .map(str::to_owned)
            .collect();
        let named: BTreeSet<String> = backticked(&item(&function, "Permissions"))
            .into_iter()
            .filter(|name| is_action(name))
            .collect();
        assert_eq!(named, allowed, "{}", function.name);
    }
}

#[test]
fn every_function_s_readme_names_its_environment_and_no_other() {
    let pipeline = Template::load("pipeline.yml");
    for function in functions() {
        let properties = pipeline.properties(&(function.stem() + "Function"));
        let given: BTreeSet<String> = properties["Environment"]["Variables"]
            .as_object()
            .into_iter()
            .flat_map(|variables| variables.keys().cloned())
            .collect();
        let named: BTreeSet<String> = backticked(&item(&function, "Environment"))
            .into_iter()
            .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .collect();
        assert_eq!(named, given, "{}", function.name);
    }
}

/// The names of errors that a state gives to an end without one: in `outcome.error` or
/// `failure.Error`, as texts or within an expression.
fn given_errors(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => {
            let own = [&value["outcome"]["error"], &value["failure"]["Error"]];
            let texts = own.iter().filter_map(|error| error.as_str());
            let names = texts.flat_map(|text| match text.strip_prefix("{%") {
                Some(expression) => quoted(expression),
                None => vec![text.to_owned()],
            });
            names
                .chain(members.values().flat_map(given_errors))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(given_errors).collect(),
        _ => BTreeSet::new(),
    }
}

/// The texts in single quotes that are names.
fn quoted(expression: &str) -> Vec<String> {
    expression
        .split('\'')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_table_of_failures_lists_every_error_that_can_end_an_execution_and_no_other() {
    let machine = Machine::load();
    let mut errors: BTreeSet<String> = machine
        .states()
        .iter()
        .flat_map(|state| state.caught())
        .collect();
    errors.extend(given_errors(machine.definition()));
    assert_eq!(
        first_column(section(&read("README.md"), "failures")),
        errors
    );
}

#[test]
fn the_table_of_parameters_lists_every_parameter_of_the_pipeline_and_no_other() {
    let pipeline = Template::load("pipeline.yml");
    let parameters: BTreeSet<String> = pipeline
        .entries("Parameters")
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(
        first_column(section(&read("README.md"), "pipeline parameters")),
        parameters
    );
}

/// What a request takes of a template's text:
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
const LONGEST_TEMPLATE: usize = 51_200;

#[test]
fn a_template_that_no_request_takes_is_deployed_through_a_bucket() {
    let long: Vec<String> = templates()
        .iter()
        .filter(|template| template.text().len() > LONGEST_TEMPLATE)
        .map(|template| format!("infra/{}", template.name))
        .collect();
    let documents = [
        "README.md",
        "docs/getting-started.md",
        "docs/existing-services.md",
    ];
    let mut found = 0;
    for document in documents {
        // A command goes on where a line ends in a backslash.
        let text = read(document).replace("\\\n", " ");
        for command in text
            .lines()
            .filter(|it| it.contains("cloudformation deploy"))
        {
            // Any template, and one that is longer than its source once it is packaged.
            let any = command.contains("infra/$1.yml") || command.contains("target/pipeline.yml");
            if any || long.iter().any(|template| command.contains(template)) {
                found += 1;
                assert!(command.contains("--s3-bucket"), "{document}: {command}");
            }
        }
    }
    assert!(
        found > 0,
        "no document says how infra/cluster.yml is deployed"
    );
}
