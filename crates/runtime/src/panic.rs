//! What a function does when it panics: it says so by the Runtime API, and its process ends.
//!
//! A panic that unwinds costs every function an eighth of its binary, for tables that are never read.
//! Without them Lambda knows only that the process has ended, and Step Functions gets no error of the
//! function's. So the panic hook tells of it, before the process aborts, as Lambda's own runtimes tell of
//! an exception that nobody catches.

use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::PanicHookInfo;
use std::process::abort;
use std::sync::Mutex;
use std::time::Duration;

/// The error's name in Step Functions: it has parts, as those of Lambda's own errors, for it is none that
/// a function gives.
const PANIC: &str = "Function.Panicked";
const PATIENCE: Duration = Duration::from_secs(2);

/// The id of the call that is answered at the moment.
static CALL: Mutex<Option<String>> = Mutex::new(None);

/// From now on a panic tells of itself.
pub(crate) fn tell_of_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        let api = std::env::var("AWS_LAMBDA_RUNTIME_API");
        let call = CALL.lock().ok().and_then(|mut call| call.take());
        if let (Ok(api), Some(call)) = (api, call)
            && let Err(error) = tell(&api, &call, panic)
        {
            eprintln!("Lambda could not be told of the panic: {error}");
        }
        abort();
    }));
}

/// What a panic is told of while it is answered.
pub(crate) fn call_begins(id: &str) {
    if let Ok(mut call) = CALL.lock() {
        *call = Some(id.to_owned());
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-invokeerror>
fn tell(api: &str, call: &str, panic: &PanicHookInfo<'_>) -> std::io::Result<()> {
    let body = json!({"errorType": PANIC, "errorMessage": panic.to_string()}).to_string();
    let mut stream = TcpStream::connect(api)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST /2018-06-01/runtime/invocation/{call}/error HTTP/1.1\r\nHost: {api}\r\n\
         Lambda-Runtime-Function-Error-Type: {PANIC}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    // Lambda has heard it once it answers.
    stream.read_exact(&mut [0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve;
    use lambda_runtime::Error;
    use std::convert::Infallible;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Answers one request, and returns its head and body.
    fn answer(listener: &TcpListener, with: &str) -> (String, String) {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(with.as_bytes()).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Not a test of its own: the process of the test below, which is given a Runtime API.
    #[tokio::test]
    async fn a_function_that_panics() -> Result<(), Error> {
        if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
            return Ok(());
        }
        serve(async |_| {
            if true {
                panic!("the impossible happened");
            }
            Ok::<(), Failure>(())
        })
        .await
    }

    #[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
    enum Failure {
        #[error("{0}")]
        Never(#[from] Infallible),
    }

    #[test]
    fn a_panic_is_an_error_with_a_name_and_ends_the_process() {
        let api = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut function = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "panic::tests::a_function_that_panics"])
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                api.local_addr().unwrap().to_string(),
            )
            .envs([
                ("AWS_LAMBDA_FUNCTION_NAME", "f"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "g"),
            ])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let event = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: call-7\r\n\
                     Lambda-Runtime-Deadline-Ms: 9999999999999\r\n\
                     Lambda-Runtime-Invoked-Function-Arn: arn\r\nContent-Length: 2\r\n\
                     Connection: close\r\n\r\n{}";
        let (next, _) = answer(&api, event);
        assert!(next.contains("/invocation/next"), "{next}");
        let taken = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        let (head, body) = answer(&api, taken);
        assert!(
            head.starts_with("POST /2018-06-01/runtime/invocation/call-7/error "),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["errorType"], "Function.Panicked");
        let message = body["errorMessage"].as_str().unwrap();
        assert!(message.contains("the impossible happened"), "{message}");
        // SIGABRT
        assert_eq!(function.wait().unwrap().signal(), Some(6));
    }
}
