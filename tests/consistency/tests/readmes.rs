//! What the READMEs say of the functions, the templates and the state machine.

use consistency::{
    Crate, Machine, State, Template, backticked, first_column, functions, is_action, read, section,
    templates,
};
use std::collections::{BTreeMap, BTreeSet};

/// The item of a function's README that starts with a word in bold, up to the next item or
/// paragraph.
///
/// # Panics
/// Where there is no such item.
fn item(function: &Crate, word: &str) -> String {
    let readme = function.readme();
    let mark = format!("- **{word}**");
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
    let have = if long.len() == 1 { "has" } else { "have" };
    let sentence = format!(
        "A template in a request may have 51,200 bytes, and {} {have} more.",
        long.join(" and ")
    );
    assert!(read("README.md").contains(&sentence), "{sentence}");
}

#[test]
fn every_function_s_readme_says_what_goes_in_and_what_comes_out() {
    for function in functions() {
        let readme = function.readme();
        assert!(readme.starts_with(&format!("# {}\n", function.name)));
        // A function that waits is asked by the machine and told by events.
        let called: &[&str] = if readme.contains("- **Asked**") {
            &["Asked", "Told"]
        } else {
            &["Event"]
        };
        let others = ["Answer", "Environment", "Permissions"];
        for word in called.iter().chain(&others) {
            item(&function, word);
        }
    }
}

/// What READMEs do not say and what they say too much, by function.
fn differences(
    said: impl Fn(&Crate) -> BTreeSet<String>,
    is: impl Fn(&Crate) -> BTreeSet<String>,
) -> BTreeMap<String, [BTreeSet<String>; 2]> {
    let all = functions().into_iter().map(|function| {
        let (said, is) = (said(&function), is(&function));
        let missing: BTreeSet<String> = is.difference(&said).cloned().collect();
        let invented = said.difference(&is).cloned().collect();
        (function.name, [missing, invented])
    });
    all.filter(|(_, found)| found.iter().any(|names| !names.is_empty()))
        .collect()
}

#[test]
fn every_function_s_readme_lists_its_errors_and_no_other() {
    let listed = |function: &Crate| {
        let readme = function.readme();
        // Of end-release, another table has the errors of releases.
        let other = readme
            .lines()
            .skip_while(|line| !line.starts_with(IN_THE_ANSWER));
        let other = first_column(other.take_while(|line| line.starts_with('|')));
        let all = first_column(readme.lines());
        all.difference(&other).cloned().collect()
    };
    assert_eq!(differences(listed, Crate::failures), BTreeMap::new());
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
    let allowed = |function: &Crate| {
        let role = function.stem() + "Role";
        let actions = pipeline.actions(&role).into_iter();
        let own = actions.filter(|action| !common.contains(action));
        own.map(str::to_owned).collect()
    };
    let named = |function: &Crate| {
        let named = backticked(&item(function, "Permissions")).into_iter();
        named.filter(|name| is_action(name)).collect()
    };
    assert_eq!(differences(named, allowed), BTreeMap::new());
}

#[test]
fn every_function_s_readme_names_its_environment_and_no_other() {
    let pipeline = Template::load("pipeline.yml");
    let given = |function: &Crate| {
        let properties = pipeline.properties(&(function.stem() + "Function"));
        let variables = properties["Environment"]["Variables"].as_object();
        variables
            .into_iter()
            .flat_map(|variables| variables.keys().cloned())
            .collect()
    };
    let is_variable = |name: &String| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let named = |function: &Crate| {
        let named = backticked(&item(function, "Environment")).into_iter();
        named.filter(is_variable).collect()
    };
    assert_eq!(differences(named, given), BTreeMap::new());
}

/// The head of a table in the README of `end-release`.
const IN_THE_ANSWER: &str = "| Error in the answer |";

/// The errors that `end-release` gives to releases: the names in its sources that are no state's.
fn given_errors(machine: &Machine) -> BTreeSet<String> {
    let states: BTreeSet<&str> = machine.states().iter().map(|state| state.name).collect();
    let texts = end_release().texts().into_iter();
    texts
        .filter(|text| is_error(text) && !states.contains(text.as_str()))
        .collect()
}

fn end_release() -> Crate {
    let mut all = functions().into_iter();
    all.find(|function| function.name == "end-release")
        .unwrap_or_else(|| panic!("there is no function end-release"))
}

/// The errors of the functions that the machine calls.
fn failures(machine: &Machine) -> BTreeSet<String> {
    let states = machine.states();
    let called: BTreeSet<&str> = states.iter().filter_map(State::stem).collect();
    functions()
        .iter()
        .filter(|function| called.contains(function.stem().as_str()))
        .flat_map(Crate::failures)
        .collect()
}

#[test]
fn the_readme_of_end_release_lists_the_errors_that_no_other_function_gives() {
    let machine = Machine::load();
    let readme = end_release().readme();
    let rows = readme
        .lines()
        .skip_while(|line| !line.starts_with(IN_THE_ANSWER))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|row| row.split('|').nth(1));
    let listed: BTreeSet<String> = rows.flat_map(backticked).collect();
    let own = given_errors(&machine);
    let own: BTreeSet<String> = own.difference(&failures(&machine)).cloned().collect();
    assert_eq!(listed, own);
}

/// Two or more words in capitals, such as `MigrationFailed`.
fn is_error(text: &str) -> bool {
    let capitals = text.chars().filter(char::is_ascii_uppercase).count();
    capitals > 1
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphabetic())
}

#[test]
fn the_table_of_failures_lists_every_error_that_can_end_an_execution_and_no_other() {
    let machine = Machine::load();
    let mut errors = failures(&machine);
    errors.extend(given_errors(&machine));
    // Its execution takes its turn again.
    assert!(errors.remove("ExecutionRedriven"));
    // Another task is started.
    assert!(errors.remove("TaskFailedToStart"));
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
