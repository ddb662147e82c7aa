//! Whether this machine can run a function's `bootstrap` at all.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What ELF calls the processors Lambda has (`e_machine`).
const ELF_X86_64: u16 = 0x3e;
const ELF_AARCH64: u16 = 0xb7;

/// Says why `directory/bootstrap` cannot run here for a function of that architecture (`x86_64` or
/// `arm64`), in Lambda's words where it has some.
pub(crate) fn check(directory: &Path, architecture: &str) -> Result<(), String> {
    let bootstrap = directory.join("bootstrap");
    let Ok(metadata) = bootstrap.metadata() else {
        return Err(
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned(),
        );
    };
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err("fork/exec /var/task/bootstrap: permission denied".to_owned());
    }
    let mut header = [0; 20];
    let read = std::fs::File::open(&bootstrap).and_then(|mut file| file.read(&mut header));
    match read {
        Ok(read) => check_header(&header[..read], architecture),
        Err(error) => Err(format!("bootstrap cannot be read: {error}")),
    }
}

fn check_header(header: &[u8], architecture: &str) -> Result<(), String> {
    if header.starts_with(b"#!") {
        return Ok(());
    }
    let elf = header.len() >= 20 && header.starts_with(b"\x7fELF");
    if !elf {
        return Err(
            "fork/exec /var/task/bootstrap: exec format error: neither an ELF executable nor a script"
                .to_owned(),
        );
    }
    let machine = match u16::from_le_bytes([header[18], header[19]]) {
        ELF_X86_64 => "x86_64",
        ELF_AARCH64 => "aarch64",
        _ => "another processor",
    };
    let declared = match architecture {
        "arm64" => "aarch64",
        other => other,
    };
    if machine != declared {
        return Err(format!(
            "fork/exec /var/task/bootstrap: exec format error: it is built for {machine}, and the \
             function's architecture is {architecture}: deploy what is built for {architecture}, \
             or change the function's Architectures"
        ));
    }
    let here = std::env::consts::ARCH;
    if machine == here {
        return Ok(());
    }
    Err(format!(
        "fork/exec /var/task/bootstrap: exec format error: it is built for {machine}, and this \
         machine is {here}: build the function for {here} and deploy it with that Architecture"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u16) -> Vec<u8> {
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(18, 0);
        header.extend(machine.to_le_bytes());
        header
    }

    /// What this machine is called by ELF and by Lambda, and what the other kind is.
    fn here_and_elsewhere() -> [(u16, &'static str); 2] {
        let kinds = [(ELF_X86_64, "x86_64"), (ELF_AARCH64, "arm64")];
        match std::env::consts::ARCH {
            "aarch64" => [kinds[1], kinds[0]],
            _ => kinds,
        }
    }

    #[test]
    fn an_executable_for_this_machine_may_run() {
        let [(machine, architecture), _] = here_and_elsewhere();
        assert_eq!(check_header(&elf(machine), architecture), Ok(()));
    }

    #[test]
    fn an_executable_for_another_machine_says_what_to_build() {
        let [_, (machine, architecture)] = here_and_elsewhere();
        let message = check_header(&elf(machine), architecture).unwrap_err();
        assert!(message.contains("exec format error"), "{message}");
        assert!(message.contains(std::env::consts::ARCH), "{message}");
    }

    #[test]
    fn an_executable_for_another_architecture_than_the_functions_may_not_run() {
        let [(machine, _), (_, architecture)] = here_and_elsewhere();
        let message = check_header(&elf(machine), architecture).unwrap_err();
        assert!(message.contains("exec format error"), "{message}");
        let expected = format!("architecture is {architecture}");
        assert!(message.contains(&expected), "{message}");
    }

    #[test]
    fn a_script_may_run() {
        assert_eq!(check_header(b"#!/bin/sh\n", "arm64"), Ok(()));
    }

    #[test]
    fn an_empty_directory_has_no_bootstrap() {
        let directory = tempfile::tempdir().unwrap();
        let message = check(directory.path(), "arm64").unwrap_err();
        assert!(message.starts_with("Couldn't find valid bootstrap"));
    }
}
