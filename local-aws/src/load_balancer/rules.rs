//! Which rule of a listener a request matches, and what happens to it then.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{HeaderMap, Method, Uri, header};
use ipnet::IpNet;
use wildmatch::WildMatch;

/// One rule of a listener.
#[derive(Debug)]
pub(crate) struct Rule {
    /// All of them have to hold; none: the rule always matches.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: Action,
}

/// A condition holds when one of its values does.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Path(Vec<String>),
    Host(Vec<String>),
    Method(Vec<String>),
    Header {
        name: String,
        values: Vec<String>,
    },
    /// Pairs of an optional key and a value.
    Query(Vec<(Option<String>, String)>),
    /// Of the connection; an X-Forwarded-For header does not count.
    SourceIp(Vec<IpNet>),
    /// Of a kind this load balancer does not know: never holds.
    Unsupported,
}

#[derive(Debug)]
pub(crate) enum Action {
    Forward(Forward),
    Redirect(Redirect),
    FixedResponse {
        status: u16,
        content_type: Option<String>,
        body: String,
    },
}

/// Target groups and their weights.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    pub(crate) groups: Vec<(String, u32)>,
    requests: AtomicU32,
}

impl Forward {
    pub(crate) fn new(groups: Vec<(String, u32)>) -> Self {
        Self {
            groups,
            requests: AtomicU32::new(0),
        }
    }

    /// The ARN of the group the next request goes to; `None` when no group has weight.
    pub(crate) fn next_group(&self) -> Option<&str> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let weights: Vec<u32> = self.groups.iter().map(|(_, weight)| *weight).collect();
        let chosen = choose_by_weight(&weights, request)?;
        self.groups.get(chosen).map(|(arn, _)| arn.as_str())
    }
}

/// The index of the weight to which a request belongs; `None` when no weight is above 0.
///
/// Spreads requests so that every stretch of them has nearly the exact mix: the golden ratio's
/// multiples, modulo 1, fill the unit interval evenly.
pub(super) fn choose_by_weight(weights: &[u32], request: u32) -> Option<usize> {
    /// 2³² divided by the golden ratio.
    const STEP: u32 = 0x9E37_79B9;
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let position = (u64::from(request.wrapping_mul(STEP)) * total) >> 32;
    let mut upper = 0;
    weights.iter().position(|weight| {
        upper += u64::from(*weight);
        position < upper
    })
}

/// The parts of a redirect; each may use `#{protocol}`, `#{host}`, `#{port}`, `#{path}`, `#{query}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) permanent: bool,
    pub(crate) protocol: String,
    pub(crate) host: String,
    pub(crate) port: String,
    pub(crate) path: String,
    pub(crate) query: String,
}

impl Redirect {
    /// The `Location` for a request that arrived at `port`.
    pub(crate) fn location(&self, uri: &Uri, host: &str, port: u16) -> String {
        let expand = |template: &str| {
            template
                .replace("#{protocol}", "http")
                .replace("#{host}", host)
                .replace("#{port}", &port.to_string())
                .replace("#{path}", uri.path().trim_start_matches('/'))
                .replace("#{query}", uri.query().unwrap_or_default())
        };
        let protocol = expand(&self.protocol).to_lowercase();
        let query = expand(&self.query);
        let separator = if query.is_empty() { "" } else { "?" };
        format!(
            "{protocol}://{}:{}{}{separator}{query}",
            expand(&self.host),
            expand(&self.port),
            expand(&self.path),
        )
    }
}

/// The first rule that matches; the rules stand in the order of their priority.
pub(crate) fn matching<'a>(
    rules: &'a [Rule],
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    client: IpAddr,
) -> Option<&'a Rule> {
    rules.iter().find(|rule| {
        rule.conditions
            .iter()
            .all(|condition| condition.holds(method, uri, headers, client))
    })
}

/// The request's host name without its port.
pub(crate) fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or(uri.authority().map(|authority| authority.as_str()))
        .unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

impl Condition {
    fn holds(&self, method: &Method, uri: &Uri, headers: &HeaderMap, client: IpAddr) -> bool {
        match self {
            Self::Path(patterns) => patterns.iter().any(|p| wildcard(p, uri.path())),
            Self::Host(patterns) => {
                let host = host_of(uri, headers).to_lowercase();
                patterns.iter().any(|p| wildcard(&p.to_lowercase(), &host))
            }
            Self::Method(methods) => methods.iter().any(|m| m == method.as_str()),
            Self::Header { name, values } => headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .any(|value| {
                    let value = value.to_lowercase();
                    values.iter().any(|p| wildcard(&p.to_lowercase(), &value))
                }),
            Self::Query(pairs) => {
                let query = uri.query().unwrap_or_default().to_lowercase();
                pairs.iter().any(|(key, value)| {
                    query.split('&').any(|part| {
                        let (k, v) = part.split_once('=').unwrap_or((part, ""));
                        key.as_ref()
                            .is_none_or(|key| wildcard(&key.to_lowercase(), k))
                            && wildcard(&value.to_lowercase(), v)
                    })
                })
            }
            Self::SourceIp(networks) => networks.iter().any(|network| network.contains(&client)),
            Self::Unsupported => false,
        }
    }
}

/// `*` stands for any number of characters, `?` for exactly one.
fn wildcard(pattern: &str, text: &str) -> bool {
    WildMatch::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));

    fn fixed(conditions: Vec<Condition>, body: &str) -> Rule {
        Rule {
            conditions,
            action: Action::FixedResponse {
                status: 200,
                content_type: None,
                body: body.to_owned(),
            },
        }
    }

    fn matched(rules: &[Rule], uri: &str, host: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        let uri = uri.parse().unwrap();
        let rule = matching(rules, &Method::GET, &uri, &headers, CLIENT)?;
        match &rule.action {
            Action::FixedResponse { body, .. } => Some(body.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn wildcards_match_any_number_of_characters_or_one() {
        for (pattern, text) in [
            ("/img/*", "/img/"),
            ("/img/*", "/img/a/b.png"),
            ("*.example.com", "www.example.com"),
            ("/v?/posts", "/v1/posts"),
            ("*a*b", "xaxbxb"),
            ("", ""),
        ] {
            assert!(wildcard(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("/img/*", "/img"),
            ("*.example.com", "example.com"),
            ("/v?/posts", "/v12/posts"),
            ("*a*b", "xbxa"),
        ] {
            assert!(!wildcard(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_whose_conditions_all_hold_decides() {
        let rules = [
            fixed(
                vec![
                    Condition::Path(strings(&["/admin/*"])),
                    Condition::Host(strings(&["admin.test", "*.internal"])),
                ],
                "admin",
            ),
            fixed(vec![Condition::Path(strings(&["/admin/*"]))], "path"),
            fixed(vec![Condition::Unsupported], "never"),
            fixed(vec![], "default"),
        ];
        let answer = |uri, host| matched(&rules, uri, host).unwrap();
        assert_eq!(answer("/admin/x", "ADMIN.test:8080"), "admin");
        assert_eq!(answer("/admin/x", "a.internal"), "admin");
        assert_eq!(answer("/admin/x", "other.test"), "path");
        assert_eq!(answer("/Admin/x", "admin.test"), "default");
    }

    #[test]
    fn a_query_condition_looks_at_keys_and_values() {
        let rules = [fixed(
            vec![Condition::Query(vec![(
                Some("version".to_owned()),
                "v*".to_owned(),
            )])],
            "query",
        )];
        assert!(matched(&rules, "/?a=1&version=v1", "h").is_some());
        assert!(matched(&rules, "/?other=v1", "h").is_none());
        assert!(matched(&rules, "/", "h").is_none());
    }

    #[test]
    fn weights_are_kept_over_short_stretches() {
        for start in [0, 1000, 123_456] {
            let stretch = start..start + 100;
            let chosen = stretch.map(|request| choose_by_weight(&[90, 10], request).unwrap());
            let second = chosen.filter(|index| *index == 1).count();
            assert!((8..=12).contains(&second), "{second}");
        }
    }

    #[test]
    fn a_group_without_weight_gets_nothing() {
        assert!((0..1000).all(|r| choose_by_weight(&[0, 1], r) == Some(1)));
        assert_eq!(choose_by_weight(&[0], 3), None);
    }

    #[test]
    fn a_source_ip_condition_looks_at_the_client_and_not_at_headers() {
        let from = |network: &str| {
            let network = Condition::SourceIp(vec![network.parse().unwrap()]);
            matched(&[fixed(vec![network], "source")], "/", "h").is_some()
        };
        assert!(from("10.1.0.0/16"));
        assert!(from("10.1.2.3/32"));
        assert!(!from("10.2.0.0/16"));
        assert!(!from("::/0"));
    }

    #[test]
    fn methods_are_compared_exactly_and_headers_without_regard_to_case() {
        let mut headers = HeaderMap::new();
        headers.insert("x-release", "Canary-7".parse().unwrap());
        let holds = |condition: Condition, method: Method| {
            condition.holds(&method, &Uri::from_static("/"), &headers, CLIENT)
        };
        let posts = || Condition::Method(strings(&["POST", "get"]));
        assert!(holds(posts(), Method::POST));
        assert!(!holds(posts(), Method::GET));
        let release = |pattern| Condition::Header {
            name: "X-Release".to_owned(),
            values: strings(&[pattern]),
        };
        assert!(holds(release("CANARY-?"), Method::GET));
        assert!(!holds(release("canary"), Method::GET));
    }

    #[test]
    fn a_redirect_fills_in_the_request() {
        let redirect = Redirect {
            permanent: true,
            protocol: "HTTPS".to_owned(),
            host: "#{host}".to_owned(),
            port: "443".to_owned(),
            path: "/new/#{path}".to_owned(),
            query: "#{query}".to_owned(),
        };
        assert_eq!(
            redirect.location(&"/a/b?c=d".parse().unwrap(), "app.test", 80),
            "https://app.test:443/new/a/b?c=d"
        );
        assert_eq!(
            redirect.location(&"/".parse().unwrap(), "app.test", 80),
            "https://app.test:443/new/"
        );
    }
}
