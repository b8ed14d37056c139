//! A project's row on the board, rendered once for all who see it.

use super::{
    part,
    view::{Health, Said, Share, health, said, shares},
};
use askama::Template;
use brain_core::{
    line::Moment,
    state::ProjectState,
    status::{Status, status},
    time::Timestamp,
};

/// A row, with what lists choose and sort by.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) html: String,
    /// What is searched in, in lower case.
    pub(super) searched: String,
    pub(super) deploying: bool,
    /// How much there is to say, apart from that it is being deployed.
    pub(super) sentences: usize,
    /// When the latest of it began.
    pub(super) changed: Timestamp,
}

#[derive(Template)]
#[template(path = "row.html")]
struct RowPage<'a> {
    id: &'a str,
    title: &'a str,
    shares: &'a [Share],
    health: Health,
    sentences: &'a [Said],
}

impl Row {
    pub(super) fn new(state: &ProjectState, moment: &Moment) -> Self {
        let status = status(state, moment);
        let deploying = state.active().is_some();
        let latest = status.sentences.iter().map(|sentence| sentence.since).max();
        let changed = latest.max(state.production.as_ref().map(|production| production.since)).unwrap_or(state.created);
        let Status { title, .. } = status.clone();
        let id = state.spec.id.as_str();
        let sentences = said(status);
        let page = RowPage {
            id,
            title: &title,
            shares: &shares(state.production.as_ref()),
            health: health(state),
            sentences: &sentences,
        };
        Self {
            html: part(&page),
            searched: format!("{id} {title}").to_lowercase(),
            deploying,
            sentences: sentences.len() - usize::from(deploying && !sentences.is_empty()),
            changed,
        }
    }
}
