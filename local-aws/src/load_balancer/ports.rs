//! Who has a port of this machine that a listener is to have.
//!
//! AWS's load balancers have addresses of their own, so it has no such error. Here all of them share
//! this machine: a listener that could not be opened would answer nobody.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::net::TcpSocket;

use super::LoadBalancers;

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

impl LoadBalancers {
    /// Why CreateListener or ModifyListener, by the members of its form, would get a port that it
    /// cannot have.
    pub(crate) fn port_refusal(&self, form: &BTreeMap<String, String>) -> Option<String> {
        let port: u16 = form.get("Port")?.parse().ok()?;
        // What is not HTTP is kept and not served.
        if form.get("Protocol").is_some_and(|given| given != "HTTP") {
            return None;
        }
        let state = self.lock();
        if state.reserved.contains_key(&port) {
            return None;
        }
        let mut listeners = state.listeners.iter();
        match listeners.find(|(_, listener)| listener.port == port) {
            // Of two listeners of one load balancer AWS has an error of its own.
            Some((arn, _)) if is_of_the_same(form, arn) => return None,
            Some((arn, _)) => {
                return Some(format!(
                    "Port {port} of this machine, which all load balancers of the local AWS share, \
                     has the listener {arn}. Give this one another port."
                ));
            }
            None => {}
        }
        drop(state);
        match try_to_bind(port) {
            Ok(()) => None,
            Err(error) => Some(format!(
                "Port {port} of this machine cannot be listened on: {}. Give the listener another \
                 port.",
                reason(&error, port)
            )),
        }
    }
}

/// Whether a listener is of the load balancer that a form is about, by their ARNs:
/// `…:loadbalancer/app/NAME/ID` and `…:listener/app/NAME/ID/ID`.
fn is_of_the_same(form: &BTreeMap<String, String>, listener: &str) -> bool {
    let of_listener = |arn: &str| {
        let (_, path) = arn.split_once(":listener/")?;
        Some(path.rsplit_once('/')?.0.to_owned())
    };
    let asked = match (form.get("LoadBalancerArn"), form.get("ListenerArn")) {
        (Some(arn), _) => arn
            .split_once(":loadbalancer/")
            .map(|(_, path)| path.to_owned()),
        (None, Some(arn)) => of_listener(arn),
        (None, None) => None,
    };
    asked.is_some() && asked == of_listener(listener)
}

fn try_to_bind(port: u16) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(1).map(drop)
}

fn reason(error: &io::Error, port: u16) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => match owner(port) {
            Some((process, name)) => format!("process {process} ({name}) has it"),
            None => "another process has it".to_owned(),
        },
        ErrorKind::PermissionDenied => "only root may have a port below 1024".to_owned(),
        _ => error.to_string(),
    }
}

/// The process that listens on a port, and its name; `None` where Linux does not tell.
fn owner(port: u16) -> Option<(u32, String)> {
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"];
    let mut tables = sockets
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    let socket = tables.find_map(|table| socket_that_listens(&table, port))?;
    let socket = format!("socket:[{socket}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.filter_map(|entry| {
        let process: u32 = entry.file_name().to_str()?.parse().ok()?;
        has_open(&entry.path(), &socket).then(|| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            (process, name.trim().to_owned())
        })
    });
    processes.next()
}

fn has_open(process: &Path, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.as_os_str() == socket)
}

/// The inode of the socket that listens on a port, by `/proc/net/tcp`: its second column is the
/// local address, its fourth the state, its tenth the inode.
fn socket_that_listens(table: &str, port: u16) -> Option<String> {
    let local = format!(":{port:04X}");
    table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let listens = columns.get(1)?.ends_with(&local) && columns.get(3)? == &LISTENS;
        listens.then_some((*columns.get(9)?).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::client::sdk_config;
    use crate::clock::Clock;

    fn balancers() -> LoadBalancers {
        let config = sdk_config("http://127.0.0.1:9");
        let elbv2 = aws_sdk_elasticloadbalancingv2::Client::new(&config);
        LoadBalancers::new(Clock::new(1.0), elbv2)
    }

    fn form(members: &[(&str, &str)]) -> BTreeMap<String, String> {
        let members = members.iter();
        members
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_port_that_is_in_use_is_refused_with_its_owner() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let balancers = balancers();
        let asked = form(&[("Protocol", "HTTP"), ("Port", &port)]);
        let refused = balancers.port_refusal(&asked).unwrap();
        let process = format!("process {} (", std::process::id());
        assert!(refused.contains(&process), "{refused}");
        assert!(refused.contains(&format!("Port {port} ")), "{refused}");
        // Nobody serves HTTPS here.
        let asked = form(&[("Protocol", "HTTPS"), ("Port", &port)]);
        assert_eq!(balancers.port_refusal(&asked), None);
        drop(listener);
        let asked = form(&[("Port", &port)]);
        assert_eq!(balancers.port_refusal(&asked), None);
    }

    #[tokio::test]
    async fn a_port_that_was_reserved_for_a_listener_is_free_for_it() {
        let balancers = balancers();
        let port = balancers.reserve_port().await.unwrap().to_string();
        assert_eq!(balancers.port_refusal(&form(&[("Port", &port)])), None);
    }

    #[test]
    fn what_another_listener_of_the_same_load_balancer_has_is_left_to_aws_own_error() {
        let arn = |rest: &str| format!("arn:aws:elasticloadbalancing:us-east-1:1:{rest}");
        let listener = arn("listener/app/shop/1/a");
        for (member, rest, expected) in [
            ("LoadBalancerArn", "loadbalancer/app/shop/1", true),
            ("LoadBalancerArn", "loadbalancer/app/shop/2", false),
            ("ListenerArn", "listener/app/shop/1/a", true),
            ("ListenerArn", "listener/app/shop/1/b", true),
            ("ListenerArn", "listener/app/cafe/1/a", false),
        ] {
            let form = form(&[(member, &arn(rest))]);
            assert_eq!(is_of_the_same(&form, &listener), expected, "{rest}");
        }
        assert!(!is_of_the_same(&form(&[]), &listener));
    }

    #[test]
    fn a_socket_is_found_by_its_port_while_it_listens() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1 0
";
        assert_eq!(socket_that_listens(table, 8080).as_deref(), Some("22"));
        assert_eq!(socket_that_listens(table, 8081), None);
    }
}
