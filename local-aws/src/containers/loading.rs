//! By what the programs of an image are loaded, and so among whose files they can run.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache};

use crate::images::root::inside;

/// Linux gives up when so many scripts are each other's interpreters.
///
/// <https://man7.org/linux/man-pages/man2/execve.2.html>
const INTERPRETERS: usize = 4;
/// Linux reads no longer first line of a script.
const FIRST_LINE: u64 = 256;
const MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    EM_AARCH64
} else {
    EM_X86_64
};

/// Whose files a program finds at `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// Those of its image: it has all that the program is loaded by.
    Image,
    /// Those of this machine, because the image has nothing but the program itself.
    Machine,
}

enum Program {
    /// The kernel needs nothing else.
    Static,
    /// Another program loads it: a script's first line names it, or a dynamic executable.
    LoadedBy(String),
    /// For another processor, or broken.
    Foreign,
    /// The kernel has to say.
    Unknown,
}

/// Whose files a program of the image runs among. `own_root` says whether this machine lets a program
/// have a root of its own.
///
/// # Errors
/// It cannot run here; why, as the kernel says it.
pub(crate) fn files_of(root: &Path, program: &Path, own_root: bool) -> Result<Files, String> {
    files_below(root, program, own_root, INTERPRETERS)
}

fn files_below(root: &Path, program: &Path, own_root: bool, depth: usize) -> Result<Files, String> {
    let interpreter = match read(program).map_err(|error| error.to_string())? {
        Program::Static if own_root => return Ok(Files::Image),
        Program::Static | Program::Unknown => return Ok(Files::Machine),
        Program::Foreign => return Err("exec format error".to_owned()),
        Program::LoadedBy(interpreter) => interpreter,
    };
    if own_root && depth > 0 {
        let own = inside(root, Path::new(&interpreter));
        let own = own.ok().filter(|own| own.is_file());
        let own = own.map(|own| files_below(root, &own, own_root, depth - 1));
        if own == Some(Ok(Files::Image)) {
            return Ok(Files::Image);
        }
    }
    if Path::new(&interpreter).is_file() {
        return Ok(Files::Machine);
    }
    let mut problem = format!("no such file or directory: it is loaded by {interpreter}, ");
    problem.push_str(if own_root {
        "which neither the image has nor this machine"
    } else {
        "which this machine has not, and it lets no program have a root of its own (user namespaces)"
    });
    Err(problem)
}

fn read(program: &Path) -> io::Result<Program> {
    let mut file = fs::File::open(program)?;
    let mut line = Vec::new();
    Read::by_ref(&mut file)
        .take(FIRST_LINE)
        .read_to_end(&mut line)?;
    if line.starts_with(b"\x7fELF") {
        return Ok(read_elf(file).unwrap_or(Program::Foreign));
    }
    let Some(line) = line.strip_prefix(b"#!") else {
        return Ok(Program::Unknown);
    };
    let line = String::from_utf8_lossy(line);
    let interpreter = line.lines().next().unwrap_or_default();
    let interpreter = interpreter.split_whitespace().next();
    Ok(interpreter.map_or(Program::Unknown, |it| Program::LoadedBy(it.to_owned())))
}

fn read_elf(file: fs::File) -> object::read::Result<Program> {
    let data = ReadCache::new(file);
    let header = FileHeader64::<Endianness>::parse(&data)?;
    let endian = header.endian()?;
    if header.e_machine(endian) != MACHINE {
        return Ok(Program::Foreign);
    }
    for segment in header.program_headers(endian, &data)? {
        if let Some(interpreter) = segment.interpreter(endian, &data)? {
            let interpreter = String::from_utf8_lossy(interpreter);
            return Ok(Program::LoadedBy(interpreter.into_owned()));
        }
    }
    Ok(Program::Static)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// An image with this machine's own loader of programs, which needs nothing else, at `/loader`.
    fn image() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let this = std::env::current_exe().unwrap();
        let Program::LoadedBy(loader) = read(&this).unwrap() else {
            panic!("this test is a dynamic executable");
        };
        fs::copy(loader, root.path().join("loader")).unwrap();
        root
    }

    fn files(root: &TempDir, program: &str, own_root: bool) -> Result<Files, String> {
        files_of(root.path(), &root.path().join(program), own_root)
    }

    fn write(root: &TempDir, path: &str, content: impl AsRef<[u8]>) {
        fs::write(root.path().join(path), content).unwrap();
    }

    #[test]
    fn a_program_that_needs_nothing_else_runs_among_the_images_files() {
        let image = image();
        assert_eq!(files(&image, "loader", true), Ok(Files::Image));
        assert_eq!(files(&image, "loader", false), Ok(Files::Machine));
    }

    #[test]
    fn what_is_loaded_by_a_program_of_the_image_runs_among_the_images_files() {
        let image = image();
        write(&image, "script", "#!/loader --option\n");
        write(&image, "script-of-script", "#! /script");
        for program in ["script", "script-of-script"] {
            assert_eq!(files(&image, program, true), Ok(Files::Image), "{program}");
            let error = files(&image, program, false).unwrap_err();
            assert!(error.contains("user namespaces"), "{error}");
        }
    }

    #[test]
    fn what_only_this_machine_can_load_runs_among_this_machines_files() {
        let image = image();
        fs::copy(
            std::env::current_exe().unwrap(),
            image.path().join("dynamic"),
        )
        .unwrap();
        write(&image, "script", "#!/bin/sh\n");
        write(&image, "text", "no first line that names a program");
        for program in ["dynamic", "script", "text"] {
            assert_eq!(
                files(&image, program, true),
                Ok(Files::Machine),
                "{program}"
            );
        }
    }

    #[test]
    fn an_images_shell_that_is_a_script_for_this_machines_shell_runs_among_this_machines_files() {
        let image = image();
        fs::create_dir(image.path().join("bin")).unwrap();
        write(&image, "bin/sh", "#!/bin/sh\nexec /bin/sh \"$@\"\n");
        assert_eq!(files(&image, "bin/sh", true), Ok(Files::Machine));
    }

    #[test]
    fn what_nothing_here_can_load_is_refused_by_name() {
        let image = image();
        write(&image, "script", "#!/no/such/shell\n");
        let error = files(&image, "script", true).unwrap_err();
        assert!(error.contains("/no/such/shell"), "{error}");
        let mut foreign = fs::read(image.path().join("loader")).unwrap();
        // The machine of an ELF header; Linux runs on no 0xffff.
        foreign[18..20].copy_from_slice(&[0xff, 0xff]);
        write(&image, "foreign", foreign);
        write(&image, "broken", b"\x7fELF");
        for program in ["foreign", "broken"] {
            let error = files(&image, program, true).unwrap_err();
            assert_eq!(error, "exec format error", "{program}");
        }
    }
}
