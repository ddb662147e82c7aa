//! What the stack itself says of its commands.

use crate::failure::Failure;
use aws_sdk_cloudformation::Client;
use bluegreen_contract::Command;
use bluegreen_runtime::{AwsRequestFailed, failed};

/// Checks that the command is the stack's. Who may call this function may not say what runs with the roles and
/// secrets of a service: only who may change the stack.
///
/// # Errors
/// `CommandNotOfStack`, `AwsRequestFailed`.
pub(crate) async fn check(client: &Client, stack: &str, command: &Command) -> Result<(), Failure> {
    let output = command.purpose.output();
    let told = output_of(client, stack, output).await?;
    if told
        .as_deref()
        .is_some_and(|told| says(told, &command.command))
    {
        return Ok(());
    }
    Err(Failure::CommandNotOfStack {
        purpose: command.purpose.name(),
        stack: stack.to_owned(),
        output,
        words: serde_json::json!(command.command).to_string(),
        told: told.map_or_else(|| "not there".to_owned(), |told| format!("`{told}`")),
    })
}

async fn output_of(
    client: &Client,
    stack: &str,
    output: &str,
) -> Result<Option<String>, AwsRequestFailed> {
    let answer = client
        .describe_stacks()
        .stack_name(stack)
        .send()
        .await
        .map_err(failed("cloudformation:DescribeStacks", stack))?;
    let outputs = answer.stacks().iter().flat_map(|stack| stack.outputs());
    let mut outputs = outputs.filter(|known| known.output_key() == Some(output));
    let value = outputs.next().and_then(|output| output.output_value());
    Ok(value.map(str::to_owned))
}

/// Whether an output's command is run by these words: as they are, behind one for a script's `$0`, or as
/// one word for a shell.
fn says(output: &str, words: &[String]) -> bool {
    let Ok(command) = serde_json::from_str::<Vec<String>>(output) else {
        return false;
    };
    match words {
        _ if words == command => true,
        [shell, rest @ ..] if shell == "sh" && rest == command => true,
        [script] => {
            let words = command.iter().map(String::as_str);
            shlex::try_join(words).is_ok_and(|line| line == *script)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_the_stacks_in_each_of_the_forms_that_an_entry_point_needs() {
        let output = r#"["rails","db:migrate","--name","a b"]"#;
        let says = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            says(output, &words)
        };
        assert!(says(&["rails", "db:migrate", "--name", "a b"]));
        assert!(says(&["sh", "rails", "db:migrate", "--name", "a b"]));
        assert!(says(&["rails db:migrate --name 'a b'"]));
        for other in [
            &["rails", "db:drop"][..],
            &["rails", "db:migrate", "--name", "a b", ";"],
            &["bash", "rails", "db:migrate", "--name", "a b"],
            &["rails db:migrate --name 'a b'; env"],
            &["rails db:migrate --name 'a b' $(env)"],
            &["rails db:migrate --name 'a b' # env"],
            &["rails db:migrate --name \"a b\"\nenv"],
            &["rails db:migrate --name a\\ b"],
            &["rails db:migrate --name 'a b"],
            &[],
        ] {
            assert!(!says(other), "{other:?}");
        }
    }

    #[test]
    fn an_output_that_is_no_command_says_nothing() {
        for output in ["", "rails", "[1]", "{}"] {
            assert!(!says(output, &["rails".to_owned()]), "{output}");
            assert!(!says(output, &[]), "{output}");
        }
    }
}
