//! What a token is asked for. A challenge is a hint, not an order: it names the repository that is asked for, or nothing
//! that our credential is used for. Pure.

use crate::oci::Repository;

/// Amazon's public registry calls everything it has by this name.
const AWS: &str = "aws";

/// `repository:<name>:pull`
pub(super) fn usual(repository: &Repository) -> String {
    named(repository.as_str())
}

fn named(name: &str) -> String {
    format!("repository:{name}:pull")
}

/// The scopes a token is asked for after a challenge that named `challenged`. Of a repository only pulling is asked
/// for, and only of the asked one, whose name may lack its first parts (Artifactory takes its own repository's name off
/// the path). `/v2/` names no repository that would mean anything.
pub(super) fn after_challenge(repository: Option<&Repository>, challenged: &[String]) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in challenged {
        let scope = match (repository, scope.as_str()) {
            (_, AWS) => AWS.to_owned(),
            (Some(repository), scope) if is_of(repository.as_str(), scope) => named(name_of(scope).unwrap_or_default()),
            _ => continue,
        };
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    match repository {
        Some(repository) if scopes.is_empty() => vec![usual(repository)],
        _ => scopes,
    }
}

/// Whether `scope` is of the repository `asked`, or of one by the end of its name.
fn is_of(asked: &str, scope: &str) -> bool {
    name_of(scope).is_some_and(|name| {
        !name.is_empty() && asked.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    })
}

/// The name in `repository:<name>:<actions>`; a name may hold a colon.
fn name_of(scope: &str) -> Option<&str> {
    scope.strip_prefix("repository:")?.rsplit_once(':').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_pulling_what_was_asked_for_and_for_nothing_else() {
        let repository: Repository = "long/short/x".parse().unwrap();
        for (challenged, expected) in [
            (&[][..], &["repository:long/short/x:pull"][..]),
            (&["repository:long/short/x:pull"], &["repository:long/short/x:pull"]),
            (&["repository:long/short/x:pull,push,delete"], &["repository:long/short/x:pull"]),
            (&["repository:long/short/x:*"], &["repository:long/short/x:pull"]),
            (&["repository:short/x:pull", "aws"], &["repository:short/x:pull", "aws"]),
            (&["aws"], &["aws"]),
            (&["repository:other/secret:pull"], &["repository:long/short/x:pull"]),
            (&["repository:hort/x:pull"], &["repository:long/short/x:pull"]),
            (&["repository::pull"], &["repository:long/short/x:pull"]),
            (&["repository:x/long/short/x:pull"], &["repository:long/short/x:pull"]),
            (&["registry:catalog:*", "repository(plugin):long/short/x:pull"], &["repository:long/short/x:pull"]),
            (&["repository:x:pull", "repository:x:push"], &["repository:x:pull"]),
        ] {
            let challenged: Vec<String> = challenged.iter().map(|scope| (*scope).to_owned()).collect();
            assert_eq!(after_challenge(Some(&repository), &challenged), expected, "{challenged:?}");
        }
    }

    #[test]
    fn the_base_needs_no_scope_of_a_repository() {
        let challenged = ["repository:user/image:pull", "registry:catalog:*", "aws"].map(str::to_owned);
        assert_eq!(after_challenge(None, &challenged), ["aws"]);
    }
}
