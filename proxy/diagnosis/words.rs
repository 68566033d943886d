//! Text made fit to be shown. Whatever an upstream or a caller chose passes through here before it reaches a terminal,
//! a header or a log.

use std::{fmt::Write as _, time::Duration};

/// The most characters of foreign text that are shown.
const FOREIGN_MAX: usize = 300;

/// Foreign text: cut, and without what could steer a terminal or reorder what is read.
pub(super) fn clean(text: &str) -> String {
    let mut shown: String = text.chars().take(FOREIGN_MAX).map(|c| if steers(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(FOREIGN_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Foreign text between quotes; quotes within it become single ones, so that it cannot seem to end early.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", clean(text).replace('"', "'"))
}

/// Controls, and the marks that change the direction or the joining of text (Unicode's format characters).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Printable ASCII of at most `max` bytes, cut at a word: what a status line or a header may hold.
pub(super) fn ascii(text: &str, max: usize) -> String {
    const CUT: &str = "...";
    let text: String = text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
    if text.len() <= max {
        return text;
    }
    let room = &text[..max - CUT.len()];
    let end = room.rfind(' ').filter(|end| *end > max / 2).unwrap_or(room.len());
    format!("{}{CUT}", room[..end].trim_end())
}

/// A quoted-string of RFC 9110, 5.6.4.
pub(super) fn quoted_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// `6h`, `41min 5s`, `80ms`: the two largest units, no more.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut text = String::new();
    let mut shown = 0;
    for (size, name) in units {
        if rest >= size && shown < 2 {
            let separator = if text.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{}{name}", rest / size);
            shown += 1;
        }
        rest %= size;
    }
    text
}
