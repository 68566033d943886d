//! Upstream's own words. They are hostile text on their way to terminals, logs and headers, and may echo what was shown.

use super::failure::Failure;
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::time::Instant;

/// Enough for any explanation.
const BODY_SIZE_BYTES_MAX: usize = 64 * 1024;
/// An explanation is not worth more waiting.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);
const MESSAGE_CHARACTERS_MAX: usize = 300;
const CODE_CHARACTERS_MAX: usize = 64;

/// What the body of a refusal says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

impl Words {
    /// Reads the body of `response` as far as time and size allow. `shown` is left out wherever it is echoed.
    pub(super) async fn read(response: reqwest::Response, deadline: Instant, shown: &[&str]) -> Self {
        Self::parse(&body(response, deadline).await, shown)
    }

    /// `errors[0]` of distribution-spec, what token services and CDNs write instead, or the first line of a text.
    pub(super) fn parse(body: &[u8], shown: &[&str]) -> Self {
        let text = String::from_utf8_lossy(body);
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) else {
            let line = text.lines().map(str::trim).find(|line| !line.is_empty());
            let message = line.filter(|line| !line.starts_with('<')).and_then(|line| clean(line, shown));
            return Self { code: None, message };
        };
        let error = json.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&json);
        let text_of = |names: &[&str]| {
            names.iter().find_map(|name| match error.get(name) {
                Some(serde_json::Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
                _ => None,
            })
        };
        let code = text_of(&["code"]).map(|code| {
            let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            code.chars().filter(plain).take(CODE_CHARACTERS_MAX).collect()
        });
        let message = text_of(&["message", "details", "detail", "error_description", "error"]);
        Self { code, message: message.and_then(|message| clean(&message, shown)) }
    }

    pub(super) fn add_to(self, failure: &mut Failure) {
        failure.code = self.code;
        failure.message = self.message;
    }
}

/// At most [`BODY_SIZE_BYTES_MAX`] of the body of `response`, whatever comes in time.
async fn body(mut response: reqwest::Response, deadline: Instant) -> Bytes {
    let deadline = deadline.min(Instant::now() + BODY_TIMEOUT);
    let mut body = BytesMut::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(deadline, response.chunk()).await {
        body.extend_from_slice(&chunk[..chunk.len().min(BODY_SIZE_BYTES_MAX - body.len())]);
        if body.len() == BODY_SIZE_BYTES_MAX {
            break;
        }
    }
    body.freeze()
}

/// `text` without what moves cursors, turns writing around or hides, and without what was `shown`.
pub(super) fn clean(text: &str, shown: &[&str]) -> Option<String> {
    let mut text = text.to_owned();
    for secret in shown.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[REDACTED]");
    }
    let cleaned: String = text
        .chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() || is_invisible(c) => '\u{fffd}',
            c => c,
        })
        .take(MESSAGE_CHARACTERS_MAX)
        .collect();
    let cleaned = cleaned.trim();
    (!cleaned.is_empty()).then(|| cleaned.to_owned())
}

/// Bidirectional controls, zero-width characters, line separators, tags and the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> (Option<String>, Option<String>) {
        let words = Words::parse(body.as_bytes(), &["hunter2"]);
        (words.code, words.message)
    }

    #[test]
    fn reads_what_registries_token_services_and_proxies_write() {
        let some = |text: &str| Some(text.to_owned());
        for (body, code, message) in [
            (r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, some("DENIED"), some("no")),
            (r#"{"errors":[{"code":"DENIED"}]}"#, some("DENIED"), None),
            (r#"{"details":"incorrect username or password"}"#, None, some("incorrect username or password")),
            (r#"{"code":"X","message":"m"}"#, some("X"), some("m")),
            (r#"{"error":"invalid_grant","error_description":"d"}"#, None, some("d")),
            (r#"{"errors":[]}"#, None, None),
            (r#"{"errors":[{"code":7,"message":["x"]}]}"#, None, None),
            ("\n429 Too Many Requests\nmore", None, some("429 Too Many Requests")),
            ("<html><body>no</body></html>", None, None),
            ("", None, None),
            ("[]", None, None),
            ("null", None, None),
        ] {
            assert_eq!(parse(body), (code, message), "{body}");
        }
    }

    #[test]
    fn takes_the_teeth_out_of_hostile_text() {
        for (given, expected) in [
            ("a\u{1b}[31mb", "a\u{fffd}[31mb"),
            ("a\r\nSet-Cookie: b", "a  Set-Cookie: b"),
            ("a\u{202e}b\u{2066}c", "a\u{fffd}b\u{fffd}c"),
            ("a\0b\u{7f}c\u{9b}d", "a\u{fffd}b\u{fffd}c\u{fffd}d"),
            ("zero\u{200b}width\u{feff}", "zero\u{fffd}width\u{fffd}"),
            ("password hunter2 is wrong", "password [REDACTED] is wrong"),
        ] {
            assert_eq!(clean(given, &["hunter2"]).as_deref(), Some(expected), "{given:?}");
        }
        assert_eq!(clean(&"ü".repeat(1000), &[]).map(|text| text.chars().count()), Some(300));
        assert_eq!(clean(" \n ", &[]), None);
    }

    #[test]
    fn a_deep_document_is_no_danger() {
        assert_eq!(Words::parse("[".repeat(60_000).as_bytes(), &[]).code, None);
    }
}
