//! The table, for people in Markdown and for machines in JSON.

use crate::{
    peers::Kind,
    rows::{Cell, Extent, Figure},
};
use std::fmt::Write as _;

/// Everything that was measured.
pub struct Report {
    /// In one line.
    pub machine: String,
    /// Of the programs.
    pub versions: Vec<(&'static str, String)>,
    /// How much was measured.
    pub extent: Extent,
    /// Figures with their cells.
    pub rows: Vec<(&'static dyn Figure, Vec<Cell>)>,
}

/// How larder stands in one row.
struct Standing {
    /// larder's value by that of the best peer.
    ratio: Option<f64>,
    reached: Option<bool>,
}

impl Report {
    /// The README's table and what it is true of.
    pub fn markdown(&self) -> String {
        let shown = |kind: &Kind| self.rows.iter().any(|(_, cells)| cells.iter().any(|cell| cell.kind == *kind));
        let columns: Vec<Kind> = Kind::ALL.into_iter().filter(shown).collect();
        let mut text = String::from("| |");
        for kind in &columns {
            let _ = write!(text, " {} |", kind.name()); // writing to a String cannot fail, here and below
        }
        text += " larder / best peer | aim | reached |\n|--|";
        text += &"--|".repeat(columns.len() + 3);
        for (figure, cells) in &self.rows {
            let _ = write!(text, "\n| {} |", figure.title(self.extent));
            for kind in &columns {
                let cell = cells.iter().find(|cell| cell.kind == *kind);
                let _ = write!(text, " {} |", cell.map_or("", |cell| &cell.text).replace(['|', '\n'], " "));
            }
            let standing = standing(*figure, cells);
            let ratio = standing.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let reached = standing.reached.map_or("", |reached| if reached { "yes" } else { "no" });
            let _ = write!(text, " {ratio} | {} | {reached} |", figure.aim());
        }
        let _ = write!(text, "\n\nMeasured on {}.", self.machine);
        for (name, version) in &self.versions {
            let _ = write!(text, "\n{name}: {version}.");
        }
        text + "\n"
    }

    /// The same, and every single measurement.
    pub fn json(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|(figure, cells)| {
            let standing = standing(*figure, cells);
            let cells = cells.iter().map(|cell| {
                serde_json::json!({
                    "system": cell.kind.name(), "text": cell.text, "value": cell.value, "details": cell.details,
                })
            });
            serde_json::json!({
                "id": figure.id(), "title": figure.title(self.extent), "aim": figure.aim(),
                "cells": cells.collect::<Vec<_>>(), "larder_by_best_peer": standing.ratio, "reached": standing.reached,
            })
        });
        let versions: serde_json::Map<_, _> =
            self.versions.iter().map(|(name, version)| ((*name).to_owned(), version.as_str().into())).collect();
        serde_json::json!({ "machine": self.machine, "versions": versions, "rows": rows.collect::<Vec<_>>() })
    }
}

fn standing(figure: &dyn Figure, cells: &[Cell]) -> Standing {
    let Some(larder) = cells.iter().find(|cell| cell.kind == Kind::Larder) else {
        return Standing { ratio: None, reached: None };
    };
    let peers: Vec<&Cell> = cells.iter().filter(|cell| !matches!(cell.kind, Kind::Larder | Kind::Direct)).collect();
    let values = peers.iter().filter_map(|cell| cell.value);
    let best = if figure.less_is_better() { values.reduce(f64::min) } else { values.reduce(f64::max) };
    let ratio = larder.value.zip(best).map(|(larder, best)| larder / best).filter(|ratio| ratio.is_finite());
    let reached = (!peers.is_empty()).then(|| figure.reached(larder, &peers));
    Standing { ratio, reached }
}
