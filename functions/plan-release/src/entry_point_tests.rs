use super::*;
use std::process::Command;

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The words for `rails db:migrate`.
fn of(entry_point: &[&str]) -> Result<Vec<String>, Ignored> {
    words(&owned(entry_point), owned(&["rails", "db:migrate"]))
}

/// dagster-io/dagster#9562, fabfuel/ecs-deploy#23: an override replaces the command alone.
#[test]
fn a_shell_that_waits_for_its_script_gets_the_command_as_one_word() {
    for entry_point in [
        &["sh", "-c"][..],
        // The talk's own Dockerfile.
        &["/bin/ash", "-c"],
        &["bash", "-lc"],
        &["bash", "-l", "-c"],
        &["bash", "-euo", "pipefail", "-c"],
        &["bash", "-c", "-e"],
        &["bash", "--noprofile", "--rcfile", "/etc/rc", "-c", "--"],
        &["bash", "+O", "extglob", "-c"],
        &["busybox", "sh", "-c"],
        &["tini", "--", "sh", "-c"],
        &["/usr/bin/dumb-init", "--", "/bin/dash", "-ec"],
        &["docker-entrypoint.sh", "bash", "-c"],
        &["su-exec", "app", "sh", "-c"],
        &["env", "-S", "bash -c"],
        &["/usr/bin/env", "-Sbash -c"],
        &["env", "--split-string=TZ=UTC bash -c"],
        &["su", "-", "app", "-c"],
        &["runuser", "-u", "app", "--command"],
        &["flock", "/tmp/lock", "-c"],
    ] {
        assert_eq!(
            of(entry_point),
            Ok(owned(&["rails db:migrate"])),
            "{entry_point:?}"
        );
    }
}

#[test]
fn one_word_is_a_script_as_it_is() {
    let script = owned(&["cd /app && rails db:migrate"]);
    assert_eq!(words(&owned(&["sh", "-c"]), script.clone()), Ok(script));
}

#[test]
fn what_is_no_shell_with_a_script_gets_the_words_as_they_are() {
    for entry_point in [
        &[][..],
        &["tini", "--"],
        &["dumb-init", "--"],
        &["docker-entrypoint.sh"],
        &["/run"],
        &["sh", "/entrypoint.sh"],
        &["bash", "-eu", "/entrypoint.sh"],
        &["bash"],
        &["bundle", "exec"],
        &["su", "app"],
        &["env", "TZ=UTC"],
        &["/bin/cmd", "/S", "/C"],
    ] {
        assert_eq!(
            of(entry_point),
            Ok(owned(&["rails", "db:migrate"])),
            "{entry_point:?}"
        );
    }
}

#[test]
fn a_script_that_hands_its_arguments_on_gets_all_of_them() {
    let all = Ok(owned(&["rails", "db:migrate"]));
    for entry_point in [
        &["sh", "-c", r#"exec "$@""#, "--"][..],
        &["sh", "-c", r#"exec "$0" "$@""#],
        &["bash", "-c", "cd /app; exec ${@}", "entry"],
        &["tini", "--", "sh", "-ec", "exec $*", "sh"],
    ] {
        assert_eq!(of(entry_point), all, "{entry_point:?}");
    }
    // Its first argument would be `$0`, and only `db:migrate` run.
    let behind_a_name = Ok(owned(&["sh", "rails", "db:migrate"]));
    assert_eq!(of(&["sh", "-c", r#"exec "$@""#]), behind_a_name);
}

#[test]
fn a_script_that_does_nothing_with_them_is_told() {
    for (entry_point, script) in [
        // `ENTRYPOINT rails server` in a Dockerfile.
        (&["/bin/sh", "-c", "rails server"][..], "rails server"),
        (&["sh", "-c", "exec puma # not $@"], "exec puma # not $@"),
        (
            &["sh", "-c", "echo '$@'; exec puma"],
            "echo '$@'; exec puma",
        ),
        (&["sh", "-c", r"echo \$@"], r"echo \$@"),
        (&["bash", "-c", "exec puma", "sh"], "exec puma"),
        (&["su", "app", "-c", "exec puma"], "exec puma"),
        (&["su", "-c", r#"exec "$@""#, "app"], r#"exec "$@""#),
    ] {
        let ignored = Ignored {
            script: script.to_owned(),
        };
        assert_eq!(of(entry_point), Err(ignored), "{entry_point:?}");
    }
}

/// What `entry_point` really runs when it gets the words for a command that prints its arguments.
fn printed(entry_point: &[&str]) -> String {
    let entry_point = owned(entry_point);
    let command = owned(&["printf", "<%s>", "two words", "$HOME", "it's", "*", ""]);
    let words = words(&entry_point, command).unwrap();
    let line = [entry_point, words].concat();
    let run = Command::new(&line[0]).args(&line[1..]).output().unwrap();
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn every_argument_arrives_through_a_real_shell() {
    for entry_point in [
        &["sh", "-c"][..],
        &["bash", "-euo", "pipefail", "-c"],
        &["env", "-S", "bash -c"],
        &["sh", "-c", r#"exec "$@""#],
        &["sh", "-c", r#"exec "$@""#, "--"],
        &["sh", "-c", r#"exec "$0" "$@""#],
        &["env"],
    ] {
        let expected = "<two words><$HOME><it's><*><>";
        assert_eq!(printed(entry_point), expected, "{entry_point:?}");
    }
}
