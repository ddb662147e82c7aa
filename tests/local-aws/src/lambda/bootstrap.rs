//! Whether this machine can run a function's `bootstrap` at all.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What ELF calls the processors Lambda has (`e_machine`).
const ELF_X86_64: u16 = 0x3e;
const ELF_AARCH64: u16 = 0xb7;

/// Says why `directory/bootstrap` cannot run here, in Lambda's words where it has some.
pub(crate) fn check(directory: &Path) -> Result<(), String> {
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
        Ok(read) => check_header(&header[..read]),
        Err(error) => Err(format!("bootstrap cannot be read: {error}")),
    }
}

fn check_header(header: &[u8]) -> Result<(), String> {
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

    #[test]
    fn an_executable_for_this_machine_may_run() {
        let machine = match std::env::consts::ARCH {
            "aarch64" => ELF_AARCH64,
            _ => ELF_X86_64,
        };
        assert_eq!(check_header(&elf(machine)), Ok(()));
    }

    #[test]
    fn an_executable_for_another_machine_says_what_to_build() {
        let machine = match std::env::consts::ARCH {
            "aarch64" => ELF_X86_64,
            _ => ELF_AARCH64,
        };
        let message = check_header(&elf(machine)).unwrap_err();
        assert!(message.contains("exec format error"), "{message}");
        assert!(message.contains(std::env::consts::ARCH), "{message}");
    }

    #[test]
    fn a_script_may_run() {
        assert_eq!(check_header(b"#!/bin/sh\n"), Ok(()));
    }

    #[test]
    fn an_empty_directory_has_no_bootstrap() {
        let directory = tempfile::tempdir().unwrap();
        let message = check(directory.path()).unwrap_err();
        assert!(message.starts_with("Couldn't find valid bootstrap"));
    }
}
